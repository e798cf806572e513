// Pointer, fingers and keys.

const STEP_PX = 60; // CSS pixels that an arrow key moves the view by
const TURN_DEGREES = 5; // that a key turns an ellipse by

export function wirePointer({ $, picture, marks, view, redraw, changeMarks }) {
  const canvas = $("canvas");
  const fingers = new Map();
  let drag = null; // "pan", "mark" or "divider"
  const place = (event) => [event.offsetX, event.offsetY];
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    if (fingers.size > 1) return void (drag = "pan");
    const [u, v] = place(event);
    if (view.split && Math.abs(u - picture.divider * picture.size.width) < 10) drag = "divider";
    else if (event.button === 0 && !event.altKey && marks.down(...picture.toFrame(u, v), picture.zoom)) drag = "mark";
    else drag = "pan";
    canvas.classList.toggle("dragging", drag === "pan");
    changeMarks(() => {});
  };
  canvas.onpointermove = (event) => {
    const now = place(event), last = fingers.get(event.pointerId);
    view.pointer = now;
    if (last && fingers.size === 2) {
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const far = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]);
      picture.zoomAt(far(now) / Math.max(1, far(last)), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    } else if (last && drag === "divider") picture.divider = Math.min(0.98, Math.max(0.02, now[0] / picture.size.width));
    else if (last && drag === "pan") picture.pan(now[0] - last[0], now[1] - last[1]);
    else if (last && drag === "mark") marks.move(...picture.toFrame(...now), picture.zoom);
    if (last) fingers.set(event.pointerId, now);
    redraw();
  };
  canvas.onpointerup = canvas.onpointercancel = (event) => {
    fingers.delete(event.pointerId);
    if (drag === "mark") changeMarks(() => marks.up());
    if (!fingers.size) drag = null;
    canvas.classList.remove("dragging");
  };
  canvas.onpointerleave = () => {
    view.pointer = null;
    redraw();
  };
  canvas.ondblclick = () => changeMarks(() => {
    if (marks.draft) marks.draft.points.pop(); // the second click of the two
    marks.close();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    picture.zoomAt(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.offsetX, event.offsetY);
    redraw();
  }, { passive: false });
  canvas.oncontextmenu = (event) => event.preventDefault();
}

export function wireKeys({ $, keys, picture, marks, view, changeMarks, toggle, takeTool }) {
  const zoom = (factor) => () => picture.zoomAt(factor);
  const move = (dx, dy) => () => {
    if (!marks.selected) return picture.pan(-dx * STEP_PX, -dy * STEP_PX);
    marks.remember();
    marks.shift(marks.selected, dx, dy);
  };
  const onCanvas = {
    ArrowLeft: move(-1, 0), ArrowRight: move(1, 0), ArrowUp: move(0, -1), ArrowDown: move(0, 1),
    Enter: () => marks.place(picture.x, picture.y),
    Delete: () => marks.remove(), Backspace: () => marks.remove(),
  };
  const anywhere = {
    "+": zoom(1.25), "=": zoom(1.25), "-": zoom(0.8), 0: () => picture.fit(), 1: () => picture.zoomAt(1 / picture.zoom),
    b: () => toggle("blink", true), d: () => toggle("split"), m: () => toggle("overlay"),
    "[": () => marks.turn(-TURN_DEGREES), "]": () => marks.turn(TURN_DEGREES),
    v: () => takeTool("move"), e: () => takeTool("ellipse"), p: () => takeTool("polygon"), r: () => takeTool("brush"), s: () => takeTool("point"),
    Escape: () => { marks.draft = null; marks.selected = null; },
  };
  keys.addEventListener("keydown", (event) => {
    if (event.target.matches("select, input:not([type=range]):not([type=checkbox])")) return;
    const undo = event.key === "z" && (event.ctrlKey || event.metaKey);
    if (!undo && (event.ctrlKey || event.metaKey || event.altKey)) return;
    const inCanvas = event.target === $("canvas") ? onCanvas[event.key] : undefined;
    const action = undo ? () => marks.undo() : (inCanvas ?? anywhere[event.key]);
    if (!action) return;
    event.preventDefault();
    if (event.repeat && event.key === "b") return;
    changeMarks(action);
  });
  keys.addEventListener("keyup", (event) => event.key === "b" && toggle("blink", false));
  $("blink").onpointerdown = () => toggle("blink", true);
  $("blink").onpointerup = $("blink").onpointerleave = () => view.blink && toggle("blink", false);
}
