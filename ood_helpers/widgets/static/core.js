// The score explorer's numbers: compute(state, data) -> what there is to draw. Nothing here touches the page.
// explorer_state.py computes the same in NumPy; a test compares the two.

// Keys are rounded to multiples of 1 / GRID: rows with the same logits in another order differ in the last bit, and
// must tie.
const GRID = 2 ** 36;
const BOUNDED = ["msp", "entropy"];
const COSTS = 120; // intervals of the cost curve

const quantize = (x) => Math.floor(x * GRID + 0.5) / GRID;

/** float16 bits (a Uint16Array) as float32. */
export function fromFloat16(bits) {
  const out = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const exponent = (bits[i] >> 10) & 31;
    const fraction = bits[i] & 1023;
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    out[i] = bits[i] & 32768 ? -size : size;
  }
  return out;
}

/** meta and one buffer of float16 -> data whose logits are decoded when they are first needed. */
export function openData(meta, buffer) {
  return { ...meta, buffer, cache: new Map() };
}

function cached(data, key, make) {
  if (!data.cache.has(key)) data.cache.set(key, make());
  return data.cache.get(key);
}

function logitsOf(data, run, set, epoch) {
  return cached(data, `logits/${run}/${set}/${epoch}`, () => {
    const [offset, rows] = data.runs[run].sets[set][epoch];
    return fromFloat16(new Uint16Array(data.buffer, offset, rows * data.classes.length));
  });
}

const POWERS = Float64Array.from({ length: 64 }, (_, k) => 2 ** (k / 64));
const HALVES = Float64Array.from({ length: 1080 }, (_, k) => 2 ** -k);

/**
 * exp(x) for x <= 0, to 14 digits: 2^(n / 64) from tables, times a polynomial for the rest. Math.exp takes twice as
 * long, which at 120,000 images of ten classes is a frame; a test compares the two.
 */
export function expNegative(x) {
  if (!(x > -745)) return 0;
  const n = Math.floor(x * (64 / Math.LN2) + 0.5);
  const r = x - n * (Math.LN2 / 64);
  const polynomial = 1 + r * (1 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24 + r / 120))));
  return POWERS[n & 63] * HALVES[-(n >> 6)] * polynomial;
}

/** Keys of rows (N, C) that order as the score of logits / T: the score itself, or for MSP its log-odds. */
export function sortKeys(logits, C, score, T) {
  const rows = logits.length / C;
  const out = new Float64Array(rows);
  const z = new Float64Array(C);
  const plain = ["max_logit", "min_distance", "mmls"].includes(score);
  const withMean = score.startsWith("mml");
  for (let r = 0; r < rows; r++) {
    let best = -Infinity;
    let second = -Infinity;
    let sum = 0;
    // Without branches: a mispredicted one costs more than the arithmetic.
    for (let c = 0; c < C; c++) {
      const value = (z[c] = logits[r * C + c] / T);
      sum += value;
      second = Math.max(second, Math.min(best, value));
      best = Math.max(best, value);
    }
    let key = withMean ? best + sum / C : best;
    if (score === "msp") {
      let rest = -1; // the largest logit adds 1 below, as the second does, and is taken off
      for (let c = 0; c < C; c++) rest += expNegative(Math.min(z[c], second) - second);
      key = best - second - Math.log(rest);
    } else if (!plain) {
      let total = 0;
      let weighted = 0;
      for (let c = 0; c < C; c++) {
        const e = expNegative(z[c] - best);
        total += e;
        weighted += e * (z[c] - best);
      }
      const negativeEntropy = weighted / total - Math.log(total);
      if (score === "energy") key = T * (best + Math.log(total));
      else if (score === "entropy") key = negativeEntropy;
      else key += negativeEntropy + (score === "mmleps" ? 1 / total : 0);
    }
    out[r] = quantize(key);
  }
  return out;
}

export const toScore = (score, key) => (score === "msp" ? 1 / (1 + Math.exp(-key)) : key);

export function fromScore(score, value) {
  if (score !== "msp") return value;
  if (value <= 0) return -Infinity;
  return value >= 1 ? Infinity : Math.log(value / (1 - value));
}

/**
 * [low, high] of the axis for keys of some sets over their epochs: those of the last epoch, extended by earlier ones by
 * a quarter of its range at most.
 */
function axisRange(sets) {
  const least = (arrays) => arrays.reduce((low, keys) => keys.reduce((a, b) => Math.min(a, b), low), Infinity);
  const most = (arrays) => arrays.reduce((high, keys) => keys.reduce((a, b) => Math.max(a, b), high), -Infinity);
  const last = sets.map((epochs) => epochs[epochs.length - 1]);
  const room = (most(last) - least(last)) / 4;
  const low = Math.max(least(last) - room, least(sets.flat()));
  const high = Math.min(most(last) + room, most(sets.flat()));
  return high > low ? [low, high] : [low - 0.5, high + 0.5];
}

/** The keys between the bars; the first and the last bar also hold what lies outside the axis. */
const binEdges = (low, high, bins) => Array.from({ length: bins - 1 }, (_, k) => low + ((high - low) * (k + 1)) / bins);

/** Ticks of the axis of MSP, which is one of log-odds: [[key, probability as text], ...]. */
export function probabilityTicks(low, high) {
  const ticks = [0.01, 0.1, 0.2, 0.5, 0.9, 0.99, 0.999, 0.9999].map((p) => [Math.log(p / (1 - p)), String(p)]);
  for (let k = 6; k < 17; k += 2) ticks.push([k * Math.LN10, `1−1e−${k}`]);
  return ticks.filter(([key]) => key >= low && key <= high);
}

/** How many entries of an ascending array are at least `value`. */
export function countAtLeast(ascending, value) {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle] >= value) high = middle;
    else low = middle + 1;
  }
  return ascending.length - low;
}

/** Counts of an ascending array between edges. */
export function histogram(ascending, edges) {
  const above = [ascending.length, ...edges.map((edge) => countAtLeast(ascending, edge)), 0];
  return above.slice(1).map((count, k) => above[k] - count);
}

/** AUROC, average precisions and both FPR95, exact under ties, from ascending keys: one walk from the top. */
export function detection(id, ood) {
  const n = id.length;
  const m = ood.length;
  let [i, j, auroc, auprIn, auprOut, fprId, fprOod] = [n, m, 0, 0, 0, null, 1];
  while (i || j) {
    const value = Math.max(i ? id[i - 1] : -Infinity, j ? ood[j - 1] : -Infinity);
    const [i0, j0] = [i, j];
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

/** The key at or above which an image is accepted, so that `target` of the positive class is classified rightly. */
export function thresholdFor(id, ood, positive, target) {
  if (positive === "id") return id[id.length - leastCount(id.length, target)];
  return ood[leastCount(ood.length, target) - 1] + 1 / GRID;
}

/** The smallest k >= 1 with k / n >= share. */
function leastCount(n, share) {
  let k = Math.max(1, Math.ceil(n * share) - 1);
  while (k < n && k / n < share) k++;
  return k;
}

/** Accepted ID and OOD images at the quantiles of both sets: enough for a ROC and a precision-recall curve. */
function curveOf(id, ood, points = 100) {
  const at = [];
  for (const sorted of [id, ood])
    for (let k = 0; k < points; k++) at.push(sorted[Math.floor((k * (sorted.length - 1)) / (points - 1))]);
  at.sort((a, b) => b - a);
  return [[0, 0], ...at.map((value) => [countAtLeast(id, value), countAtLeast(ood, value)])];
}

/**
 * The expected cost along the axis, at `limit`, at the threshold that accepts 95 % of ID, and at its minimum; a null key
 * rejects everything. A rejected ID image costs 1, an accepted OOD image `price`.
 */
function costOf(id, ood, { low, high }, limit, { price, ood_share }) {
  const [n, m] = [id.length, ood.length];
  const costAt = (a, b) => price * ood_share * (b / m) + (1 - ood_share) * ((n - a) / n); // a, b images are accepted
  const cost = (key) => costAt(countAtLeast(id, key), countAtLeast(ood, key));
  const best = { key: null, cost: costAt(0, 0) };
  for (let [i, j] = [n, m]; i || j;) {
    const key = Math.max(i ? id[i - 1] : -Infinity, j ? ood[j - 1] : -Infinity);
    while (i && id[i - 1] === key) i--;
    while (j && ood[j - 1] === key) j--;
    const value = costAt(n - i, m - j);
    if (value <= best.cost) Object.assign(best, { key, cost: value });
  }
  const usual = thresholdFor(id, ood, "id", 0.95);
  return {
    curve: Array.from({ length: COSTS + 1 }, (_, k) => cost(low + ((high - low) * k) / COSTS)),
    here: cost(limit),
    usual: { key: usual, cost: cost(usual) },
    best,
  };
}

function longestNorm(data, run, sets) {
  const C = data.classes.length;
  let longest = 0;
  for (const set of sets) {
    data.runs[run].sets[set].forEach((_, epoch) => {
      const logits = logitsOf(data, run, set, epoch);
      for (let from = 0; from < logits.length; from += C) {
        let square = 0;
        for (let c = from; c < from + C; c++) square += logits[c] * logits[c];
        longest = Math.max(longest, square);
      }
    });
  }
  return Math.sqrt(longest) || 1;
}

function normHistogram(data, run, set, epoch, high) {
  return cached(data, `norm/${run}/${set}/${epoch}/${high}`, () => {
    const logits = logitsOf(data, run, set, epoch);
    const C = data.classes.length;
    const norms = new Float64Array(logits.length / C);
    for (let r = 0; r < norms.length; r++) {
      let square = 0;
      for (let c = r * C; c < r * C + C; c++) square += logits[c] * logits[c];
      norms[r] = Math.sqrt(square);
    }
    const bins = Math.floor(data.bins / 2);
    return histogram(
      norms.sort(),
      Array.from({ length: bins - 1 }, (_, k) => (high * (k + 1)) / bins),
    );
  });
}

/** The index of the nearest value; of two as near, the later one. */
export const nearestIndex = (values, wanted) =>
  values.reduce((best, v, k) => (Math.abs(v - wanted) <= Math.abs(values[best] - wanted) ? k : best), 0);

/** Everything that does not depend on the threshold, the target or the opened bar; the last one is kept. */
function prepareView(state, data) {
  const { score, ood, temperature: T } = state;
  const run = Math.max(
    0,
    data.runs.findIndex((r) => r.name === state.run),
  );
  const { epochs, sets } = data.runs[run];
  const epoch = nearestIndex(epochs, state.epoch);
  const last = epochs.length - 1;
  const key = [run, epoch, ood, score, T].join("/");
  if (data.ready?.key === key) return data.ready;

  const C = data.classes.length;
  const pair = [data.id_name, ood];
  const keysAt = (set, k, t = T) => sortKeys(logitsOf(data, run, set, k), C, score, t);
  const keys = pair.map((set) => keysAt(set, epoch));
  // One axis for all epochs. MSP and entropy, which have bounds, keep that of T = 1: at another temperature the bars
  // move along it.
  const t = BOUNDED.includes(score) ? 1 : T;
  const [low, high] = cached(data, `range/${[run, ood, score, t].join("/")}`, () => {
    const keysOf = (set, side, k) => (k === epoch && t === T ? keys[side] : keysAt(set, k, t));
    return axisRange(pair.map((set, side) => sets[set].map((_, k) => keysOf(set, side, k))));
  });
  const edges = binEdges(low, high, data.bins);
  const ascending = keys.map((k) => k.slice().sort());
  const counts = ascending.map((k) => histogram(k, edges));
  // The peak is that of the last epoch: one height for all epochs.
  const peak = cached(data, `peak/${[run, ood, score, T].join("/")}`, () => {
    const final = epoch === last ? counts : pair.map((set) => histogram(keysAt(set, last).sort(), edges));
    return Math.max(...final.map((c, k) => Math.max(...c) / sets[pair[k]][last][1]));
  });
  const longest = cached(data, `longest/${run}/${ood}`, () => longestNorm(data, run, pair));
  const norms = pair.map((set) => normHistogram(data, run, set, epoch, longest));
  data.ready = {
    key,
    run,
    epoch,
    keys,
    ascending,
    edges,
    metrics: detection(...ascending),
    shown: {
      low,
      high,
      peak,
      counts: { id: counts[0], ood: counts[1] },
      sizes: keys.map((k) => k.length),
      curve: curveOf(...ascending),
      norms: { id: norms[0], ood: norms[1], high: longest },
      accuracy: accuracyOf(data, run, epoch),
    },
  };
  return data.ready;
}

function argmax(logits, C, row) {
  let best = 0;
  for (let c = 1; c < C; c++) if (logits[row * C + c] > logits[row * C + best]) best = c;
  return best;
}

function accuracyOf(data, run, epoch) {
  if (!data.labels) return null;
  return cached(data, `accuracy/${run}/${epoch}`, () => {
    const C = data.classes.length;
    const logits = logitsOf(data, run, data.id_name, epoch);
    const rows = logits.length / C;
    let right = 0;
    for (let r = 0; r < rows; r++) right += argmax(logits, C, r) === data.labels[r];
    return right / rows;
  });
}

/** Images of the opened bar, evenly spaced in the order of their scores; in a page only those that it contains. */
function pick(state, data, ready, side) {
  const set = side ? state.ood : data.id_name;
  const keys = ready.keys[side];
  const tiles = data.tiles?.[set];
  const from = ready.edges[state.bin - 1] ?? -Infinity;
  const to = ready.edges[state.bin] ?? Infinity;
  const inside = [];
  for (let r = 0; r < keys.length; r++) if (keys[r] >= from && keys[r] < to) inside.push(r);
  const ordered = (tiles ? inside.filter((r) => r in tiles) : inside).sort((a, b) => keys[b] - keys[a] || a - b);
  const logits = logitsOf(data, ready.run, set, ready.epoch);
  const step = Math.max(1, ordered.length / data.max_picked);
  const items = Array.from({ length: Math.min(data.max_picked, ordered.length) }, (_, k) => {
    const index = ordered[Math.floor(k * step)];
    return {
      index,
      score: toScore(state.score, keys[index]),
      prediction: argmax(logits, data.classes.length, index),
      label: side || !data.labels ? null : data.labels[index],
    };
  });
  return { set, total: inside.length, items };
}

/** Everything that the explorer shows in a state: the plain numbers of explorer_state.compute. */
export function compute(state, data) {
  const ready = prepareView(state, data);
  const { ascending, metrics } = ready;
  const limit =
    state.threshold === null
      ? thresholdFor(...ascending, state.positive, state.target)
      : fromScore(state.score, state.threshold);
  return {
    ...ready.shown,
    accepted: ascending.map((keys) => countAtLeast(keys, limit)),
    threshold: state.threshold ?? toScore(state.score, limit),
    limit: Math.min(Math.max(limit, -1e9), 1e9),
    cost: costOf(...ascending, ready.shown, limit, state),
    metrics: { ...metrics, fpr95: metrics.fpr95[state.positive] },
    picked: state.bin === null ? null : [pick(state, data, ready, 0), pick(state, data, ready, 1)],
  };
}
