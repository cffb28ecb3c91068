// Scores of logits, as keys that order like them; scores.py and explorer_state.py compute the same in NumPy.

// Keys are rounded to multiples of 1 / GRID: rows with the same logits in another order differ in the last bit, and
// must tie.
export const GRID = 2 ** 36;

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

/** GEN of one row: logits z, the largest of them and the second. */
function generalizedEntropy(z, best, second, { gamma, top }) {
  const ordered = top < z.length ? z.slice().sort().reverse() : z;
  let rest = -1; // as for MSP: of all but the largest, relative to the second
  for (const value of z) rest += expNegative(Math.min(value, second) - second);
  const odds = best - second - Math.log(rest); // log(p / (1 - p)) of the largest
  const logTop = -Math.log1p(Math.exp(-odds));
  let sum = 0;
  let seen = false;
  for (let c = 0; c < Math.min(top, z.length); c++) {
    const logP = ordered[c] - best + logTop;
    const largest = !seen && ordered[c] === best;
    seen ||= largest;
    sum += expNegative(gamma * (logP + (largest ? logTop - odds : Math.log1p(-Math.exp(logP)))));
  }
  return -sum;
}

/** The largest logit of one row over its p-norm. */
function overNorm(z, best, { p }) {
  let size = 0;
  for (const value of z) size = Math.max(size, Math.abs(value));
  if (size === 0) return 0;
  let total = 0;
  for (const value of z) total += (Math.abs(value) / size) ** p;
  return best / size / total ** (1 / p);
}

/**
 * Keys of rows (N, C) that order as the score of logits / T: the score itself, or for MSP its log-odds. `options` holds
 * GEN's gamma and top, and p of the p-norm.
 */
export function sortKeys(logits, C, score, T, options) {
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
    } else if (score === "gen") {
      key = generalizedEntropy(z, best, second, options);
    } else if (score === "p_norm") {
      key = overNorm(z, best, options);
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

/** Ticks of the axis of MSP, which is one of log-odds: [[key, probability as text], ...]. */
export function probabilityTicks(low, high) {
  const ticks = [0.01, 0.1, 0.2, 0.5, 0.9, 0.99, 0.999, 0.9999].map((p) => [Math.log(p / (1 - p)), String(p)]);
  for (let k = 6; k < 17; k += 2) ticks.push([k * Math.LN10, `1−1e−${k}`]);
  return ticks.filter(([key]) => key >= low && key <= high);
}
