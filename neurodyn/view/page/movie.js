"use strict";
// The picture on the plane, its contrast, and the clock that plays a movie.

// Runs a task again until nobody asked for it while it ran: what is asked for meanwhile is asked for once.
class Latest {
  constructor(task) { this.task = task; this.busy = false; this.again = false; }
  async run() {
    if (this.busy) { this.again = true; return; }
    this.busy = true;
    try {
      do { this.again = false; await this.task(); } while (this.again);
    } finally { this.busy = false; }
  }
}

const WORDS = { frame: "movie", mean: "mean", maximum: "maximum", correlation: "correlation" };

class Movie {
  constructor(app, plane) {
    this.app = app; this.plane = plane; this.levels = {}; this.playing = false;
    this.select = document.getElementById("picture");
    this.inputs = { low: document.getElementById("low"), high: document.getElementById("high") };
    this.latest = new Latest(() => this.fetch());
    this.fill();
    this.select.addEventListener("change", () => this.refresh());
    document.getElementById("auto").addEventListener("click", () => { delete this.levels[this.select.value]; this.refresh(); });
    for (const input of Object.values(this.inputs)) input.addEventListener("input", () => this.adjust());
    document.getElementById("play").addEventListener("click", () => this.toggle());
  }

  fill() {
    const many = this.app.about.pictures.filter((one) => one.kind === "frame").length > 1;
    for (const one of this.app.about.pictures) {
      const words = one.kind === "qc" ? one.of.replaceAll("_", " ") : (many ? `${one.of}: ` : "") + (WORDS[one.kind] ?? one.kind);
      const few = one.sampled && one.sampled < this.app.about.frames ? ` of ${one.sampled} frames` : "";
      this.select.add(new Option(words + few, one.name));
    }
  }

  get shown() { return this.app.about.pictures.find((one) => one.name === this.select.value); }
  get moves() { return this.shown?.kind === "frame"; }

  refresh() { return this.latest.run().catch((error) => this.app.complain(error)); }

  async fetch() {
    const name = this.select.value;
    if (!name) { this.plane.draw(); return; }
    if (this.shown.kind !== "frame" && this.shown.kind !== "qc" && !this.levels[name]) this.app.say(`Reading ${this.shown.sampled} frames…`);
    const found = await this.app.source.picture(name, this.app.clock, this.levels[name]);
    if (found.levels) {
      const [low, high, lowest, highest] = found.levels;
      this.levels[name] = { low, high, lowest, highest };
      this.app.say("");
    }
    if (name !== this.select.value) return; // another one was chosen meanwhile, and is asked for next
    this.frame = found.frame;
    this.setSliders();
    this.plane.show(found);
    this.app.showClock();
  }

  // Sliders run from the lowest to the highest value; most pixels are dark, hence the square.
  setSliders() {
    const { low, high, lowest, highest } = this.levels[this.select.value];
    const place = (value) => 1000 * Math.sqrt(Math.max(0, (value - lowest) / (highest - lowest)));
    this.inputs.low.value = place(low); this.inputs.high.value = place(high);
    this.inputs.low.title = `${low.toPrecision(4)}`; this.inputs.high.title = `${high.toPrecision(4)}`;
  }

  adjust() {
    const levels = this.levels[this.select.value];
    if (!levels) return;
    const value = (input) => levels.lowest + (input.value / 1000) ** 2 * (levels.highest - levels.lowest);
    levels.low = value(this.inputs.low);
    levels.high = Math.max(value(this.inputs.high), levels.low + 1e-6 * (levels.highest - levels.lowest));
    this.refresh();
  }

  toggle() {
    this.playing = !this.playing;
    const button = document.getElementById("play");
    button.textContent = this.playing ? "⏸" : "▶";
    button.setAttribute("aria-label", this.playing ? "Pause" : "Play");
    if (!this.playing) return;
    if (this.app.clock >= this.app.about.stop) this.app.setClock(this.app.about.start);
    let before = performance.now();
    const step = (now) => {
      if (!this.playing) return;
      const next = this.app.clock + ((now - before) / 1000) * Number(document.getElementById("speed").value);
      before = now;
      this.app.setClock(Math.min(next, this.app.about.stop), true);
      if (next >= this.app.about.stop) this.toggle();
      else requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }
}
