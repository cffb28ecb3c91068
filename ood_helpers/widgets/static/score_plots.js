// The score explorer's plots: the histogram with its threshold, curves, logit norms, and expected costs.
import { formatPercent, formatScore } from "./formats.js";
import { SHARE_TICKS, axes, bars, dashed, dot, line, sheet, ticks, write } from "./plot.js";
import { probabilityTicks } from "./scores.js";

const DECADES = [1, 0.1, 0.01, 1e-3, 1e-4, 1e-5];
const MARGIN = { left: 52, right: 14 }; // of the histogram and of the costs below it

/** Round numbers of a score's axis, which for MSP is one of log-odds, as far apart as their texts need. */
function scoreTicks(score, low, high, width) {
  if (score !== "msp") return ticks(low, high, width / 90);
  let last = -Infinity;
  return probabilityTicks(low, high).filter(([key]) => {
    const at = ((key - low) / (high - low)) * width;
    if (at - last < 46) return false;
    last = at;
    return true;
  });
}

const scoreName = (s, meta) => meta.scores[s.score] + (s.score === "msp" ? ", logit axis" : "");

/** Height of the y axis: the largest share of the last epoch, of all explorers beside each other. */
export const heightOf = (s, peak) => (s.log_scale ? 1 : Math.min(1, peak * 1.12));

/**
 * The histogram; returns its geometry. `guess` is {covered, bars, limit} of a guess: shares of the OOD set in a few wide
 * bars, and a key; the OOD set and the true threshold are hidden while it is covered.
 */
export function drawScoreHistogram(canvas, { s, view, meta, look, peak, guess }) {
  const [pen, width, height] = sheet(canvas);
  const { low, high, counts, sizes } = view;
  const count = meta.bins;
  const edge = (k) => low + ((high - low) * k) / count;
  const box = [MARGIN.left, 24, width - MARGIN.left - MARGIN.right, height - 68];
  const [left, ceiling, wide, tall] = box;
  const base = ceiling + tall;
  const top = heightOf(s, peak);
  const bottom = s.log_scale ? Math.min(0.5 / Math.max(...sizes), 1e-3) : 0;
  const logTicks = () => DECADES.filter((v) => v >= bottom).map((v) => [v, `${+(v * 100).toPrecision(2)} %`]);
  const axis = axes(pen, look, box, {
    x: [low, high],
    y: [bottom, top],
    log: s.log_scale,
    xTicks: scoreTicks(s.score, low, high, wide),
    xName: scoreName(s, meta),
    yTicks: s.log_scale ? logTicks() : ticks(0, top * 100, 5).map(([v, text]) => [v / 100, `${text} %`]),
    yName: "Share of each set",
  });
  const edges = Array.from({ length: count + 1 }, (_, k) => edge(k));
  const shares = [counts.id, counts.ood].map((c, k) => c.map((v) => v / sizes[k]));
  bars(pen, look, axis, edges, shares[0], guess?.covered ? null : shares[1], base);
  pen.font = `11px ${look.font}`;
  for (let k = 0; k < count; k++) {
    const share = guess?.covered ? shares[0][k] : Math.max(shares[0][k], shares[1][k]);
    if (share <= top * 1.001) continue;
    const text = `▴ ${Math.round(100 * share)} %`; // a bar that leaves the picture
    write(pen, text, axis.x(edge(k + 0.5)), ceiling + 14, look.ink(1), "center", "middle");
  }
  if (guess) drawGuess(pen, look, axis, guess, [left, ceiling, wide, tall], { low, high });
  if (s.bin !== null && !guess?.covered) {
    const [a, b] = [axis.x(edge(s.bin)), axis.x(edge(s.bin + 1))];
    Object.assign(pen, { fillStyle: look.ink(0.1), strokeStyle: look.ink(0.8), lineWidth: 1 });
    pen.fillRect(a, ceiling, b - a, tall);
    pen.strokeRect(Math.round(a) + 0.5, ceiling + 0.5, Math.round(b - a), tall);
  }
  const within = (key) => Math.min(Math.max(axis.x(key), left), left + wide);
  const at = within(guess?.covered ? guess.limit : view.limit);
  pen.fillStyle = look.ink(0.06);
  pen.fillRect(left, ceiling, at - left, tall);
  Object.assign(pen, { strokeStyle: look.ink(0.95), fillStyle: look.ink(0.95), lineWidth: 2 });
  line(pen, [at, ceiling - 4], [at, base]);
  pen.beginPath();
  pen.roundRect(at - 5, base - 18, 10, 18, 3); // the grip
  pen.fill();
  pen.font = `11px ${look.font}`;
  if (at - left > 62) write(pen, "◂ rejected", at - 7, ceiling - 6, look.ink(0.85), "right", "bottom");
  if (left + wide - at > 62) write(pen, "accepted ▸", at + 7, ceiling - 6, look.ink(0.85), "left", "bottom");
  return { left, width: wide, at, base, top, tall };
}

/** Guessed shares as dashed outlines, each spread over the narrow bars that a wide one covers. */
function drawGuess(
  pen,
  look,
  axis,
  { covered, bars: shares, limit, narrow },
  [left, ceiling, wide, tall],
  { low, high },
) {
  const base = ceiling + tall;
  const x = (k) => left + (wide * k) / shares.length;
  const y = (k) => Math.max(ceiling, axis.y(shares[k] / narrow));
  pen.save();
  Object.assign(pen, { strokeStyle: look.ood, lineWidth: 2.5 });
  const outline = [[left, base]];
  shares.forEach((_, k) => outline.push([x(k), y(k)], [x(k + 1), y(k)]));
  dashed(pen, [6, 4], ...outline, [left + wide, base]);
  if (!covered) {
    const at = Math.min(Math.max(axis.x(limit), left), left + wide);
    Object.assign(pen, { strokeStyle: look.ink(0.8), lineWidth: 1.5 });
    dashed(pen, [4, 4], [at, ceiling], [at, base]);
    const right = limit > (low + high) / 2;
    pen.font = `11px ${look.font}`;
    write(pen, "your guess", at + (right ? -5 : 5), ceiling + 30, look.ink(0.85), right ? "right" : "left", "middle");
  }
  pen.restore();
}

/** ROC, and precision over recall, of the positive class. */
export function drawCurves(plots, { s, view, look }) {
  const [n, m] = view.sizes;
  const flip = s.positive === "ood";
  const [positive, negative] = flip ? ["OOD", "ID"] : ["ID", "OOD"];
  // Rates of the positive class, from how many ID and OOD images are accepted.
  const ratesOf = ([a, b]) =>
    flip
      ? { tpr: 1 - b / m, fpr: 1 - a / n, precision: (m - b) / (n - a + m - b) }
      : { tpr: a / n, fpr: b / m, precision: a / (a + b) };
  const curve = view.curve.map(ratesOf);
  if (flip) curve.reverse();
  const here = ratesOf(view.accepted);
  const byRecall = (rates) => [rates.tpr, rates.precision];
  const ends = [
    [0, 0],
    [1, 1],
  ];
  const roc = [ends[0], ...curve.map((rates) => [rates.fpr, rates.tpr]), ends[1]];
  drawCurve(plots.roc, "ROC, %", `${negative} taken for ${positive}`, look, roc, [here.fpr, here.tpr], ends);
  const pr = curve.filter((rates) => rates.tpr > 0).map(byRecall);
  const point = Number.isFinite(here.precision) ? byRecall(here) : null;
  drawCurve(plots.pr, "Precision, %", `Recall of ${positive}`, look, pr, point);
}

function drawCurve(canvas, title, xName, look, points, point, diagonal = null) {
  const [pen, width, height] = sheet(canvas);
  const box = [32, 26, width - 44, height - 66];
  const ranges = { x: [0, 1], y: [0, 1], xTicks: SHARE_TICKS, yTicks: SHARE_TICKS };
  const axis = axes(pen, look, box, { ...ranges, title, xName });
  const place = ([x, y]) => [axis.x(x), axis.y(y)];
  if (diagonal) dashed(pen, [3, 3], ...diagonal.map(place));
  Object.assign(pen, { strokeStyle: look.ink(0.9), lineWidth: 1.8, lineJoin: "round" });
  line(pen, ...points.map(place));
  if (!point) return;
  Object.assign(pen, { fillStyle: look.paper, strokeStyle: look.ink(1), lineWidth: 2 });
  dot(pen, ...place(point), 4.5);
  const [x, y] = point.map((share) => formatPercent(share));
  canvas.setAttribute("aria-label", `${title}: at the threshold ${y} against ${x}`);
}

export function drawNorms(canvas, { view, look }) {
  const { id, ood, high } = view.norms;
  const [pen, width, height] = sheet(canvas);
  const box = [32, 26, width - 44, height - 66];
  const shares = [id, ood].map((c, k) => c.map((v) => v / view.sizes[k]));
  const axis = axes(pen, look, box, {
    x: [0, high],
    y: [0, Math.max(...shares.flat()) * 1.08],
    xTicks: ticks(0, high, Math.max(2, width / 60)),
    yTicks: [],
    title: "Logit norm ‖z‖",
    xName: "of the raw logits",
  });
  const edges = Array.from({ length: id.length + 1 }, (_, k) => (high * k) / id.length);
  bars(pen, look, axis, edges, ...shares, box[1] + box[3]);
  canvas.setAttribute("aria-label", "Histogram of the logit norms of both sets");
}

/** The expected cost over thresholds, below the histogram and on its axis. */
export function drawCost(canvas, { s, view, meta, look }, words) {
  canvas.setAttribute("aria-label", words);
  const [pen, width, height] = sheet(canvas);
  if (!width) return; // closed
  const { low, high, cost } = view;
  const box = [MARGIN.left, 16, width - MARGIN.left - MARGIN.right, height - 60];
  const [left, ceiling, wide, tall] = box;
  const most = Math.max(...cost.curve) * 1.08 || 1;
  const axis = axes(pen, look, box, {
    x: [low, high],
    y: [0, most],
    xTicks: scoreTicks(s.score, low, high, wide),
    yTicks: ticks(0, most, 4),
    xName: `Threshold: ${scoreName(s, meta)}`,
    yName: "Cost per image",
  });
  const steps = cost.curve.length - 1;
  const points = cost.curve.map((value, k) => [axis.x(low + ((high - low) * k) / steps), axis.y(value)]);
  Object.assign(pen, { strokeStyle: look.ink(0.9), lineWidth: 1.8, lineJoin: "round" });
  line(pen, ...points);
  const within = (key) => Math.min(Math.max(axis.x(key), left), left + wide);
  const here = within(view.limit);
  Object.assign(pen, { strokeStyle: look.ink(0.95), lineWidth: 2 });
  line(pen, [here, ceiling], [here, ceiling + tall]);
  const mark = ({ key, cost: value }, text, below) => {
    const [x, y] = [key === null ? left + wide : within(key), axis.y(value)];
    Object.assign(pen, { strokeStyle: look.ink(1), fillStyle: below ? look.paper : look.id, lineWidth: 2 });
    dot(pen, x, y, 5);
    const right = x > left + wide / 2;
    pen.font = `11px ${look.font}`;
    const up = y - ceiling > 24;
    write(pen, text, x + (right ? -9 : 9), y + (up ? -9 : 15), look.ink(1), right ? "right" : "left", "middle");
  };
  mark(cost.usual, `95 % of ID: ${formatScore(cost.usual.cost)}`, true);
  mark(cost.best, `least: ${formatScore(cost.best.cost)}`, false);
}
