"use strict";
// Tables that sort and filter, plots whose points are cases. Numbers come from the tables of the
// run as they are; nothing is computed here but places on the screen and differences of two values.

const DATA = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function numberIn(text) {
  const found = text.replace(/−/g, "-").replace(/,(?=\d{3})/g, "").match(/[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?/i);
  if (/^\s*(∞|inf)/.test(text)) return Infinity;
  return found && found.index < 3 ? parseFloat(found[0]) : NaN;
}

function written(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  return value.toFixed(digits).replace("-", "−");
}

// Tables ---------------------------------------------------------------------------------------

function makeSortable(table) {
  for (const [place, head] of [...table.tHead.rows[0].cells].entries()) {
    const button = element("button", { type: "button", title: "sort by this column" });
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const body = table.tBodies[0];
      const keyed = [...body.rows].map((row) => {
        const text = row.cells[place].innerText.trim();
        return { row, text, value: numberIn(text) };
      });
      // Missing values come last, whatever the direction.
      const numeric = keyed.some((one) => !Number.isNaN(one.value)) && place > 0;
      keyed.sort((one, other) => {
        if (!numeric) return (rising ? 1 : -1) * one.text.localeCompare(other.text, "en", { numeric: true });
        if (Number.isNaN(one.value) || Number.isNaN(other.value))
          return Number.isNaN(one.value) - Number.isNaN(other.value);
        if (one.value === other.value) return 0;
        return (rising ? 1 : -1) * (one.value < other.value ? -1 : 1);
      });
      body.append(...keyed.map((one) => one.row));
    });
  }
}

function makeFilterable(table, input) {
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
}

for (const table of document.querySelectorAll("table.sorts")) {
  makeSortable(table);
  if (table.tBodies[0].rows.length > 5) {
    const input = element("input", { type: "search", placeholder: "show rows with ...", "aria-label": "filter rows" });
    table.parentElement.before(element("div", { class: "controls" }, input));
    makeFilterable(table, input);
  }
}

// What is pointed at ---------------------------------------------------------------------------

const tip = element("div", { class: "tip", role: "status", hidden: "" });
document.body.append(tip);
document.addEventListener("pointerover", (event) => {
  const point = event.target.closest && event.target.closest("[data-tip]");
  tip.hidden = !point;
  if (!point) return;
  tip.textContent = point.dataset.tip;
  const right = event.clientX > innerWidth / 2;
  tip.style.left = right ? "" : `${event.clientX + 12}px`;
  tip.style.right = right ? `${innerWidth - event.clientX + 12}px` : "";
  tip.style.top = `${event.clientY + 12}px`;
});
document.addEventListener("click", (event) => {
  const opener = event.target.closest && event.target.closest("[data-case]");
  if (opener) openViewer(opener.dataset.case, opener.dataset.predictor);
});

// Plots ----------------------------------------------------------------------------------------

function ticks(low, high, count = 6) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) found.push(value);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function scatter(index) { // where a point lies across its row: the same at every drawing
  return ((index * 0.61803398875) % 1) - 0.5;
}

class DataSetView {
  constructor(root) {
    this.root = root;
    this.data = DATA.datasets[root.dataset.name];
    this.root.querySelectorAll("[data-part]").forEach((part) => this[part.dataset.part](part));
  }

  select(label, options, chosen) {
    const made = element("select", {}, ...options.map(([value, text]) => element("option", { value }, text)));
    if (chosen !== undefined) made.value = chosen;
    return { made, labelled: element("label", {}, label, made) };
  }

  choosers(names, change) {
    const data = this.data;
    const kinds = {
      split: ["cases", Object.keys(data.splits).map((key) => [key, DATA.splits[key]])],
      metric: ["metric", data.metrics.map((one) => [one.key, one.title])],
      label: ["label", data.labels.map((name) => [name, name])],
      stage: ["stage", data.stages.map((key) => [key, DATA.stages[key]])],
      predictor: ["predictor", data.predictors.map((one) => [one.key, one.title])],
      other: ["minus", data.predictors.map((one) => [one.key, one.title])],
    };
    const state = {}, made = [];
    for (const name of names) {
      const { made: select, labelled } = this.select(kinds[name][0], kinds[name][1], data.first[name]);
      state[name] = select.value;
      if (kinds[name][1].length < 2 || (name === "label" && data.oneLabel)) continue;
      select.addEventListener("change", () => { state[name] = select.value; change(); });
      made.push(labelled);
    }
    return { state, controls: element("div", { class: "controls" }, ...made) };
  }

  values(state, predictor = state.predictor) {
    const found = this.data.splits[state.split].values[predictor];
    const column = found && found[state.stage][state.label][state.metric];
    return column ? column.map((value) => (value === "inf" ? Infinity : value === "-inf" ? -Infinity : value)) : [];
  }

  metric(key) {
    return this.data.metrics.find((one) => one.key === key);
  }

  open(point, split, place, predictor) {
    const name = this.data.splits[split].cases[place];
    point.dataset.case = `${this.data.name}/${name}`;
    point.dataset.predictor = predictor;
  }

  boxes(part) {
    const holder = element("div");
    const draw = () => holder.replaceChildren(this.drawBoxes(state));
    const { state, controls } = this.choosers(["split", "metric", "label", "stage"], draw);
    part.append(controls, holder);
    draw();
  }

  drawBoxes(state) {
    const predictors = this.data.predictors.filter((one) => this.values(state, one.key).length);
    const metric = this.metric(state.metric);
    const left = 210, width = 940, row = 54, top = 8, right = 46;
    const all = predictors.flatMap((one) => this.values(state, one.key)).filter((v) => v !== null && Number.isFinite(v));
    let low = metric.share ? 0 : Math.min(0, ...all), high = metric.share ? 1 : Math.max(...all, low + 1e-6);
    const pad = (high - low) * 0.02;
    const x = (value) => left + ((value - low + pad) / (high - low + 2 * pad)) * (width - left - right);
    const height = top + row * predictors.length + 40;
    const svg = shape("svg", { class: "chart boxes", viewBox: `0 0 ${width} ${height}`, role: "img" });
    svg.append(shape("title", {}, `${metric.title} of every case by predictor`));
    const marks = ticks(low, high);
    for (const value of marks.found) {
      svg.append(shape("line", { class: "axis", x1: x(value), x2: x(value), y1: top, y2: height - 34 }));
      svg.append(shape("text", { x: x(value), y: height - 20, "text-anchor": "middle" }, written(value, marks.digits)));
    }
    svg.append(shape("text", { x: (left + width - right) / 2, y: height - 3, "text-anchor": "middle" }, metric.heading));
    predictors.forEach((one, place) => {
      const middle = top + row * (place + 0.5);
      wrapped(svg, one.title, left - 10, middle);
      const values = this.values(state, one.key);
      values.forEach((value, index) => {
        if (value === null) return;
        const finite = Number.isFinite(value);
        const point = shape("circle", {
          class: "point", r: 3.2, cy: middle + scatter(index) * row * 0.6,
          cx: finite ? x(value) : width - right + 24, fill: one.colour,
        });
        point.dataset.tip = `${this.data.splits[state.split].cases[index]}: ${written(value, metric.digits)}`;
        this.open(point, state.split, index, one.key);
        svg.append(point);
      });
      if (values.some((value) => value === Infinity))
        svg.append(shape("text", { x: width - right + 24, y: height - 20, "text-anchor": "middle" }, "∞"));
      const box = this.data.boxes[[one.key, state.split, state.stage, state.label, state.metric].join("|")];
      if (!box) return;
      const clip = (value) => x(Math.min(high, Math.max(low, value === "inf" ? high : value)));
      const [least, q1, median, q3, most] = box.map(clip);
      const line = { stroke: "currentColor", "stroke-width": 1.6, "pointer-events": "none" };
      const half = row * 0.3;
      svg.append(shape("line", { ...line, x1: least, x2: q1, y1: middle, y2: middle }));
      svg.append(shape("line", { ...line, x1: q3, x2: most, y1: middle, y2: middle }));
      svg.append(shape("rect", { ...line, fill: "none", x: q1, y: middle - half, width: Math.max(0, q3 - q1), height: 2 * half }));
      svg.append(shape("line", { ...line, "stroke-width": 3.5, x1: median, x2: median, y1: middle - half, y2: middle + half }));
    });
    return svg;
  }

  pairs(part) {
    if (this.data.predictors.length < 2) { part.remove(); return; }
    const holder = element("div");
    const draw = () => holder.replaceChildren(...this.drawPairs(state));
    const { state, controls } = this.choosers(["predictor", "other", "split", "metric", "label", "stage"], draw);
    part.append(controls, holder);
    draw();
  }

  drawPairs(state) {
    const metric = this.metric(state.metric);
    const ours = this.values(state), theirs = this.values(state, state.other);
    if (state.predictor === state.other) return [element("p", {}, "Choose two different predictors.")];
    const found = ours.map((value, index) => ({ index, value, other: theirs[index] }))
      .filter((one) => one.value !== null && one.other !== null && one.other !== undefined)
      .map((one) => ({ ...one, difference: one.value === one.other ? 0 : one.value - one.other }))
      .sort((one, other) => one.difference - other.difference || one.index - other.index);
    if (!found.length) return [element("p", {}, "No case has a value of both.")];
    const width = 940, height = 260, left = 70, bottom = 24;
    const finite = found.map((one) => one.difference).filter(Number.isFinite);
    const most = Math.max(...finite.map(Math.abs), 1e-6) * 1.05;
    const y = (value) => 8 + ((most - Math.max(-most, Math.min(most, value))) / (2 * most)) * (height - bottom - 8);
    const x = (place) => left + ((place + 0.5) / found.length) * (width - left - 10);
    const svg = shape("svg", { class: "chart pairs", viewBox: `0 0 ${width} ${height}`, role: "img" });
    svg.append(shape("title", {}, "difference of each case, sorted"));
    const marks = ticks(-most, most, 5);
    for (const value of marks.found) {
      svg.append(shape("line", { class: Math.abs(value) < 1e-9 ? "zero" : "axis", x1: left, x2: width - 10, y1: y(value), y2: y(value) }));
      svg.append(shape("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, written(value, marks.digits)));
    }
    const test = this.data.comparisons[[state.split, state.stage, state.metric, state.label, state.predictor, state.other].join("|")];
    if (test && test.low !== null && test.low !== undefined) {
      svg.append(shape("rect", { x: left, width: width - left - 10, y: y(test.high), height: Math.max(1.5, y(test.low) - y(test.high)),
        fill: "var(--accent)", "fill-opacity": 0.22 }));
      svg.append(shape("line", { x1: left, x2: width - 10, y1: y(test.middle), y2: y(test.middle), stroke: "var(--accent)", "stroke-width": 2 }));
    }
    const colour = (key) => this.data.predictors.find((one) => one.key === key).colour;
    found.forEach((one, place) => {
      const point = shape("circle", { class: "point", cx: x(place), cy: y(one.difference), r: found.length > 150 ? 3 : 4.5,
        fill: one.difference === 0 ? "var(--soft)" : colour((metric.better === "higher") === one.difference > 0 ? state.predictor : state.other) });
      point.dataset.tip = `${this.data.splits[state.split].cases[one.index]}: ${written(one.value, metric.digits)} against `
        + `${written(one.other, metric.digits)}`;
      this.open(point, state.split, one.index, state.predictor);
      svg.append(point);
    });
    svg.append(shape("text", { x: width / 2, y: height - 4, "text-anchor": "middle" }, "cases, sorted; coloured by who is better"));
    const said = test ? test.text : "These two are not tested against each other.";
    return [svg, element("p", { class: "soft" }, said)];
  }

  cases(part) {
    const holder = element("div", { class: "wide tall" });
    const input = element("input", { type: "search", placeholder: "show rows with ...", "aria-label": "filter cases" });
    const draw = () => {
      const table = this.drawCases(state);
      holder.replaceChildren(table);
      makeSortable(table);
      makeFilterable(table, input);
      input.dispatchEvent(new Event("input"));
    };
    const { state, controls } = this.choosers(["split", "predictor", "stage", "label"], draw);
    controls.append(element("label", {}, "filter", input));
    part.append(controls, holder);
    draw();
  }

  drawCases(state) {
    const split = this.data.splits[state.split];
    const metrics = this.data.metrics.filter((one) => this.values({ ...state, metric: one.key }).some((value) => value !== null));
    const columns = metrics.map((one) => this.values({ ...state, metric: one.key }));
    const extra = split.classes ? ["class"] : [];
    const heads = ["case", "fold", ...extra, ...metrics.map((one) => one.heading)];
    const head = element("tr", {}, ...heads.map((name) => element("th", { scope: "col" }, name)));
    const rows = split.cases.map((name, index) => element("tr", {},
      element("td", {}, element("button", { class: "case", type: "button", "data-case": `${this.data.name}/${name}`,
        "data-predictor": state.predictor }, name)),
      element("td", {}, split.folds[index]),
      ...extra.map(() => element("td", {}, split.classes[index] || "–")),
      ...columns.map((column, place) => element("td", {}, written(column[index], metrics[place].digits)))));
    return element("table", { class: "cases" }, element("thead", {}, head), element("tbody", {}, ...rows));
  }
}

function wrapped(svg, text, right, middle) {
  const lines = [];
  for (const word of text.split(" ")) {
    if (lines.length && (lines[lines.length - 1] + " " + word).length < 30) lines[lines.length - 1] += " " + word;
    else lines.push(word);
  }
  lines.slice(0, 3).forEach((line, place) => {
    const y = middle + 4 + (place - (Math.min(3, lines.length) - 1) / 2) * 14;
    svg.append(shape("text", { x: right, y, "text-anchor": "end" }, place === 2 && lines.length > 3 ? line + " ..." : line));
  });
}

// Parts of the page ----------------------------------------------------------------------------

for (const root of document.querySelectorAll("article[data-name]")) new DataSetView(root);
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch { // a page of a file may not write there: let the reader do it
      getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
    }
    button.textContent = "copied, or selected";
  });
}
addEventListener("hashchange", openFromAddress);
openFromAddress();
