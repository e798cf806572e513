// The picture: planes on their places in the frame, zoom, pan, split, and what lies over it.

import { paint, tableOf } from "./stretch.js";

const LARGEST_ZOOM = 32; // pixels of the screen for one of the frame
const OBJECT = [230, 90, 40]; // colour of what is left out, as in the picture of the command

/** A canvas of its own for one plane; painted again when the stretch changes. */
export class Layer {
  constructor(plane) {
    this.plane = plane;
    this.canvas = document.createElement("canvas");
    this.canvas.width = plane.width;
    this.canvas.height = plane.height;
    this.context = this.canvas.getContext("2d");
    this.pixels = this.context.createImageData(plane.width, plane.height);
    this.words = new Uint32Array(this.pixels.data.buffer);
    this.tables = [];
    this.key = "";
  }

  /** Stretch the plane; `levels` has one row for each channel, `channel` is null for all. */
  stretch({ levels, target, channel, within, thresholds }) {
    const { plane } = this;
    const key = JSON.stringify([levels, target, channel, within, thresholds]);
    if (key === this.key) return;
    this.key = key;
    const made = new Map(); // channels with the same numbers share a table
    this.tables = plane.values.map((values, c) => {
      const same = JSON.stringify([plane.channels[c], levels[c], plane.offset[c]]);
      if (!made.has(same)) made.set(same, tableOf(values, levels[c], target, plane.offset[c], within));
      return made.get(same);
    });
    const shown = channel === null || plane.codes.length === 1 ? plane.codes.map((_, c) => c) : [channel];
    paint(this.words, shown.map((c) => plane.codes[c]), shown.map((c) => this.tables[c]), thresholds);
    this.context.putImageData(this.pixels, 0, 0);
  }

  /** Paint weights: grey as a view, or orange over another one. */
  weigh(tint) {
    const key = `weights ${tint}`;
    if (key === this.key) return;
    this.key = key;
    const [codes] = this.plane.codes;
    const [r, g, b] = OBJECT;
    for (let i = 0; i < codes.length; i++) {
      const w = codes[i] / 65535;
      const grey = 22 + 200 * w;
      this.words[i] = tint
        ? ((115 * w) << 24) | (b << 16) | (g << 8) | r
        : (255 << 24) | (grey << 16) | (grey << 8) | grey;
    }
    this.context.putImageData(this.pixels, 0, 0);
  }
}

/** Zoom and place of the view. Frame coordinates: the centre of the first pixel is 0, 0. */
export class Picture {
  constructor(canvas, width, height) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.frame = { width, height };
    this.zoom = 1; // CSS pixels for a pixel of the frame
    this.x = width / 2 - 0.5;
    this.y = height / 2 - 0.5;
    this.whole = true;
    this.divider = 0.5; // part of the canvas that shows the input
  }

  get size() {
    return { width: this.canvas.clientWidth, height: this.canvas.clientHeight };
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.size.width * ratio));
    this.canvas.height = Math.max(1, Math.round(this.size.height * ratio));
    if (this.whole) this.fit();
  }

  fit() {
    const { width, height } = this.size;
    const margin = 0.96;
    this.zoom = Math.max(1e-3, margin * Math.min(width / this.frame.width, height / this.frame.height));
    this.x = this.frame.width / 2 - 0.5;
    this.y = this.frame.height / 2 - 0.5;
    this.whole = true;
  }

  toScreen(x, y) {
    const { width, height } = this.size;
    return [width / 2 + (x - this.x) * this.zoom, height / 2 + (y - this.y) * this.zoom];
  }

  toFrame(u, v) {
    const { width, height } = this.size;
    return [this.x + (u - width / 2) / this.zoom, this.y + (v - height / 2) / this.zoom];
  }

  zoomAt(factor, u = this.size.width / 2, v = this.size.height / 2) {
    const [x, y] = this.toFrame(u, v);
    const smallest = 0.2 * Math.min(this.size.width / this.frame.width, this.size.height / this.frame.height);
    this.zoom = Math.min(LARGEST_ZOOM, Math.max(smallest, this.zoom * factor));
    const [now, then] = this.toFrame(u, v);
    this.x += x - now;
    this.y += y - then;
    this.whole = false;
  }

  pan(du, dv) {
    const inside = (place, side) => Math.min(side - 1, Math.max(0, place));
    this.x = inside(this.x - du / this.zoom, this.frame.width);
    this.y = inside(this.y - dv / this.zoom, this.frame.height);
    this.whole = false;
  }

  /** Draw layers from below; `split` clips `before` to the left of the divider. */
  draw({ before, detail, after, overlay, split }) {
    const ratio = this.canvas.width / Math.max(1, this.size.width);
    const { context } = this;
    const { width, height } = this.size;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    this.drawLayer(before);
    if (detail) this.drawLayer(detail);
    if (after && after !== before) {
      context.save();
      if (split) {
        context.beginPath();
        context.rect(this.divider * width, 0, width, height);
        context.clip();
      }
      this.drawLayer(after);
      context.restore();
    }
    if (overlay) this.drawLayer(overlay, true);
    if (split) this.drawDivider(width, height);
  }

  drawLayer(layer, smooth = false) {
    const { plane } = layer;
    const [u, v] = this.toScreen(plane.x - 0.5, plane.y - 0.5);
    const side = this.zoom * plane.factor;
    this.context.imageSmoothingEnabled = smooth || side < 2;
    this.context.imageSmoothingQuality = "high";
    this.context.drawImage(layer.canvas, u, v, plane.width * side, plane.height * side);
  }

  drawDivider(width, height) {
    const { context } = this;
    const u = Math.round(this.divider * width) + 0.5;
    context.strokeStyle = "rgb(255 255 255 / .75)";
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(u, 0);
    context.lineTo(u, height);
    context.stroke();
    context.fillStyle = "#dfe3e8";
    context.beginPath();
    context.roundRect(u - 3, height / 2 - 18, 6, 36, 3);
    context.fill();
  }
}

/** Draw the counts of each channel, and where the thresholds lie. */
export function drawHistogram(canvas, counts, within) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  const colours = counts.length === 1 ? ["#8a95a5"] : ["#8f3d3f", "#347044", "#305390"];
  const top = Math.max(1, ...counts.map((one) => Math.max(...one.slice(1, -1))));
  context.globalCompositeOperation = "lighter";
  counts.forEach((one, c) => {
    context.fillStyle = colours[c];
    context.globalAlpha = counts.length === 1 ? 0.9 : 0.8;
    context.beginPath();
    context.moveTo(0, height);
    one.forEach((count, i) => {
      const tall = Math.sqrt(Math.min(1, count / top)); // the root shows faint ends, too
      context.lineTo(((i + 0.5) / one.length) * width, height - tall * (height - 6));
    });
    context.lineTo(width, height);
    context.fill();
  });
  context.globalAlpha = 1;
  context.globalCompositeOperation = "source-over";
  if (!within) return;
  context.strokeStyle = "#dfe3e8";
  within.forEach((place) => {
    const u = Math.min(width - 1, Math.max(1, place * width));
    context.beginPath();
    context.moveTo(u, 0);
    context.lineTo(u, height);
    context.stroke();
  });
}
