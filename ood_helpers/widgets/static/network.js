// A small trained network, run in the browser: points (x, y) -> logits. No page is touched.

/** network: {layers: [{weight, bias}], head: {kind, weight, bias, scale}} as the kernel trained it. */
export function forward(network, x, y) {
  let values = [x, y];
  for (const { weight, bias } of network.layers)
    values = weight.map((row, k) => { let sum = bias[k]; for (let i = 0; i < row.length; i++) sum += row[i] * values[i]; return Math.max(0, sum); });
  const { kind, weight, bias, scale } = network.head;
  if (kind === "linear") return weight.map((row, k) => row.reduce((sum, w, i) => sum + w * values[i], bias[k]));
  const unit = (v) => { const n = kind === "isomax" ? 1 : Math.hypot(...v); return n > 1e-12 ? v.map((a) => a / n) : v.map(() => 0); };
  const from = unit(values), near = weight.map((row) => {
    const to = unit(row);
    let square = 0;
    for (let i = 0; i < from.length; i++) square += (from[i] - to[i]) ** 2;
    return -Math.sqrt(square) * scale;
  });
  if (kind !== "dismax") return near;
  const mean = near.reduce((a, b) => a + b, 0) / near.length;
  return near.map((v) => (v + mean) / Math.SQRT2);
}
