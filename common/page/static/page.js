// The page: what is shown, and its controls.

import { Layer, Picture, drawHistogram } from "./canvas.js";
import { Form, choose, finder, number, wireChoice } from "./form.js";
import { wireKeys, wirePointer } from "./hands.js";
import { Marks } from "./marks.js";
import { histogram, levelsOf, readPlane } from "./stretch.js";
import { Work } from "./work.js";

const KEEP_MS = 200; // after a change, before the program is told; a drag has many
const ALL_SHADOWS = 10; // the slider beyond means the minimum
const PRESETS = { screen: { quantile: 1, shadows: 2.8, midtones: 0.25 }, fit: { quantile: 0.95, shadows: 10.1, midtones: 0.25 } };
const SLIDER_TEXTS = {
  quantile: (v) => v.toFixed(3), midtones: (v) => v.toFixed(3), low: (v) => v.toFixed(3), high: (v) => v.toFixed(3),
  shadows: (v) => (v > ALL_SHADOWS ? "minimum" : `−${v.toFixed(1)} σ`), radius: (v) => `${v} px`, angle: (v) => `${v}°`,
};

/**
 * One page in an element that has the page's elements.
 * link: how the program is asked; keys: what hears the keyboard.
 */
export class Page {
  constructor(root, link, keys) {
    Object.assign(this, { root, link, keys, $: finder(root), layers: new Map(), waiting: false });
    this.view = { name: "input", channel: null, blink: false, split: false, overlay: false, pointer: null };
    this.redraw = this.redraw.bind(this);
    this.changeMarks = this.changeMarks.bind(this);
    this.toggle = this.toggle.bind(this);
    this.takeTool = this.takeTool.bind(this);
  }

  async start() {
    try {
      await this.open();
    } catch (error) {
      this.say(error.message, true);
    }
  }

  async open() {
    const { $ } = this;
    const state = (this.state = await this.link.ask("state"));
    $("tool").textContent = state.tool;
    $("file").textContent = `${state.name} · ${state.width} × ${state.height}`;
    this.marks = new Marks(state.marks);
    this.form = new Form($, state.form);
    this.picture = new Picture($("canvas"), state.width, state.height);
    this.work = new Work(this);
    const drawing = Object.keys(state.kinds).length > 0;
    $("drawing").hidden = $("marks-section").hidden = !drawing;
    $("overlay").hidden = !drawing || !state.verb;
    $("settings-section").hidden = !state.form.length;
    this.marks.kind = Object.keys(state.kinds)[0];
    choose($("kinds"), Object.entries(state.kinds), this.marks.kind, (kind) => (this.marks.kind = kind));
    wireChoice($("drawing"), "move", this.takeTool);
    const largest = Math.max(20, Math.round(Math.min(state.width, state.height) / 4));
    Object.assign($("radius"), { max: largest, value: Math.max(2, Math.round(largest / 10)) });
    this.marks.radius = this.slider("radius");
    wirePointer(this);
    wireKeys(this);
    this.wireControls();
    this.showMark();
    this.listMarks();
    await this.loadViews();
    const colours = this.layers.get("input").plane.codes.length;
    if (colours === 3) choose($("channels"), [["all", "RGB"], [0, "R"], [1, "G"], [2, "B"]], "all", (value) => {
      this.view.channel = value === "all" ? null : Number(value);
      this.redraw();
    });
    $("linked").parentElement.hidden = colours === 1;
    $("linked").checked = false;
    this.observer = new ResizeObserver(() => (this.picture.resize(), this.redraw()));
    this.observer.observe($("canvas"));
    this.root.dataset.ready = "yes";
    this.say(state.about);
    if (state.job.state === "running") await this.work.follow(state.job);
  }

  end() {
    this.observer?.disconnect();
    clearTimeout(this.keeping);
  }

  slider(id) {
    return Number(this.$(id).value);
  }

  // --- what is drawn ---

  /** Draw at the next frame of the screen, once. */
  redraw() {
    this.keepSoon();
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  settingsOf({ plane }) {
    const { $, layers, view } = this;
    const shadows = this.slider("shadows") > ALL_SHADOWS ? null : this.slider("shadows");
    const own = $("own").checked;
    const source = own ? plane : layers.get("input").plane;
    const rows = source.levels[$("linked").checked ? "linked" : "single"];
    return {
      levels: plane.channels.map((_, c) => {
        const level = levelsOf(rows[c], { quantile: this.slider("quantile"), shadows });
        return own ? { ...level, pedestal: level.pedestal + plane.offset[c] } : level;
      }),
      target: this.slider("midtones"),
      channel: view.channel,
      within: [this.slider("low"), this.slider("high")],
      thresholds: $("threshold-details").open,
    };
  }

  prepare(name) {
    const layer = this.layers.get(name);
    if (!layer) return null;
    if (layer.plane.mask) layer.weigh(false);
    else layer.stretch(this.settingsOf(layer));
    return layer;
  }

  draw() {
    const start = performance.now();
    const { $, layers, picture, view } = this;
    const before = this.prepare("input"), detail = this.prepare("detail"); // the input, and a part of it at full size
    const after = view.blink || view.name === "input" ? before : (this.prepare(view.name) ?? before);
    let overlay = null;
    if (view.overlay && layers.has("overlay")) {
      overlay = layers.get("overlay");
      overlay.weigh(true);
    }
    picture.draw({ before, detail, after, overlay, split: view.split && !view.blink });
    this.marks.draw(picture);
    this.drawHistogram(after.plane.mask ? before : after);
    $("zoom").textContent = `${(100 * picture.zoom).toPrecision(picture.zoom < 0.1 ? 2 : 3).replace(/\.0+$/, "")} %`;
    this.showReadout();
    this.root.dataset.milliseconds = (performance.now() - start).toFixed(2);
  }

  drawHistogram(shown) {
    const { $ } = this, { channel } = this.view;
    const key = `${shown.plane.name} ${shown.key}`;
    if ($("histogram").dataset.key === key) return;
    $("histogram").dataset.key = key;
    const chosen = (rows) => (channel === null ? rows : [rows[channel] ?? rows[0]]);
    const within = $("threshold-details").open ? [this.slider("low"), this.slider("high")] : null;
    drawHistogram($("histogram"), histogram(chosen(shown.plane.codes), chosen(shown.tables)), within);
  }

  showReadout() {
    const { $, layers, view } = this;
    if (!view.pointer) return void ($("readout").textContent = "");
    const [x, y] = this.picture.toFrame(...view.pointer);
    const { plane } = layers.get(view.blink ? "input" : view.name) ?? layers.get("input");
    const column = Math.floor((x + 0.5 - plane.x) / plane.factor), row = Math.floor((y + 0.5 - plane.y) / plane.factor);
    let text = `x ${Math.round(x)}   y ${Math.round(y)}`;
    if (column >= 0 && row >= 0 && column < plane.width && row < plane.height) {
      const codes = plane.codes.map((one) => one[row * plane.width + column]);
      const values = plane.mask ? codes.map((code) => code / 65535) : codes.map((code, c) => plane.values[c][code]);
      text += `   ${values.map(number).join("  ")}`;
    }
    $("readout").textContent = text;
  }

  /** Get all planes again that have changed. */
  async loadViews() {
    const { $, layers, state } = this;
    for (const { name, mask } of state.views) {
      if (layers.has(name) && layers.get(name).version === state.views_version) continue;
      if (name === "input" && layers.has("input")) continue;
      const plane = readPlane(await this.link.plane(name));
      const layer = new Layer(plane);
      layer.version = state.views_version;
      layers.set(name, layer);
      if (mask) layers.set("overlay", Object.assign(new Layer(plane), { version: state.views_version }));
    }
    const items = state.views.filter((one) => one.label).map((one) => [one.name, one.label]);
    choose($("views"), items, this.view.name, (name) => this.show(name));
    $("views").hidden = items.length < 2;
    for (const id of ["blink", "split"]) $(id).disabled = items.length < 2;
    $("overlay").disabled = !layers.has("overlay");
    this.redraw();
  }

  show(name) {
    this.view.name = name;
    this.$("views").show(name);
    this.redraw();
  }

  toggle(id, value = !this.view[id]) {
    const { $, view } = this;
    if ($(id).disabled) return;
    view[id] = value;
    $(id).setAttribute("aria-pressed", value);
    this.redraw();
  }

  // --- marks ---

  listMarks() {
    const { marks, state } = this;
    const rows = [...marks.areas, ...marks.points].map((mark) => {
      const row = document.createElement("li");
      row.dataset.kind = Array.isArray(mark) ? "sky" : mark.kind;
      row.classList.toggle("selected", mark === marks.selected);
      const name = Object.assign(document.createElement("button"), { type: "button", className: "name" });
      name.textContent = Array.isArray(mark) ? marks.label(mark) : `${state.kinds[mark.kind]}: ${marks.label(mark).toLowerCase()}`;
      name.onclick = () => this.changeMarks(() => (marks.selected = mark));
      const remove = Object.assign(document.createElement("button"), { type: "button", className: "remove", textContent: "×" });
      remove.setAttribute("aria-label", `Remove ${name.textContent}`);
      remove.onclick = () => this.changeMarks(() => marks.remove(mark));
      row.append(document.createElement("i"), name, remove);
      return row;
    });
    this.$("marks").replaceChildren(...rows);
  }

  /** The angle is that of a selected ellipse. */
  showMark() {
    const { $, marks } = this;
    $("angle").parentElement.hidden = !marks.ellipse;
    if (marks.ellipse) $("angle").value = Math.round(marks.ellipse.angle);
    this.showSliders();
  }

  changeMarks(change) {
    change();
    this.listMarks();
    this.showMark();
    this.redraw();
  }

  takeTool(tool) {
    const { $, marks } = this;
    if ($("drawing").hidden) return;
    marks.tool = tool;
    marks.draft = null;
    $("drawing").show(tool);
    $("canvas").classList.toggle("drawing", tool !== "move");
    this.redraw();
  }

  // --- what the program gets ---

  say(text, error = false) {
    this.$("status").textContent = text;
    this.$("status").classList.toggle("error", error);
  }

  content(more = {}) {
    const { picture } = this;
    const middle = picture.toFrame(picture.size.width / 2, picture.size.height / 2).map(Math.round);
    return { values: this.form.values(), marks: this.marks.plain(), middle, ...more };
  }

  /** Tell a notebook what is set, a moment after the last change. */
  keepSoon() {
    if (!this.link.keep) return;
    clearTimeout(this.keeping);
    this.keeping = setTimeout(() => {
      const shadows = this.slider("shadows");
      const stretch = {
        quantile: this.slider("quantile"), shadows: shadows > ALL_SHADOWS ? null : shadows,
        midtones: this.slider("midtones"), linked: this.$("linked").checked,
      };
      try {
        const now = { ...this.content(), stretch }, text = JSON.stringify(now);
        if (text === this.kept) return;
        this.kept = text;
        this.link.keep(now).catch((error) => this.say(error.message, true));
      } catch (error) {
        this.say(error.message, true); // a number that is none
      }
    }, KEEP_MS);
  }

  // --- wiring ---

  showSliders() {
    const { $ } = this;
    for (const [id, text] of Object.entries(SLIDER_TEXTS)) {
      const output = $(id).parentElement.querySelector("output");
      output.textContent = text(this.slider(id));
      $(id).setAttribute("aria-valuetext", output.textContent);
    }
    for (const button of this.root.querySelectorAll("[data-preset]")) {
      const same = Object.entries(PRESETS[button.dataset.preset]).every(([id, v]) => this.slider(id) === v);
      button.setAttribute("aria-pressed", same);
    }
  }

  wireControls() {
    const { $, picture, redraw } = this;
    const shown = () => (this.showSliders(), redraw());
    for (const id of ["quantile", "shadows", "midtones", "low", "high"]) $(id).oninput = shown;
    for (const id of ["linked", "own"]) $(id).onchange = redraw;
    $("threshold-details").ontoggle = redraw;
    $("settings-section").addEventListener("input", () => this.keepSoon());
    for (const button of this.root.querySelectorAll("[data-preset]")) {
      button.onclick = () => {
        for (const [id, value] of Object.entries(PRESETS[button.dataset.preset])) $(id).value = value;
        shown();
      };
    }
    this.wireMarkSliders();
    for (const id of ["split", "overlay"]) $(id).onclick = () => this.toggle(id);
    $("zoom-in").onclick = () => (picture.zoomAt(1.25), redraw());
    $("zoom-out").onclick = () => (picture.zoomAt(0.8), redraw());
    $("zoom-fit").onclick = () => (picture.fit(), redraw());
    $("zoom-full").onclick = () => (picture.zoomAt(1 / picture.zoom), redraw());
  }

  wireMarkSliders() {
    const { $, marks } = this;
    $("radius").oninput = () => {
      marks.radius = this.slider("radius");
      if (Array.isArray(marks.selected)) marks.selected[2] = marks.radius;
      else if (marks.selected?.shape === "brush") marks.selected.radius = marks.radius;
      this.showSliders();
      this.redraw();
    };
    let turning = false; // one step back for the whole way of the slider
    $("angle").onchange = () => (turning = false);
    $("angle").oninput = () => {
      if (!turning) marks.remember();
      turning = true;
      if (marks.ellipse) marks.ellipse.angle = this.slider("angle");
      this.listMarks();
      this.showSliders();
      this.redraw();
    };
  }
}
