// The stretch of `common.stretch.MtfStretch`, number by number, and tables of it for 16-bit codes.

export const CODES = 65536; // of a plane; 0 is a missing pixel
const FIRST_QUANTILE = 0.5;
export const BLUE_BLACK = [9, 11, 15]; // grey of missing pixels: that of the page

/** The curve through 0, (midtones, 1 / ratio) and 1. */
export function mtf(x, midtones, ratio) {
  return ((1 - midtones) * x) / ((1 - ratio * midtones) * x + (ratio - 1) * midtones);
}

/** The quantile of a plane's pixels: linear between the steps that were sent. */
export function quantileOf(level, quantile) {
  const last = level.quantiles.length - 1;
  const place = Math.min(last, Math.max(0, ((quantile - FIRST_QUANTILE) / (1 - FIRST_QUANTILE)) * last));
  const nearest = Math.round(place);
  if (Math.abs(place - nearest) < 1e-9) return level.quantiles[nearest];
  const below = Math.floor(place);
  return level.quantiles[below] + (place - below) * (level.quantiles[below + 1] - level.quantiles[below]);
}

/**
 * Pedestal, scale and midtones of a channel, as `MtfStretch.fit` has them.
 * shadows: null for the minimum, else sigma below the median.
 */
export function levelsOf(level, { quantile, shadows }) {
  const lowest = level.minimum;
  const pedestal = shadows === null ? lowest : Math.max(lowest, level.median - shadows * level.sigma);
  const scale = quantileOf(level, quantile) - pedestal;
  const midtones = (level.median - pedestal) / scale;
  if (!(midtones > 0 && midtones < 1)) return { pedestal, scale: scale > 0 ? scale : 1, midtones: 0.5 };
  return { pedestal, scale, midtones };
}

/** The stretched value, 0 to 1, as `MtfStretch.forward` with clip. */
export function forward(value, { pedestal, scale, midtones }, target) {
  const x = Math.min(1, Math.max(0, (value - pedestal) / scale));
  return x < 1 ? mtf(x, midtones, 1 / target) : 1;
}

/** The linear values of all codes of a channel. */
export function valuesOf({ centre, scale, low, step }) {
  const values = new Float64Array(CODES);
  values[0] = NaN;
  for (let code = 1; code < CODES; code++) values[code] = centre + scale * Math.sinh(low + step * (code - 1));
  return values;
}

/** Grey (0 to 255) of all codes, and those whose stretched value lies outside of `within`. */
export function tableOf(values, levels, target, offset, within) {
  const grey = new Uint8Array(CODES);
  const outside = new Uint8Array(CODES); // 1: below, 2: above
  for (let code = 1; code < CODES; code++) {
    const shown = forward(values[code] + offset, levels, target);
    grey[code] = 255 * shown + 0.5;
    outside[code] = shown < within[0] ? 1 : shown > within[1] ? 2 : 0;
  }
  return { grey, outside };
}

const BELOW = [58, 110, 190]; // tint of pixels under the thresholds, and of those over them
const ABOVE = [214, 158, 60];
const TINT = 0.6; // part of the tint; what it lies over is still seen

/** Fill RGBA pixels from the codes of 1 or 3 channels with their tables. */
export function paint(out, codes, tables, thresholds) {
  const count = out.length;
  const rgba = (r, g, b) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  const missing = rgba(...BLUE_BLACK);
  const tinted = (mark, ...shown) => rgba(...(mark & 2 ? ABOVE : BELOW).map((tint, c) => TINT * tint + (1 - TINT) * shown[c]));
  if (codes.length === 1) {
    const colour = new Uint32Array(CODES);
    const { grey, outside } = tables[0];
    for (let code = 1; code < CODES; code++) {
      const g = grey[code];
      const mark = thresholds ? outside[code] : 0;
      colour[code] = mark ? tinted(mark, g, g, g) : rgba(g, g, g);
    }
    colour[0] = missing;
    const plane = codes[0];
    for (let i = 0; i < count; i++) out[i] = colour[plane[i]];
    return;
  }
  const [red, green, blue] = codes;
  const [r, g, b] = tables.map((one) => one.grey);
  const [ro, go, bo] = tables.map((one) => one.outside);
  for (let i = 0; i < count; i++) {
    const x = red[i], y = green[i], z = blue[i];
    out[i] = x && y && z ? ((255 << 24) | (b[z] << 16) | (g[y] << 8) | r[x]) >>> 0 : missing;
    if (thresholds) {
      const mark = ro[x] | go[y] | bo[z];
      if (mark) out[i] = tinted(mark, r[x], g[y], b[z]);
    }
  }
}

/** Counts of grey levels (bins) for each channel, on the stretched axis. */
export function histogram(codes, tables, bins = 256) {
  return codes.map((plane, channel) => {
    const counts = new Float64Array(bins);
    const { grey } = tables[channel];
    for (let i = 0; i < plane.length; i++) if (plane[i]) counts[(grey[plane[i]] * bins) >> 8]++;
    return counts;
  });
}

/** A plane as `View.encode` writes it. */
export function readPlane(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const size = header.width * header.height;
  const codes = header.channels.map((_, c) => new Uint16Array(buffer, 4 + length + 2 * size * c, size));
  return { ...header, codes, values: header.mask ? [] : header.channels.map(valuesOf) };
}
