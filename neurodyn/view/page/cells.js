"use strict";
// The list of cells, and their curation.

const HEADS = [["cell", "Cell"], ["snr", "SNR"], ["skew", "Skew"], ["size", "Size"], ["verdict", "Verdict"]];
const TUNED = [["preferred", "Prefers"], ["q", "q tuned"]];
const DIGITS = { snr: 2, skew: 2, size: 0, q: 3 };
const TITLES = {
  cell: "Id; without ids the row, counted from 0",
  snr: "1 - half the variance of changes from frame to frame / variance: 0 for white noise, 1 for a slow signal",
  skew: "Skewness of the trace: high where there are rare, large events",
  size: "Pixels of the mask",
  preferred: "Condition with the largest mean response",
  q: "Whether it is tuned: probability under null labels, corrected over cells (false discovery rate)",
  verdict: "What you decided",
};
const SIGNS = { keep: "✓ kept", drop: "✕ dropped" };

class CellList {
  constructor(app) {
    this.app = app; this.by = "cell"; this.down = false; this.marked = null;
    this.body = document.getElementById("rows");
    this.heads = app.tuning ? [...HEADS.slice(0, -1), ...TUNED, HEADS.at(-1)] : HEADS;
    for (const [name, title] of this.heads) {
      const head = document.createElement("th"), button = document.createElement("button");
      button.textContent = title; button.title = TITLES[name]; button.dataset.by = name;
      button.addEventListener("click", () => this.sort(name));
      head.append(button);
      document.getElementById("heads").append(head);
    }
    document.getElementById("filter").addEventListener("change", () => this.draw());
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (row) app.choose(Number(row.dataset.row), event.shiftKey);
    });
    for (const button of document.querySelectorAll("[data-key]")) button.addEventListener("click", () => app.inTurn(() => this.act(button.dataset.key)));
  }

  // The first click on a head puts the best first; ids and verdicts go up.
  sort(name) {
    this.down = this.by === name ? !this.down : !["cell", "verdict", "preferred", "q"].includes(name);
    this.by = name;
    this.draw();
  }

  value(row) {
    if (this.by === "cell") return row;
    if (this.by === "verdict") return ["", "keep", "drop"].indexOf(this.app.verdict(row) || "");
    return this.app.table[this.by][row];
  }

  // Cells in the order of the list; those without a value come last, whichever way it is sorted.
  order() {
    const wanted = document.getElementById("filter").value;
    const rows = [...this.app.about.cells.keys()].filter((row) => !wanted || (this.app.verdict(row) || "undecided") === wanted);
    const sign = this.down ? -1 : 1;
    return rows.sort((a, b) => {
      const [x, y] = [this.value(a), this.value(b)];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a - b;
      return sign * (x - y) || a - b;
    });
  }

  draw() {
    this.rows = this.order();
    for (const button of document.querySelectorAll("[data-by]")) {
      const title = this.heads.find(([name]) => name === button.dataset.by)[1];
      button.textContent = button.dataset.by === this.by ? `${title} ${this.down ? "↓" : "↑"}` : title;
    }
    this.lines = new Map(this.rows.map((row) => [row, this.line(row)]));
    this.body.replaceChildren(...this.lines.values());
    this.highlight();
    this.count();
  }

  // After an action only verdicts change, and with them the order where it goes by them.
  update() {
    if (this.by === "verdict" || document.getElementById("filter").value) { this.draw(); return; }
    for (const [row, line] of this.lines) this.mark(line, row);
    this.count();
  }

  mark(line, row) {
    const verdict = this.app.verdict(row) || "", sign = this.sign(row);
    line.classList.toggle("keep", verdict === "keep"); line.classList.toggle("drop", verdict === "drop");
    if (line.lastChild.textContent !== sign) { line.lastChild.textContent = sign; line.lastChild.title = sign; }
  }

  line(row) {
    const line = document.createElement("tr");
    line.dataset.row = row;
    for (const [name] of this.heads) {
      const text = this.text(name, row);
      const cell = document.createElement("td");
      cell.textContent = text; cell.title = text;
      line.append(cell);
    }
    this.mark(line, row);
    return line;
  }

  text(name, row) {
    const { table, about } = this.app;
    if (name === "cell") return about.cells[row];
    if (name === "verdict") return "";
    if (!Number.isFinite(table[name][row])) return "–";
    return name === "preferred" ? about.tuning.labels[table.preferred[row]] : table[name][row].toFixed(DIGITS[name]);
  }

  sign(row) {
    const into = this.app.standing.into[this.app.about.cells[row]];
    const said = SIGNS[this.app.verdict(row)] ?? "";
    if (this.marked === row) return "● marked";
    if (into !== undefined) return `${said} in ${into}`.trim();
    const others = Object.keys(this.app.standing.into).filter((cell) => this.app.standing.into[cell] === this.app.about.cells[row]);
    return others.length ? `${said} with ${others.join(", ")}`.trim() : said;
  }

  count() {
    const { cells } = this.app.about, { into } = this.app.standing;
    const own = [...cells.keys()].filter((row) => !(cells[row] in into));
    const kept = own.filter((row) => this.app.verdict(row) === "keep").length, dropped = own.filter((row) => this.app.verdict(row) === "drop").length;
    document.getElementById("progress").textContent = `${kept} kept · ${dropped} dropped · ${own.length - kept - dropped} to go`;
  }

  highlight() {
    for (const line of this.body.querySelectorAll(".chosen")) line.classList.remove("chosen");
    for (const row of this.app.chosen) this.lines.get(row)?.classList.add("chosen");
    const last = this.lines.get(this.app.chosen.at(-1));
    if (!last) return;
    const box = document.getElementById("scroll"), head = 30; // not scrollIntoView, which also moves a notebook around the page
    if (last.offsetTop < box.scrollTop + head) box.scrollTop = last.offsetTop - head;
    if (last.offsetTop + last.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = last.offsetTop + last.offsetHeight - box.clientHeight;
  }

  step(by) {
    if (!this.rows.length) return;
    const at = this.rows.indexOf(this.app.chosen.at(-1));
    const next = at < 0 ? 0 : Math.max(0, Math.min(this.rows.length - 1, at + by));
    this.app.choose(this.rows[next]);
  }

  async act(key) {
    const row = this.app.chosen.at(-1), cell = this.app.about.cells[row];
    if (key !== "u" && row === undefined) return;
    const next = this.rows[this.rows.indexOf(row) + 1];
    if (key === "m") { await this.merge(row, cell); return; }
    const done = await this.app.act({ k: "keep", d: "drop", u: "undo" }[key], key === "u" ? "" : cell);
    if (!done) return;
    if (key === "u") this.app.choose(this.app.about.cells.indexOf(done.undone));
    else if (next !== undefined && this.app.chosen.at(-1) === row) this.app.choose(next); // unless another was clicked meanwhile
  }

  // The first m marks a cell; the second, on another, says that it is the same one.
  async merge(row, cell) {
    if (this.marked === null || this.marked === row) {
      this.marked = this.marked === row ? null : row;
      this.app.say(this.marked === null ? "" : `Cell ${cell} is marked. Choose the cell that is the same one, and press m. Esc forgets it.`);
      this.update();
      return;
    }
    const into = this.app.about.cells[this.marked];
    this.marked = null;
    await this.app.act("merge", cell, into);
  }

  forget() { this.marked = null; this.app.say(""); this.update(); }
}
