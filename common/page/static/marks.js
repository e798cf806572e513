// Areas and points that the user draws: ellipse, polygon, brush, points of sky. In frame pixels.

import { dragHandle, drawHandles, handlesOf, insideEllipse, round, sameAngle, traceEllipse } from "./ellipse.js";

const NEAR_PX = 9; // CSS pixels; as near as a pointer must come to a point
const COLOURS = { object: "#ff7a45", left_out: "#b7a2e8", sky: "#7fd1c0" };
const SHAPES = { ellipse: "Ellipse", polygon: "Polygon", brush: "Brush" };

export class Marks {
  constructor(start) {
    this.areas = start.areas;
    this.points = start.points; // [x, y, radius]
    this.kind = "object";
    this.radius = 20;
    this.tool = "move";
    this.selected = null; // an area, or a point
    this.draft = null; // an area that is being drawn
    this.held = null; // what is dragged: the mark and the last place
    this.past = []; // earlier states, for undo
  }

  plain() {
    return structuredClone({ areas: this.areas, points: this.points });
  }

  remember() {
    this.past.push(this.plain());
    if (this.past.length > 100) this.past.shift();
  }

  undo() {
    if (this.draft) {
      this.draft = null;
      return;
    }
    const before = this.past.pop();
    if (before) [this.areas, this.points, this.selected] = [before.areas, before.points, null];
  }

  remove(mark = this.selected) {
    if (!mark) return;
    this.remember();
    this.areas = this.areas.filter((one) => one !== mark);
    this.points = this.points.filter((one) => one !== mark);
    this.selected = null;
  }

  /** The ellipse that is selected, or null. */
  get ellipse() {
    return this.selected?.shape === "ellipse" ? this.selected : null;
  }

  /** Turn the selected ellipse by so many degrees. */
  turn(degrees) {
    if (!this.ellipse) return;
    this.remember();
    this.ellipse.angle = sameAngle(this.ellipse.angle + degrees);
  }

  /** Start with the pointer at x, y of the frame; true if the mark takes the drag. */
  down(x, y, zoom) {
    [x, y] = [round(x), round(y)];
    const handle = this.ellipse && handlesOf(this.ellipse, zoom).find(([, u, v]) => Math.hypot(x - u, y - v) < NEAR_PX / zoom);
    if (handle) {
      this.remember();
      this.held = { mark: this.selected, handle: handle[0], x, y };
      return true;
    }
    const there = this.at(x, y, NEAR_PX / zoom);
    const takesHold = this.tool === "move" || (this.tool === "point" && this.points.includes(there));
    if (takesHold) {
      this.selected = there;
      if (!there) return false;
      this.remember();
      this.held = { mark: there, x, y };
      return true;
    }
    if (this.tool === "polygon") {
      if (!this.draft) this.draft = { kind: this.kind, shape: "polygon", points: [] };
      const [first] = this.draft.points;
      if (first && this.draft.points.length > 2 && Math.hypot(x - first[0], y - first[1]) < NEAR_PX / zoom) this.close();
      else this.draft.points.push([x, y]);
    } else if (this.tool === "point") {
      this.remember();
      this.points.push([x, y, this.radius]);
      this.selected = this.points.at(-1);
      this.held = { mark: this.selected, x, y };
    } else if (this.tool === "ellipse") {
      this.draft = { kind: this.kind, shape: "ellipse", x, y, rx: 0, ry: 0, angle: 0, from: [x, y] };
    } else {
      this.draft = { kind: this.kind, shape: "brush", points: [[x, y]], radius: this.radius };
    }
    return true;
  }

  move(x, y, zoom) {
    [x, y] = [round(x), round(y)];
    if (this.held) {
      const { mark, handle } = this.held;
      if (handle) dragHandle(mark, handle, x, y);
      else this.shift(mark, x - this.held.x, y - this.held.y);
      [this.held.x, this.held.y] = [x, y];
    } else if (this.draft?.shape === "ellipse") {
      const [u, v] = this.draft.from;
      Object.assign(this.draft, { x: round((u + x) / 2), y: round((v + y) / 2), rx: round(Math.abs(x - u) / 2), ry: round(Math.abs(y - v) / 2) });
    } else if (this.draft?.shape === "brush") {
      const [u, v] = this.draft.points.at(-1);
      if (Math.hypot(x - u, y - v) > 2 / zoom) this.draft.points.push([x, y]);
    } else return false;
    return true;
  }

  up() {
    this.held = null;
    if (this.draft && this.draft.shape !== "polygon") this.close();
  }

  /** End the area that is drawn; one without extent is dropped. */
  close() {
    const { from, ...area } = this.draft ?? {};
    this.draft = null;
    const empty = area.shape === "ellipse" ? !(area.rx >= 0.5 && area.ry >= 0.5)
      : area.shape === "polygon" ? area.points.length < 3 : !area.points;
    if (empty) return;
    this.remember();
    this.areas.push(area);
    this.selected = area;
  }

  /** Place a mark at x, y without a pointer. */
  place(x, y) {
    [x, y] = [round(x), round(y)];
    if (this.tool === "polygon") return this.close();
    if (this.tool === "point") {
      this.remember();
      this.points.push([x, y, this.radius]);
      this.selected = this.points.at(-1);
    } else if (this.tool !== "move") {
      const size = this.tool === "ellipse" ? { x, y, rx: this.radius, ry: this.radius, angle: 0 } : { points: [[x, y]], radius: this.radius };
      this.draft = { kind: this.kind, shape: this.tool, ...size };
      this.close();
    }
  }

  shift(mark, dx, dy) {
    const corners = Array.isArray(mark) ? [mark] : (mark.points ?? []);
    for (const one of corners) [one[0], one[1]] = [round(one[0] + dx), round(one[1] + dy)];
    if (mark.shape === "ellipse") [mark.x, mark.y] = [round(mark.x + dx), round(mark.y + dy)];
  }

  at(x, y, near) {
    const point = this.points.findLast(([u, v, r]) => Math.hypot(x - u, y - v) <= Math.max(near, r));
    return point ?? this.areas.findLast((one) => contains(one, x, y, near)) ?? null;
  }

  label(mark) {
    if (Array.isArray(mark)) return `Sky at ${mark[0].toFixed(0)}, ${mark[1].toFixed(0)}`;
    const [x, y] = mark.points ? mark.points[0] : [mark.x, mark.y];
    const turned = mark.angle ? `, ${mark.angle.toFixed(0)}°` : "";
    return `${SHAPES[mark.shape]} at ${x.toFixed(0)}, ${y.toFixed(0)}${turned}`;
  }

  draw(picture) {
    const { context } = picture;
    context.lineJoin = context.lineCap = "round";
    for (const area of [...this.areas, ...(this.draft ? [this.draft] : [])]) drawArea(picture, area, area === this.selected, area === this.draft);
    for (const point of this.points) drawPoint(picture, point, point === this.selected);
  }
}

function contains(area, x, y, near) {
  if (area.shape === "ellipse") return insideEllipse(area, x, y, near);
  if (area.shape === "brush") return area.points.some(([u, v]) => Math.hypot(x - u, y - v) <= area.radius + near);
  let inside = false;
  area.points.forEach(([u, v], i) => {
    const [s, t] = area.points.at(i - 1);
    if (v > y !== t > y && x < ((s - u) * (y - v)) / (t - v) + u) inside = !inside;
  });
  return inside;
}

function drawArea(picture, area, selected, open) {
  const { context, zoom } = picture;
  const colour = COLOURS[area.kind];
  context.beginPath();
  if (area.shape === "ellipse") traceEllipse(picture, area);
  else {
    area.points.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](...picture.toScreen(x, y)));
    if (area.shape === "polygon" && !open) context.closePath();
  }
  if (area.shape === "brush") {
    if (area.points.length === 1) context.lineTo(...picture.toScreen(area.points[0][0] + 0.01, area.points[0][1]));
    context.strokeStyle = `${colour}${selected ? "88" : "5c"}`;
    context.lineWidth = Math.max(1, 2 * area.radius * zoom);
    context.stroke();
    return;
  }
  if (selected || open) { // others leave the colours below them as they are
    context.fillStyle = `${colour}26`;
    context.fill();
  }
  context.strokeStyle = colour;
  context.lineWidth = selected ? 2.5 : 1.5;
  context.stroke();
  if (selected && area.shape === "ellipse") drawHandles(picture, area, colour);
  if (open && area.shape === "polygon") {
    const [u, v] = picture.toScreen(...area.points[0]);
    context.strokeRect(u - 3.5, v - 3.5, 7, 7);
  }
}

function drawPoint(picture, [x, y, radius], selected) {
  const { context, zoom } = picture;
  const [u, v] = picture.toScreen(x, y);
  context.strokeStyle = COLOURS.sky;
  context.lineWidth = selected ? 2.5 : 1.5;
  context.beginPath();
  context.arc(u, v, Math.max(4, radius * zoom), 0, 2 * Math.PI);
  context.stroke();
  context.fillStyle = COLOURS.sky;
  context.beginPath();
  context.arc(u, v, 2, 0, 2 * Math.PI);
  context.fill();
}
