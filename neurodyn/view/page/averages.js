"use strict";
// Event averages of the chosen cell: mean ± standard error around the events of each value of a stimulus column.

class Averages {
  constructor(canvas, app) {
    this.canvas = canvas; this.app = app; this.found = null;
    this.variable = document.getElementById("average-variable");
    this.column = document.getElementById("average-column");
    const listed = app.source.averaged ?? app.about.variables.map((one) => one.name); // an exported page has those of a few
    for (const name of listed) this.variable.add(new Option(name === "dff" ? "ΔF/F" : name, name));
    this.variable.value = listed.includes(app.about.judged) ? app.about.judged : listed[0];
    if (app.tuning) this.column.add(new Option(`tuning to ${app.about.tuning.target.split(",")[0]}`, TUNING));
    for (const { name } of app.about.variables.length ? app.about.stimulus?.columns ?? [] : []) this.column.add(new Option(name, name));
    this.latest = new Latest(() => this.fetch());
    this.variable.addEventListener("change", () => this.refresh());
    this.column.addEventListener("change", () => { if (!this.tuned) app.setColumn(this.column.value); this.refresh(); });
  }

  // Whether tuning curves are shown in place of averages.
  get tuned() { return this.column.value === TUNING; }

  refresh() { return this.latest.run().catch((error) => this.app.complain(error)); }

  async fetch() {
    const row = this.app.chosen.at(-1);
    this.variable.disabled = this.tuned;
    if (this.tuned) { this.found = null; this.draw(); return; }
    this.found = row === undefined ? null : await this.app.source.average(this.app.about.cells[row], this.variable.value, this.column.value);
    this.draw();
  }

  draw() {
    const { context, width, height } = fitted(this.canvas);
    context.font = "12px system-ui, sans-serif";
    if (this.tuned && this.app.chosen.length) { this.app.tuning.draw(context, width, height, this.app.chosen.at(-1)); return; }
    if (!this.found?.groups.length) return;
    const { groups } = this.found, foot = 34, left = 40;
    const columns = this.columns(groups.length, (width - left) / (height - foot)), rows = Math.ceil(groups.length / columns);
    const size = { wide: (width - left) / columns, tall: (height - foot) / rows };
    const [low, high] = this.range(groups);
    groups.forEach((group, k) => {
      const box = { left: left + (k % columns) * size.wide, top: Math.floor(k / columns) * size.tall, ...size };
      this.panel(context, group, box, low, high, k, groups.length);
      if (k % columns === 0) this.scale(context, box, low, high);
    });
    for (let k = 0; k < Math.min(columns, groups.length); k++) this.times(context, left + k * size.wide, size.wide, height - foot);
    context.fillStyle = "#5b6570"; context.textAlign = "center"; context.textBaseline = "bottom";
    const unit = this.app.about.variables.find((one) => one.name === this.variable.value).units.split(",")[0];
    context.fillText(`time from onset, s    ·    ${unit}, mean ± SEM`, left + (width - left) / 2, height);
  }

  // As many columns as leave few places empty and panels a little wider than tall.
  columns(count, aspect) {
    const cost = (across) => {
      const rows = Math.ceil(count / across);
      return Math.abs(Math.log((aspect * rows) / across / 1.3)) + (rows * across - count) / count;
    };
    return Array.from({ length: count }, (_, k) => k + 1).reduce((best, each) => (cost(each) < cost(best) ? each : best), 1);
  }

  range(groups) {
    let low = Infinity, high = -Infinity;
    for (const { mean, sem } of groups) mean.forEach((value, k) => {
      const spread = sem[k] || 0;
      if (value - spread < low) low = value - spread;
      if (value + spread > high) high = value + spread;
    });
    return low < high ? [low, high] : [0, 1];
  }

  x(time, box) {
    const all = this.found.time;
    return box.left + 4 + ((time - all[0]) / (all.at(-1) - all[0])) * (box.wide - 10);
  }

  y(value, box, low, high) { return box.top + box.tall - 4 - ((value - low) / (high - low)) * (box.tall - 26); }

  panel(context, { value, n, mean, sem }, box, low, high, place, count) {
    const color = bandColor(place, count), y = (each) => this.y(each, box, low, high);
    const a = this.x(0, box), b = Math.min(this.x(this.found.event, box), box.left + box.wide - 6);
    context.fillStyle = color;
    context.globalAlpha = 0.16; context.fillRect(a, box.top + 18, b - a, box.tall - 20);
    context.globalAlpha = 1; context.fillRect(a, box.top + box.tall - 4, b - a, 3);
    context.fillStyle = "#1b1f24"; context.textAlign = "left"; context.textBaseline = "top";
    context.fillText(`${value}`, box.left + 4, box.top + 2);
    const wide = context.measureText(`${value}`).width;
    context.fillStyle = "#5b6570";
    if (box.wide > 70) context.fillText(`n = ${n}`, box.left + 10 + wide, box.top + 2);
    context.fillStyle = "#9aa3ad"; context.globalAlpha = 0.6;
    this.stretch(context, box, mean.map((each, k) => y(each - (sem[k] || 0))), mean.map((each, k) => y(each + (sem[k] || 0))));
    context.globalAlpha = 1; context.strokeStyle = "#1b1f24"; context.lineWidth = 1.6;
    context.beginPath();
    let down = false;
    mean.forEach((each, k) => {
      if (Number.isNaN(each)) { down = false; return; }
      down ? context.lineTo(this.x(this.found.time[k], box), y(each)) : context.moveTo(this.x(this.found.time[k], box), y(each));
      down = true;
    });
    context.stroke();
  }

  stretch(context, box, below, above) {
    const x = (k) => this.x(this.found.time[k], box);
    let first = 0; // of a run without gaps
    for (let k = 0; k <= below.length; k++) {
      if (k < below.length && !Number.isNaN(below[k])) continue;
      const run = Array.from({ length: k - first }, (_, n) => first + n);
      context.beginPath();
      run.forEach((each) => context.lineTo(x(each), below[each]));
      run.reverse().forEach((each) => context.lineTo(x(each), above[each]));
      context.fill();
      first = k + 1;
    }
  }

  scale(context, box, low, high) {
    context.fillStyle = "#5b6570"; context.textAlign = "right"; context.textBaseline = "middle";
    for (const value of ticks(low, high, Math.max(1, box.tall / 40))) context.fillText(String(value), box.left - 2, this.y(value, box, low, high));
  }

  times(context, left, wide, top) {
    const all = this.found.time, box = { left, wide };
    context.fillStyle = "#5b6570"; context.textAlign = "center"; context.textBaseline = "top";
    for (const time of ticks(all[0], all.at(-1), Math.max(1, wide / 50))) context.fillText(String(time), this.x(time, box), top + 2);
  }
}
