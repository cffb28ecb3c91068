// The score explorer's view: draws what compute (or, for large data, the kernel) says, and turns gestures into state.
import { BINS, PICKED, compute, openData } from "./core.js";
import { axes, bars, bind, choice, compact, fixed, h, line, linear, logarithmic, onRestyle, percent, sheet, slider, theme, ticks, toggle, write } from "./view.js";

const STATE = ["run", "score", "temperature", "ood", "epoch", "threshold", "positive", "log_scale", "target", "bin"];

export function renderExplorer({ model, el }) {
  const meta = model.get("meta"), inKernel = meta.in_kernel, names = meta.scores;
  const blob = model.get("logits"); // a DataView; its bytes are aligned for float16 only by luck
  const data = inKernel ? null : openData(meta, blob.buffer.slice(blob.byteOffset, blob.byteOffset + blob.byteLength));
  const state = bind(model, [...STATE, "picture"], draw), runOf = (s) => meta.runs.find((r) => r.name === s.run);
  const nameOf = (set) => (set === meta.id ? "ID" : set);
  let view = null, geometry = null, asked = "", said = 0;

  const fields = {
    run: choice("Loss", meta.runs.map((r) => [r.name, r.name]), (run) => state.set({ run, threshold: null, bin: null }), "run"),
    score: choice("Score", Object.entries(names), (score) => state.set({ score, threshold: null, bin: null }), "score"),
    ood: choice("OOD set", meta.oods.map((o) => [o, o]), (ood) => state.set({ ood, bin: null }), "ood"),
    positive: choice("Positive class (FPR95)", [["id", "ID is positive"], ["ood", "OOD is positive"]],
      (positive) => state.set({ positive }), "positive"),
    log_scale: toggle("Log scale", (on) => state.set({ log_scale: on }), "log_scale"),
  };
  const sliders = {
    threshold: slider("Threshold", { of: (p) => view.low + ((view.high - view.low) * p) / 400, text: compact, key: "threshold",
      at: (v) => ((v - view.low) / (view.high - view.low)) * 400, input: (threshold) => state.set({ threshold }) }),
    target: slider("Target", { ...linear(0.5, 1, 100), text: (v) => percent(v), key: "target",
      input: (target) => state.set({ target, threshold: null }) }),
    temperature: slider("Temperature", { ...logarithmic(0.1, 100, 300), text: compact, key: "temperature",
      input: (temperature) => state.set({ temperature, bin: null }) }),
    epoch: slider("Epoch", { steps: 1, of: (p) => runOf(state.get()).epochs[p], at: (v) => nearest(runOf(state.get()).epochs, v),
      text: (v) => String(v), key: "epoch", input: (epoch) => state.set({ epoch, bin: null }) }),
    bin: slider("Bar to open", { steps: BINS, of: (p) => (p ? p - 1 : null), at: (v) => (v === null ? 0 : v + 1), key: "bin",
      text: (v) => (v === null ? "none" : `${compact(edge(v))} to ${compact(edge(v + 1))}`), input: (bin) => state.set({ bin }) }),
  };
  const edge = (k) => view.low + ((view.high - view.low) * k) / BINS;

  const readouts = Object.fromEntries(["auroc", "aupr", "fpr95", "accuracy"].map((key) => [key, h("dd", { "data-key": key })]));
  const terms = { auroc: h("dt", {}, "AUROC"), aupr: h("dt"), fpr95: h("dt"), accuracy: h("dt", {}, "ID accuracy") };
  const cells = ["id_in", "id_out", "ood_in", "ood_out"].map((key) => h("td", { "data-key": key }));
  const oodName = h("th", { scope: "row" });
  const plots = Object.fromEntries(["scores", "roc", "pr", "norms"].map((key) =>
    [key, h("canvas", { role: "img", class: `ood-plot ood-${key}`, "data-key": key })]));
  const sentence = h("p", { class: "ood-sentence", "aria-live": "polite" }), gallery = h("div", { class: "ood-gallery" });
  const legend = h("div", { class: "ood-legend" }, h("b"), h("i", { class: "ood-key-id" }), "ID", h("i", { class: "ood-key-ood" }), h("span"));
  const root = h("section", { class: "ood-widget ood-explorer", "aria-label": "Score explorer", tabindex: "-1" },
    h("div", { class: "ood-row" }, ...(meta.runs.length > 1 ? [fields.run.node] : []), fields.score.node, fields.ood.node,
      fields.positive.node, fields.log_scale.node),
    h("dl", { class: "ood-readouts" }, ...Object.keys(readouts).filter((k) => k !== "accuracy" || meta.labels)
      .map((key) => h("div", {}, terms[key], readouts[key]))),
    h("div", { class: "ood-stage" }, h("div", { class: "ood-main" }, legend, plots.scores), plots.roc, plots.pr, plots.norms),
    h("div", { class: "ood-desk" }, h("div", { class: "ood-sliders" }, sliders.threshold.node, sliders.target.node,
      sliders.temperature.node, sliders.epoch.node, sliders.bin.node),
    h("table", { class: "ood-confusion" }, h("caption", {}, "At the threshold"),
      h("thead", {}, h("tr", {}, h("td"), h("th", { scope: "col" }, "accepted"), h("th", { scope: "col" }, "rejected"))),
      h("tbody", {}, h("tr", {}, h("th", { scope: "row" }, "ID"), cells[0], cells[1]), h("tr", {}, oodName, cells[2], cells[3])))),
    gallery, sentence, ...(meta.note ? [h("p", { class: "ood-note" }, meta.note)] : []));
  if (meta.runs.every((r) => r.epochs.length < 2)) sliders.epoch.node.remove();
  el.replaceChildren(root);

  function draw() {
    if (!root.clientWidth) return; // not in the page yet; its size is watched
    const s = state.get(), look = theme(root), positive = s.positive === "id" ? "ID" : "OOD";
    view = inKernel ? model.get("picture") : compute(s, data);
    if (!view.metrics) return;
    for (const [key, field] of Object.entries(fields)) field.show(s[key]);
    const { epochs } = runOf(s);
    sliders.epoch.range.max = epochs.length - 1;
    sliders.epoch.range.disabled = epochs.length < 2;
    const epoch = epochs[nearest(epochs, s.epoch)];
    for (const [key, value] of Object.entries({ ...s, epoch, threshold: s.threshold ?? view.threshold }))
      sliders[key]?.show(value);
    sliders.target.node.firstChild.textContent = s.positive === "id" ? "Target: ID accepted" : "Target: OOD rejected";
    const { metrics, sizes, accepted } = view;
    const shares = [accepted[0] / sizes[0], accepted[1] / sizes[1]];
    terms.aupr.textContent = `AUPR, ${positive} positive`;
    terms.fpr95.textContent = `FPR95, ${positive} positive`;
    readouts.auroc.textContent = fixed(metrics.auroc, 4);
    readouts.aupr.textContent = fixed(s.positive === "id" ? metrics.aupr_in : metrics.aupr_out, 4);
    readouts.fpr95.textContent = percent(metrics.fpr95, 2);
    if (view.accuracy !== null) readouts.accuracy.textContent = percent(view.accuracy, 2);
    oodName.textContent = s.ood;
    legend.firstChild.textContent = s.run;
    legend.lastChild.textContent = s.ood;
    [0, 1].forEach((k) => [accepted[k], sizes[k] - accepted[k]].forEach((count, j) => { // each row adds up to 100.0 %
      const share = Number((100 * shares[k]).toFixed(1));
      cells[2 * k + j].replaceChildren(h("b", {}, `${(j ? 100 - share : share).toFixed(1)} %`), h("small", {}, ` ${count}`));
    }));
    drawScores(s, look);
    drawInsets(s, look, shares);
    showPicked(s);
    clearTimeout(said);
    const text = `${s.run}, ${names[s.score]}: at threshold ${compact(s.threshold ?? view.threshold)}, ${percent(shares[0])} of ID and `
      + `${percent(shares[1])} of ${s.ood} are accepted. AUROC ${fixed(metrics.auroc)}, FPR95 (${positive} positive) ${percent(metrics.fpr95)}.`;
    plots.scores.setAttribute("aria-label", `Histogram of scores. ${text}`);
    said = setTimeout(() => { if (sentence.textContent !== text) sentence.textContent = text; }, 400);
  }

  function drawScores(s, look) {
    const [pen, width, height] = sheet(plots.scores), { low, high, counts, sizes } = view;
    const box = [52, 24, width - 66, height - 68], share = (c, k) => c.map((v) => v / sizes[k]);
    const top = s.log_scale ? 1 : Math.min(1, view.peak * 1.12), bottom = s.log_scale ? Math.min(0.5 / Math.max(...sizes), 1e-3) : 0;
    const decades = [1, 0.1, 0.01, 1e-3, 1e-4, 1e-5].filter((v) => v >= bottom).map((v) => [v, `${+(v * 100).toPrecision(2)} %`]);
    const axis = axes(pen, look, box, { x: [low, high], y: [bottom, top], log: s.log_scale,
      xTicks: ticks(low, high, width / 90), xName: names[s.score],
      yTicks: s.log_scale ? decades : ticks(0, top * 100, 5).map(([v, t]) => [v / 100, `${t} %`]), yName: "Share of each set" });
    const edges = Array.from({ length: BINS + 1 }, (_, k) => edge(k)), base = box[1] + box[3];
    bars(pen, look, axis, edges, share(counts.id, 0), share(counts.ood, 1), base);
    for (let k = 0; k < BINS; k++) { // a bar that leaves the picture says how far
      const tall = Math.max(counts.id[k] / sizes[0], counts.ood[k] / sizes[1]);
      if (tall > top * 1.001) write(pen, `▴ ${Math.round(100 * tall)} %`, axis.x(edge(k + 0.5)), box[1] + 14, look.ink(1), "center", "middle");
    }
    if (s.bin !== null) {
      const [a, b] = [axis.x(edge(s.bin)), axis.x(edge(s.bin + 1))];
      pen.fillStyle = look.ink(0.1);
      pen.fillRect(a, box[1], b - a, box[3]);
      Object.assign(pen, { strokeStyle: look.ink(0.8), lineWidth: 1 });
      pen.strokeRect(Math.round(a) + 0.5, box[1] + 0.5, Math.round(b - a), box[3]);
    }
    const at = Math.min(Math.max(axis.x(s.threshold ?? view.threshold), box[0]), box[0] + box[2]);
    pen.fillStyle = look.ink(0.06);
    pen.fillRect(box[0], box[1], at - box[0], box[3]);
    Object.assign(pen, { strokeStyle: look.ink(0.95), lineWidth: 2 });
    line(pen, [[at, box[1] - 4], [at, base]]);
    pen.fillStyle = look.ink(0.95);
    pen.beginPath();
    pen.roundRect(at - 5, base - 18, 10, 18, 3); // the grip
    pen.fill();
    pen.font = `11px ${look.font}`;
    const room = box[0] + box[2] - at;
    if (at - box[0] > 62) write(pen, "◂ rejected", at - 7, box[1] - 6, look.ink(0.85), "right", "bottom");
    if (room > 62) write(pen, "accepted ▸", at + 7, box[1] - 6, look.ink(0.85), "left", "bottom");
    geometry = { left: box[0], width: box[2], at };
  }

  function drawInsets(s, look, shares) {
    const percents = [[0, "0"], [0.5, "50"], [1, "100"]], [n, m] = view.sizes, flip = s.positive === "ood";
    const rates = ([a, b]) => (flip ? { tpr: 1 - b / m, fpr: 1 - a / n, flagged: m - b, all: n - a + m - b }
      : { tpr: a / n, fpr: b / m, flagged: a, all: a + b });
    const here = rates(view.accepted), word = flip ? "OOD" : "ID", other = flip ? "ID" : "OOD";
    const inset = (key, title, xName, points, dot) => {
      const [pen, width, height] = sheet(plots[key]), box = [32, 26, width - 44, height - 66];
      const axis = axes(pen, look, box, { x: [0, 1], y: [0, 1], xTicks: percents, yTicks: percents, title, xName });
      if (key === "roc") { pen.setLineDash([3, 3]); line(pen, [[axis.x(0), axis.y(0)], [axis.x(1), axis.y(1)]]); pen.setLineDash([]); }
      Object.assign(pen, { strokeStyle: look.ink(0.9), lineWidth: 1.8, lineJoin: "round" });
      line(pen, points.map(([x, y]) => [axis.x(x), axis.y(y)]));
      if (dot) {
        Object.assign(pen, { fillStyle: look.paper, strokeStyle: look.ink(1), lineWidth: 2 });
        pen.beginPath();
        pen.arc(axis.x(dot[0]), axis.y(dot[1]), 4.5, 0, 7);
        pen.fill();
        pen.stroke();
        plots[key].setAttribute("aria-label", `${title}: at the threshold ${percent(dot[1])} against ${percent(dot[0])}`);
      }
    };
    const curve = view.curve.map(rates);
    if (flip) curve.reverse();
    inset("roc", "ROC, %", `${other} taken for ${word}`, [[0, 0], ...curve.map((r) => [r.fpr, r.tpr]), [1, 1]], [here.fpr, here.tpr]);
    inset("pr", "Precision, %", `Recall of ${word}`, curve.filter((r) => r.flagged).map((r) => [r.tpr, r.flagged / r.all]),
      here.all ? [here.tpr, here.flagged / here.all] : null);
    const { id, ood, high } = view.norms, [pen, width, height] = sheet(plots.norms), box = [32, 26, width - 44, height - 66];
    const share = (c, k) => c.map((v) => v / view.sizes[k]), top = Math.max(...share(id, 0), ...share(ood, 1)) * 1.08;
    const axis = axes(pen, look, box, { x: [0, high], y: [0, top], xTicks: ticks(0, high, width / 60),
      yTicks: [], title: "Logit norm", xName: "‖z‖ of the raw logits" });
    bars(pen, look, axis, id.map((_, k) => (high * k) / id.length).concat(high), share(id, 0), share(ood, 1), box[1] + box[3]);
    plots.norms.setAttribute("aria-label", "Histogram of the logit norms of both sets");
  }

  function showPicked(s) {
    const picked = view.picked, key = JSON.stringify(picked && picked.map((p) => [p.set, p.items]));
    if (key === asked) return;
    asked = key;
    if (!picked) {
      gallery.replaceChildren(h("p", { class: "ood-hint" }, meta.has_images ? "Click a bar to see its images. Drag the line to move the threshold."
        : "Drag the line to move the threshold; click a bar to list what is in it."));
      return;
    }
    gallery.replaceChildren(...picked.map((part, k) => h("div", { class: "ood-shelf" },
      h("h4", {}, h("i", { class: k ? "ood-key-ood" : "ood-key-id" }), `${nameOf(part.set)} in this bar: ${part.total}`,
        part.items.length < part.total ? ` (${part.items.length || "none"} shown${part.items.length < Math.min(PICKED, part.total) ? "; this page carries a sample" : ""})` : ""),
      h("div", { class: "ood-tiles" }, ...part.items.map((item) => {
        const said = meta.classes[item.prediction], truth = item.label === null ? "" : meta.classes[item.label];
        return h("figure", { "data-index": item.index, "data-set": part.set,
          class: item.label !== null && item.label !== item.prediction ? "ood-wrong" : "" },
        ...(meta.has_images ? [h("canvas", { role: "img", "aria-label": `Image ${item.index} of ${part.set}` })] : []),
        h("figcaption", {}, h("b", {}, compact(item.score)), h("span", { title: said }, `says ${said}`),
          ...(truth === "" ? [] : [h("span", { title: truth }, truth === said ? "rightly" : `is ${truth}`)])));
      })))));
    if (meta.has_images) model.send({ kind: "images", sets: picked.map((p) => [p.set, p.items.map((i) => i.index)]) });
  }

  function showImages(message, buffers) { // raw RGBA of equal sizes, in the order asked for
    if (message.kind !== "images") return;
    message.sets.forEach(([set, indices, [width, height]], k) => {
      const view = buffers[k], bytes = new Uint8ClampedArray(view.buffer ?? view, view.byteOffset ?? 0, view.byteLength);
      const frames = [...gallery.querySelectorAll("figure")].filter((f) => f.dataset.set === set);
      indices.forEach((index, i) => {
        const canvas = frames.find((f) => f.dataset.index === String(index))?.querySelector("canvas");
        if (!canvas) return;
        Object.assign(canvas, { width, height });
        canvas.getContext("2d").putImageData(new ImageData(bytes.slice(i * width * height * 4, (i + 1) * width * height * 4), width, height), 0, 0);
      });
    });
  }

  let dragging = false, down = 0;
  const place = (event) => event.clientX - plots.scores.getBoundingClientRect().left;
  plots.scores.addEventListener("pointerdown", (event) => {
    down = place(event);
    dragging = Math.abs(down - geometry.at) < (event.pointerType === "touch" ? 20 : 9);
    if (dragging) plots.scores.setPointerCapture(event.pointerId);
  });
  plots.scores.addEventListener("pointermove", (event) => {
    const x = place(event), part = Math.min(Math.max((x - geometry.left) / geometry.width, 0), 1);
    if (dragging) state.set({ threshold: view.low + (view.high - view.low) * part });
    else plots.scores.style.cursor = Math.abs(x - geometry.at) < 9 ? "ew-resize" : "pointer";
  });
  plots.scores.addEventListener("pointerup", (event) => {
    const x = place(event), bin = Math.floor(((x - geometry.left) / geometry.width) * BINS);
    if (!dragging && Math.abs(x - down) < 4 && bin >= 0 && bin < BINS) state.set({ bin: state.get().bin === bin ? null : bin });
    dragging = false;
  });
  plots.scores.addEventListener("pointercancel", () => { dragging = false; });
  model.on("msg:custom", showImages);
  // A threshold is in its score's unit. A kernel sees to that itself; in a page a linked score comes alone.
  if (model.get("alone")) for (const name of ["run", "score"]) model.on(`change:${name}`, () => model.set("threshold", null));
  const stopStyle = onRestyle(root, state.later);
  draw();
  return () => { state.stop(); stopStyle(); clearTimeout(said); model.off("msg:custom", showImages); };
}

const nearest = (values, wanted) => values.reduce((best, v, k) => (Math.abs(v - wanted) <= Math.abs(values[best] - wanted) ? k : best), 0);
