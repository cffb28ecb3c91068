// One logit vector under a loss: its value, its gradient and the gradient's component along the vector.

export function dotProduct(a, b) {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += a[k] * b[k];
  return sum;
}

// Loops over index and no spread in what the playground's training calls 150,000 times in a second.

export function softmax(z) {
  const top = highest(z);
  let total = 0;
  const e = z.map((v) => {
    const power = Math.exp(v - top);
    total += power;
    return power;
  });
  for (let k = 0; k < e.length; k++) e[k] /= total;
  return e;
}

export function highest(values) {
  let top = values[0];
  for (let k = 1; k < values.length; k++) if (values[k] > top) top = values[k];
  return top;
}

/** z of a norm and an angle (degrees) from the direction that favours the true class alone. */
export function vectorAt({ norm, angle }, { aligned, across }) {
  const c = Math.cos((angle * Math.PI) / 180);
  const s = Math.sin((angle * Math.PI) / 180);
  return aligned.map((a, k) => norm * (c * a + s * across[k]));
}

/** What a loss makes of cross-entropy `value` and its gradient: [value, gradient]. Constants are those of the recipes. */
const VARIANTS = {
  label_smoothing(value, gradient, z, target, { smoothing }) {
    const mean = z.reduce((sum, v) => sum + v, 0) / z.length;
    return [
      value + smoothing * (z[target] - mean),
      gradient.map((g, k) => g + smoothing * ((k === target) - 1 / z.length)),
    ];
  },
  focal(value, gradient, z, target, { gamma }) {
    const rest = Math.max(-Math.expm1(-value), Number.MIN_VALUE); // 1 - p
    const factor = rest ** gamma + gamma * rest ** (gamma - 1) * Math.exp(-value) * value;
    return [rest ** gamma * value, gradient.map((g) => factor * g)];
  },
  mbls(value, gradient, z, target, { margin, weight }) {
    const best = z.indexOf(highest(z));
    const share = weight / z.length;
    for (let k = 0; k < z.length; k++) {
      const excess = z[best] - z[k] - margin;
      if (excess <= 0) continue;
      value += share * excess;
      gradient[k] -= share;
      gradient[best] += share;
    }
    return [value, gradient];
  },
};

/** What the norm of the logits is multiplied by to be the divisor; 0 if they are not divided. */
function divisorOf(length, { loss, temperature, constants }) {
  if (loss === "logitnorm" || loss === "meln") return temperature;
  return loss === "logitclip" && length > constants.logitclip.threshold ? constants.logitclip.threshold : 0;
}

/**
 * The loss of `seen` = (z - margin) * scale, the logits as the loss normalises them, and its gradients with respect to z
 * and to `seen`. state: {loss, temperature, margin, constants: {loss: {name: value}}}; a loss that is not named here is
 * cross-entropy.
 */
export function lossGradient(z, target, state) {
  const { loss, margin, constants } = state;
  const norm = Math.sqrt(dotProduct(z, z));
  const divisor = divisorOf(norm + 1e-7, state);
  const scale = divisor ? 1 / ((norm + 1e-7) * divisor) : 1;
  const seen = z.map((v) => (v - (loss === "meln" ? margin : 0)) * scale);
  const top = highest(seen);
  let total = 0;
  for (let k = 0; k < seen.length; k++) total += Math.exp(seen[k] - top);
  let value = top - seen[target] + Math.log(total);
  let residual = softmax(seen).map((q, k) => q - (k === target)); // d loss / d seen
  if (VARIANTS[loss]) [value, residual] = VARIANTS[loss](value, residual, seen, target, constants[loss]);
  const along = divisor && norm ? (dotProduct(residual, z) / (norm * (norm + 1e-7))) * scale : 0;
  return { norm, scale, seen, value, residual, gradient: residual.map((g, k) => g * scale - along * z[k]) };
}

/** The least that the loss of normalised logits of k classes can be, as losses.lower_bound. */
export function lowerBound(k, temperature) {
  return Math.log1p((k - 1) * Math.exp(-Math.sqrt(k / (k - 1)) / temperature));
}

/** The least that a loss of k classes can be. */
function leastOf(k, { loss, temperature, constants }) {
  const { logitclip, mbls, label_smoothing: smooth } = constants;
  if (loss === "logitnorm" || loss === "meln") return lowerBound(k, temperature);
  if (loss === "logitclip") return lowerBound(k, 1 / Math.max(logitclip.threshold, 1 / logitclip.threshold));
  if (loss === "mbls") return Math.log1p((k - 1) * Math.exp(-mbls.margin)); // further apart, the margin costs more
  if (loss !== "label_smoothing") return 0;
  const rest = smooth.smoothing / k; // the entropy of the smoothed target
  const most = 1 - (k - 1) * rest;
  return -most * Math.log(most) - (k - 1) * rest * Math.log(rest);
}

export function logitCompute(state, meta) {
  const z = vectorAt(state, meta);
  const full = { ...state, constants: meta.constants };
  const { norm, seen, value, gradient } = lossGradient(z, meta.target, full);
  return {
    z,
    seen,
    probabilities: softmax(z),
    loss: value,
    bound: leastOf(z.length, full),
    gradient,
    radial: norm ? dotProduct(gradient, z) / norm : 0,
    size: Math.hypot(...gradient),
    step: [-dotProduct(gradient, meta.aligned), -dotProduct(gradient, meta.across)],
  };
}
