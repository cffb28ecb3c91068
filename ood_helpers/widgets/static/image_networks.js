// The sketchpad's networks: convolutions with batch norm folded in, the mean over the pixels, and a head.
// folded.py packs them; a test compares logits and gradients with PyTorch's.
import { fromFloat16, sortKeys } from "./scores.js";

const SIDE = 8; // pixels of an image in a row
const NUDGE = 1e-4; // of a logit, for the slope of a score

/** entries and one buffer of float16, as folded.pack writes them one after the other -> networks. */
export function openNetworks(entries, buffer, classes) {
  let offset = 0;
  const take = (count) => {
    const values = Float64Array.from(fromFloat16(new Uint16Array(buffer, offset, count)));
    offset += 2 * count;
    return values;
  };
  return entries.map((entry) => {
    let side = SIDE;
    const layers = entry.layers.map((layer) => {
      const weight = take(layer.outputs * layer.inputs * 9);
      side /= layer.stride;
      return {
        ...layer,
        weight,
        fours: inFours(weight, layer.outputs),
        bias: take(layer.outputs),
        // Room for convolve(), which allocates nothing.
        places: new Int32Array(9 * layer.inputs),
        around: new Float64Array(9 * layer.inputs),
        out: new Float64Array(layer.outputs * side * side),
      };
    });
    const { kind, unit, features } = entry.head;
    const weight = take(classes * features);
    if (unit) for (let c = 0; c < classes; c++) toUnitLength(weight, c * features, features);
    return { ...entry, layers, head: { ...entry.head, classes, weight, bias: kind === "linear" && take(classes) } };
  });
}

/** Divide a part of an array by its norm, in place; returns the norm. */
function toUnitLength(values, from, count) {
  let square = 0;
  for (let k = from; k < from + count; k++) square += values[k] * values[k];
  const norm = Math.sqrt(square);
  for (let k = from; k < from + count; k++) values[k] = norm > 1e-12 ? values[k] / norm : 0;
  return norm;
}

/** Filters (outputs, inputs, 3, 3) with the weights of four of them next to each other, as convolve() reads them. */
function inFours(weight, outputs) {
  const size = weight.length / outputs;
  return Float32Array.from(weight, (_, at) => {
    const [four, rest] = [Math.floor(at / (4 * size)), at % (4 * size)];
    return weight[(4 * four + (rest % 4)) * size + (rest >> 2)];
  });
}

/**
 * A 3x3 convolution and ReLU into layer.out. The pixels around each one that are not zero, half of them after a ReLU, are
 * collected first; four filters at a time, whose sums do not wait for each other, pass over these.
 */
function convolve({ fours, bias, inputs, outputs, stride, places, around, out }, values, side) {
  const size = side / stride;
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      let found = 0;
      const [left, right] = [Math.max(0, x * stride - 1), Math.min(side - 1, x * stride + 1)];
      const [top, bottom] = [Math.max(0, y * stride - 1), Math.min(side - 1, y * stride + 1)];
      for (let i = 0; i < inputs; i++) {
        for (let row = top; row <= bottom; row++) {
          const tap = 9 * i + 3 * (row - y * stride + 1) - x * stride + 1;
          const from = (i * side + row) * side;
          for (let column = left; column <= right; column++) {
            const value = values[from + column];
            places[found] = 4 * (tap + column);
            around[found] = value;
            found += value === 0 ? 0 : 1;
          }
        }
      }
      for (let o = 0; o < outputs; o += 4) {
        let [a, b, c, d] = [bias[o], bias[o + 1], bias[o + 2], bias[o + 3]];
        const filters = 9 * o * inputs;
        for (let k = 0; k < found; k++) {
          const at = filters + places[k];
          const value = around[k];
          a += fours[at] * value;
          b += fours[at + 1] * value;
          c += fours[at + 2] * value;
          d += fours[at + 3] * value;
        }
        const to = (o * size + y) * size + x;
        const plane = size * size;
        out[to] = a > 0 ? a : 0;
        out[to + plane] = b > 0 ? b : 0;
        out[to + 2 * plane] = c > 0 ? c : 0;
        out[to + 3 * plane] = d > 0 ? d : 0;
      }
    }
  }
  return out;
}

/** The gradient in a convolution's input, from that in its output; `out` is the output, after ReLU. */
function convolveBack({ weight: w, inputs, stride }, out, slope, side) {
  const wide = side + 2;
  const plane = wide * wide;
  const size = side / stride;
  const sums = new Float64Array(inputs * plane);
  for (let k = 0; k < out.length; k++) {
    if (out[k] <= 0 || slope[k] === 0) continue;
    const [o, pixel] = [Math.floor(k / (size * size)), k % (size * size)];
    let to = stride * (Math.floor(pixel / size) * wide + (pixel % size));
    for (let at = 9 * o * inputs; at < 9 * (o + 1) * inputs; at += 9, to += plane)
      for (let tap = 0; tap < 9; tap++) sums[to + Math.floor(tap / 3) * wide + (tap % 3)] += w[at + tap] * slope[k];
  }
  const result = new Float64Array(inputs * side * side);
  for (let c = 0; c < inputs; c++)
    for (let y = 0; y < side; y++)
      for (let x = 0; x < side; x++) result[(c * side + y) * side + x] = sums[(c * wide + y + 1) * wide + x + 1];
  return result;
}

/** Every step from pixels (64 values of 0..255) to logits. */
function run({ mean, std, layers, head }, pixels) {
  const steps = [Float64Array.from(pixels, (v) => (v - mean) / std)];
  let side = SIDE;
  for (const layer of layers) {
    steps.push(convolve(layer, steps[steps.length - 1], side));
    side /= layer.stride;
  }
  const last = steps[steps.length - 1];
  const x = new Float64Array(head.features);
  for (let k = 0; k < last.length; k++) x[Math.floor(k / (side * side))] += last[k] / (side * side);
  const norm = head.unit ? toUnitLength(x, 0, x.length) : 1;
  return { steps, x, norm, ...headOutput(head, x) };
}

function headOutput({ kind, weight, bias, classes, features, scale, mean }, x) {
  const logits = new Float64Array(classes);
  const distances = new Float64Array(classes);
  for (let c = 0; c < classes; c++) {
    let sum = 0;
    for (let d = 0; d < features; d++) {
      const w = weight[c * features + d];
      sum += kind === "linear" ? x[d] * w : (x[d] - w) ** 2;
    }
    distances[c] = Math.sqrt(Math.max(0, sum));
    logits[c] = kind === "linear" ? sum + bias[c] : -scale * distances[c];
  }
  const shift = mean ? logits.reduce((a, b) => a + b, 0) / classes : 0;
  return { logits: logits.map((v) => v + shift), distances };
}

/** Logits of pixels (64 values of 0..255). */
export const networkLogits = (network, pixels) => run(network, pixels).logits;

/** The gradient of a score's key in the logits: its differences, since the key has its formula in scores.js alone. */
function scoreSlope(score, logits) {
  const C = logits.length;
  const rows = new Float64Array(2 * C * C);
  for (let k = 0; k < 2 * C; k++) {
    rows.set(logits, k * C);
    rows[k * C + (k >> 1)] += k % 2 ? -NUDGE : NUDGE;
  }
  const keys = sortKeys(rows, C, score, 1);
  return Float64Array.from({ length: C }, (_, k) => (keys[2 * k] - keys[2 * k + 1]) / (2 * NUDGE));
}

/** The gradient of the network's own score in the pixels. */
export function scoreGradient(network, pixels) {
  const { std, layers, head } = network;
  const { classes, features, weight, kind, scale, unit, mean } = head;
  const { steps, x, norm, logits, distances } = run(network, pixels);
  const slope = scoreSlope(network.score, logits);
  const share = mean ? slope.reduce((a, b) => a + b, 0) / classes : 0;
  let toFeatures = new Float64Array(features);
  for (let c = 0; c < classes; c++) {
    const step = slope[c] + share;
    for (let d = 0; d < features; d++) {
      const w = weight[c * features + d];
      if (kind === "linear") toFeatures[d] += step * w;
      else if (distances[c] > 0) toFeatures[d] -= (step * scale * (x[d] - w)) / distances[c];
    }
  }
  if (unit) {
    let radial = 0;
    for (let d = 0; d < features; d++) radial += toFeatures[d] * x[d];
    toFeatures = toFeatures.map((v, d) => (norm > 1e-12 ? (v - radial * x[d]) / norm : 0));
  }
  const last = steps[steps.length - 1];
  const pixelsPerFeature = last.length / features;
  let back = Float64Array.from(last, (_, k) => toFeatures[Math.floor(k / pixelsPerFeature)] / pixelsPerFeature);
  for (let k = layers.length - 1; k >= 0; k--) {
    const side = Math.sqrt(steps[k].length / layers[k].inputs);
    back = convolveBack(layers[k], steps[k + 1], back, side);
  }
  return back.map((v) => v / std);
}
