// The score explorer's view: draws what core.js computes, and turns gestures into state.
import { compute, nearestIndex, openData, toScore } from "./core.js";
import { openGallery } from "./gallery.js";
import { scoreGuess } from "./score_guess.js";
import { drawCost, drawCurves, drawNorms, drawScoreHistogram } from "./score_plots.js";
import {
  bind,
  canvases,
  choice,
  formatFixed,
  formatPercent,
  formatScore,
  h,
  linear,
  logarithmic,
  onRestyle,
  placeOn,
  readouts,
  sentenceBelow,
  slider,
  theme,
  toggle,
} from "./view.js";

const STEPS = 400; // of the threshold's slider
const CONVENTIONS = { id: "OOD accepted when 95 % of ID is", ood: "ID rejected when 95 % of OOD is" };
const WORDS = [
  ["AUROC", "the probability that an ID image has a higher score than an OOD image; 50 % is chance"],
  [
    "FPR95",
    "the share of one class that is misjudged at the threshold where 95 % of the positive class is judged rightly",
  ],
  ["AUPR", "the area under precision over recall: the average precision in finding the positive class"],
  ["Threshold", "images with at least this score are accepted as ID, the others are rejected as OOD"],
  ["Temperature", "logits are divided by it before the score is computed"],
];

export function renderScoreExplorer({ model, el }) {
  const meta = model.get("meta");
  const { bins, runs } = meta;
  const blob = model.get("logits"); // a DataView; its bytes are aligned for float16 only by luck
  const data = openData(meta, blob.buffer.slice(blob.byteOffset, blob.byteOffset + blob.byteLength));
  const state = bind(model, meta.state, draw);
  const runOf = (s) => runs.find((r) => r.name === s.run) ?? runs[0];
  const epochsOf = (s) => runOf(s).epochs;
  let view = null;
  let geometry = null; // of the histogram: {left, width, at, base, top, tall}

  // A key on the axis from a share of its width, and back; a bar's left edge.
  const keyAt = (share) => view.low + (view.high - view.low) * share;
  const shareAt = (key) => (key - view.low) / (view.high - view.low);
  const scoreAt = (key) => toScore(state.get().score, key);
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
  const sliders = {
    threshold: slider("Threshold", {
      steps: STEPS,
      of: (p) => scoreAt(keyAt(p / STEPS)),
      at: () => shareAt(view.limit) * STEPS,
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
  const priceText = (v) => formatFixed(v, v < 1 ? 2 : v < 10 ? 1 : 0);
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

  const numbers = readouts({ auroc: "AUROC", aupr: "", fpr95: "", ...(meta.labels && { accuracy: "ID accuracy" }) });
  const plots = canvases(["scores", "roc", "pr", "norms", "cost"]);
  const cells = ["id_in", "id_out", "ood_in", "ood_out"].map((key) => h("td", { "data-key": key }));
  const oodName = h("th", { scope: "row" });
  const runName = h("b");
  const oodKey = h("span");
  const gallery = openGallery(model, meta);
  const sentence = sentenceBelow();
  const costWords = h("p", { class: "ood-hint" });
  const costs = h(
    "details",
    { class: "ood-cost-panel" },
    h("summary", {}, "What a mistake costs"),
    plots.cost,
    h("div", { class: "ood-sliders" }, ...Object.values(prices).map((control) => control.node)),
    costWords,
  );
  const initial = state.get();
  costs.open = initial.price !== 1 || initial.ood_share !== 0.5;
  costs.addEventListener("toggle", state.later);
  const guess = scoreGuess({
    model,
    meta,
    state,
    scale: { keyAt, shareAt, scoreAt },
    current: () => view,
    acceptedAt: (threshold) => compute({ ...state.get(), threshold, bin: null }, data).accepted[0],
  });
  const root = h(
    "section",
    { class: "ood-widget ood-explorer", "aria-label": "Score explorer", tabindex: "-1" },
    h("div", { class: "ood-row" }, ...Object.values(fields).map((field) => field.node)),
    numbers.list,
    guess.node,
    h("div", { class: "ood-stage" }, mainPanel(), deskPanel(), plots.roc, plots.pr, plots.norms, confusionTable()),
    gallery.node,
    ...sentence.nodes,
    h("div", { class: "ood-more" }, costs, glossary()),
    ...(meta.note ? [h("p", { class: "ood-note" }, meta.note)] : []),
  );
  el.replaceChildren(root);

  function mainPanel() {
    const keys = [h("i", { class: "ood-key-id" }), "ID", h("i", { class: "ood-key-ood" }), oodKey];
    return h("div", { class: "ood-main" }, h("div", { class: "ood-legend" }, runName, ...keys), plots.scores);
  }

  function deskPanel() {
    const { epoch, ...always } = sliders;
    const shown = runs.some((r) => r.epochs.length > 1) ? sliders : always;
    return h(
      "div",
      { class: "ood-desk" },
      h("div", { class: "ood-sliders" }, ...Object.values(shown).map((control) => control.node)),
      h("div", { class: "ood-row" }, ...Object.values(settings).map((control) => control.node)),
    );
  }

  function confusionTable() {
    const head = ["accepted", "rejected"].map((name) => h("th", { scope: "col" }, name));
    const table = h(
      "table",
      { class: "ood-confusion" },
      h("caption", {}, "At the threshold"),
      h("thead", {}, h("tr", {}, h("td"), ...head)),
      h(
        "tbody",
        {},
        h("tr", {}, h("th", { scope: "row" }, "ID"), cells[0], cells[1]),
        h("tr", {}, oodName, cells[2], cells[3]),
      ),
    );
    return h("div", { class: "ood-table" }, table);
  }

  function glossary() {
    const items = WORDS.map(([word, meaning]) => h("p", {}, h("b", {}, `${word}: `), `${meaning}.`));
    return h("details", { class: "ood-words" }, h("summary", {}, "What the numbers mean"), ...items);
  }

  function draw() {
    if (!root.clientWidth) return; // not in the page yet; its size is watched
    const s = state.get();
    view = compute(s, data);
    const look = theme(root);
    const shares = view.accepted.map((count, k) => count / view.sizes[k]);
    const covered = guess.covered();
    root.classList.toggle("ood-covered", covered);
    guess.show();
    showControls(s);
    showNumbers(s, shares);
    const shown = { s: covered ? { ...s, log_scale: false } : s, view, meta, look };
    geometry = drawScoreHistogram(plots.scores, { ...shown, peak: sharedPeak(), guess: guess.drawn() });
    const words =
      `${s.run}, ${meta.scores[s.score]}: at threshold ${formatScore(view.threshold)}, ` +
      `${formatPercent(shares[0])} of ID and ${formatPercent(shares[1])} of ${s.ood} are accepted; ` +
      `AUROC ${formatPercent(view.metrics.auroc)}, ` +
      `FPR95 (${s.positive.toUpperCase()} positive) ${formatPercent(view.metrics.fpr95)}.`;
    const seen = covered ? `Covered: guess where the images of ${s.ood} lie.` : words;
    plots.scores.setAttribute("aria-label", `Histogram of scores. ${seen}`);
    sentence.show(seen);
    if (covered) return;
    drawCurves(plots, shown);
    drawNorms(plots.norms, shown);
    costWords.textContent = describeCosts(s);
    drawCost(plots.cost, shown, `Expected cost over thresholds. ${costWords.textContent}`);
    gallery.show(view.picked);
  }

  /** Explorers beside each other have one height, that of the largest peak, so that their bars can be compared. */
  function sharedPeak() {
    const row = el.closest(".ood-many, .widget-hbox");
    if (!row) return view.peak;
    const others = [...row.querySelectorAll(".ood-explorer")].filter((other) => other !== root);
    if (root.dataset.peak !== String(view.peak)) {
      root.dataset.peak = view.peak;
      for (const other of others) other.dispatchEvent(new CustomEvent("ood-peak"));
    }
    return Math.max(view.peak, ...others.map((other) => Number(other.dataset.peak ?? 0)));
  }
  root.addEventListener("ood-peak", state.later);

  function showControls(s) {
    fields.loss?.show(runOf(s).loss);
    if (fields.run) fields.run.only(seedsOf(s).map((run) => [run.name, run.seed || "its only seed"]));
    for (const key of ["run", "score", "ood"]) fields[key]?.show(s[key]);
    for (const [key, control] of Object.entries(settings)) control.show(s[key]);
    for (const [key, control] of Object.entries(prices)) control.show(s[key]);
    const epochs = epochsOf(s);
    sliders.epoch.range.max = epochs.length - 1;
    sliders.epoch.range.disabled = epochs.length < 2;
    const values = { ...s, epoch: epochs[nearestIndex(epochs, s.epoch)], threshold: view.threshold };
    for (const [key, control] of Object.entries(sliders)) control.show(values[key]);
    sliders.target.rename(s.positive === "id" ? "Target: ID accepted" : "Target: OOD rejected");
    runName.textContent = s.run;
    oodKey.textContent = s.ood;
  }

  function showNumbers(s, shares) {
    const { metrics, sizes, accepted } = view;
    const positive = s.positive.toUpperCase();
    numbers.aupr.term.textContent = `AUPR, ${positive} positive`;
    numbers.fpr95.term.textContent = `FPR95, ${positive} positive`;
    numbers.auroc.value.textContent = formatPercent(metrics.auroc);
    numbers.aupr.value.textContent = formatPercent(s.positive === "id" ? metrics.aupr_in : metrics.aupr_out);
    numbers.fpr95.value.textContent = formatPercent(metrics.fpr95);
    if (numbers.accuracy) numbers.accuracy.value.textContent = formatPercent(view.accuracy);
    oodName.textContent = s.ood;
    shares.forEach((share, k) => {
      const percentage = Number((100 * share).toFixed(1)); // each row adds up to 100.0 %
      const both = [
        [percentage, accepted[k]],
        [100 - percentage, sizes[k] - accepted[k]],
      ];
      both.forEach(([value, count], j) => {
        cells[2 * k + j].replaceChildren(h("b", {}, `${value.toFixed(1)} %`), h("small", {}, ` ${count}`));
      });
    });
  }

  function describeCosts(s) {
    const { best, usual, here } = view.cost;
    const where = best.key === null ? "by rejecting everything" : `at threshold ${formatScore(scoreAt(best.key))}`;
    return (
      `If an accepted OOD image costs ${priceText(s.price)} times a rejected ID image and ` +
      `${formatPercent(s.ood_share, 0)} of all images are OOD, an image costs ${formatFixed(best.cost)} at least, ` +
      `${where}; ${formatFixed(usual.cost)} at the threshold that accepts 95 % of ID; ${formatFixed(here)} at yours.`
    );
  }

  // Gestures: a press that moves drags the line or a guessed bar; one that does not opens the bar below it.

  let pressed = null; // {x, line: near the line, moved}
  const isNear = (x, distance) => Math.abs(x - geometry.at) < distance;
  const shareOf = (x) => Math.min(Math.max((x - geometry.left) / geometry.width, 0), 1);

  const paint = ([x, y]) => guess.paint(shareOf(x), ((geometry.base - y) / geometry.tall) * geometry.top);

  plots.scores.addEventListener("pointerdown", (event) => {
    const [x, y] = placeOn(plots.scores, event);
    pressed = { x, line: isNear(x, event.pointerType === "touch" ? 20 : 9), moved: false };
    if (pressed.line || guess.covered()) plots.scores.setPointerCapture(event.pointerId);
    if (guess.covered() && !pressed.line) paint([x, y]);
  });
  plots.scores.addEventListener("pointermove", (event) => {
    const [x, y] = placeOn(plots.scores, event);
    if (!pressed) {
      plots.scores.style.cursor = isNear(x, 9) ? "ew-resize" : guess.covered() ? "crosshair" : "pointer";
      return;
    }
    pressed.moved ||= Math.abs(x - pressed.x) >= 4;
    if (pressed.line && pressed.moved) {
      const limit = keyAt(shareOf(x));
      if (guess.covered()) guess.place(limit);
      else state.set({ threshold: scoreAt(limit) });
    } else if (guess.covered() && !pressed.line) paint([x, y]);
  });
  plots.scores.addEventListener("pointerup", (event) => {
    const [x] = placeOn(plots.scores, event);
    const bin = Math.floor(((x - geometry.left) / geometry.width) * bins);
    const clicked = pressed && !pressed.moved && Math.abs(x - pressed.x) < 4 && !guess.covered();
    if (clicked && bin >= 0 && bin < bins) state.set({ bin: state.get().bin === bin ? null : bin });
    pressed = null;
  });
  plots.scores.addEventListener("pointercancel", () => (pressed = null));
  // A threshold is in units of its score. A kernel resets it itself; in a page a linked score arrives alone.
  const resetThreshold = () => model.set("threshold", null);
  if (model.get("standalone")) for (const name of ["run", "score"]) model.on(`change:${name}`, resetThreshold);
  const stopStyle = onRestyle(root, state.later);
  draw();
  return () => {
    state.stop();
    stopStyle();
    sentence.stop();
    gallery.stop();
    guess.stop();
  };
}
