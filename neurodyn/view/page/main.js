"use strict";
// What is chosen, when it is, and what stands; the panels draw it.

class App {
  constructor(source, about) {
    this.source = source; this.about = about; this.standing = about.curation;
    this.table = Object.fromEntries(Object.entries(about.table).map(([name, text]) => [name, numbers(text, Float32Array)]));
    this.tuning = about.tuning ? new Tuning(about.tuning) : null;
    if (this.tuning) Object.assign(this.table, this.tuning.table);
    this.byPreference = false;
    this.chosen = about.cells.length ? [0] : [];
    this.clock = about.start; this.outlined = true;
    this.column = about.stimulus?.columns[0]?.name ?? null;
    if (about.stimulus) {
      this.times = { start: numbers(about.stimulus.start, Float64Array), stop: numbers(about.stimulus.stop, Float64Array) };
      this.events = Object.fromEntries(about.stimulus.columns.map((one) => [one.name, numbers(one.event, Int32Array)]));
    }
  }

  begin() {
    const { about } = this, main = document.querySelector("main"), seconds = about.stop - about.start;
    document.title = `${about.session} · neurodyn view`;
    document.getElementById("session").textContent = about.session;
    const length = seconds < 120 ? `${seconds.toFixed(0)} s` : `${(seconds / 60).toFixed(1)} min`;
    const facts = [about.cells.length ? `${about.cells.length} cells` : "no cells", `${length} at ${Number(about.rate.toPrecision(4))} Hz`, ...(about.indicator === "unknown" ? [] : [about.indicator])];
    document.getElementById("facts").textContent = facts.join(" · ");
    const flat = !about.shape[0] || !about.shape[1], averaged = this.tuning || (about.stimulus?.columns.length && about.variables.length);
    main.classList.toggle("without-plane", flat);
    main.classList.toggle("without-cells", !about.cells.length);
    main.classList.toggle("without-averages", !averaged);
    main.classList.toggle("with-tuning", Boolean(this.tuning));
    document.getElementById("preference-label").hidden = !this.tuning;
    this.plane = new Plane(document.getElementById("plane"), this);
    this.movie = new Movie(this, this.plane);
    this.traces = new TracePanel(document.getElementById("traces"), this);
    this.list = new CellList(this);
    this.averages = averaged ? new Averages(document.getElementById("averages"), this) : null;
    this.listen();
    this.list.draw();
    this.tellSaved();
    this.showClock();
    this.choose(this.chosen[0]);
    if (!flat) this.movie.refresh();
    this.fillQuality();
  }

  async fillQuality() {
    const found = await this.source.quality().catch((error) => this.complain(error));
    if (!found) return;
    for (const name of ["snr", "skew"]) this.table[name] = numbers(found[name], Float32Array);
    this.list.draw();
  }

  // A merged cell has the verdict of the one that it went into.
  verdict(row) {
    const cell = this.about.cells[row];
    return this.standing.verdict[this.standing.into[cell] ?? cell];
  }

  choose(row, more = false) {
    if (row === undefined || row < 0) { this.traces.refresh(); return; }
    if (!more) this.chosen = [row];
    else if (this.chosen.includes(row) && this.chosen.length > 1) this.chosen = this.chosen.filter((each) => each !== row);
    else this.chosen = [...this.chosen.filter((each) => each !== row), row].slice(-6);
    const names = this.chosen.map((each) => this.about.cells[each]);
    document.getElementById("trace-title").textContent = `Cell${names.length > 1 ? "s" : ""} ${names.join(", ")}`;
    document.getElementById("average-title").textContent = `Cell ${names.at(-1)}`;
    this.list.highlight();
    this.plane.draw();
    this.averages?.refresh();
    this.traces.refresh().then(() => this.readAhead());
  }

  // The next cell of the list is read before it is asked for: arrows then show it at once.
  readAhead() {
    const next = this.list.rows[this.list.rows.indexOf(this.chosen.at(-1)) + 1];
    if (next === undefined || this.reading) return;
    this.reading = true;
    const { start, stop } = this.about;
    this.source.traces([this.about.cells[next]], [...this.traces.shown], start, stop, 1).catch(() => {}).finally(() => { this.reading = false; });
  }

  setClock(time, playing = false) {
    this.clock = Math.max(this.about.start, Math.min(this.about.stop, time));
    if (this.movie.moves) this.movie.refresh();
    this.showClock();
    playing ? this.traces.follow() : this.traces.draw();
  }

  showClock() {
    const slider = document.getElementById("clock");
    slider.min = this.about.start; slider.max = this.about.stop; slider.value = this.clock;
    const frame = this.movie?.moves && this.movie.frame >= 0 ? ` · frame ${this.movie.frame}` : "";
    document.getElementById("now").textContent = `${this.clock.toFixed(2)} s${frame}`;
  }

  setColumn(name) { this.column = name; this.traces.legend(); this.traces.draw(); }

  // Returns what was done, or null where it was refused; nothing is shown as done before it is written.
  async act(action, cell, into = "") {
    const undone = this.standing.last?.cell;
    try {
      this.standing = await this.source.act(action, cell, into);
    } catch (error) { this.complain(error); return null; }
    this.list.update();
    this.plane.draw();
    this.tellSaved({ keep: `Kept ${cell}.`, drop: `Dropped ${cell}.`, merge: `Merged ${cell} into ${into}.`, undo: "Undone." }[action]);
    return { undone };
  }

  tellSaved(what = "") {
    if (!this.about.cells.length) { this.say("Find cells in the movie: neurodyn extract"); return; }
    const { path } = this.standing;
    this.say(`${what} ${path ? `Verdicts are saved in ${path}` : "Download cells.csv before you close this page"}`.trim());
  }

  // What is said goes when it is over, and where verdicts are written is said again.
  say(text, bad = false) {
    if (!text) { this.tellSaved(); return; }
    const place = document.getElementById("saved");
    place.textContent = text; place.classList.toggle("bad", bad);
  }

  complain(error) {
    if (!(error instanceof Refused)) console.error(error);
    this.say(error.message, true);
  }

  listen() {
    document.addEventListener("keydown", (event) => this.key(event));
    document.getElementById("clock").addEventListener("input", (event) => this.setClock(Number(event.target.value)));
    document.getElementById("outlines").addEventListener("change", (event) => { this.outlined = event.target.checked; this.plane.draw(); });
    document.getElementById("preference").addEventListener("change", (event) => { this.byPreference = event.target.checked; this.plane.draw(); });
    // A slider or select that keeps the focus would take the keys that follow.
    for (const input of document.querySelectorAll("input, select")) input.addEventListener("change", () => input.blur());
    const redraw = () => { this.plane.draw(); this.averages?.draw(); this.traces.draw(); };
    new ResizeObserver(redraw).observe(document.querySelector("main"));
    if (!(this.source instanceof PageSource)) return;
    document.getElementById("download-line").hidden = false;
    for (const name of ["player", "play-hint"]) document.getElementById(name).hidden = true;
    document.getElementById("download").addEventListener("click", () => this.download());
    window.addEventListener("beforeunload", (event) => { if (this.source.changed) event.preventDefault(); });
  }

  download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([this.source.csv()], { type: "text/csv" }));
    link.download = "cells.csv";
    link.click();
    this.source.changed = false;
  }

  // Keys typed faster than verdicts are written wait for each other: the second k is on the next cell.
  inTurn(task) { this.turn = (this.turn ?? Promise.resolve()).then(task).catch((error) => this.complain(error)); }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches?.("select")) return;
    const tasks = {
      ArrowDown: () => this.list.step(1), ArrowRight: () => this.list.step(1),
      ArrowUp: () => this.list.step(-1), ArrowLeft: () => this.list.step(-1),
      k: () => this.list.act("k"), d: () => this.list.act("d"), m: () => this.list.act("m"), u: () => this.list.act("u"),
      " ": () => this.movie.toggle(), "+": () => this.traces.zoom(0.5), "-": () => this.traces.zoom(2),
      0: () => this.traces.show(this.about.start, this.about.stop), Escape: () => this.list.forget(),
    };
    const task = tasks[event.key];
    if (!task) return;
    event.preventDefault();
    if (document.activeElement?.matches("button")) document.activeElement.blur();
    this.inTurn(task);
  }
}

(async () => {
  const embedded = document.getElementById("data");
  const source = embedded ? new PageSource(JSON.parse(embedded.textContent)) : new ServerSource();
  try {
    window.app = new App(source, await source.about());
    window.app.begin();
  } catch (error) {
    const place = document.getElementById("saved");
    place.textContent = error.message; place.classList.add("bad");
    console.error(error);
  }
})();
