// The explorer's arithmetic: compute(state, data) -> what there is to draw. No page is touched here; summary.py says
// the same in numpy, and a test holds the two together.

export const BINS = 60, PICKED = 12;
const GRID = 2 ** 36; // rows with the same logits in another order differ in the last digit, and must tie

const onGrid = (x) => Math.floor(x * GRID + 0.5) / GRID;

/** float16 bits (a Uint16Array) as float32. */
export function fromHalf(bits) {
  const out = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const exponent = (bits[i] >> 10) & 31, fraction = bits[i] & 1023;
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    out[i] = bits[i] & 32768 ? -size : size;
  }
  return out;
}

/** meta and one buffer of float16 -> data whose logits are decoded when first asked for. */
export function openData(meta, buffer) {
  return { ...meta, buffer, cache: new Map() };
}

function remember(data, key, make) {
  if (!data.cache.has(key)) data.cache.set(key, make());
  return data.cache.get(key);
}

function logitsOf(data, run, set, epoch) {
  return remember(data, `logits/${run}/${set}/${epoch}`, () => {
    const [offset, rows] = data.runs[run].sets[set][epoch];
    return fromHalf(new Uint16Array(data.buffer, offset, rows * data.classes.length));
  });
}

const FINE = Float64Array.from({ length: 64 }, (_, k) => 2 ** (k / 64));
const COARSE = Float64Array.from({ length: 1080 }, (_, k) => 2 ** -k);

/** exp(x) for x <= 0 to 14 digits, four times as fast as Math.exp, which is where the time goes. */
export function expDown(x) {
  if (!(x > -745)) return 0;
  const n = Math.floor(x * (64 / Math.LN2) + 0.5), r = x - n * (Math.LN2 / 64);
  return FINE[n & 63] * COARSE[-(n >> 6)] * (1 + r * (1 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24 + r / 120)))));
}

/** Ranks of rows (N, C): the score of logits / T; for msp its log-odds, which never saturate. Higher = more ID. */
export function rankRows(logits, C, name, T) {
  const rows = logits.length / C, out = new Float64Array(rows), z = new Float64Array(C);
  const plain = ["max_logit", "min_distance", "mmls"].includes(name), summed = name.startsWith("mml");
  for (let r = 0; r < rows; r++) {
    let best = -Infinity, second = -Infinity, sum = 0;
    for (let c = 0; c < C; c++) { // without branches: a mispredicted one costs more than the arithmetic
      const value = z[c] = logits[r * C + c] / T;
      sum += value;
      second = Math.max(second, Math.min(best, value));
      best = Math.max(best, value);
    }
    let value = summed ? best + sum / C : best;
    if (name === "msp") {
      let rest = -1; // the largest counts as much as the second here, and is taken off
      for (let c = 0; c < C; c++) rest += expDown(Math.min(z[c], second) - second);
      value = best - second - Math.log(rest);
    } else if (!plain) {
      let total = 0, weighted = 0;
      for (let c = 0; c < C; c++) {
        const e = expDown(z[c] - best);
        total += e;
        weighted += e * (z[c] - best);
      }
      const entropy = weighted / total - Math.log(total); // sum p log p, at most 0
      if (name === "energy") value = T * (best + Math.log(total));
      else if (name === "entropy") value = entropy;
      else value += entropy + (name === "mmleps" ? 1 / total : 0);
    }
    out[r] = onGrid(value);
  }
  return out;
}

export const shown = (name, rank) => (name === "msp" ? onGrid(1 / (1 + Math.exp(-rank))) : rank);
export const ranked = (name, value) =>
  name === "msp" ? (value <= 0 ? -Infinity : value >= 1 ? Infinity : Math.log(value / (1 - value))) : value;

/** [low, high] of a score's axis: bounds from the largest and mean logits of all epochs, so that it never moves. */
export function axisRange(name, C, T, [maxLow, maxHigh, meanLow, sumLow, sumHigh]) {
  const width = Math.log(C), [low, high] = {
    msp: () => [1 / C, 1],
    energy: () => [Math.max(maxLow, meanLow + T * width), maxHigh + T * width],
    entropy: () => [-width, 0],
    mmls: () => [sumLow / T, sumHigh / T],
    mmles: () => [sumLow / T - width, sumHigh / T],
    mmleps: () => [sumLow / T - width + 1 / C, sumHigh / T + 1],
  }[name]?.() ?? [maxLow / T, maxHigh / T];
  return high > low ? [low, high] : [low - 0.5, high + 0.5];
}

/** [low, high of max z, low of mean z, low, high of max z + mean z, high of norm] over all epochs of some sets. */
function extremes(data, run, sets) {
  const C = data.classes.length, out = [Infinity, -Infinity, Infinity, Infinity, -Infinity, 0];
  for (const set of sets) {
    data.runs[run].sets[set].forEach((_, epoch) => {
      const logits = logitsOf(data, run, set, epoch);
      for (let from = 0; from < logits.length; from += C) {
        let best = -Infinity, sum = 0, square = 0;
        for (let c = from; c < from + C; c++) {
          best = Math.max(best, logits[c]);
          sum += logits[c];
          square += logits[c] * logits[c];
        }
        const mean = sum / C;
        out[0] = Math.min(out[0], best);
        out[1] = Math.max(out[1], best);
        out[2] = Math.min(out[2], mean);
        out[3] = Math.min(out[3], best + mean);
        out[4] = Math.max(out[4], best + mean);
        out[5] = Math.max(out[5], Math.sqrt(square));
      }
    });
  }
  out[5] ||= 1;
  return out;
}

/** Where the bars begin, in ranks; the first and the last also hold what lies outside the axis. */
const edgesOf = (name, low, high) => Array.from({ length: BINS - 1 }, (_, k) => ranked(name, low + ((high - low) * (k + 1)) / BINS));

/** Counts of an ascending array between edges. */
export function histogram(sorted, edges) {
  const above = [sorted.length, ...edges.map((edge) => countFrom(sorted, edge)), 0];
  return above.slice(1).map((count, k) => above[k] - count);
}

/** Number of entries of an ascending array that are >= value. */
export function countFrom(sorted, value) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] >= value) high = middle; else low = middle + 1;
  }
  return sorted.length - low;
}

/** AUROC, average precisions and both FPR95, exact under ties, from ascending ranks: one walk from the top. */
export function detection(id, ood) {
  const n = id.length, m = ood.length;
  let i = n, j = m, auroc = 0, auprIn = 0, auprOut = 0, fprId = null, fprOod = 1;
  while (i || j) {
    const value = Math.max(i ? id[i - 1] : -Infinity, j ? ood[j - 1] : -Infinity), i0 = i, j0 = j;
    while (i && id[i - 1] === value) i--;
    while (j && ood[j - 1] === value) j--;
    auroc += (j0 - j) * (n - i0 + (i0 - i) / 2);
    if (i < i0) auprIn += ((i0 - i) * (n - i)) / (n - i + m - j);
    if (j < j0) auprOut += ((j0 - j) * j0) / (j0 + i0);
    if (fprId === null && 20 * (n - i) >= 19 * n) fprId = (m - j) / m;
    if (20 * j0 >= 19 * m) fprOod = i0 / n;
  }
  return { auroc: auroc / n / m, aupr_in: auprIn / n, aupr_out: auprOut / m, fpr95: { id: fprId, ood: fprOod } };
}

/** The rank from which on an image is accepted, so that `target` of the positive set lands on its side. */
export function thresholdFor(id, ood, positive, target) {
  if (positive === "id") {
    const wanted = firstCount(id.length, target);
    return id[id.length - wanted];
  }
  return ood[firstCount(ood.length, target) - 1] + 1 / GRID;
}

function firstCount(n, target) { // the smallest k >= 1 with k / n >= target
  let k = Math.max(1, Math.ceil(n * target) - 1);
  while (k < n && k / n < target) k++;
  return k;
}

/** [rank, ID accepted, OOD accepted] down both sets' quantiles: enough for a ROC and a PR line. */
function curve(id, ood, points = 100) {
  const at = [];
  for (const sorted of [id, ood])
    for (let k = 0; k < points; k++) at.push(sorted[Math.floor((k * (sorted.length - 1)) / (points - 1))]);
  at.sort((a, b) => b - a);
  return [[0, 0], ...at.map((value) => [countFrom(id, value), countFrom(ood, value)])];
}

function normHistograms(data, run, set, epoch, high) {
  return remember(data, `norm/${run}/${set}/${epoch}/${high}`, () => {
    const logits = logitsOf(data, run, set, epoch), C = data.classes.length;
    const norms = new Float64Array(logits.length / C);
    for (let r = 0; r < norms.length; r++) {
      let square = 0;
      for (let c = r * C; c < r * C + C; c++) square += logits[c] * logits[c];
      norms[r] = Math.sqrt(square);
    }
    return histogram(norms.sort(), Array.from({ length: BINS / 2 - 1 }, (_, k) => (high * (k + 1)) / (BINS / 2)));
  });
}

/** Everything that does not depend on the threshold, the target or the clicked bar. */
function prepare(state, data) {
  const run = Math.max(0, data.runs.findIndex((r) => r.name === state.run)), { epochs, sets } = data.runs[run];
  const epoch = epochs.reduce((best, e, k) =>
    Math.abs(e - state.epoch) <= Math.abs(epochs[best] - state.epoch) ? k : best, 0);
  const C = data.classes.length, { score, ood, temperature: T } = state, pair = [data.id, ood];
  const key = `ready/${[run, epoch, ood, score, T].join("/")}`;
  if (data.ready?.key === key) return data.ready;
  const range = remember(data, `extremes/${run}/${ood}`, () => extremes(data, run, pair));
  const [low, high] = axisRange(score, C, T, range);
  const ranks = pair.map((set) => rankRows(logitsOf(data, run, set, epoch), C, score, T));
  const sorted = ranks.map((r) => r.slice().sort()), edges = edgesOf(score, low, high);
  const counts = sorted.map((r) => histogram(r, edges));
  const last = epochs.length - 1, share = (c, k) => Math.max(...c) / sets[pair[k]][last][1];
  const peak = remember(data, `peak/${[run, ood, score, T].join("/")}`, () => Math.max(...(epoch === last ? counts
    : pair.map((set) => histogram(rankRows(logitsOf(data, run, set, last), C, score, T).sort(), edges))).map(share)));
  const norms = pair.map((set) => normHistograms(data, run, set, epoch, range[5]));
  data.ready = { key, run, epoch, ranks, sorted, edges, low, high, peak, counts: { id: counts[0], ood: counts[1] },
    sizes: ranks.map((r) => r.length), metrics: detection(...sorted), curve: curve(...sorted),
    norms: { id: norms[0], ood: norms[1], high: range[5] }, accuracy: accuracyOf(data, run, epoch) };
  return data.ready;
}

const argmax = (logits, C, row) => {
  let best = 0;
  for (let c = 1; c < C; c++) if (logits[row * C + c] > logits[row * C + best]) best = c;
  return best;
};

function accuracyOf(data, run, epoch) {
  if (!data.labels) return null;
  return remember(data, `accuracy/${run}/${epoch}`, () => {
    const C = data.classes.length, logits = logitsOf(data, run, data.id, epoch), rows = logits.length / C;
    let right = 0;
    for (let r = 0; r < rows; r++) right += argmax(logits, C, r) === data.labels[r];
    return right / rows;
  });
}

/** Up to PICKED images of one bar, evenly over its scores from the highest; in a page only those it carries. */
function pick(state, data, ready, side) {
  const set = side ? state.ood : data.id, ranks = ready.ranks[side], tiles = data.tiles?.[set];
  const inside = [], from = ready.edges[state.bin - 1] ?? -Infinity, to = ready.edges[state.bin] ?? Infinity;
  for (let r = 0; r < ranks.length; r++) if (ranks[r] >= from && ranks[r] < to) inside.push(r);
  const here = (tiles ? inside.filter((r) => r in tiles) : inside).sort((a, b) => ranks[b] - ranks[a] || a - b);
  const logits = logitsOf(data, ready.run, set, ready.epoch), C = data.classes.length, step = Math.max(1, here.length / PICKED);
  const items = [];
  for (let k = 0; k < Math.min(PICKED, here.length); k++) {
    const index = here[Math.floor(k * step)];
    items.push({ index, score: shown(state.score, ranks[index]), prediction: argmax(logits, C, index),
      label: side || !data.labels ? null : data.labels[index] });
  }
  return { set, total: inside.length, items };
}

/** The whole picture of a state: plain numbers, as summary.py's compute gives them. */
export function compute(state, data) {
  const ready = prepare(state, data), [id, ood] = ready.sorted;
  const rank = state.threshold === null ? thresholdFor(id, ood, state.positive, state.target)
    : ranked(state.score, state.threshold);
  const accepted = [countFrom(id, rank), countFrom(ood, rank)];
  const { low, high, peak, counts, sizes, norms, accuracy, metrics } = ready;
  return { low, high, peak, counts, sizes, norms, accuracy, curve: ready.curve, accepted,
    threshold: state.threshold ?? shown(state.score, rank),
    metrics: { ...metrics, fpr95: metrics.fpr95[state.positive] },
    picked: state.bin === null ? null : [pick(state, data, ready, 0), pick(state, data, ready, 1)] };
}
