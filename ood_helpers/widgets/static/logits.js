// One logit vector under a loss: its value, its gradient and the gradient's component along the vector.

const dotProduct = (a, b) => a.reduce((sum, v, k) => sum + v * b[k], 0);

export function softmax(z) {
  const top = Math.max(...z);
  const e = z.map((v) => Math.exp(v - top));
  const total = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / total);
}

/** z of a norm and an angle (degrees) from the direction that favours the true class alone. */
export function vectorAt({ norm, angle }, { aligned, across }) {
  const c = Math.cos((angle * Math.PI) / 180);
  const s = Math.sin((angle * Math.PI) / 180);
  return aligned.map((a, k) => norm * (c * a + s * across[k]));
}

/** Cross-entropy of `seen` = (z - margin) * scale, the logits as the loss normalises them. */
export function lossOf(z, target, { loss, temperature, margin }) {
  const norm = Math.hypot(...z);
  const scale = loss === "softmax" ? 1 : 1 / ((norm + 1e-7) * temperature);
  const seen = z.map((v) => (v - (loss === "meln" ? margin : 0)) * scale);
  const top = Math.max(...seen);
  const value = top - seen[target] + Math.log(seen.reduce((sum, v) => sum + Math.exp(v - top), 0));
  return { norm, scale, seen, value };
}

export function logitCompute(state, meta) {
  const z = vectorAt(state, meta);
  const { norm, scale, seen, value } = lossOf(z, meta.target, state);
  const normalised = state.loss !== "softmax";
  const residual = softmax(seen).map((q, k) => q - (k === meta.target)); // d loss / d seen
  const along = normalised && norm ? (dotProduct(residual, z) / (norm * (norm + 1e-7))) * scale : 0;
  const gradient = residual.map((g, k) => g * scale - along * z[k]);
  const k = z.length;
  return {
    z,
    seen,
    probabilities: softmax(z),
    loss: value,
    bound: normalised ? Math.log1p((k - 1) * Math.exp(-Math.sqrt(k / (k - 1)) / state.temperature)) : 0,
    gradient,
    radial: norm ? dotProduct(gradient, z) / norm : 0,
    size: Math.hypot(...gradient),
    step: [-dotProduct(gradient, meta.aligned), -dotProduct(gradient, meta.across)],
  };
}
