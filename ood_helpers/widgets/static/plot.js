// What plots on a canvas share: colours, ticks, axes, lines and bars.
import { formatFixed } from "./formats.js";
import { h } from "./view.js";

/** Colours for the page as it is now: the text's own colour shows whether the page is dark. */
export function theme(root) {
  const style = getComputedStyle(root);
  const [r, g, b] = style.color.match(/[\d.]+/g).map(Number);
  const dark = r * 0.3 + g * 0.59 + b * 0.11 > 128;
  return {
    dark,
    ink: (alpha) => `rgba(${r},${g},${b},${alpha})`,
    id: dark ? "#3a9bdc" : "#0072b2",
    ood: dark ? "#ff7f2a" : "#d55e00",
    paper: dark ? "#111" : "#fff",
    font: style.fontFamily,
  };
}

/** A cleared canvas in device pixels, with its context scaled to CSS pixels: [context, width, height]. */
export function sheet(canvas) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const ratio = window.devicePixelRatio || 1;
  const size = { width: Math.round(width * ratio), height: Math.round(height * ratio) };
  if (canvas.width !== size.width || canvas.height !== size.height) Object.assign(canvas, size);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return [context, width, height];
}

/** About `wanted` round numbers between low and high: [[value, text], ...]. */
export function ticks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= rough * 0.999);
  const digits = Math.min(6, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
  const out = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++)
    out.push([k * step, formatFixed(k * step, digits)]);
  return out;
}

/** At most about `wanted` powers of ten from 10^low to 10^high: [[value, text], ...]. */
export function powers(low, high, wanted) {
  const step = Math.max(1, Math.ceil((high - low) / wanted));
  const digits = [..."⁰¹²³⁴⁵⁶⁷⁸⁹"];
  const raised = (k) => (k < 0 ? "⁻" : "") + [...String(Math.abs(k))].map((digit) => digits[digit]).join("");
  const exponents = Array.from({ length: Math.floor((high - low) / step) + 1 }, (_, k) => high - k * step);
  return exponents.map((k) => [10 ** k, Math.abs(k) < 2 ? String(10 ** k) : `10${raised(k)}`]);
}

export const SHARE_TICKS = [
  [0, "0"],
  [0.5, "50"],
  [1, "100"],
];

/** Axes of a panel, with ticks, grid and names; returns {x, y} from value to pixel. `log` makes y logarithmic. */
export function axes(context, look, box, { x, y, xTicks, yTicks, xName, yName, title, log = false }) {
  const [left, top, width, height] = box;
  const [bottom, right] = [top + height, left + width];
  const px = (v) => left + ((v - x[0]) / (x[1] - x[0])) * width;
  const unit = log
    ? (v) => Math.log(Math.max(v, y[0]) / y[0]) / Math.log(y[1] / y[0])
    : (v) => (v - y[0]) / (y[1] - y[0]);
  const py = (v) => bottom - unit(v) * height;
  context.font = `11px ${look.font}`;
  context.lineWidth = 1;
  for (const [value, text] of yTicks) {
    const at = Math.round(py(value)) + 0.5;
    context.strokeStyle = look.ink(0.12);
    line(context, [left, at], [right, at]);
    write(context, text, left - 6, at, look.ink(0.72), "right", "middle");
  }
  for (const [value, text] of xTicks) {
    const at = Math.round(px(value)) + 0.5;
    context.strokeStyle = look.ink(0.45);
    line(context, [at, bottom], [at, bottom + 4]);
    write(context, text, at, bottom + 7, look.ink(0.72), "center", "top");
  }
  context.strokeStyle = look.ink(0.45);
  line(context, [left, bottom + 0.5], [right, bottom + 0.5]);
  if (xName) write(context, xName, left + width / 2, bottom + 22, look.ink(0.85), "center", "top", width + 22);
  if (title) {
    context.font = `600 12px ${look.font}`;
    write(context, title, left, top - 9, look.ink(0.9), "left", "bottom", width + 10);
  }
  if (yName) {
    context.save();
    context.font = `11px ${look.font}`;
    context.translate(left - 40, top + height / 2);
    context.rotate(-Math.PI / 2);
    write(context, yName, 0, 0, look.ink(0.85), "center", "bottom");
    context.restore();
  }
  return { x: px, y: py, top };
}

export function write(context, text, x, y, color, align = "left", baseline = "alphabetic", room = undefined) {
  Object.assign(context, { fillStyle: color, textAlign: align, textBaseline: baseline });
  context.fillText(text, x, y, room);
}

/** A line through [x, y] points. */
export function line(context, ...points) {
  context.beginPath();
  points.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

export function dashed(context, pattern, ...points) {
  context.setLineDash(pattern);
  line(context, ...points);
  context.setLineDash([]);
}

/** A filled circle with an outline, both in the colours that are set. */
export function dot(context, x, y, radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 7);
  context.fill();
  context.stroke();
}

const patterns = new Map(); // of stripes in a colour

/** Diagonal stripes: the second cue of everything OOD, besides its colour. */
function stripes(context, color) {
  if (patterns.has(color)) return patterns.get(color);
  const tile = h("canvas", { width: 12, height: 12 });
  const pen = tile.getContext("2d");
  Object.assign(pen, { strokeStyle: color, lineWidth: 2.6 });
  for (const shift of [-12, 0, 12]) line(pen, [shift - 1, 13], [shift + 13, -1]);
  const pattern = context.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(0.5));
  patterns.set(color, pattern);
  return pattern;
}

/** Bars of the ID set filled, of the OOD set striped and outlined; `ood` may be null. */
export function bars(context, look, axis, edges, id, ood, base) {
  const [left, right] = [axis.x(edges[0]), axis.x(edges[edges.length - 1])];
  const outline = (values) => {
    context.beginPath();
    context.moveTo(left, base);
    values.forEach((v, k) => {
      context.lineTo(axis.x(edges[k]), axis.y(v));
      context.lineTo(axis.x(edges[k + 1]), axis.y(v));
    });
    context.lineTo(right, base);
  };
  context.save();
  context.beginPath();
  context.rect(left - 1, axis.top - 1, right - left + 2, base - axis.top + 2);
  context.clip();
  outline(id);
  Object.assign(context, { globalAlpha: 0.78, fillStyle: look.id });
  context.fill();
  if (ood) {
    outline(ood);
    Object.assign(context, { globalAlpha: 1, fillStyle: stripes(context, look.ood) });
    context.fill();
    Object.assign(context, { strokeStyle: look.ood, lineWidth: 1.5 });
    context.stroke();
  }
  context.restore();
}
