"use strict";
// Cases slice by slice. A case comes as a script: inside the page, or beside it, for a page that is
// opened as a file may fetch nothing.

const KEPT_CASES = 4;
const decodedCases = new Map(); // DATASET/CASE -> promise of its voxels
const waitingCases = new Map(); // DATASET/CASE -> what to do when its script has come

function segflowCase(name, content) {
  const waiting = waitingCases.get(name);
  waitingCases.delete(name);
  if (waiting) waiting.resolve(content);
}

function loadCase(name) {
  if (decodedCases.has(name)) return decodedCases.get(name);
  const promise = new Promise((resolve, reject) => {
    waitingCases.set(name, { resolve, reject });
    const inside = document.getElementById(`case:${name}`);
    const script = document.createElement("script");
    if (inside) script.textContent = inside.textContent;
    else {
      script.src = DATA.scripts[name];
      script.onerror = () => reject(new Error(`${DATA.scripts[name]} is not beside this page`));
    }
    document.head.append(script);
  }).then(decodeCase);
  promise.catch(() => decodedCases.delete(name));
  decodedCases.set(name, promise);
  while (decodedCases.size > KEPT_CASES) decodedCases.delete(decodedCases.keys().next().value);
  return promise;
}

async function decodeCase(content) {
  const images = {};
  for (const [name, address] of Object.entries(content.images)) images[name] = await decodeImage(address, content.shape);
  return { ...content, images, decoded: {} };
}

async function decodeImage(address, [depth, height, width]) {
  const picture = new Image();
  picture.src = address;
  await picture.decode();
  const columns = Math.ceil(Math.sqrt(depth));
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const voxels = new Uint8Array(depth * height * width);
  for (let z = 0; z < depth; z++) {
    context.drawImage(picture, (z % columns) * width, Math.floor(z / columns) * height, width, height, 0, 0, width, height);
    const pixels = context.getImageData(0, 0, width, height).data;
    for (let i = 0, at = z * height * width; i < height * width; i++) voxels[at + i] = pixels[4 * i];
  }
  return voxels;
}

async function decodeMap(content, name) {
  while (content.maps[name].startsWith("=")) name = content.maps[name].slice(1);
  if (!content.decoded[name]) {
    const bytes = Uint8Array.from(atob(content.maps[name]), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    content.decoded[name] = new Uint8Array(await new Response(stream).arrayBuffer());
  }
  return content.decoded[name];
}

// The planes: which axis a slice is across, and which axes are drawn to the right and downwards.
// Axes are 0 (z, upwards), 1 (y, backwards), 2 (x, to the left of the body).
const PLANES = [
  { name: "axial", across: 0, right: 2, down: 1, upside: false, ends: ["R", "L", "A", "P"] },
  { name: "coronal", across: 1, right: 2, down: 0, upside: true, ends: ["R", "L", "S", "I"] },
  { name: "sagittal", across: 2, right: 1, down: 0, upside: true, ends: ["A", "P", "S", "I"] },
];

class Pane {
  constructor(viewer, plane) {
    this.viewer = viewer;
    this.plane = plane;
    this.zoom = 1;
    this.shift = [0, 0];
    this.canvas = element("canvas", { tabindex: "0", "aria-label": `${plane.name} slices; arrow keys go through them` });
    this.slider = element("input", { type: "range", min: "0", "aria-label": `${plane.name} slice` });
    this.text = element("span", { class: "soft" });
    this.root = element("div", { class: "pane" }, element("div", { class: "hold" }, this.canvas), this.slider, this.text);
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.ctrlKey || this.viewer.flat) this.magnify(event.deltaY < 0 ? 1.2 : 1 / 1.2, event);
      else this.go(this.at + Math.sign(event.deltaY));
    }, { passive: false });
    this.canvas.addEventListener("keydown", (event) => {
      const steps = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 };
      if (event.key in steps) this.go(this.at + steps[event.key]);
      else if (event.key === "+" || event.key === "=") this.magnify(1.25);
      else if (event.key === "-") this.magnify(0.8);
      else if (event.key === "0") { this.zoom = 1; this.shift = [0, 0]; this.draw(); }
      else return;
      event.preventDefault();
    });
    let from = null;
    this.canvas.addEventListener("pointerdown", (event) => {
      from = [event.clientX, event.clientY, ...this.shift, false];
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      const [dx, dy] = [event.clientX - from[0], event.clientY - from[1]];
      if (Math.hypot(dx, dy) > 4) from[4] = true;
      if (from[4]) { this.shift = [from[2] + dx, from[3] + dy]; this.draw(); }
    });
    this.canvas.addEventListener("pointerup", (event) => {
      if (from && !from[4]) this.point(event);
      from = null;
    });
  }

  get at() { return this.viewer.place[this.plane.across]; }

  go(slice) {
    const count = this.viewer.content.shape[this.plane.across];
    this.viewer.place[this.plane.across] = Math.max(0, Math.min(count - 1, slice));
    this.viewer.draw();
  }

  magnify(factor, event) {
    const zoom = Math.max(1, Math.min(20, this.zoom * factor));
    const box = this.canvas.getBoundingClientRect();
    const centre = event ? [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2] : [0, 0];
    this.shift = this.shift.map((value, axis) => centre[axis] + (value - centre[axis]) * (zoom / this.zoom));
    if (zoom === 1) this.shift = [0, 0];
    this.zoom = zoom;
    this.draw();
  }

  point(event) { // the other planes go to where was clicked
    const box = this.canvas.getBoundingClientRect();
    const { left, top, scaleX, scaleY, width, height } = this.layout(box.width, box.height);
    const column = Math.floor((event.clientX - box.left - left) / scaleX);
    let row = Math.floor((event.clientY - box.top - top) / scaleY);
    if (column < 0 || row < 0 || column >= width || row >= height) return;
    if (this.plane.upside) row = height - 1 - row;
    this.viewer.place[this.plane.right] = column;
    this.viewer.place[this.plane.down] = row;
    this.viewer.draw();
  }

  layout(boxWidth, boxHeight) {
    const { shape: sizes, spacing } = this.viewer.content;
    const [width, height] = [sizes[this.plane.right], sizes[this.plane.down]];
    const [mmX, mmY] = [spacing[this.plane.right], spacing[this.plane.down]];
    const fit = Math.min(boxWidth / (width * mmX), boxHeight / (height * mmY)) * this.zoom;
    const [scaleX, scaleY] = [fit * mmX, fit * mmY];
    return { width, height, scaleX, scaleY, left: (boxWidth - width * scaleX) / 2 + this.shift[0],
      top: (boxHeight - height * scaleY) / 2 + this.shift[1] };
  }

  slice(voxels) { // of a volume (z, y, x), as rows from the top
    const { shape: sizes } = this.viewer.content;
    const strides = [sizes[1] * sizes[2], sizes[2], 1];
    const [width, height] = [sizes[this.plane.right], sizes[this.plane.down]];
    const found = new Uint8Array(width * height);
    const start = this.at * strides[this.plane.across];
    const [stepX, stepY] = [strides[this.plane.right], strides[this.plane.down]];
    for (let row = 0, to = 0; row < height; row++) {
      let from = start + (this.plane.upside ? height - 1 - row : row) * stepY;
      for (let column = 0; column < width; column++, from += stepX) found[to++] = voxels[from];
    }
    return found;
  }

  draw() {
    const { viewer, plane } = this;
    const box = this.canvas.getBoundingClientRect();
    if (!box.width || !viewer.content) return;
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(box.width * ratio);
    this.canvas.height = Math.round(box.height * ratio);
    const { width, height, scaleX, scaleY, left, top } = this.layout(box.width, box.height);
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.imageSmoothingEnabled = false;
    context.fillStyle = "#000";
    context.fillRect(0, 0, box.width, box.height);
    const sheet = document.createElement("canvas");
    [sheet.width, sheet.height] = [width, height];
    const inner = sheet.getContext("2d");
    const pixels = inner.createImageData(width, height);
    const grey = this.slice(viewer.content.images[viewer.channel]);
    const maps = viewer.shown.map((one) => ({ ...one, labels: this.slice(one.voxels) }));
    const reference = maps.find((one) => one.name === "reference");
    const compared = viewer.differences && viewer.referenceVoxels && maps.find((one) => one.name !== "reference");
    const truth = compared ? this.slice(viewer.referenceVoxels) : null;
    for (let i = 0; i < grey.length; i++) {
      let colour = null;
      if (compared) {
        const [said, is] = [compared.labels[i], truth[i]];
        if (said !== is) colour = !is ? DIFFERENCE.added : !said ? DIFFERENCE.missed : DIFFERENCE.other;
      } else if (reference && reference.labels[i]) colour = viewer.labelColours[reference.labels[i]] || [255, 255, 255];
      const share = colour ? (compared ? 0.75 : 0.4) : 0;
      for (let channel = 0; channel < 3; channel++)
        pixels.data[4 * i + channel] = grey[i] * (1 - share) + (colour ? colour[channel] * share : 0);
      pixels.data[4 * i + 3] = 255;
    }
    inner.putImageData(pixels, 0, 0);
    context.drawImage(sheet, left, top, width * scaleX, height * scaleY);
    for (const one of maps) {
      if (one.name === "reference" && !compared) continue;
      this.outline(context, one.labels, one.colour, { width, height, scaleX, scaleY, left, top });
    }
    this.annotate(context, box, { width, height, scaleX, scaleY, left, top });
    this.slider.max = viewer.content.shape[plane.across] - 1;
    this.slider.value = this.at;
    this.slider.hidden = viewer.flat;
    this.text.textContent = viewer.flat ? "wheel or + and − to zoom, drag to move, 0 to reset"
      : `${plane.name} ${this.at + 1} of ${viewer.content.shape[plane.across]}`;
  }

  outline(context, labels, colour, { width, height, scaleX, scaleY, left, top }) {
    const path = new Path2D();
    const at = (column, row) => (column < 0 || row < 0 || column >= width || row >= height ? 0 : labels[row * width + column]);
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        const own = labels[row * width + column];
        const x = left + column * scaleX, y = top + row * scaleY;
        if (own !== at(column - 1, row)) { path.moveTo(x, y); path.lineTo(x, y + scaleY); }
        if (own !== at(column, row - 1)) { path.moveTo(x, y); path.lineTo(x + scaleX, y); }
        if (own && column === width - 1) { path.moveTo(x + scaleX, y); path.lineTo(x + scaleX, y + scaleY); }
        if (own && row === height - 1) { path.moveTo(x, y + scaleY); path.lineTo(x + scaleX, y + scaleY); }
      }
    }
    context.strokeStyle = colour;
    context.lineWidth = 2;
    context.stroke(path);
  }

  annotate(context, box, { width, height, scaleX, scaleY, left, top }) {
    const { viewer, plane } = this;
    if (viewer.flat) return;
    context.fillStyle = "#fff";
    context.font = "13px system-ui, sans-serif";
    const [west, east, north, south] = plane.ends;
    context.fillText(west, 6, box.height / 2);
    context.fillText(east, box.width - 16, box.height / 2);
    context.fillText(north, box.width / 2 - 4, 15);
    context.fillText(south, box.width / 2 - 4, box.height - 6);
    const column = viewer.place[plane.right];
    const row = plane.upside ? height - 1 - viewer.place[plane.down] : viewer.place[plane.down];
    context.strokeStyle = "rgb(255 255 255 / .35)";
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(left + (column + 0.5) * scaleX, top);
    context.lineTo(left + (column + 0.5) * scaleX, top + height * scaleY);
    context.moveTo(left, top + (row + 0.5) * scaleY);
    context.lineTo(left + width * scaleX, top + (row + 0.5) * scaleY);
    context.stroke();
  }
}

const DIFFERENCE = { added: [213, 94, 0], missed: [86, 180, 233], other: [240, 228, 66] };

class Viewer {
  constructor() {
    this.dialog = element("dialog", { class: "viewer", "aria-label": "viewer of cases" });
    this.bar = element("div", { class: "bar" });
    this.layers = element("div", { class: "bar" });
    this.panesHold = element("div", { class: "panes" });
    this.status = element("p", { class: "soft", role: "status" });
    this.dialog.append(this.bar, this.layers, this.panesHold, this.status);
    document.body.append(this.dialog);
    this.panes = PLANES.map((plane) => new Pane(this, plane));
    this.on = new Set(["reference"]);
    this.stage = "postprocessed";
    this.differences = false;
    addEventListener("resize", () => this.dialog.open && this.draw());
    this.dialog.addEventListener("close", () => {
      if (location.hash.startsWith("#case=")) history.replaceState(null, "", location.pathname + location.search);
    });
    this.dialog.addEventListener("keydown", (event) => {
      if (event.defaultPrevented || event.target.closest("select, input")) return;
      const by = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1 }[event.key];
      if (!by || !this.content) return;
      event.preventDefault();
      if (event.key === "ArrowLeft" || event.key === "ArrowRight") this.step(by);
      else this.panes[0].go(this.panes[0].at + by);
    });
  }

  async open(name, predictor) {
    const dataset = name.slice(0, name.indexOf("/"));
    if (!DATA.scripts[name]) return;
    if (dataset !== this.dataset) {
      this.dataset = dataset;
      this.on = new Set(["reference", predictor || DATA.datasets[dataset].first.predictor]);
    } else if (predictor) this.on.add(predictor);
    this.name = name;
    if (!this.dialog.open) this.dialog.showModal();
    this.drawBar();
    this.status.textContent = `loading ${name} ...`;
    let content;
    try {
      content = await loadCase(name);
    } catch (error) {
      this.content = null;
      this.status.textContent = `${name} cannot be shown: ${error.message}`;
      return;
    }
    if (name !== this.name) return; // another one was asked for meanwhile
    this.content = content;
    this.flat = content.shape[0] === 1;
    this.panesHold.classList.toggle("single", this.flat);
    this.panesHold.replaceChildren(...(this.flat ? this.panes.slice(0, 1) : this.panes).map((pane) => pane.root));
    for (const pane of this.panes) { pane.zoom = 1; pane.shift = [0, 0]; }
    const channels = Object.keys(content.images);
    if (!channels.includes(this.channel)) this.channel = channels[0];
    this.labelColours = DATA.datasets[dataset].labelColours;
    this.referenceVoxels = content.maps.reference ? await decodeMap(content, "reference") : null;
    this.place = await this.start();
    this.drawBar();
    this.drawLayers();
    await this.update();
    history.replaceState(null, "", `#case=${name}`);
  }

  async start() { // where most of the reference, or of a prediction, is
    const { shape: sizes } = this.content;
    const name = Object.keys(this.content.maps)[0];
    const voxels = await decodeMap(this.content, name);
    const counts = sizes.map((size) => new Uint32Array(size));
    for (let z = 0, i = 0; z < sizes[0]; z++)
      for (let y = 0; y < sizes[1]; y++)
        for (let x = 0; x < sizes[2]; x++, i++)
          if (voxels[i]) { counts[0][z]++; counts[1][y]++; counts[2][x]++; }
    return counts.map((count) => {
      const most = Math.max(...count);
      return most ? count.indexOf(most) : count.length >> 1;
    });
  }

  cases() { return Object.keys(DATA.scripts).filter((name) => name.startsWith(`${this.dataset}/`)); }

  step(by) {
    const all = this.cases();
    this.open(all[(all.indexOf(this.name) + by + all.length) % all.length]);
  }

  drawBar() {
    const list = element("select", { "aria-label": "case" },
      ...this.cases().map((name) => element("option", { value: name }, name.slice(this.dataset.length + 1))));
    list.value = this.name;
    list.addEventListener("change", () => this.open(list.value));
    const channels = this.content ? Object.keys(this.content.images) : [];
    const channel = element("select", { "aria-label": "image" }, ...channels.map((name) => element("option", {}, name)));
    channel.value = this.channel;
    channel.addEventListener("change", () => { this.channel = channel.value; this.draw(); });
    const button = (text, title, act) => element("button", { type: "button", title, "aria-label": title, onclick: act }, text);
    this.bar.replaceChildren(
      button("‹", "previous case", () => this.step(-1)), list, button("›", "next case", () => this.step(1)),
      ...(channels.length > 1 ? [channel] : []),
      button("−", "smaller", () => this.panes.forEach((pane) => pane.magnify(0.8))),
      button("+", "larger", () => this.panes.forEach((pane) => pane.magnify(1.25))),
      element("span", { class: "spacer" }), button("close", "close the viewer", () => this.dialog.close()));
  }

  drawLayers() {
    const data = DATA.datasets[this.dataset];
    const box = (text, colour, checked, change) => {
      const input = element("input", { type: "checkbox" });
      input.checked = checked;
      input.addEventListener("change", () => { change(input.checked); this.update(); });
      const swatch = colour ? [element("span", { class: "swatch", style: `background:${colour}` })] : [];
      return element("label", {}, input, ...swatch, ` ${text}`);
    };
    const toggle = (name) => (on) => (on ? this.on.add(name) : this.on.delete(name));
    const made = [];
    if (this.referenceVoxels) {
      made.push(box("reference (filled)", null, this.on.has("reference"), toggle("reference")));
      for (const [value, colour] of Object.entries(data.labelColours))
        made.push(element("span", { class: "soft" }, element("span", { class: "swatch", style: `background:rgb(${colour})` }),
          data.labelNames[value]));
    }
    for (const one of data.predictors)
      if (this.content.maps[`${one.key}/raw`]) made.push(box(one.title, one.bright, this.on.has(one.key), toggle(one.key)));
    const stage = element("select", { "aria-label": "stage" },
      ...Object.entries(DATA.stages).map(([value, text]) => element("option", { value }, text)));
    stage.value = this.stage;
    stage.addEventListener("change", () => { this.stage = stage.value; this.update(); });
    made.push(stage);
    if (this.referenceVoxels) {
      made.push(box("differences", null, this.differences, (on) => { this.differences = on; }));
      const legend = { added: "made up", missed: "missed", other: "other label" };
      made.push(element("span", { class: "soft legend" }, ...Object.entries(legend).flatMap(([key, text]) =>
        [element("span", { class: "swatch", style: `background:rgb(${DIFFERENCE[key]})` }), text])));
    }
    this.layers.replaceChildren(...made);
  }

  async update() {
    const content = this.content;
    const data = DATA.datasets[this.dataset];
    const shown = [];
    if (this.on.has("reference") && content.maps.reference) shown.push({ name: "reference", colour: "#fff", voxels: await decodeMap(content, "reference") });
    for (const one of data.predictors) {
      const name = `${one.key}/${this.stage}`;
      if (this.on.has(one.key) && content.maps[name])
        shown.push({ name: one.key, colour: one.bright, voxels: await decodeMap(content, name) });
    }
    if (content !== this.content) return;
    this.shown = shown;
    const legend = this.layers.querySelector(".legend");
    if (legend) legend.hidden = !this.differences;
    const said = [`${data.title}, ${this.name.slice(this.dataset.length + 1)}`];
    if (content.full.join() !== content.shape.join())
      said.push(`${content.shape.join(" × ")} of ${content.full.join(" × ")} voxels are shown`);
    const first = shown.find((one) => one.name !== "reference");
    if (this.differences && first) said.push(`differences of ${data.predictors.find((one) => one.key === first.name).title}`);
    if (!this.flat) said.push("wheel or arrow keys go through slices; click to meet in a point; + and − zoom; left and right change the case");
    this.status.textContent = said.join("; ") + ".";
    this.draw();
  }

  draw() {
    for (const pane of this.flat ? this.panes.slice(0, 1) : this.panes) pane.draw();
  }
}

let viewer = null;

function openViewer(name, predictor) {
  viewer = viewer || new Viewer();
  viewer.open(name, predictor);
}

function openFromAddress() {
  const found = decodeURIComponent(location.hash).match(/^#case=(.+)$/);
  if (found && (!viewer || viewer.name !== found[1] || !viewer.dialog.open)) openViewer(found[1]);
}
