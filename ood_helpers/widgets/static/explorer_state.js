// The score explorer's numbers: compute(state, data) -> what there is to draw. Nothing here touches the page.
// explorer_state.py computes the same in NumPy; a test compares the two.
import { costOf, countAtLeast, curveOf, detection, histogram, thresholdFor } from "./metrics.js";
import { fromFloat16, fromScore, sortKeys, toScore } from "./scores.js";

const BOUNDED = ["msp", "entropy"];

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
  const options = (data.options[score] ?? []).map((name) => state[name]);
  const run = Math.max(
    0,
    data.runs.findIndex((r) => r.name === state.run),
  );
  const { epochs, sets } = data.runs[run];
  const epoch = nearestIndex(epochs, state.epoch);
  const last = epochs.length - 1;
  const key = [run, epoch, ood, score, T, ...options].join("/");
  if (data.ready?.key === key) return data.ready;

  const C = data.classes.length;
  const pair = [data.id_name, ood];
  const keysAt = (set, k, t = T) => sortKeys(logitsOf(data, run, set, k), C, score, t, state);
  const keys = pair.map((set) => keysAt(set, epoch));
  // One axis for all epochs. MSP and entropy, which have bounds, keep that of T = 1: at another temperature the bars
  // move along it.
  const t = BOUNDED.includes(score) ? 1 : T;
  const [low, high] = cached(data, `range/${[run, ood, score, t, ...options].join("/")}`, () => {
    const keysOf = (set, side, k) => (k === epoch && t === T ? keys[side] : keysAt(set, k, t));
    return axisRange(pair.map((set, side) => sets[set].map((_, k) => keysOf(set, side, k))));
  });
  const edges = binEdges(low, high, data.bins);
  const ascending = keys.map((k) => k.slice().sort());
  const counts = ascending.map((k) => histogram(k, edges));
  // The peak is that of the last epoch: one height for all epochs.
  const peak = cached(data, `peak/${[run, ood, score, T, ...options].join("/")}`, () => {
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
