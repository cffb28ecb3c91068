// The score explorer's controls: what is shown, the threshold and the other sliders, and the prices of mistakes.
import { nearestIndex } from "./explorer_state.js";
import { formatFixed, formatPercent, formatScore } from "./formats.js";
import { choice, linear, logarithmic, slider, toggle } from "./view.js";

const STEPS = 400; // of the threshold's slider
const CONVENTIONS = { id: "OOD accepted when 95 % of ID is", ood: "ID rejected when 95 % of OOD is" };

export const priceText = (v) => formatFixed(v, v < 1 ? 2 : v < 10 ? 1 : 0);

/**
 * {fields, settings, sliders, prices}, each {key: control}, and show(state). `scale` is {keyAt, shareAt, scoreAt} of the
 * axis; `current()` gives the numbers that explorer_state.js computed.
 */
export function scoreControls({ meta, state, scale: { keyAt, shareAt, scoreAt }, current }) {
  const { bins, runs } = meta;
  const runOf = (s) => runs.find((r) => r.name === s.run) ?? runs[0];
  const epochsOf = (s) => runOf(s).epochs;
  const edge = (k) => scoreAt(keyAt(k / bins));

  const named = (names) => names.map((name) => [name, name]);
  const selectRun = (run) => state.set({ run, threshold: null, bin: null });
  const losses = [...new Set(runs.map((run) => run.loss))];
  const seedsOf = (s) => runs.filter((run) => run.loss === runOf(s).loss);
  /** Another loss is shown with the same seed, if it has that. */
  function selectLoss(loss) {
    const { seed } = runOf(state.get());
    const trained = runs.filter((run) => run.loss === loss);
    selectRun((trained.find((run) => run.seed === seed) ?? trained[0]).name);
  }
  const several = runs.length > losses.length;
  const fields = {
    ...(losses.length > 1 && { loss: choice("Loss", named(losses), selectLoss, several ? "loss" : "run") }),
    ...(several && { run: choice("Trained with", named(runs.map((run) => run.name)), selectRun, "run") }),
    score: choice(
      "Score",
      meta.allowed.score.among.map((name) => [name, meta.scores[name]]),
      (score) => state.set({ score, threshold: null, bin: null }),
      "score",
    ),
    ood: choice("OOD set", named(meta.ood_names), (ood) => state.set({ ood, bin: null }), "ood"),
  };
  const settings = {
    positive: choice(
      "FPR95 is the share of",
      meta.allowed.positive.among.map((side) => [side, CONVENTIONS[side]]),
      (positive) => state.set({ positive }),
      "positive",
    ),
    log_scale: toggle("Log scale", (on) => state.set({ log_scale: on }), "log_scale"),
  };
  /** A slider for an argument of a score: another value is another score, with another threshold and other bars. */
  const ofScore = (key, label, scale) =>
    slider(label, {
      text: formatScore,
      ...scale,
      input: (value) => state.set({ [key]: value, threshold: null, bin: null }),
      key,
    });
  const sliders = {
    threshold: slider("Threshold", {
      steps: STEPS,
      of: (p) => scoreAt(keyAt(p / STEPS)),
      at: () => shareAt(current().limit) * STEPS,
      text: formatScore,
      input: (threshold) => state.set({ threshold }),
      key: "threshold",
    }),
    target: slider("Target", {
      ...linear(0.5, 1, 100),
      text: (v) => formatPercent(v),
      input: (target) => state.set({ target, threshold: null }),
      key: "target",
    }),
    temperature: slider("Temperature", {
      ...logarithmic(0.1, 100, 300),
      text: formatScore,
      input: (temperature) => state.set({ temperature, bin: null }),
      key: "temperature",
    }),
    gamma: ofScore("gamma", "Exponent γ", logarithmic(0.01, 10, 300)),
    top: ofScore("top", "Largest M classes", {
      steps: meta.classes.length - 1,
      of: (position) => position + 1,
      at: (v) => v - 1,
      text: (v) => (v < meta.classes.length ? String(v) : "all"),
    }),
    p: ofScore("p", "Norm p", logarithmic(0.1, 100, 300)),
    epoch: slider("Epoch", {
      steps: 1,
      of: (p) => epochsOf(state.get())[p],
      at: (v) => nearestIndex(epochsOf(state.get()), v),
      text: String,
      input: (epoch) => state.set({ epoch, bin: null }),
      key: "epoch",
    }),
    bin: slider(meta.has_images ? "Images of bar" : "Contents of bar", {
      steps: bins,
      of: (p) => (p ? p - 1 : null),
      at: (v) => (v === null ? 0 : v + 1),
      text: (v) => (v === null ? "none" : `${formatScore(edge(v))} to ${formatScore(edge(v + 1))}`),
      input: (bin) => state.set({ bin }),
      key: "bin",
    }),
  };
  const prices = {
    price: slider("Accepted OOD costs", {
      ...logarithmic(0.01, 100, 200),
      text: (v) => `${priceText(v)} × a rejected ID`,
      input: (price) => state.set({ price }),
      key: "price",
    }),
    ood_share: slider("OOD expected", {
      ...linear(0, 1, 100),
      text: (v) => formatPercent(v, 0),
      input: (ood_share) => state.set({ ood_share }),
      key: "ood_share",
    }),
  };

  function show(s) {
    fields.loss?.show(runOf(s).loss);
    if (fields.run) fields.run.only(seedsOf(s).map((run) => [run.name, run.seed || "its only seed"]));
    for (const key of ["run", "score", "ood"]) fields[key]?.show(s[key]);
    for (const [key, control] of Object.entries(settings)) control.show(s[key]);
    for (const [key, control] of Object.entries(prices)) control.show(s[key]);
    const epochs = epochsOf(s);
    sliders.epoch.range.max = epochs.length - 1;
    sliders.epoch.range.disabled = epochs.length < 2;
    const values = { ...s, epoch: epochs[nearestIndex(epochs, s.epoch)], threshold: current().threshold };
    for (const [key, control] of Object.entries(sliders)) control.show(values[key]);
    for (const [score, names] of Object.entries(meta.options))
      for (const name of names) sliders[name].node.hidden = score !== s.score;
    sliders.target.rename(s.positive === "id" ? "Target: ID accepted" : "Target: OOD rejected");
  }

  sliders.epoch.node.hidden = runs.every((run) => run.epochs.length < 2);
  return { fields, settings, sliders, prices, show };
}
