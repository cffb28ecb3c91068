// A small trained network, run in the browser: points (x, y) -> logits.

/** network: {layers: [{weight, bias}], head: {kind, weight, bias, scale}} as points2d.py trained it. */
export function forward(network, x, y) {
  let values = [x, y];
  for (const { weight, bias } of network.layers) values = affine(weight, bias, values).map((v) => Math.max(0, v));
  const { kind, weight, bias, scale } = network.head;
  if (kind === "linear") return affine(weight, bias, values);
  const unit = kind === "isomax" ? (v) => v : normalise;
  const features = unit(values);
  const logits = weight.map((prototype) => -scale * distance(features, unit(prototype)));
  if (kind !== "dismax") return logits;
  const mean = logits.reduce((a, b) => a + b, 0) / logits.length;
  return logits.map((v) => (v + mean) / Math.SQRT2);
}

// A loop and not a reduce: the map of the plane evaluates the network 9,000 times.
function affine(weight, bias, values) {
  return weight.map((row, k) => {
    let sum = bias[k];
    for (let i = 0; i < row.length; i++) sum += row[i] * values[i];
    return sum;
  });
}

function normalise(vector) {
  const norm = Math.hypot(...vector);
  return norm > 1e-12 ? vector.map((v) => v / norm) : vector.map(() => 0);
}

function distance(a, b) {
  let square = 0;
  for (let i = 0; i < a.length; i++) square += (a[i] - b[i]) ** 2;
  return Math.sqrt(square);
}
