// The playground's plots: the map of the plane, the loss curve, a line through the plane, and softmax at a point.
import { formatPercent, formatScore } from "./formats.js";
import { highest, lowerBound } from "./logits.js";
import { SHARE_TICKS, axes, dashed, dot, line, powers, sheet, ticks, write } from "./plot.js";
import { h } from "./view.js";

const COLUMNS = 108; // of the map
const ROWS = 81;
export const ASPECT = 4 / 3;
const SIGNS = ["●", "■", "▲"]; // of the classes, whose points are drawn in these shapes

/** A picture of values over the plane, {canvas, low, high, shade, paint}. */
export function openMap({ shades, classes }) {
  const canvas = h("canvas", { width: COLUMNS, height: ROWS });
  let painted = "";
  /** A share of the colour scale as [red, green, blue]. */
  const shade = (share) => {
    const last = shades.length - 1;
    const at = Math.min(last - 0.001, Math.max(0, share) * last);
    const k = Math.floor(at);
    return shades[k].map((c, i) => c + (shades[k + 1][i] - c) * (at - k));
  };
  return {
    canvas,
    low: 0,
    high: 1,
    shade,
    /** Paint `valueAt(x, y)`, unless that is what it shows already: `of` names it. */
    paint(of, { show, reach }, valueAt) {
      if (painted === of) return;
      painted = of;
      const values = Array.from({ length: ROWS * COLUMNS }, (_, k) => {
        const [row, column] = [Math.floor(k / COLUMNS), k % COLUMNS];
        const x = (((column + 0.5) / COLUMNS) * 2 - 1) * reach * ASPECT;
        return valueAt(x, (1 - ((row + 0.5) / ROWS) * 2) * reach);
      });
      [this.low, this.high] = show === "norm" ? [0, Math.max(1e-9, highest(values))] : [1 / classes.length, 1];
      const pen = canvas.getContext("2d");
      const image = pen.createImageData(COLUMNS, ROWS);
      values.forEach((value, k) => {
        image.data.set([...shade((value - this.low) / (this.high - this.low)), 255], 4 * k);
      });
      pen.putImageData(image, 0, 0);
    },
  };
}

/** The training loss over the steps; the curves before it are dashed. */
export function drawLossCurve(canvas, { s, meta, look, curve, former }) {
  const [pen, width, height] = sheet(canvas);
  const box = [38, 26, width - 50, height - 52];
  const all = [...former, curve].flat().filter((v) => v > 0);
  const decade = (v) => Math.ceil(Math.log10(v) - 1e-9);
  const [low, high] = [Math.max(-6, decade(Math.min(...all)) - 1), Math.max(1, decade(Math.max(...all)))];
  const { steps } = meta.training;
  const axis = axes(pen, look, box, {
    x: [0, steps],
    y: [10 ** low, 10 ** high],
    xTicks: ticks(0, steps, 3),
    yTicks: powers(low, high, 4),
    title: former.length ? "Training loss (before: dashed)" : "Training loss",
    log: true,
  });
  const path = (values) => values.map((v, k) => [axis.x(k), axis.y(v)]);
  if (s.loss === "logitnorm") {
    const bound = axis.y(lowerBound(meta.classes.length, s.temperature));
    pen.strokeStyle = look.ink(0.5);
    dashed(pen, [1, 3], [axis.x(0), bound], [axis.x(steps), bound]);
  }
  former.forEach((values, k) => {
    Object.assign(pen, { strokeStyle: look.ink(k ? 0.3 : 0.55), lineWidth: 1.2 });
    dashed(pen, [4, 3], ...path(values));
  });
  Object.assign(pen, { strokeStyle: look.id, lineWidth: 2, lineJoin: "round" });
  line(pen, ...path(curve));
  const bound = s.loss === "logitnorm" ? "; the dotted line is the least that this loss can reach" : "";
  const last = curve[curve.length - 1];
  canvas.setAttribute(
    "aria-label",
    `Training loss from ${formatScore(curve[0])} to ${formatScore(last)} in ${curve.length} steps${bound}`,
  );
}

/** The map with the training points and the point; returns its geometry. */
export function drawPlane(canvas, { s, meta, look, map, covered }) {
  const [pen, width, height] = sheet(canvas);
  const box = [34, 6, width - 100, height - 34];
  const [left, top, wide, tall] = box;
  const x = (v) => left + (wide * (v / (s.reach * ASPECT) + 1)) / 2;
  const y = (v) => top + (tall * (1 - v / s.reach)) / 2;
  Object.assign(pen, { imageSmoothingEnabled: true, imageSmoothingQuality: "high", font: `11px ${look.font}` });
  if (covered) Object.assign(pen, { fillStyle: look.ink(0.45) }).fillRect(...box);
  else pen.drawImage(map.canvas, ...box);
  for (const [v, text] of ticks(-s.reach * ASPECT, s.reach * ASPECT, 7))
    write(pen, text, x(v), top + tall + 6, look.ink(0.72), "center", "top");
  for (const [v, text] of ticks(-s.reach, s.reach, 5))
    write(pen, text, left - 6, y(v), look.ink(0.72), "right", "middle");
  const radius = Math.max(1.6, Math.min(4.5, 14 / s.reach));
  meta.points.forEach((point, k) =>
    drawPoint(pen, x(point[0]), y(point[1]), radius, meta.colors, meta.labels[k] % SIGNS.length),
  );
  pen.save();
  pen.beginPath();
  pen.rect(...box);
  pen.clip();
  const [size, far] = [Math.hypot(s.x, s.y) || 1, s.reach * 2];
  Object.assign(pen, { strokeStyle: "rgba(255,255,255,.9)", lineWidth: 1.2 });
  dashed(pen, [5, 4], [x(0), y(0)], [x((s.x / size) * far), y((s.y / size) * far)]);
  drawTarget(pen, x(s.x), y(s.y));
  pen.restore();
  if (!covered) drawScale(pen, look, left + wide + 14, top, tall, s.show, map);
  return { left, top, wide, tall, reach: s.reach };
}

function drawPoint(pen, x, y, radius, colors, kind) {
  const [fillStyle, strokeStyle] = colors[kind];
  Object.assign(pen, { fillStyle, strokeStyle, lineWidth: 0.8 });
  pen.beginPath();
  if (SIGNS[kind] === "●") pen.arc(x, y, radius, 0, 7);
  else if (SIGNS[kind] === "■") pen.rect(x - radius * 0.9, y - radius * 0.9, radius * 1.8, radius * 1.8);
  else {
    pen.moveTo(x, y - radius * 1.2);
    pen.lineTo(x + radius * 1.1, y + radius * 0.8);
    pen.lineTo(x - radius * 1.1, y + radius * 0.8);
    pen.closePath();
  }
  pen.fill();
  pen.stroke();
}

/** The point whose prediction is shown: a ring with a cross that is seen on any colour. */
function drawTarget(pen, x, y) {
  for (const [strokeStyle, lineWidth] of [
    ["#111", 5],
    ["#fff", 2.5],
  ]) {
    Object.assign(pen, { strokeStyle, lineWidth });
    pen.beginPath();
    pen.arc(x, y, 8, 0, 7);
    pen.stroke();
    line(pen, [x - 3.5, y], [x + 3.5, y]);
    line(pen, [x, y - 3.5], [x, y + 3.5]);
  }
}

function drawScale(pen, look, left, top, tall, show, { shade, low, high }) {
  for (let k = 0; k < 100; k++) {
    pen.fillStyle = `rgb(${shade(k / 99).map(Math.round)})`;
    pen.fillRect(left, top + tall * (1 - (k + 1) / 100), 10, tall / 100 + 1);
  }
  ["bottom", "middle", "top"].forEach((baseline, k) => {
    const value = low + ((high - low) * k) / 2;
    const text = show === "norm" ? formatScore(value) : `${Math.round(100 * value)} %`;
    write(pen, text, left + 14, top + tall * (1 - k / 2), look.ink(0.8), "left", baseline);
  });
}

/** What the map shows, along the line from the middle through the point. */
export function drawRay(canvas, { s, look, valueAt }) {
  const [pen, width, height] = sheet(canvas);
  const box = [38, 26, width - 50, height - 68];
  const size = Math.hypot(s.x, s.y) || 1;
  const far = Math.max(size * 1.1, s.reach);
  const along = Array.from({ length: 120 }, (_, k) => (k / 119) * far);
  const values = along.map((d) => valueAt((s.x / size) * d, (s.y / size) * d));
  const norm = s.show === "norm";
  const high = norm ? Math.max(...values) * 1.05 : 1;
  const axis = axes(pen, look, box, {
    x: [0, far],
    y: [0, high],
    xTicks: ticks(0, far, 4),
    yTicks: norm ? ticks(0, high, 3) : SHARE_TICKS,
    title: norm ? "Norm along the line" : "Along the dashed line, %",
    xName: "Distance from the middle",
  });
  Object.assign(pen, { strokeStyle: look.ink(0.9), lineWidth: 1.8, lineJoin: "round" });
  line(pen, ...along.map((d, k) => [axis.x(d), axis.y(values[k])]));
  Object.assign(pen, { fillStyle: look.paper, lineWidth: 2, strokeStyle: look.ink(1) });
  dot(pen, axis.x(Math.hypot(s.x, s.y)), axis.y(valueAt(s.x, s.y)), 4.5);
  canvas.setAttribute("aria-label", "The same along the line from the middle through the point");
}

export function drawSoftmax(canvas, { here, meta, look }) {
  const [pen, width, height] = sheet(canvas);
  const box = [38, 26, width - 50, height - 52];
  const [, top, wide, tall] = box;
  const count = here.p.length;
  const title = "Softmax at the point, %";
  const axis = axes(pen, look, box, { x: [0, count], y: [0, 1], xTicks: [], yTicks: SHARE_TICKS, title });
  const base = top + tall;
  pen.font = `11px ${look.font}`;
  here.p.forEach((p, k) => {
    pen.fillStyle = k === here.best ? look.id : look.ink(0.38);
    pen.fillRect(axis.x(k + 0.2), axis.y(p), (wide / count) * 0.6, Math.max(1, base - axis.y(p)));
    const name = `${meta.classes[k]} ${SIGNS[k % SIGNS.length]}`;
    write(pen, name, axis.x(k + 0.5), base + 6, look.ink(0.85), "center", "top");
  });
  const words = here.p.map((p, k) => `${meta.classes[k]} ${formatPercent(p)}`).join(", ");
  canvas.setAttribute("aria-label", `Softmax at the point: ${words}`);
}
