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

/** Cross-entropy of `seen` = (z - margin) * scale, the logits as the loss normalises them. */
export function lossOf(z, target, { loss, temperature, margin }) {
  const norm = Math.sqrt(dotProduct(z, z));
  const scale = loss === "softmax" ? 1 : 1 / ((norm + 1e-7) * temperature);
  const seen = z.map((v) => (v - (loss === "meln" ? margin : 0)) * scale);
  const top = highest(seen);
  let total = 0;
  for (let k = 0; k < seen.length; k++) total += Math.exp(seen[k] - top);
  const value = top - seen[target] + Math.log(total);
  return { norm, scale, seen, value };
}

/** The loss, its gradients with respect to z and to `seen`, and what lossOf() gives. */
export function lossGradient(z, target, state) {
  const { norm, scale, seen, value } = lossOf(z, target, state);
  const residual = softmax(seen).map((q, k) => q - (k === target)); // d loss / d seen
  const along = state.loss !== "softmax" && norm ? (dotProduct(residual, z) / (norm * (norm + 1e-7))) * scale : 0;
  return { norm, scale, seen, value, residual, gradient: residual.map((g, k) => g * scale - along * z[k]) };
}

/** The least that the loss of normalised logits of k classes can be, as losses.lower_bound. */
export function lowerBound(k, temperature) {
  return Math.log1p((k - 1) * Math.exp(-Math.sqrt(k / (k - 1)) / temperature));
}

export function logitCompute(state, meta) {
  const z = vectorAt(state, meta);
  const normalised = state.loss !== "softmax";
  const { norm, seen, value, gradient } = lossGradient(z, meta.target, state);
  return {
    z,
    seen,
    probabilities: softmax(z),
    loss: value,
    bound: normalised ? lowerBound(z.length, state.temperature) : 0,
    gradient,
    radial: norm ? dotProduct(gradient, z) / norm : 0,
    size: Math.hypot(...gradient),
    step: [-dotProduct(gradient, meta.aligned), -dotProduct(gradient, meta.across)],
  };
}
