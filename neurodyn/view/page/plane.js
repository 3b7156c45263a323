"use strict";
// The plane in which cells lie: a picture, and outlines to click.

const LOOKS = {
  undecided: { color: "#ffb000", width: 1.3, dash: [] },
  keep: { color: "#56b4e9", width: 1.8, dash: [] },
  drop: { color: "#d0d0d0", width: 1.1, dash: [2, 3] },
};

// A canvas whose pixels are those of the screen; returns its context in CSS pixels, and its size.
function fitted(canvas) {
  const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
  const width = Math.max(1, Math.round(box.width * ratio)), height = Math.max(1, Math.round(box.height * ratio));
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, box.width, box.height);
  return { context, width: box.width, height: box.height };
}

class Plane {
  constructor(canvas, app) {
    this.canvas = canvas; this.app = app;
    [this.rows, this.columns] = app.about.shape;
    this.picture = document.createElement("canvas");
    this.zoom = 1; this.middle = [this.columns / 2, this.rows / 2];
    const { masks } = app.about;
    this.owner = new Map(); // pixel -> cells there
    if (masks) this.readMasks(numbers(masks.roi, Int32Array), numbers(masks.y, Int32Array), numbers(masks.x, Int32Array));
    this.listen();
  }

  readMasks(roi, y, x) {
    const own = this.app.about.cells.map(() => new Set());
    for (let k = 0; k < roi.length; k++) {
      const pixel = y[k] * this.columns + x[k];
      own[roi[k]].add(pixel);
      this.owner.has(pixel) ? this.owner.get(pixel).push(roi[k]) : this.owner.set(pixel, [roi[k]]);
    }
    this.outlines = own.map((pixels) => this.outline(pixels));
  }

  // Edges between a pixel of the mask and one outside of it.
  outline(pixels) {
    const path = new Path2D(), width = this.columns;
    for (const pixel of pixels) {
      const x = pixel % width, y = (pixel - x) / width;
      if (!pixels.has(pixel - width)) { path.moveTo(x, y); path.lineTo(x + 1, y); }
      if (!pixels.has(pixel + width)) { path.moveTo(x, y + 1); path.lineTo(x + 1, y + 1); }
      if (x === 0 || !pixels.has(pixel - 1)) { path.moveTo(x, y); path.lineTo(x, y + 1); }
      if (x === width - 1 || !pixels.has(pixel + 1)) { path.moveTo(x + 1, y); path.lineTo(x + 1, y + 1); }
    }
    return path;
  }

  show({ values, shape: [rows, columns] }) {
    this.picture.width = columns; this.picture.height = rows;
    const context = this.picture.getContext("2d"), image = context.createImageData(columns, rows);
    const words = new Uint32Array(image.data.buffer);
    for (let k = 0; k < values.length; k++) words[k] = 0xff000000 | (values[k] * 0x010101);
    context.putImageData(image, 0, 0);
    this.draw();
  }

  place() {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.zoom * Math.min(box.width / this.columns, box.height / this.rows);
    return { scale, left: box.width / 2 - scale * this.middle[0], top: box.height / 2 - scale * this.middle[1] };
  }

  draw() {
    const { context } = fitted(this.canvas), { scale, left, top } = this.place();
    context.imageSmoothingEnabled = false;
    if (this.picture.width && this.picture.height) context.drawImage(this.picture, left, top, scale * this.columns, scale * this.rows);
    if (!this.app.outlined) return;
    context.save();
    context.translate(left, top); context.scale(scale, scale);
    const last = new Set(this.app.chosen);
    const order = this.app.about.cells.keys();
    for (const row of [...order].filter((each) => !last.has(each))) this.drawCell(context, row, scale, false);
    for (const row of this.app.chosen) this.drawCell(context, row, scale, true);
    context.restore();
    for (const row of this.app.chosen) this.write(context, row, left, top, scale);
  }

  drawCell(context, row, scale, chosen) {
    const path = this.outlines?.[row] ?? this.circle(row);
    if (!path) return;
    const decided = LOOKS[this.app.verdict(row) || "undecided"];
    const look = this.app.byPreference ? { ...decided, ...this.app.tuning.look(row) } : decided;
    context.setLineDash(look.dash.map((each) => each / scale));
    if (chosen) { context.strokeStyle = "#000"; context.lineWidth = 5 / scale; context.setLineDash([]); context.stroke(path); }
    context.strokeStyle = chosen ? "#fff" : look.color;
    context.lineWidth = (chosen ? 2.5 : look.width) / scale;
    context.stroke(path);
  }

  circle(row) {
    const { x, y } = this.app.table;
    if (!(Number.isFinite(x[row]) && Number.isFinite(y[row]))) return null;
    const path = new Path2D();
    path.arc(x[row] + 0.5, y[row] + 0.5, this.radius(row), 0, 2 * Math.PI);
    return path;
  }

  radius(row) {
    const size = this.app.table.size[row];
    return Number.isFinite(size) ? Math.max(1, Math.sqrt(size / Math.PI)) : Math.max(2, Math.min(this.rows, this.columns) / 60);
  }

  write(context, row, left, top, scale) {
    const { x, y } = this.app.table;
    if (!Number.isFinite(x[row])) return;
    const at = [left + scale * (x[row] + 0.5), top + scale * (y[row] + 0.5)];
    context.font = "600 13px system-ui, sans-serif"; context.textAlign = "center"; context.textBaseline = "middle";
    context.lineWidth = 3; context.strokeStyle = "#000"; context.setLineDash([]);
    context.strokeText(this.app.about.cells[row], ...at);
    context.fillStyle = "#fff"; context.fillText(this.app.about.cells[row], ...at);
  }

  // The cell under a point of the screen; of overlapping ones the smallest, else one will never reach it.
  cellAt(event) {
    const box = this.canvas.getBoundingClientRect(), { scale, left, top } = this.place();
    const x = (event.clientX - box.left - left) / scale, y = (event.clientY - box.top - top) / scale;
    if (x < 0 || y < 0 || x >= this.columns || y >= this.rows) return null;
    const size = this.app.table.size;
    const there = this.owner.get(Math.floor(y) * this.columns + Math.floor(x));
    if (there) return there.reduce((a, b) => (size[b] < size[a] ? b : a));
    if (this.outlines) return null;
    const away = this.app.about.cells.map((_, row) => Math.hypot(this.app.table.x[row] + 0.5 - x, this.app.table.y[row] + 0.5 - y) / this.radius(row));
    const near = away.reduce((best, each, row) => (each < (away[best] ?? Infinity) ? row : best), -1);
    return near >= 0 && away[near] <= 1.3 ? near : null;
  }

  listen() {
    let from = null;
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = this.canvas.getBoundingClientRect(), before = this.place();
      const point = [event.clientX - box.left, event.clientY - box.top];
      const held = [(point[0] - before.left) / before.scale, (point[1] - before.top) / before.scale];
      this.zoom = Math.max(1, Math.min(30, this.zoom * Math.exp(-event.deltaY / 400)));
      const { scale } = this.place();
      this.middle = this.zoom === 1 ? [this.columns / 2, this.rows / 2] : [held[0] - (point[0] - box.width / 2) / scale, held[1] - (point[1] - box.height / 2) / scale];
      this.draw();
    }, { passive: false });
    this.canvas.addEventListener("pointerdown", (event) => { from = { x: event.clientX, y: event.clientY, middle: this.middle, moved: false }; this.canvas.setPointerCapture(event.pointerId); });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      const move = [event.clientX - from.x, event.clientY - from.y];
      from.moved ||= Math.hypot(...move) > 4;
      if (!from.moved || this.zoom === 1) return;
      const { scale } = this.place();
      this.middle = [from.middle[0] - move[0] / scale, from.middle[1] - move[1] / scale];
      this.draw();
    });
    this.canvas.addEventListener("pointerup", (event) => {
      const row = from && !from.moved ? this.cellAt(event) : null;
      from = null;
      if (row !== null) this.app.choose(row, event.shiftKey);
    });
  }
}
