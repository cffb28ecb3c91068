// Numbers of detection from ascending keys, as metrics.py has them: histograms, AUROC and others, thresholds, costs.
import { GRID } from "./scores.js";

const COSTS = 120; // intervals of the cost curve

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
export function curveOf(id, ood, points = 100) {
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
export function costOf(id, ood, { low, high }, limit, { price, ood_share }) {
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
