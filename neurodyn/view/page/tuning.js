"use strict";
// Tuning of the cells, as neurodyn respond found it: curves with their intervals, and the colours of preferences.

const TUNING = "tuning:"; // no column has this name
const UNTUNED = { color: "#c9ced4", dash: [2, 3] };

class Tuning {
  constructor(told) {
    this.told = told;
    this.places = numbers(told.places, Float32Array) ?? Float32Array.from(told.labels, (_, k) => k);
    this.curves = Object.fromEntries(Object.entries(told.curves).map(([name, text]) => [name, numbers(text, Float32Array)]));
    this.table = Object.fromEntries(Object.entries(told.table).map(([name, text]) => [name, numbers(text, Float32Array)]));
    this.tuned = numbers(told.tuned, Uint8Array);
  }

  // How the outline of a cell is drawn that goes by what it prefers.
  look(row) {
    const preferred = this.table.preferred[row];
    return this.tuned[row] && Number.isFinite(preferred) ? { color: bandColor(preferred, this.told.labels.length), dash: [] } : UNTUNED;
  }

  curve(row) {
    const count = this.told.labels.length, part = (name) => this.curves[name].subarray(row * count, (row + 1) * count);
    return { mean: part("mean"), low: part("low"), high: part("high") };
  }

  // What the tests say of a cell, in a few words.
  words(row) {
    const q = this.table.q[row];
    if (!Number.isFinite(q)) return "not tested";
    const size = q < 0.001 ? "q < 0.001" : `q = ${q.toFixed(3)}`;
    return this.tuned[row] ? `tuned, ${size}, prefers ${this.told.labels[this.table.preferred[row]]}` : `not tuned, ${size}`;
  }

  draw(context, width, height, row) {
    const { mean, low, high } = this.curve(row), box = { left: 46, top: 26, right: width - 12, bottom: height - 50 };
    context.textAlign = "left"; context.textBaseline = "top"; context.fillStyle = "#1b1f24";
    context.fillText(this.words(row), box.left, 4);
    const known = [...mean.keys()].filter((k) => Number.isFinite(mean[k]));
    if (!known.length) return;
    const range = [0, ...known.flatMap((k) => [mean[k], low[k], high[k]].filter(Number.isFinite))];
    const bottom = Math.min(...range), top = Math.max(...range), all = [...this.places];
    const first = Math.min(...all), last = Math.max(...all), space = (last - first || 1) / Math.max(2, all.length) / 2;
    const x = (place) => box.left + ((place - first + space) / (last - first + 2 * space)) * (box.right - box.left);
    const y = (value) => box.bottom - ((value - bottom) / (top - bottom || 1)) * (box.bottom - box.top);
    this.axes(context, box, x, y, bottom, top);
    if (this.told.places) { // names have nothing between them
      context.strokeStyle = "#5b6570"; context.lineWidth = 1.4;
      context.beginPath();
      known.forEach((k, place) => context[place ? "lineTo" : "moveTo"](x(this.places[k]), y(mean[k])));
      context.stroke();
    }
    for (const k of known) {
      context.strokeStyle = context.fillStyle = bandColor(k, mean.length);
      context.lineWidth = 2.2;
      context.beginPath(); context.moveTo(x(this.places[k]), y(low[k])); context.lineTo(x(this.places[k]), y(high[k])); context.stroke();
      context.beginPath(); context.arc(x(this.places[k]), y(mean[k]), 4, 0, 2 * Math.PI); context.fill();
    }
  }

  axes(context, box, x, y, bottom, top) {
    context.fillStyle = "#5b6570"; context.textAlign = "right"; context.textBaseline = "middle";
    for (const value of ticks(bottom, top, Math.max(2, (box.bottom - box.top) / 40))) context.fillText(String(value), box.left - 6, y(value));
    context.fillRect(box.left, y(0), box.right - box.left, 1);
    context.textAlign = "center"; context.textBaseline = "top";
    let free = -Infinity; // labels that would lie over each other are left out
    this.told.labels.forEach((label, k) => {
      const half = context.measureText(label).width / 2 + 4, at = x(this.places[k]);
      if (at - half < free) return;
      context.fillText(label, at, box.bottom + 6);
      free = at + half;
    });
    context.textBaseline = "bottom";
    const unit = this.told.units.split(",")[0];
    context.fillText(`${this.told.target}    ·    ${unit}, mean with 95 % interval`, (box.left + box.right) / 2, box.bottom + 48);
  }
}
