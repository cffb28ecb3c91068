// Training in the page: the playground's losses and their gradients, and SGD with Nesterov's momentum, as
// points2d.train computes them with torch.
import { dotProduct, highest, lossGradient } from "./logits.js";
import { backward, forward, kindOf, prepare, workspace } from "./point_network.js";

/** Number k of mulberry32's sequence for a seed, in [0, 1). */
function uniform(seed, k) {
  const a = (seed + Math.imul(k + 1, 0x6d2b79f5)) | 0;
  let t = Math.imul(a ^ (a >>> 15), a | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}

/** The network before training; `own` are the loss's learned parameters. rules: meta.training. */
export function initialNetwork(loss, { seed, temperature }, { width, classes, margin }) {
  const kind = kindOf(loss);
  let drawn = 0;
  const draw = (count, next) => {
    const values = Float64Array.from({ length: count }, (_, k) => next(drawn + k, count));
    drawn += count;
    return values;
  };
  const spread = (count, inputs) => draw(count, (k) => (2 * uniform(seed, k) - 1) / Math.sqrt(inputs));
  // Box and Muller; its second number comes `count` later.
  const normal = (k, count) => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform(seed, k)));
    return radius * Math.cos(2 * Math.PI * uniform(seed, k + count));
  };
  const weights = {
    "0.weight": spread(2 * width, 2),
    "0.bias": spread(width, 2),
    "2.weight": spread(width * width, width),
    "2.bias": spread(width, width),
  };
  if (kind === "linear") {
    weights["4.weight"] = spread(classes * width, width);
    weights["4.bias"] = spread(classes, width);
  } else weights["4.prototypes"] = kind === "angle" ? draw(classes * width, normal) : new Float64Array(classes * width);
  if (kind === "angle") weights["4.distance_scale"] = Float64Array.of(1);
  const own = {};
  if (loss.startsWith("meln")) {
    own.temperature = Float64Array.of(loss === "meln_positive" ? Math.log(temperature) : temperature);
    own.margin = Float64Array.of(margin);
  }
  return { loss, weights, own, fixed: temperature };
}

/** The temperature by which the loss divides. */
export function temperatureOf({ loss, own, fixed }) {
  if (!own.temperature) return fixed;
  return loss === "meln_positive" ? Math.exp(own.temperature[0]) : own.temperature[0];
}

const SMALLEST = 1e-7; // divisors are at least this, as in beyond/norm_losses.py

/**
 * ELogitNorm's loss of one point and its gradient in z: the logits are divided by the mean distance to the decision
 * boundaries. It depends on the classifier's weights too: `share` of that gradient is added to `dw`.
 */
function boundaryLoss(z, target, w, dw, share) {
  const classes = z.length;
  const width = w.length / classes;
  const best = z.indexOf(highest(z));
  const between = Array.from(z, (_, c) => {
    let square = 0;
    for (let i = 0; i < width; i++) square += (w[c * width + i] - w[best * width + i]) ** 2;
    return Math.max(SMALLEST, Math.sqrt(square));
  });
  let mean = 0;
  for (let c = 0; c < classes; c++) mean += (z[best] - z[c]) / between[c] / classes;
  mean = Math.max(SMALLEST, mean);
  const at = lossGradient(
    z.map((v) => v / mean),
    target,
    { loss: "softmax" },
  );
  const gradient = at.gradient.map((g) => g / mean);
  const slope = -dotProduct(gradient, z) / mean; // of the mean distance
  for (let c = 0; c < classes; c++) {
    if (c === best) continue;
    const pull = slope / (classes * between[c]);
    gradient[best] += pull;
    gradient[c] -= pull;
    const turn = (share * pull * (z[best] - z[c])) / between[c] ** 2;
    for (let i = 0; i < width; i++) {
      const difference = w[c * width + i] - w[best * width + i];
      dw[c * width + i] -= turn * difference;
      dw[best * width + i] += turn * difference;
    }
  }
  return { value: at.value, gradient };
}

/** The mean loss over all points, and the gradients of weights and of the loss's own parameters. */
export function lossAndGradients(network, space, points, labels, { scale, constants }) {
  const { loss, weights, own } = network;
  const zeros = (arrays) => Object.fromEntries(Object.entries(arrays).map(([k, v]) => [k, new Float64Array(v.length)]));
  const gradients = { weights: zeros(weights), own: zeros(own) };
  const temperature = temperatureOf(network);
  const family = loss === "meln_positive" ? "meln" : loss;
  const state = { loss: family, temperature, margin: own.margin?.[0] ?? 0, constants };
  const stretch = kindOf(loss) === "linear" ? 1 : scale; // the distance heads' entropic scale
  let value = 0;
  prepare(network, space);
  points.forEach(([x, y], k) => {
    const z = forward(network, space, x, y, true);
    const at =
      loss === "elogitnorm"
        ? boundaryLoss(z, labels[k], weights["4.weight"], gradients.weights["4.weight"], 1 / points.length)
        : lossGradient(stretch === 1 ? z : z.map((v) => stretch * v), labels[k], state);
    value += at.value / points.length;
    for (let c = 0; c < z.length; c++) space.dz[c] = (stretch * at.gradient[c]) / points.length;
    backward(network, space, gradients.weights, x, y);
    if (!own.temperature) return;
    const slope = -dotProduct(at.residual, at.seen) / (loss === "meln_positive" ? 1 : temperature); // of T, or of log T
    gradients.own.temperature[0] += slope / points.length;
    gradients.own.margin[0] -= (at.scale * at.residual.reduce((a, b) => a + b, 0)) / points.length;
  });
  return { value, gradients };
}

/** One training: step() until `done`; the network changes in place. */
export function createTraining(loss, settings, points, labels, rules) {
  const network = initialNetwork(loss, settings, rules);
  const space = workspace(network);
  const momentum = { weights: {}, own: {} };
  const curve = [];
  return {
    network,
    curve,
    get done() {
      return curve.length >= rules.steps;
    },
    step() {
      const { value, gradients } = lossAndGradients(network, space, points, labels, rules);
      const rise = settings.warmup ? Math.min(1, (curve.length + 1) / (rules.warmup * rules.steps)) : 1;
      curve.push(value);
      for (const [group, rate] of [
        ["weights", settings.lr * rise],
        ["own", rules.own_lr * rise],
      ])
        for (const [name, values] of Object.entries(network[group])) {
          const velocity = (momentum[group][name] ??= new Float64Array(values.length));
          const slope = gradients[group][name];
          for (let i = 0; i < values.length; i++) {
            velocity[i] = rules.momentum * velocity[i] + slope[i];
            values[i] -= rate * (slope[i] + rules.momentum * velocity[i]);
          }
        }
    },
    /** What points2d.train returns. */
    result() {
      const weights = Object.entries(network.weights).map(([name, values]) => [name, [...values]]);
      return { weights: Object.fromEntries(weights), curve: [...curve], temperature: temperatureOf(network), settings };
    },
  };
}
