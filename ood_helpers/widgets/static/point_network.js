// A small network in the browser: points (x, y) -> logits, and the gradients of its weights.
//
// network: {loss, weights: {name in torch's state dict: flat array}}. The last layer is linear, or a distance head.

const EMPTY = 1e-12; // a vector shorter than this has no direction

const KINDS = { isomax: "distance", isomaxplus: "angle", dismax: "angle" };
export const kindOf = (loss) => KINDS[loss] ?? "linear";

/** What one point passes through: buffers for forward() and backward(). */
export function workspace(network) {
  const width = network.weights["0.bias"].length;
  const head = network.weights["4.weight"] ?? network.weights["4.prototypes"];
  const classes = head.length / width;
  const zeros = (n) => new Float64Array(n);
  return {
    width,
    classes,
    first: zeros(width),
    second: zeros(width),
    unit: zeros(width), // second, divided by its norm where the head does so
    units: zeros(head.length), // the prototypes, likewise
    norms: zeros(classes),
    norm: 1,
    distances: zeros(classes),
    z: zeros(classes),
    dz: zeros(classes),
    back: zeros(width),
    deeper: zeros(width),
  };
}

/** Prepare a pass: prototypes are normalised once for all points. */
export function prepare({ loss, weights }, space) {
  if (kindOf(loss) === "linear") return;
  const { width, classes, units, norms } = space;
  const w = weights["4.prototypes"];
  for (let c = 0; c < classes; c++) {
    norms[c] = kindOf(loss) === "angle" ? lengthOf(w, c * width, width) : 1;
    const inverse = norms[c] > EMPTY ? 1 / norms[c] : 0;
    for (let i = 0; i < width; i++) units[c * width + i] = w[c * width + i] * inverse;
  }
}

/** The logits of one point, in space.z; T2FNorm divides the features by their norm in training only. */
export function forward({ loss, weights, fixed }, space, x, y, training = false) {
  const { width, classes, first, second, unit, units, distances, z } = space;
  const { "0.weight": w1, "0.bias": b1, "2.weight": w2, "2.bias": b2 } = weights;
  for (let i = 0; i < width; i++) first[i] = Math.max(0, w1[2 * i] * x + w1[2 * i + 1] * y + b1[i]);
  for (let i = 0; i < width; i++) {
    let sum = b2[i];
    for (let j = 0; j < width; j++) sum += w2[i * width + j] * first[j];
    second[i] = Math.max(0, sum);
  }
  if (kindOf(loss) === "linear") {
    const [w, b] = [weights["4.weight"], weights["4.bias"]];
    space.norm = loss === "t2fnorm" && training ? Math.max(EMPTY, lengthOf(second, 0, width)) : 1;
    const inverse = 1 / (space.norm * (loss === "t2fnorm" ? fixed : 1));
    for (let i = 0; i < width; i++) unit[i] = second[i] * inverse;
    for (let c = 0; c < classes; c++) {
      z[c] = b[c];
      for (let i = 0; i < width; i++) z[c] += w[c * width + i] * unit[i];
    }
    return z;
  }
  space.norm = kindOf(loss) === "angle" ? lengthOf(second, 0, width) : 1;
  const inverse = space.norm > EMPTY ? 1 / space.norm : 0;
  for (let i = 0; i < width; i++) unit[i] = second[i] * inverse;
  const scale = scaleOf(loss, weights);
  let mean = 0;
  for (let c = 0; c < classes; c++) {
    let square = 0;
    for (let i = 0; i < width; i++) square += (unit[i] - units[c * width + i]) ** 2;
    distances[c] = Math.sqrt(square);
    z[c] = -scale * distances[c];
    mean += z[c] / classes;
  }
  if (loss === "dismax") for (let c = 0; c < classes; c++) z[c] += mean;
  return z;
}

/** Add to `gradients` those of one point, whose forward() in training was the last call, for d loss / d z in space.dz. */
export function backward({ loss, weights, fixed }, space, gradients, x, y) {
  const { width, first, second, back, deeper } = space;
  if (kindOf(loss) === "linear") backwardLinear(weights, space, gradients);
  else backwardDistances(loss, weights, space, gradients);
  if (loss === "t2fnorm") backwardNormalized(space, fixed);
  deeper.fill(0);
  const [w2, dw2, db2] = [weights["2.weight"], gradients["2.weight"], gradients["2.bias"]];
  for (let i = 0; i < width; i++) {
    if (second[i] <= 0) continue;
    db2[i] += back[i];
    for (let j = 0; j < width; j++) {
      dw2[i * width + j] += back[i] * first[j];
      deeper[j] += back[i] * w2[i * width + j];
    }
  }
  const [dw1, db1] = [gradients["0.weight"], gradients["0.bias"]];
  for (let j = 0; j < width; j++) {
    if (first[j] <= 0) continue;
    db1[j] += deeper[j];
    dw1[2 * j] += deeper[j] * x;
    dw1[2 * j + 1] += deeper[j] * y;
  }
}

function backwardLinear(weights, { width, classes, unit, dz, back }, gradients) {
  const [w, dw, db] = [weights["4.weight"], gradients["4.weight"], gradients["4.bias"]];
  back.fill(0);
  for (let c = 0; c < classes; c++) {
    db[c] += dz[c];
    for (let i = 0; i < width; i++) {
      dw[c * width + i] += dz[c] * unit[i];
      back[i] += dz[c] * w[c * width + i];
    }
  }
}

/** Turn d / d unit, with unit = f / (norm of f times the temperature), into d / d f. */
function backwardNormalized({ width, unit, norm, back }, temperature) {
  let radial = 0;
  for (let i = 0; i < width; i++) radial += back[i] * unit[i] * temperature ** 2;
  for (let i = 0; i < width; i++) back[i] = (back[i] - radial * unit[i]) / (norm * temperature);
}

/** z_c = -scale |u - v_c|, with u and v_c the features and prototypes, or their directions. */
function backwardDistances(loss, weights, space, gradients) {
  const { width, classes, unit, units, distances, dz, back } = space;
  const [angle, scale, dw] = [kindOf(loss) === "angle", scaleOf(loss, weights), gradients["4.prototypes"]];
  const shared = loss === "dismax" ? dz.reduce((a, b) => a + b, 0) / classes : 0;
  back.fill(0);
  for (let c = 0; c < classes; c++) {
    const at = c * width;
    const g = dz[c] + shared;
    if (angle) {
      const sign = Math.sign(weights["4.distance_scale"][0]);
      gradients["4.distance_scale"][0] -= (g * sign * distances[c]) / (loss === "dismax" ? Math.SQRT2 : 1);
    }
    const pull = distances[c] > 0 ? (-scale * g) / distances[c] : 0; // times (u - v): d/du, and minus d/dv
    let radial = 0;
    for (let i = 0; i < width; i++) {
      back[i] += pull * (unit[i] - units[at + i]);
      radial -= pull * (unit[i] - units[at + i]) * units[at + i];
    }
    const inverse = angle ? (space.norms[c] > EMPTY ? 1 / space.norms[c] : 0) : 1;
    for (let i = 0; i < width; i++) {
      const dv = -pull * (unit[i] - units[at + i]);
      dw[at + i] += angle ? (dv - radial * units[at + i]) * inverse : dv;
    }
  }
  if (!angle) return;
  let radial = 0;
  for (let i = 0; i < width; i++) radial += back[i] * unit[i];
  const inverse = space.norm > EMPTY ? 1 / space.norm : 0;
  for (let i = 0; i < width; i++) back[i] = (back[i] - radial * unit[i]) * inverse;
}

function scaleOf(loss, weights) {
  if (loss === "isomax") return 1;
  return Math.abs(weights["4.distance_scale"][0]) / (loss === "dismax" ? Math.SQRT2 : 1);
}

function lengthOf(values, start, count) {
  let square = 0;
  for (let i = start; i < start + count; i++) square += values[i] * values[i];
  return Math.sqrt(square);
}
