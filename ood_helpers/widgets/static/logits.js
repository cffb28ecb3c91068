// One logit vector under a loss: its value, its gradient and the gradient's part along the vector. No page is touched.

const dot = (a, b) => a.reduce((sum, v, k) => sum + v * b[k], 0);

export function softmax(z) {
  const top = Math.max(...z), e = z.map((v) => Math.exp(v - top)), total = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / total);
}

/** z at a norm and an angle (degrees) from the direction that favours the true class alone. */
export function vectorAt({ norm, angle }, { aligned, across }) {
  const [c, s] = [Math.cos((angle * Math.PI) / 180), Math.sin((angle * Math.PI) / 180)];
  return aligned.map((a, k) => norm * (c * a + s * across[k]));
}

export function lossOf(z, target, { loss, temperature, margin }) {
  const norm = Math.hypot(...z), scale = loss === "softmax" ? 1 : 1 / ((norm + 1e-7) * temperature);
  const seen = z.map((v) => (v - (loss === "meln" ? margin : 0)) * scale), top = Math.max(...seen);
  const value = top - seen[target] + Math.log(seen.reduce((sum, v) => sum + Math.exp(v - top), 0));
  return { norm, scale, seen, value };
}

export function logitCompute(state, meta) {
  const z = vectorAt(state, meta), { norm, scale, seen, value } = lossOf(z, meta.target, state);
  const push = softmax(seen).map((q, k) => q - (k === meta.target)); // d loss / d seen
  const along = state.loss === "softmax" || !norm ? 0 : (dot(push, z) / (norm * (norm + 1e-7))) * scale;
  const gradient = push.map((g, k) => g * scale - along * z[k]), radial = norm ? dot(gradient, z) / norm : 0;
  const k = z.length, bound = state.loss === "softmax" ? 0
    : Math.log1p((k - 1) * Math.exp(-Math.sqrt(k / (k - 1)) / state.temperature));
  return { z, seen, probabilities: softmax(z), loss: value, bound, gradient, radial, size: Math.hypot(...gradient),
    step: [-dot(gradient, meta.aligned), -dot(gradient, meta.across)] };
}
