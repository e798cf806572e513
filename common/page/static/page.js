// The page: state, controls, keys, and the jobs of the command behind it.

import { Layer, Picture, drawHistogram } from "./canvas.js";
import { $, Form, ask, choose, fetchPlane, number, wireChoice } from "./form.js";
import { wireKeys, wirePointer } from "./hands.js";
import { Marks } from "./marks.js";
import { histogram, levelsOf, readPlane } from "./stretch.js";

const POLL_MS = 250;
const ALL_SHADOWS = 10; // the slider beyond means the minimum
const PRESETS = { screen: { quantile: 1, shadows: 2.8, midtones: 0.25 }, fit: { quantile: 0.95, shadows: 10.1, midtones: 0.25 } };

const layers = new Map();
const view = { name: "input", channel: null, blink: false, split: false, overlay: false, pointer: null };
let state, picture, marks, form;
let waiting = false;

const slider = (id) => Number($(id).value);

/** Draw at the next frame of the screen, once. */
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
  });
}

function settingsOf(layer) {
  const { plane } = layer;
  const shadows = slider("shadows") > ALL_SHADOWS ? null : slider("shadows");
  const source = $("own").checked ? plane : layers.get("input").plane;
  const rows = source.levels[$("linked").checked ? "linked" : "single"];
  const own = $("own").checked;
  return {
    levels: plane.channels.map((_, c) => {
      const level = levelsOf(rows[c], { quantile: slider("quantile"), shadows });
      return own ? { ...level, pedestal: level.pedestal + plane.offset[c] } : level;
    }),
    target: slider("midtones"),
    channel: view.channel,
    within: [slider("low"), slider("high")],
    thresholds: $("threshold-details").open,
  };
}

function prepare(name) {
  const layer = layers.get(name);
  if (!layer) return null;
  if (layer.plane.mask) layer.weigh(false);
  else layer.stretch(settingsOf(layer));
  return layer;
}

function draw() {
  const start = performance.now();
  const before = prepare("input"), detail = prepare("detail"); // the input, and a part of it at full size
  const after = view.blink || view.name === "input" ? before : (prepare(view.name) ?? before);
  let overlay = null;
  if (view.overlay && layers.has("overlay")) {
    overlay = layers.get("overlay");
    overlay.weigh(true);
  }
  picture.draw({ before, detail, after, overlay, split: view.split && !view.blink });
  marks.draw(picture);
  const shown = after.plane.mask ? before : after;
  const planes = view.channel === null ? shown.plane.codes : [shown.plane.codes[view.channel] ?? shown.plane.codes[0]];
  const key = `${shown.plane.name} ${shown.key}`;
  if ($("histogram").dataset.key !== key) {
    $("histogram").dataset.key = key;
    const tables = view.channel === null ? shown.tables : [shown.tables[view.channel] ?? shown.tables[0]];
    drawHistogram($("histogram"), histogram(planes, tables), $("threshold-details").open ? [slider("low"), slider("high")] : null);
  }
  $("zoom").textContent = `${(100 * picture.zoom).toPrecision(picture.zoom < 0.1 ? 2 : 3).replace(/\.0+$/, "")} %`;
  showReadout();
  document.body.dataset.milliseconds = (performance.now() - start).toFixed(2);
}

function showReadout() {
  if (!view.pointer) return void ($("readout").textContent = "");
  const [x, y] = picture.toFrame(...view.pointer);
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
async function loadViews() {
  for (const { name, mask } of state.views) {
    if (layers.has(name) && layers.get(name).version === state.views_version) continue;
    if (name === "input" && layers.has("input")) continue;
    const plane = readPlane(await fetchPlane(name));
    const layer = new Layer(plane);
    layer.version = state.views_version;
    layers.set(name, layer);
    if (mask) layers.set("overlay", Object.assign(new Layer(plane), { version: state.views_version }));
  }
  const items = state.views.filter((one) => one.label).map((one) => [one.name, one.label]);
  choose($("views"), items, view.name, (name) => show(name));
  $("views").hidden = items.length < 2;
  for (const id of ["blink", "split"]) $(id).disabled = items.length < 2;
  $("overlay").disabled = !layers.has("overlay");
  redraw();
}

function show(name) {
  view.name = name;
  $("views").show(name);
  redraw();
}

function toggle(id, value = !view[id]) {
  if ($(id).disabled) return;
  view[id] = value;
  $(id).setAttribute("aria-pressed", value);
  redraw();
}

function showSliders() {
  const words = {
    quantile: (v) => v.toFixed(3), midtones: (v) => v.toFixed(3), low: (v) => v.toFixed(3), high: (v) => v.toFixed(3),
    shadows: (v) => (v > ALL_SHADOWS ? "minimum" : `−${v.toFixed(1)} σ`), radius: (v) => `${v} px`, angle: (v) => `${v}°`,
  };
  for (const [id, text] of Object.entries(words)) {
    const output = $(id).parentElement.querySelector("output");
    output.textContent = text(slider(id));
    $(id).setAttribute("aria-valuetext", output.textContent);
  }
  for (const button of document.querySelectorAll("[data-preset]")) {
    const same = Object.entries(PRESETS[button.dataset.preset]).every(([id, v]) => slider(id) === v);
    button.setAttribute("aria-pressed", same);
  }
}

// --- marks ---

function listMarks() {
  const rows = [...marks.areas, ...marks.points].map((mark) => {
    const row = document.createElement("li");
    row.dataset.kind = Array.isArray(mark) ? "sky" : mark.kind;
    row.classList.toggle("selected", mark === marks.selected);
    const name = Object.assign(document.createElement("button"), { type: "button", className: "name" });
    name.textContent = Array.isArray(mark) ? marks.label(mark) : `${state.kinds[mark.kind]}: ${marks.label(mark).toLowerCase()}`;
    name.onclick = () => changeMarks(() => (marks.selected = mark));
    const remove = Object.assign(document.createElement("button"), { type: "button", className: "remove", textContent: "×" });
    remove.setAttribute("aria-label", `Remove ${name.textContent}`);
    remove.onclick = () => changeMarks(() => marks.remove(mark));
    row.append(document.createElement("i"), name, remove);
    return row;
  });
  $("marks").replaceChildren(...rows);
}

/** The sliders of a mark show the selected one; an angle is that of an ellipse. */
function showMark() {
  $("angle").parentElement.hidden = !marks.ellipse;
  if (marks.ellipse) $("angle").value = Math.round(marks.ellipse.angle);
  showSliders();
}

function changeMarks(change) {
  change();
  listMarks();
  showMark();
  redraw();
}

function takeTool(tool) {
  if ($("drawing").hidden) return;
  marks.tool = tool;
  marks.draft = null;
  $("drawing").show(tool);
  $("canvas").classList.toggle("drawing", tool !== "move");
  redraw();
}

// --- the command behind the page ---

function say(text, error = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", error);
}

function content(more = {}) {
  const middle = picture.toFrame(picture.size.width / 2, picture.size.height / 2).map(Math.round);
  return { values: form.values(), marks: marks.plain(), middle, ...more };
}

/** Do something with the command; where files are there already, offer to replace them. */
async function attempt(action, again) {
  try {
    await action();
  } catch (error) {
    say(error.message, true);
    if (error.exists && again) offerReplace(again);
  }
}

function offerReplace(again) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Replace" });
  button.onclick = again;
  $("status").append(button);
}

function save(overwrite = false) {
  return attempt(async () => {
    const { files } = await ask("save", content({ overwrite }));
    say(`Saved ${files.join(", ")}`);
  }, () => save(true));
}

function runFull(overwrite = false) {
  return attempt(async () => follow(await ask("full", content({ overwrite })), () => runFull(true)), () => runFull(true));
}

const run = () => attempt(async () => follow(await ask("run", content())));

async function follow(job, again) {
  showJob(job);
  while (job.state === "running") {
    await new Promise((done) => setTimeout(done, POLL_MS));
    job = await ask("job");
    showJob(job);
  }
  if (job.state === "failed" && again && job.text.includes("--overwrite")) offerReplace(again);
  if (job.state === "done" && job.kind === "work") {
    state = await ask("state");
    if (view.name === "input") view.name = state.views.some((one) => one.name === "result") ? "result" : view.name;
    await loadViews();
  }
}

function showJob(job) {
  const running = job.state === "running";
  for (const id of ["run", "save", "full"]) $(id).disabled = running;
  $("cancel").hidden = $("progress").hidden = !running;
  $("progress").classList.toggle("unknown", job.done === null);
  $("progress").firstElementChild.style.width = job.done === null ? "" : `${100 * job.done}%`;
  if (job.done !== null) $("progress").setAttribute("aria-valuenow", Math.round(100 * job.done));
  else $("progress").removeAttribute("aria-valuenow");
  const text = job.text[0]?.toUpperCase() + job.text.slice(1);
  if (job.state !== "idle") say(running ? `${text}…` : job.text ? text : "Done", job.state === "failed");
}

// --- wiring ---

function wireControls() {
  for (const id of ["quantile", "shadows", "midtones", "low", "high"]) $(id).oninput = () => (showSliders(), redraw());
  for (const id of ["linked", "own"]) $(id).onchange = redraw;
  $("threshold-details").ontoggle = redraw;
  for (const button of document.querySelectorAll("[data-preset]")) {
    button.onclick = () => {
      for (const [id, value] of Object.entries(PRESETS[button.dataset.preset])) $(id).value = value;
      showSliders();
      redraw();
    };
  }
  $("radius").oninput = () => {
    marks.radius = slider("radius");
    if (marks.selected) {
      if (Array.isArray(marks.selected)) marks.selected[2] = marks.radius;
      else if (marks.selected.shape === "brush") marks.selected.radius = marks.radius;
    }
    showSliders();
    redraw();
  };
  let turning = false; // one step back for the whole way of the slider
  $("angle").onchange = () => (turning = false);
  $("angle").oninput = () => {
    if (!turning) marks.remember();
    turning = true;
    if (marks.ellipse) marks.ellipse.angle = slider("angle");
    listMarks();
    showSliders();
    redraw();
  };
  for (const id of ["split", "overlay"]) $(id).onclick = () => toggle(id);
  $("zoom-in").onclick = () => (picture.zoomAt(1.25), redraw());
  $("zoom-out").onclick = () => (picture.zoomAt(0.8), redraw());
  $("zoom-fit").onclick = () => (picture.fit(), redraw());
  $("zoom-full").onclick = () => (picture.zoomAt(1 / picture.zoom), redraw());
  $("run").onclick = run;
  $("save").onclick = () => save();
  $("full").onclick = () => runFull();
  $("cancel").onclick = () => attempt(async () => showJob(await ask("cancel", {})));
  $("to-settings").hidden = !Object.keys(state.stretched).length;
  $("to-settings").onclick = () => {
    form.set("objective", "original");
    for (const [id, name] of Object.entries(state.stretched)) form.set(name, slider(id));
    say("The fit uses this quantile and these thresholds, with the minimum as shadows.");
  };
}

async function start() {
  state = await ask("state");
  document.title = `${state.name} – ${state.tool}`;
  $("tool").textContent = state.tool;
  $("file").textContent = `${state.name} · ${state.width} × ${state.height}`;
  $("run").textContent = state.verb;
  $("run").title = state.about;
  marks = new Marks(state.marks);
  form = new Form(state.form);
  picture = new Picture($("canvas"), state.width, state.height);
  const drawing = Object.keys(state.kinds).length > 0;
  $("drawing").hidden = $("marks-section").hidden = $("overlay").hidden = !drawing;
  choose($("kinds"), Object.entries(state.kinds), marks.kind, (kind) => (marks.kind = kind));
  wireChoice($("drawing"), "move", takeTool);
  const largest = Math.max(20, Math.round(Math.min(state.width, state.height) / 4));
  Object.assign($("radius"), { max: largest, value: Math.max(2, Math.round(largest / 10)) });
  marks.radius = slider("radius");
  const page = { picture, marks, view, redraw, changeMarks, toggle, takeTool };
  wirePointer(page);
  wireKeys(page);
  wireControls();
  showMark();
  listMarks();
  await loadViews();
  const colours = layers.get("input").plane.codes.length;
  if (colours === 3) choose($("channels"), [["all", "RGB"], [0, "R"], [1, "G"], [2, "B"]], "all", (value) => {
    view.channel = value === "all" ? null : Number(value);
    redraw();
  });
  $("linked").parentElement.hidden = colours === 1;
  $("linked").checked = false;
  new ResizeObserver(() => (picture.resize(), redraw())).observe($("canvas"));
  document.body.dataset.ready = "yes";
  say(state.about);
  if (state.job.state === "running") await follow(state.job);
}

start().catch((error) => say(error.message, true));
