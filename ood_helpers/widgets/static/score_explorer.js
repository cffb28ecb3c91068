// The score explorer's view: draws what explorer_state.js computes, and turns gestures into state.
import { compute, openData } from "./explorer_state.js";
import { formatFixed, formatPercent, formatScore } from "./formats.js";
import { openGallery } from "./gallery.js";
import { theme } from "./plot.js";
import { priceText, scoreControls } from "./score_controls.js";
import { scoreGuess } from "./score_guess.js";
import { drawCost, drawCurves, drawNorms, drawScoreHistogram } from "./score_plots.js";
import { toScore } from "./scores.js";
import { bind, canvases, h, keepDrawn, placeOn, readouts, sentenceBelow } from "./view.js";

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
  const { bins } = meta;
  const blob = model.get("logits"); // a DataView; its bytes are aligned for float16 only by luck
  const data = openData(meta, blob.buffer.slice(blob.byteOffset, blob.byteOffset + blob.byteLength));
  const state = bind(model, meta.state, draw);
  let view = null;
  let geometry = null; // of the histogram: {left, width, at, base, top, tall}

  // A key on the axis from a share of its width, and back; a bar's left edge.
  const keyAt = (share) => view.low + (view.high - view.low) * share;
  const shareAt = (key) => (key - view.low) / (view.high - view.low);
  const scoreAt = (key) => toScore(state.get().score, key);
  const scale = { keyAt, shareAt, scoreAt };
  const { fields, settings, sliders, prices, show } = scoreControls({ meta, state, scale, current: () => view });
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
    scale,
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
    return h(
      "div",
      { class: "ood-desk" },
      h("div", { class: "ood-sliders" }, ...Object.values(sliders).map((control) => control.node)),
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
    show(s);
    runName.textContent = s.run;
    oodKey.textContent = s.ood;
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
  return keepDrawn(root, draw, state.later, [state, sentence, gallery, guess]);
}
