// Geometry of an ellipse in the frame: centre, half axes, and its angle as in DS9.
// The angle is in degrees from the x axis towards the y axis (columns towards rows).

const RADIAN = Math.PI / 180;
const KNOB_PX = 24; // CSS pixels; from the end of the first axis to the knob that turns it
const LEAST_PX = 0.5; // half axis in pixels of the frame

export const round = (value) => Math.round(value * 100) / 100;
const directions = ({ angle }) => [Math.cos(angle * RADIAN), Math.sin(angle * RADIAN)];

/** An angle of the same ellipse from -90 to 90 degrees. */
export const sameAngle = (angle) => round(((((angle + 90) % 180) + 180) % 180) - 90);

/** Whether a place is inside, or nearer to the rim than `near`. */
export function insideEllipse(ellipse, x, y, near = 0) {
  const [along, across] = onAxes(ellipse, x, y);
  return (along / (ellipse.rx + near)) ** 2 + (across / (ellipse.ry + near)) ** 2 <= 1;
}

/** Coordinates along the two axes from the centre. */
function onAxes(ellipse, x, y) {
  const [c, s] = directions(ellipse);
  const dx = x - ellipse.x, dy = y - ellipse.y;
  return [c * dx + s * dy, c * dy - s * dx];
}

/** What can be dragged: [name, x, y] of both ends of both axes, and of the knob that turns. */
export function handlesOf(ellipse, zoom) {
  const [c, s] = directions(ellipse);
  const { x, y, rx, ry } = ellipse;
  const far = rx + KNOB_PX / zoom;
  return [
    ["turn", x + far * c, y + far * s],
    ["rx", x + rx * c, y + rx * s], ["rx", x - rx * c, y - rx * s],
    ["ry", x - ry * s, y + ry * c], ["ry", x + ry * s, y - ry * c],
  ];
}

/** Take a handle to a place. */
export function dragHandle(ellipse, name, x, y) {
  const [along, across] = onAxes(ellipse, x, y);
  if (name === "turn") ellipse.angle = sameAngle(Math.atan2(y - ellipse.y, x - ellipse.x) / RADIAN);
  else if (name === "rx") ellipse.rx = Math.max(LEAST_PX, round(Math.abs(along)));
  else ellipse.ry = Math.max(LEAST_PX, round(Math.abs(across)));
}

/** Add the outline to a path of the screen. */
export function traceEllipse(picture, ellipse) {
  const [u, v] = picture.toScreen(ellipse.x, ellipse.y);
  picture.context.ellipse(u, v, ellipse.rx * picture.zoom, ellipse.ry * picture.zoom, ellipse.angle * RADIAN, 0, 2 * Math.PI);
}

/** Draw the handles of a selected ellipse. */
export function drawHandles(picture, ellipse, colour) {
  const { context, zoom } = picture;
  const [knob, end] = handlesOf(ellipse, zoom).map(([, x, y]) => picture.toScreen(x, y));
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(...end);
  context.lineTo(...knob);
  context.stroke();
  context.fillStyle = "#0b0d11";
  context.lineWidth = 1.5;
  for (const [name, x, y] of handlesOf(ellipse, zoom)) {
    context.beginPath();
    context.arc(...picture.toScreen(x, y), name === "turn" ? 5 : 4, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }
}
