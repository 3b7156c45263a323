"use strict";
// Traces of the chosen cells, stimuli behind them, and the stretch of time that is shown.

const COLORS = { fluorescence: "#3b4148", neuropil: "#9aa3ad", corrected: "#009e73", dff: "#0072b2", spikes: "#1b1f24", model: "#d55e00" };
const SPARE = ["#cc79a7", "#8c6d1f", "#56b4e9", "#7a4fa3"];
const BANDS = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#0072b2", "#d55e00", "#f0e442", "#6b7280"];
const LEFT = 58, FOOT = 24, SHORTEST = 0.2;

// Eight colours that colour-blind people tell apart; of more values, shades from dark to light.
function bandColor(place, count) {
  if (count <= BANDS.length) return BANDS[place];
  const share = place / (count - 1);
  return `hsl(${250 - 190 * share} 60% ${32 + 38 * share}%)`;
}

// Round steps of an axis.
function ticks(low, high, most) {
  const raw = (high - low) / most, base = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * base).find((each) => each >= raw);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high + 1e-9 * step; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

class TracePanel {
  constructor(canvas, app) {
    this.canvas = canvas; this.app = app; this.found = null;
    this.from = app.about.start; this.to = app.about.stop;
    const listed = app.about.variables.map((one) => one.name);
    const first = ["fluorescence", "neuropil", "dff", "spikes", "model"].filter((name) => listed.includes(name));
    this.shown = new Set(first.length ? first : listed.slice(0, 1));
    this.latest = new Latest(() => this.fetch());
    this.switches();
    this.legend();
    this.listen();
  }

  color(name) {
    const others = this.app.about.variables.map((one) => one.name).filter((each) => !(each in COLORS));
    return COLORS[name] ?? SPARE[others.indexOf(name) % SPARE.length];
  }

  switches() {
    const place = document.getElementById("variables");
    for (const { name } of this.app.about.variables) {
      const label = document.createElement("label"), box = document.createElement("input"), swatch = document.createElement("span");
      box.type = "checkbox"; box.checked = this.shown.has(name); box.id = `variable-${name}`;
      swatch.className = "swatch"; swatch.style.background = this.color(name);
      box.addEventListener("change", () => { box.checked ? this.shown.add(name) : this.shown.delete(name); this.refresh(); });
      label.append(box, " ", swatch, name === "dff" ? "ΔF/F" : name);
      place.append(label);
    }
  }

  get bands() {
    const { stimulus } = this.app.about;
    return stimulus && stimulus.columns.find((one) => one.name === this.app.column);
  }

  legend() {
    const place = document.getElementById("legend"), bands = this.bands;
    place.replaceChildren();
    if (!this.app.about.stimulus) return;
    place.append(bands ? bands.name : "grey: stimulus");
    bands?.values.forEach((value, k) => {
      const swatch = document.createElement("span");
      swatch.className = "swatch"; swatch.style.background = bandColor(k, bands.values.length);
      place.append(swatch, String(value));
    });
  }

  refresh() { return this.latest.run().catch((error) => this.app.complain(error)); }

  async fetch() {
    const names = this.app.about.variables.map((one) => one.name).filter((name) => this.shown.has(name));
    const cells = this.app.chosen.map((row) => this.app.about.cells[row]);
    if (!cells.length || !names.length) { this.found = null; this.draw(); return; }
    const span = this.to - this.from, { start, stop } = this.app.about; // a margin on both sides, to move without waiting
    const from = Math.max(start, this.from - span / 2), to = Math.min(stop, this.to + span / 2);
    const bins = Math.ceil((this.canvas.clientWidth * (to - from)) / span);
    this.found = await this.app.source.traces(cells, names, from, to, bins);
    this.draw();
  }

  // One lane per cell and unit: what has one unit shares an axis.
  lanes() {
    const units = new Map();
    for (const { name, units: unit } of this.app.about.variables) {
      if (!this.shown.has(name)) continue;
      units.has(unit) ? units.get(unit).push(name) : units.set(unit, [name]);
    }
    return this.app.chosen.flatMap((row) => [...units].map(([unit, names], k) => ({ row, unit, names, first: k === 0 })));
  }

  x(time) { return LEFT + ((time - this.from) / (this.to - this.from)) * (this.width - LEFT - 8); }

  draw() {
    const { context, width, height } = fitted(this.canvas);
    this.width = width; this.height = height;
    const lanes = this.lanes(), each = (height - FOOT - 4) / Math.max(1, lanes.length);
    context.font = "12px system-ui, sans-serif";
    this.drawBands(context);
    this.drawAxis(context);
    if (!this.app.about.variables.length) return this.tell(context, "There are no traces. Find cells in the movie: neurodyn extract");
    if (!this.found) return this.tell(context, this.shown.size ? "Choose a cell" : "Tick a variable above");
    lanes.forEach((lane, k) => this.drawLane(context, lane, 4 + k * each, each));
    const now = this.x(this.app.clock);
    if (now < LEFT || now > width - 8) return;
    context.strokeStyle = "#a33d00"; context.lineWidth = 1.2;
    context.beginPath(); context.moveTo(now, 0); context.lineTo(now, height - FOOT); context.stroke();
    context.fillStyle = "#a33d00"; context.beginPath(); context.moveTo(now - 5, 0); context.lineTo(now + 5, 0); context.lineTo(now, 7); context.fill();
  }

  tell(context, text) {
    context.fillStyle = "#5b6570"; context.textAlign = "center";
    context.fillText(text, this.width / 2, this.height / 2);
  }

  drawBands(context) {
    const { times } = this.app;
    if (!times) return;
    const bands = this.bands, high = this.height - FOOT;
    for (let k = 0; k < times.start.length; k++) {
      if (times.stop[k] < this.from || times.start[k] > this.to) continue;
      const a = Math.max(LEFT, this.x(times.start[k])), b = Math.min(this.width - 8, Math.max(a + 1, this.x(times.stop[k])));
      const place = bands ? this.app.events[bands.name][k] : -1;
      context.fillStyle = place < 0 ? "#6b7280" : bandColor(place, bands.values.length);
      context.globalAlpha = 0.16; context.fillRect(a, 0, b - a, high);
      context.globalAlpha = 1; context.fillRect(a, high - 4, b - a, 4);
    }
  }

  drawAxis(context) {
    context.fillStyle = "#5b6570"; context.textAlign = "center"; context.textBaseline = "top";
    for (const time of ticks(this.from, this.to, Math.max(2, this.width / 110))) {
      context.fillRect(this.x(time), this.height - FOOT, 1, 4);
      context.fillText(`${time} s`, this.x(time), this.height - FOOT + 6);
    }
  }

  drawLane(context, lane, top, tall) {
    const traces = this.found.traces.filter((one) => one.row === lane.row && lane.names.includes(one.variable));
    const [low, high] = this.range(traces);
    const y = (value) => top + tall - 7 - ((value - low) / (high - low)) * (tall - 14);
    context.textAlign = "right"; context.textBaseline = "middle"; context.fillStyle = "#5b6570";
    for (const value of ticks(low, high, Math.max(1.5, tall / 30))) {
      context.fillText(String(value), LEFT - 8, y(value));
      context.fillRect(LEFT - 5, y(value), 4, 1);
    }
    context.save();
    context.beginPath(); context.rect(LEFT, top, this.width - LEFT - 8, tall); context.clip();
    for (const one of traces) lane.unit.startsWith("events") ? this.stems(context, one, y) : this.line(context, one, y);
    context.restore();
    this.label(context, lane, top, tall);
  }

  label(context, lane, top, tall) {
    const many = this.app.chosen.length > 1, first = lane.first;
    const said = (many ? `cell ${this.app.about.cells[lane.row]} · ` : "") + lane.unit.split(",")[0];
    context.font = "600 12px system-ui, sans-serif"; context.textAlign = "left"; context.textBaseline = "top";
    context.lineWidth = 4; context.strokeStyle = "#fff"; context.strokeText(said, LEFT + 6, top + 3);
    context.fillStyle = "#1b1f24"; context.fillText(said, LEFT + 6, top + 3);
    context.font = "12px system-ui, sans-serif";
    if (top < 5) return;
    context.fillStyle = many && first ? "#5b6570" : "#d8dde3";
    context.fillRect(LEFT, top, this.width - LEFT - 8, 1);
  }

  range(traces) {
    let low = Infinity, high = -Infinity;
    const { time } = this.found;
    for (const one of traces) for (let k = 0; k < time.length; k++) {
      if (time[k] < this.from || time[k] > this.to) continue;
      if (one.low[k] < low) low = one.low[k];
      if (one.high[k] > high) high = one.high[k];
    }
    if (!(low <= high)) return [0, 1];
    return high > low ? [low, high] : [low - 1, high + 1];
  }

  line(context, { variable, low, high }, y) {
    const { time } = this.found;
    context.strokeStyle = this.color(variable); context.lineWidth = variable === "model" ? 1.8 : 1.1; context.lineJoin = "round";
    context.beginPath();
    const longest = 2 * Math.max(1 / this.app.about.rate, (time.at(-1) - time[0]) / time.length);
    let down = false; // the pen; lifted where there is no value, or no frame
    for (let k = 0; k < time.length; k++) {
      if (Number.isNaN(low[k])) { down = false; continue; }
      if (k && time[k] - time[k - 1] > longest) down = false;
      const x = this.x(time[k]);
      down ? context.lineTo(x, y(low[k])) : context.moveTo(x, y(low[k]));
      if (high !== low && high[k] !== low[k]) context.lineTo(x, y(high[k]));
      down = true;
    }
    context.stroke();
  }

  stems(context, { variable, high }, y) {
    const { time } = this.found;
    context.strokeStyle = this.color(variable); context.lineWidth = 1.2;
    context.beginPath();
    for (let k = 0; k < time.length; k++) {
      if (!(high[k] > 0)) continue;
      context.moveTo(this.x(time[k]), y(0)); context.lineTo(this.x(time[k]), y(high[k]));
    }
    context.stroke();
  }

  show(from, to) {
    const { start, stop } = this.app.about, span = Math.min(stop - start, Math.max(SHORTEST, to - from));
    this.from = Math.max(start, Math.min(stop - span, from)); this.to = this.from + span;
    this.draw();
    this.refresh();
  }

  zoom(factor, at = this.app.clock >= this.from && this.app.clock <= this.to ? this.app.clock : (this.from + this.to) / 2) {
    const span = this.to - this.from, share = (at - this.from) / span;
    const wide = Math.max(SHORTEST, span * factor);
    this.show(at - share * wide, at + (1 - share) * wide);
  }

  // While playing, the stretch goes along with the clock.
  follow() {
    if (this.app.clock > this.to || this.app.clock < this.from) this.show(this.app.clock, this.app.clock + this.to - this.from);
    else this.draw();
  }

  listen() {
    let held = null;
    const at = (event) => this.from + ((event.clientX - this.canvas.getBoundingClientRect().left - LEFT) / (this.width - LEFT - 8)) * (this.to - this.from);
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const side = event.shiftKey ? event.deltaY : event.deltaX;
      if (Math.abs(side) > Math.abs(event.shiftKey ? 0 : event.deltaY)) {
        const move = (side / this.width) * (this.to - this.from);
        this.show(this.from + move, this.to + move);
      } else this.zoom(Math.exp(event.deltaY / 500), at(event));
    }, { passive: false });
    this.canvas.addEventListener("pointerdown", (event) => { held = { x: event.clientX, from: this.from, to: this.to, moved: false }; this.canvas.setPointerCapture(event.pointerId); });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!held) return;
      held.moved ||= Math.abs(event.clientX - held.x) > 3;
      const move = ((event.clientX - held.x) / (this.width - LEFT - 8)) * (held.to - held.from);
      if (held.moved) this.show(held.from - move, held.to - move);
    });
    this.canvas.addEventListener("pointerup", (event) => { if (held && !held.moved) this.app.setClock(at(event)); held = null; });
    this.canvas.addEventListener("dblclick", () => this.show(this.app.about.start, this.app.about.stop));
    document.getElementById("in").addEventListener("click", () => this.zoom(0.5));
    document.getElementById("out").addEventListener("click", () => this.zoom(2));
    document.getElementById("whole").addEventListener("click", () => this.show(this.app.about.start, this.app.about.stop));
  }
}
