// The score explorer's view: draws what core.js computes, and turns gestures into state.
import { compute, nearestIndex, openData } from "./core.js";
import {
  SHARE_TICKS,
  axes,
  bars,
  bind,
  canvases,
  choice,
  dashed,
  dot,
  formatFixed,
  formatPercent,
  formatScore,
  h,
  line,
  linear,
  logarithmic,
  onRestyle,
  placeOn,
  readouts,
  sentenceBelow,
  sheet,
  slider,
  theme,
  ticks,
  toggle,
  write,
} from "./view.js";

const DECADES = [1, 0.1, 0.01, 1e-3, 1e-4, 1e-5];
const STEPS = 400; // of the threshold's slider
const HINTS = {
  images: "Click a bar to see its images. Drag the line to move the threshold.",
  list: "Drag the line to move the threshold; click a bar to list its contents.",
};

export function renderScoreExplorer({ model, el }) {
  const meta = model.get("meta");
  const { bins, runs } = meta;
  const blob = model.get("logits"); // a DataView; its bytes are aligned for float16 only by luck
  const data = openData(meta, blob.buffer.slice(blob.byteOffset, blob.byteOffset + blob.byteLength));
  const state = bind(model, meta.state, draw);
  const epochsOf = (s) => runs.find((r) => r.name === s.run).epochs;
  let view = null;
  let geometry = null; // of the histogram: {left, width, at}
  let picked = ""; // what the gallery shows

  // A value on the score's axis from a share of its width, and back; a bar's left edge.
  const valueAt = (share) => view.low + (view.high - view.low) * share;
  const shareAt = (value) => (value - view.low) / (view.high - view.low);
  const edge = (k) => valueAt(k / bins);

  const named = (names) => names.map((name) => [name, name]);
  const fields = {
    run: choice("Loss", named(meta.allowed.run.among), (run) => state.set({ run, threshold: null, bin: null }), "run"),
    score: choice(
      "Score",
      meta.allowed.score.among.map((name) => [name, meta.scores[name]]),
      (score) => state.set({ score, threshold: null, bin: null }),
      "score",
    ),
    ood: choice("OOD set", named(meta.ood_names), (ood) => state.set({ ood, bin: null }), "ood"),
    positive: choice(
      "Positive class (FPR95)",
      meta.allowed.positive.among.map((side) => [side, `${side.toUpperCase()} is positive`]),
      (positive) => state.set({ positive }),
      "positive",
    ),
    log_scale: toggle("Log scale", (on) => state.set({ log_scale: on }), "log_scale"),
  };
  const sliders = {
    threshold: slider("Threshold", {
      steps: STEPS,
      of: (p) => valueAt(p / STEPS),
      at: (v) => shareAt(v) * STEPS,
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
    bin: slider("Bar to open", {
      steps: bins,
      of: (p) => (p ? p - 1 : null),
      at: (v) => (v === null ? 0 : v + 1),
      text: (v) => (v === null ? "none" : `${formatScore(edge(v))} to ${formatScore(edge(v + 1))}`),
      input: (bin) => state.set({ bin }),
      key: "bin",
    }),
  };

  const numbers = readouts({ auroc: "AUROC", aupr: "", fpr95: "", ...(meta.labels && { accuracy: "ID accuracy" }) });
  const plots = canvases(["scores", "roc", "pr", "norms"]);
  const cells = ["id_in", "id_out", "ood_in", "ood_out"].map((key) => h("td", { "data-key": key }));
  const oodName = h("th", { scope: "row" });
  const runName = h("b");
  const oodKey = h("span");
  const gallery = h("div", { class: "ood-gallery" });
  const sentence = sentenceBelow();
  const { run, ...others } = fields;
  const { epoch, ...always } = sliders;
  const root = h(
    "section",
    { class: "ood-widget ood-explorer", "aria-label": "Score explorer", tabindex: "-1" },
    h("div", { class: "ood-row" }, ...Object.values(runs.length > 1 ? fields : others).map((field) => field.node)),
    numbers.list,
    h("div", { class: "ood-stage" }, mainPanel(), plots.roc, plots.pr, plots.norms),
    h("div", { class: "ood-desk" }, sliderPanel(), confusionTable()),
    gallery,
    ...sentence.nodes,
    ...(meta.note ? [h("p", { class: "ood-note" }, meta.note)] : []),
  );
  el.replaceChildren(root);

  function mainPanel() {
    const keys = [h("i", { class: "ood-key-id" }), "ID", h("i", { class: "ood-key-ood" }), oodKey];
    return h("div", { class: "ood-main" }, h("div", { class: "ood-legend" }, runName, ...keys), plots.scores);
  }

  function sliderPanel() {
    const shown = runs.some((r) => r.epochs.length > 1) ? sliders : always;
    return h("div", { class: "ood-sliders" }, ...Object.values(shown).map((control) => control.node));
  }

  function confusionTable() {
    const head = ["accepted", "rejected"].map((name) => h("th", { scope: "col" }, name));
    return h(
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
  }

  function draw() {
    if (!root.clientWidth) return; // not in the page yet; its size is watched
    const s = state.get();
    const look = theme(root);
    view = compute(s, data);
    const shares = view.accepted.map((count, k) => count / view.sizes[k]);
    showControls(s);
    showNumbers(s, shares);
    drawScores(s, look);
    drawCurves(s, look);
    drawNorms(look);
    showPicked();
    const words =
      `${s.run}, ${meta.scores[s.score]}: at threshold ${formatScore(view.threshold)}, ` +
      `${formatPercent(shares[0])} of ID and ${formatPercent(shares[1])} of ${s.ood} are accepted; ` +
      `AUROC ${formatFixed(view.metrics.auroc)}, ` +
      `FPR95 (${s.positive.toUpperCase()} positive) ${formatPercent(view.metrics.fpr95)}.`;
    plots.scores.setAttribute("aria-label", `Histogram of scores. ${words}`);
    sentence.show(words);
  }

  function showControls(s) {
    for (const [key, field] of Object.entries(fields)) field.show(s[key]);
    const epochs = epochsOf(s);
    epoch.range.max = epochs.length - 1;
    epoch.range.disabled = epochs.length < 2;
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
    numbers.auroc.value.textContent = formatFixed(metrics.auroc, 4);
    numbers.aupr.value.textContent = formatFixed(s.positive === "id" ? metrics.aupr_in : metrics.aupr_out, 4);
    numbers.fpr95.value.textContent = formatPercent(metrics.fpr95, 2);
    if (numbers.accuracy) numbers.accuracy.value.textContent = formatPercent(view.accuracy, 2);
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

  function drawScores(s, look) {
    const [pen, width, height] = sheet(plots.scores);
    const { low, high, counts, sizes } = view;
    const box = [52, 24, width - 66, height - 68];
    const [left, ceiling, wide, tall] = box;
    const base = ceiling + tall;
    const top = s.log_scale ? 1 : Math.min(1, view.peak * 1.12);
    const bottom = s.log_scale ? Math.min(0.5 / Math.max(...sizes), 1e-3) : 0;
    const logTicks = () => DECADES.filter((v) => v >= bottom).map((v) => [v, `${+(v * 100).toPrecision(2)} %`]);
    const axis = axes(pen, look, box, {
      x: [low, high],
      y: [bottom, top],
      log: s.log_scale,
      xTicks: ticks(low, high, width / 90),
      xName: meta.scores[s.score],
      yTicks: s.log_scale ? logTicks() : ticks(0, top * 100, 5).map(([v, text]) => [v / 100, `${text} %`]),
      yName: "Share of each set",
    });
    const edges = Array.from({ length: bins + 1 }, (_, k) => edge(k));
    const shares = [counts.id, counts.ood].map((c, k) => c.map((v) => v / sizes[k]));
    bars(pen, look, axis, edges, ...shares, base);
    for (let k = 0; k < bins; k++) {
      const share = Math.max(shares[0][k], shares[1][k]);
      if (share <= top * 1.001) continue;
      const text = `▴ ${Math.round(100 * share)} %`; // a bar that leaves the picture
      write(pen, text, axis.x(edge(k + 0.5)), ceiling + 14, look.ink(1), "center", "middle");
    }
    if (s.bin !== null) {
      const [a, b] = [axis.x(edge(s.bin)), axis.x(edge(s.bin + 1))];
      Object.assign(pen, { fillStyle: look.ink(0.1), strokeStyle: look.ink(0.8), lineWidth: 1 });
      pen.fillRect(a, ceiling, b - a, tall);
      pen.strokeRect(Math.round(a) + 0.5, ceiling + 0.5, Math.round(b - a), tall);
    }
    const at = Math.min(Math.max(axis.x(view.threshold), left), left + wide);
    pen.fillStyle = look.ink(0.06);
    pen.fillRect(left, ceiling, at - left, tall);
    Object.assign(pen, { strokeStyle: look.ink(0.95), fillStyle: look.ink(0.95), lineWidth: 2 });
    line(pen, [at, ceiling - 4], [at, base]);
    pen.beginPath();
    pen.roundRect(at - 5, base - 18, 10, 18, 3); // the grip
    pen.fill();
    pen.font = `11px ${look.font}`;
    if (at - left > 62) write(pen, "◂ rejected", at - 7, ceiling - 6, look.ink(0.85), "right", "bottom");
    if (left + wide - at > 62) write(pen, "accepted ▸", at + 7, ceiling - 6, look.ink(0.85), "left", "bottom");
    geometry = { left, width: wide, at };
  }

  function drawCurves(s, look) {
    const [n, m] = view.sizes;
    const flip = s.positive === "ood";
    const [positive, negative] = flip ? ["OOD", "ID"] : ["ID", "OOD"];
    // Rates of the positive class, from how many ID and OOD images are accepted.
    const ratesOf = ([a, b]) =>
      flip
        ? { tpr: 1 - b / m, fpr: 1 - a / n, precision: (m - b) / (n - a + m - b) }
        : { tpr: a / n, fpr: b / m, precision: a / (a + b) };
    const curve = view.curve.map(ratesOf);
    if (flip) curve.reverse();
    const here = ratesOf(view.accepted);
    const defined = (rates) => Number.isFinite(rates.precision);
    const byRecall = (rates) => [rates.tpr, rates.precision];
    const ends = [
      [0, 0],
      [1, 1],
    ];
    const roc = [ends[0], ...curve.map((rates) => [rates.fpr, rates.tpr]), ends[1]];
    drawCurve("roc", "ROC, %", `${negative} taken for ${positive}`, look, roc, [here.fpr, here.tpr], ends);
    const pr = curve.filter((rates) => rates.tpr > 0).map(byRecall);
    drawCurve("pr", "Precision, %", `Recall of ${positive}`, look, pr, defined(here) ? byRecall(here) : null);
  }

  function drawCurve(key, title, xName, look, points, point, diagonal = null) {
    const [pen, width, height] = sheet(plots[key]);
    const box = [32, 26, width - 44, height - 66];
    const ranges = { x: [0, 1], y: [0, 1], xTicks: SHARE_TICKS, yTicks: SHARE_TICKS };
    const axis = axes(pen, look, box, { ...ranges, title, xName });
    const place = ([x, y]) => [axis.x(x), axis.y(y)];
    if (diagonal) dashed(pen, [3, 3], ...diagonal.map(place));
    Object.assign(pen, { strokeStyle: look.ink(0.9), lineWidth: 1.8, lineJoin: "round" });
    line(pen, ...points.map(place));
    if (!point) return;
    Object.assign(pen, { fillStyle: look.paper, strokeStyle: look.ink(1), lineWidth: 2 });
    dot(pen, ...place(point), 4.5);
    const [x, y] = point.map((share) => formatPercent(share));
    plots[key].setAttribute("aria-label", `${title}: at the threshold ${y} against ${x}`);
  }

  function drawNorms(look) {
    const { id, ood, high } = view.norms;
    const [pen, width, height] = sheet(plots.norms);
    const box = [32, 26, width - 44, height - 66];
    const shares = [id, ood].map((c, k) => c.map((v) => v / view.sizes[k]));
    const axis = axes(pen, look, box, {
      x: [0, high],
      y: [0, Math.max(...shares.flat()) * 1.08],
      xTicks: ticks(0, high, width / 60),
      yTicks: [],
      title: "Logit norm",
      xName: "‖z‖ of the raw logits",
    });
    const edges = Array.from({ length: id.length + 1 }, (_, k) => (high * k) / id.length);
    bars(pen, look, axis, edges, ...shares, box[1] + box[3]);
    plots.norms.setAttribute("aria-label", "Histogram of the logit norms of both sets");
  }

  function showPicked() {
    const key = JSON.stringify(view.picked && view.picked.map((p) => [p.set, p.items]));
    if (key === picked) return;
    picked = key;
    if (!view.picked) {
      gallery.replaceChildren(h("p", { class: "ood-hint" }, meta.has_images ? HINTS.images : HINTS.list));
      return;
    }
    gallery.replaceChildren(...view.picked.map(shelf));
    const sets = view.picked.map(({ set, items }) => [set, items.map((item) => item.index)]);
    if (meta.has_images) model.send({ kind: "images", sets });
  }

  function shelf({ set, items, total }, side) {
    const sampled = items.length < Math.min(meta.max_picked, total) ? "; this page contains a sample" : "";
    const shown = items.length < total ? ` (${items.length || "none"} shown${sampled})` : "";
    const title = `${side ? set : "ID"} in this bar: ${total}${shown}`;
    const tiles = items.map((item) => tile(set, item));
    return h(
      "div",
      { class: "ood-shelf" },
      h("h4", {}, h("i", { class: side ? "ood-key-ood" : "ood-key-id" }), title),
      h("div", { class: "ood-tiles" }, ...tiles),
    );
  }

  function tile(set, { index, score, prediction, label }) {
    const predicted = meta.classes[prediction];
    const caption = [h("b", {}, formatScore(score)), h("span", { title: predicted }, `says ${predicted}`)];
    const wrong = label !== null && label !== prediction;
    if (label !== null) {
      const truth = meta.classes[label];
      caption.push(h("span", { title: truth }, wrong ? `is ${truth}` : "rightly"));
    }
    const image = h("canvas", { role: "img", "aria-label": `Image ${index} of ${set}` });
    return h(
      "figure",
      { "data-index": index, "data-set": set, class: wrong ? "ood-wrong" : "" },
      ...(meta.has_images ? [image] : []),
      h("figcaption", {}, ...caption),
    );
  }

  /** Raw RGBA images of equal sizes, in the requested order. */
  function showImages(message, buffers) {
    if (message.kind !== "images") return;
    message.sets.forEach(([set, indices, [width, height]], k) => {
      const bytes = new Uint8ClampedArray(buffers[k].buffer, buffers[k].byteOffset, buffers[k].byteLength);
      const frames = [...gallery.querySelectorAll("figure")].filter((frame) => frame.dataset.set === set);
      const size = width * height * 4;
      indices.forEach((index, i) => {
        const canvas = frames.find((frame) => frame.dataset.index === String(index))?.querySelector("canvas");
        if (!canvas) return;
        Object.assign(canvas, { width, height });
        const image = new ImageData(bytes.slice(i * size, (i + 1) * size), width, height);
        canvas.getContext("2d").putImageData(image, 0, 0);
      });
    });
  }

  let dragging = false;
  let pressedAt = 0;
  const near = (x, distance) => Math.abs(x - geometry.at) < distance;
  plots.scores.addEventListener("pointerdown", (event) => {
    [pressedAt] = placeOn(plots.scores, event);
    dragging = near(pressedAt, event.pointerType === "touch" ? 20 : 9);
    if (dragging) plots.scores.setPointerCapture(event.pointerId);
  });
  plots.scores.addEventListener("pointermove", (event) => {
    const [x] = placeOn(plots.scores, event);
    const share = Math.min(Math.max((x - geometry.left) / geometry.width, 0), 1);
    if (dragging) state.set({ threshold: valueAt(share) });
    else plots.scores.style.cursor = near(x, 9) ? "ew-resize" : "pointer";
  });
  plots.scores.addEventListener("pointerup", (event) => {
    const [x] = placeOn(plots.scores, event);
    const bin = Math.floor(((x - geometry.left) / geometry.width) * bins);
    const clicked = !dragging && Math.abs(x - pressedAt) < 4 && bin >= 0 && bin < bins;
    if (clicked) state.set({ bin: state.get().bin === bin ? null : bin });
    dragging = false;
  });
  plots.scores.addEventListener("pointercancel", () => (dragging = false));
  model.on("msg:custom", showImages);
  // A threshold is in units of its score. A kernel resets it itself; in a page a linked score arrives alone.
  const resetThreshold = () => model.set("threshold", null);
  if (model.get("standalone")) for (const name of ["run", "score"]) model.on(`change:${name}`, resetThreshold);
  const stopStyle = onRestyle(root, state.later);
  draw();
  return () => {
    state.stop();
    stopStyle();
    sentence.stop();
    model.off("msg:custom", showImages);
  };
}
