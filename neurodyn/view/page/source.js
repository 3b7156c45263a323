"use strict";
// Where the page has its numbers from: the local server, or, in an exported page, itself.

// Numbers travel as base64 of little-endian values: browsers read these without parsing.
function numbers(text, Kind) {
  if (text === null || text === undefined) return null;
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let k = 0; k < raw.length; k++) bytes[k] = raw.charCodeAt(k);
  return Kind === Uint8Array ? bytes : new Kind(bytes.buffer);
}

function readWindow(told) {
  const traces = told.traces.map((one) => {
    const low = numbers(one.low, Float32Array);
    return { row: one.row, variable: one.variable, low, high: numbers(one.high, Float32Array) || low };
  });
  return { start: told.start, stop: told.stop, time: numbers(told.time, Float64Array), traces };
}

function readAverage(told) {
  const groups = told.groups.map((one) => ({ ...one, mean: numbers(one.mean, Float32Array), sem: numbers(one.sem, Float32Array) }));
  return { time: numbers(told.time, Float64Array), event: told.event, groups };
}

class Refused extends Error {}

class ServerSource {
  async ask(path, query = [], options = {}) {
    let answer;
    try {
      answer = await fetch(path + (query.length ? "?" + new URLSearchParams(query) : ""), options);
    } catch {
      throw new Refused("The server has stopped. Type neurodyn view again.");
    }
    if (answer.ok) return answer;
    const told = await answer.json().catch(() => ({ what: `The server answered ${answer.status}.`, found: "", fix: "" }));
    throw new Refused([told.what, told.found, told.fix].filter(Boolean).join(" "));
  }
  async about() { return (await this.ask("about")).json(); }
  async quality() { return (await this.ask("quality")).json(); }
  async picture(name, at, levels) {
    const query = [["name", name], ["at", at]];
    if (levels) query.push(["low", levels.low], ["high", levels.high]);
    const answer = await this.ask("picture", query);
    const told = answer.headers.get("X-Levels");
    return {
      shape: answer.headers.get("X-Shape").split(",").map(Number),
      frame: Number(answer.headers.get("X-Frame")),
      levels: told ? JSON.parse(told) : null,
      values: new Uint8Array(await answer.arrayBuffer()),
    };
  }
  async traces(cells, variables, start, stop, bins) {
    const query = [...cells.map((each) => ["cell", each]), ...variables.map((each) => ["variable", each])];
    return readWindow(await (await this.ask("traces", [...query, ["start", start], ["stop", stop], ["bins", bins]])).json());
  }
  async average(cell, variable, column) {
    return readAverage(await (await this.ask("average", [["cell", cell], ["variable", variable], ["column", column]])).json());
  }
  async act(action, cell, into) {
    const body = JSON.stringify({ action, cell, into });
    return (await this.ask("cells", [], { method: "POST", headers: { "Content-Type": "application/json" }, body })).json();
  }
}

// What the log of a curation amounts to; as neurodyn/view/curation.py replays it.
function replay(actions) {
  const stand = [];
  for (const each of actions) each.action === "undo" ? stand.pop() : stand.push(each);
  const verdict = {}, into = {};
  const root = (cell) => into[cell] ?? cell;
  for (const each of stand) {
    const cell = root(each.cell);
    if (each.action !== "merge") { verdict[cell] = each.action; continue; }
    const target = root(each.into);
    if (cell === target) continue;
    for (const one of [cell, ...Object.keys(into).filter((key) => into[key] === cell)]) into[one] = target;
    delete verdict[cell];
  }
  return { verdict, into, last: stand.at(-1) ?? null };
}

class PageSource {
  constructor(data) { this.data = data; this.actions = data.actions; this.changed = false; }
  async about() { return { ...this.data.about, curation: this.standing() }; }
  async quality() { return this.data.quality; }
  get averaged() { return Object.keys(this.data.averages); }
  standing() { return { ...replay(this.actions), path: null }; }
  async picture(name, at, levels) {
    const kept = this.data.pictures[name], { low, high, lowest, highest } = kept.levels;
    const shown = levels ?? { low, high };
    const table = Uint8Array.from({ length: 256 }, (_, k) => {
      const value = lowest + (k / 255) * (highest - lowest);
      return Math.max(0, Math.min(255, (255 * (value - shown.low)) / (shown.high - shown.low)));
    });
    return { shape: kept.shape, frame: -1, levels: levels ? null : [low, high, lowest, highest], values: numbers(kept.values, Uint8Array).map((k) => table[k]) };
  }
  // Traces were thinned once, for the whole recording; a stretch of them is what is here of it.
  async traces(cells, variables, start, stop) {
    this.time ??= numbers(this.data.traces.time, Float64Array);
    const time = this.time;
    let first = time.findIndex((t) => t >= start), last = time.findLastIndex((t) => t <= stop);
    first = Math.max(0, (first < 0 ? time.length : first) - 1);
    last = Math.min(time.length, last + 2);
    const traces = cells.flatMap((cell) => variables.map((variable) => {
      const row = this.data.about.cells.indexOf(cell), kept = this.data.traces.variables[variable][row];
      const read = (text) => text && this.spread(text, kept).subarray(first, last);
      const low = read(kept.low);
      return { row, variable, low, high: read(kept.high) || low };
    }));
    return { start, stop, time: time.subarray(first, last), traces };
  }
  spread(text, kept) {
    return Float32Array.from(numbers(text, Int16Array), (k) => (k === -32768 ? NaN : kept.offset + kept.scale * k));
  }
  async average(cell, variable, column) {
    const row = this.data.about.cells.indexOf(cell);
    return readAverage(this.data.averages[variable]?.[column]?.[row] ?? { time: "", event: 0, groups: [] });
  }
  async act(action, cell, into = "") {
    const last = replay(this.actions).last;
    if (action === "undo" && !last) throw new Refused("There is nothing to undo.");
    const time = new Date().toISOString().slice(0, 19) + "+00:00";
    this.actions.push({ action, cell: action === "undo" ? last.cell : cell, into, time, who: "", session: this.data.about.session });
    this.changed = true;
    return this.standing();
  }
  csv() {
    const names = ["action", "cell", "into", "time", "who", "session"];
    const quoted = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    return [names.join(","), ...this.actions.map((each) => names.map((name) => quoted(String(each[name] ?? ""))).join(","))].join("\n") + "\n";
  }
}
