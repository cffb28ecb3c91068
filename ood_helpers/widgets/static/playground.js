// The playground's view: a small network that is trained in the page, and its predictions far beyond its data.
import { highest, lowerBound, softmax } from "./logits.js";
import { forward, prepare, workspace } from "./network.js";
import { createTraining, temperatureOf } from "./training.js";
import {
  SHARE_TICKS,
  axes,
  bind,
  button,
  canvases,
  choice,
  dashed,
  dot,
  formatFixed,
  formatPercent,
  formatScore,
  h,
  line,
  logarithmic,
  onRestyle,
  placeOn,
  powers,
  readouts,
  sentenceBelow,
  sheet,
  slider,
  theme,
  ticks,
  toggle,
  write,
} from "./view.js";

const COLUMNS = 108; // of the map
const ROWS = 81;
const ASPECT = 4 / 3;
const SIGNS = ["●", "■", "▲"]; // of the classes, whose points are drawn in these shapes
const WATCHED = 1200; // ms that a training is drawn out to, so that it can be watched
const BUDGET = 30; // ms of training in a frame, or as long as drawing the last one took
const TEMPERATURES = { logitnorm: "Temperature τ", meln: "First temperature", meln_positive: "First temperature" };

export function renderPlayground({ model, el }) {
  const meta = model.get("meta");
  const state = bind(model, [...meta.state, "networks"], draw);
  const labels = new Map(meta.losses);
  const names = new Map(meta.shown);
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const fields = {
    loss: choice("Loss", meta.losses, (loss) => state.set({ loss }), "loss"),
    show: choice("Colour shows", meta.shown, (show) => state.set({ show }), "show"),
    warmup: toggle("Warm-up", (warmup) => state.set({ warmup }), "warmup"),
  };
  // A coordinate's slider goes as far as the view does.
  const coordinate = (label, key, aspect) => {
    const reach = () => state.get().reach * aspect;
    const of = (p) => (p / 100 - 1) * reach();
    const at = (v) => (v / reach() + 1) * 100;
    const text = (v) => formatFixed(v, 2);
    return slider(label, { steps: 200, of, at, text, input: (value) => state.set({ [key]: value }), key });
  };
  const magnitude = (label, key, text) => {
    const input = (value) => state.set({ [key]: value });
    return slider(label, { ...logarithmic(...meta.allowed[key].between, 200), text, input, key });
  };
  const twoDigits = (v) => String(Number(v.toPrecision(2)));
  const sliders = {
    lr: magnitude("Learning rate", "lr", twoDigits),
    temperature: magnitude("Temperature τ", "temperature", twoDigits),
    reach: magnitude("View reaches to", "reach", (v) => `± ${formatFixed(v, 1)}`),
    x: coordinate("Point, across", "x", ASPECT),
    y: coordinate("Point, up", "y", 1),
  };
  const again = button("Train again", () => state.set({ seed: state.get().seed + 1 }), "retrain");
  const status = h("span", { class: "ood-hint", "data-key": "status" });
  const numbers = readouts({
    top: "Top probability",
    best: "Class",
    length: names.get("norm"),
    away: "Distance to the data",
    accuracy: "Training points right",
  });
  const plots = canvases(["plane", "curve", "ray", "classes"]);
  const sentence = sentenceBelow();
  const root = h(
    "section",
    { class: "ood-widget ood-playground", "aria-label": "Playground" },
    h("div", { class: "ood-row" }, fields.loss.node, fields.show.node, again, fields.warmup.node, status),
    numbers.list,
    h("div", { class: "ood-map" }, ...Object.values(plots)),
    h("div", { class: "ood-sliders" }, ...Object.values(sliders).map((control) => control.node)),
    ...sentence.nodes,
  );
  el.replaceChildren(root);
  const map = h("canvas", { width: COLUMNS, height: ROWS });
  let painted = null; // what the map shows
  let geometry = null; // of the plane
  let shown = null; // {key, training, space, began, last}: whose predictions are shown, and when it was advanced
  let former = []; // loss curves of earlier trainings with the same loss, the latest first

  const settingsOf = ({ seed, temperature, lr, warmup }) => ({ seed, temperature, lr, warmup });
  const keyOf = (loss, settings) => JSON.stringify([loss, settingsOf(settings)]);

  /** A training from the kernel, or from the page earlier, which is done. */
  function restore(loss, { weights, curve, temperature }) {
    const arrays = Object.entries(weights).map(([name, values]) => [name, Float64Array.from(values)]);
    return { network: { loss, weights: Object.fromEntries(arrays), own: {}, fixed: temperature }, curve, done: true };
  }

  /** The training of the present settings: begun here if nobody has done it yet. */
  function trainingFor(s) {
    const key = keyOf(s.loss, s);
    if (shown?.key === key) return shown.training;
    const before = shown?.training;
    if (before?.network.loss !== s.loss) former = [];
    else if (before.done) former = [before.curve, ...former].slice(0, 2);
    const known = s.networks[s.loss];
    const training =
      known && keyOf(s.loss, known.settings) === key
        ? restore(s.loss, known)
        : createTraining(s.loss, settingsOf(s), meta.points, meta.labels, meta.training);
    const now = performance.now();
    shown = { key, training, space: workspace(training.network), began: now, last: now };
    return training;
  }

  /** As many steps as the time since the training began asks for, and a frame has time for. */
  function advance(training) {
    const now = performance.now();
    const due = still.matches ? Infinity : ((now - shown.began) / WATCHED) * meta.training.steps;
    const most = still.matches ? Infinity : Math.max(BUDGET, now - shown.last);
    do training.step();
    while (!training.done && training.curve.length < due && performance.now() - now < most);
    shown.last = performance.now();
  }

  const predict = (x, y) => {
    const z = forward(shown.training.network, shown.space, x, y);
    const p = softmax(z);
    const top = highest(p);
    return { p, top, best: p.indexOf(top), norm: Math.hypot(...z) };
  };
  const shownOf = (s, prediction) => (s.show === "norm" ? prediction.norm : prediction.top);

  /** A share of the colour scale as [red, green, blue]. */
  const shade = (share) => {
    const last = meta.shades.length - 1;
    const at = Math.min(last - 0.001, Math.max(0, share) * last);
    const k = Math.floor(at);
    return meta.shades[k].map((c, i) => c + (meta.shades[k + 1][i] - c) * (at - k));
  };

  /** The map of the plane, only when something else than the point has changed. */
  function paint(s, training) {
    const of = [shown.key, training.curve.length, s.show, s.reach].join();
    if (painted?.of === of) return;
    const values = Array.from({ length: ROWS * COLUMNS }, (_, k) => {
      const [row, column] = [Math.floor(k / COLUMNS), k % COLUMNS];
      const x = (((column + 0.5) / COLUMNS) * 2 - 1) * s.reach * ASPECT;
      const y = (1 - ((row + 0.5) / ROWS) * 2) * s.reach;
      return shownOf(s, predict(x, y));
    });
    const [low, high] = s.show === "norm" ? [0, Math.max(1e-9, highest(values))] : [1 / meta.classes.length, 1];
    const pen = map.getContext("2d");
    const image = pen.createImageData(COLUMNS, ROWS);
    values.forEach((value, k) => image.data.set([...shade((value - low) / (high - low)), 255], 4 * k));
    pen.putImageData(image, 0, 0);
    painted = { of, low, high };
  }

  function draw() {
    if (!root.clientWidth) return; // not in the page yet; its size is watched
    const s = state.get();
    const training = trainingFor(s);
    if (!training.done) {
      advance(training);
      if (training.done) state.set({ networks: { ...s.networks, [s.loss]: training.result() } });
      state.later();
    }
    const { network, curve } = training;
    prepare(network, shown.space);
    const look = theme(root);
    for (const [key, field] of Object.entries(fields)) field.show(s[key]);
    for (const [key, control] of Object.entries(sliders)) control.show(s[key]);
    sliders.temperature.rename(TEMPERATURES[s.loss] ?? "Temperature (none)");
    sliders.temperature.range.disabled = !TEMPERATURES[s.loss];
    const learned = s.loss.startsWith("meln") ? `, T ${formatScore(temperatureOf(network))}` : "";
    status.textContent = `Step ${curve.length} of ${meta.training.steps}${learned}`;
    paint(s, training);
    const here = predict(s.x, s.y);
    const away = Math.min(...meta.points.map(([x, y]) => Math.hypot(x - s.x, y - s.y)));
    const right = meta.points.filter(([x, y], k) => predict(x, y).best === meta.labels[k]).length;
    const accuracy = right / meta.points.length;
    const name = meta.classes[here.best];
    numbers.top.value.textContent = formatPercent(here.top, 2);
    numbers.best.value.textContent = name;
    numbers.length.value.textContent = formatScore(here.norm);
    numbers.away.value.textContent = formatFixed(away, 2);
    numbers.accuracy.value.textContent = formatPercent(accuracy);
    drawPlane(s, look);
    drawCurve(s, curve, look);
    drawRay(s, here, look);
    drawClasses(here, look);
    const failed =
      accuracy < 0.9 ? ` The training failed: ${formatPercent(accuracy)} of the training points are right.` : "";
    const words =
      `${labels.get(s.loss)}: at (${formatFixed(s.x, 1)}, ${formatFixed(s.y, 1)}), ` +
      `${formatFixed(away, 1)} away from the nearest training point, the network predicts ${name} with ` +
      `${formatPercent(here.top)}.${failed}`;
    plots.plane.setAttribute("aria-label", `Map of the ${names.get(s.show).toLowerCase()}. ${words}`);
    sentence.show(words);
  }

  /** The training loss over the steps; the curves before it are dashed. */
  function drawCurve(s, curve, look) {
    const [pen, width, height] = sheet(plots.curve);
    const box = [38, 26, width - 50, height - 52];
    const all = [...former, curve].flat().filter((v) => v > 0);
    const decade = (v) => Math.ceil(Math.log10(v) - 1e-9);
    const [low, high] = [Math.max(-6, decade(Math.min(...all)) - 1), Math.max(1, decade(Math.max(...all)))];
    const { steps } = meta.training;
    const axis = axes(pen, look, box, {
      x: [0, steps],
      y: [10 ** low, 10 ** high],
      xTicks: ticks(0, steps, 3),
      yTicks: powers(low, high, 4),
      title: former.length ? "Training loss (before: dashed)" : "Training loss",
      log: true,
    });
    const path = (values) => values.map((v, k) => [axis.x(k), axis.y(v)]);
    if (s.loss === "logitnorm") {
      const bound = axis.y(lowerBound(meta.classes.length, s.temperature));
      pen.strokeStyle = look.ink(0.5);
      dashed(pen, [1, 3], [axis.x(0), bound], [axis.x(steps), bound]);
    }
    former.forEach((values, k) => {
      Object.assign(pen, { strokeStyle: look.ink(k ? 0.3 : 0.55), lineWidth: 1.2 });
      dashed(pen, [4, 3], ...path(values));
    });
    Object.assign(pen, { strokeStyle: look.id, lineWidth: 2, lineJoin: "round" });
    line(pen, ...path(curve));
    const bound = s.loss === "logitnorm" ? "; the dotted line is the least that this loss can reach" : "";
    const last = curve[curve.length - 1];
    plots.curve.setAttribute(
      "aria-label",
      `Training loss from ${formatScore(curve[0])} to ${formatScore(last)} in ${curve.length} steps${bound}`,
    );
  }

  function drawPlane(s, look) {
    const [pen, width, height] = sheet(plots.plane);
    const box = [34, 6, width - 100, height - 34];
    const [left, top, wide, tall] = box;
    const x = (v) => left + (wide * (v / (s.reach * ASPECT) + 1)) / 2;
    const y = (v) => top + (tall * (1 - v / s.reach)) / 2;
    Object.assign(pen, { imageSmoothingEnabled: true, imageSmoothingQuality: "high", font: `11px ${look.font}` });
    pen.drawImage(map, ...box);
    for (const [v, text] of ticks(-s.reach * ASPECT, s.reach * ASPECT, 7))
      write(pen, text, x(v), top + tall + 6, look.ink(0.72), "center", "top");
    for (const [v, text] of ticks(-s.reach, s.reach, 5))
      write(pen, text, left - 6, y(v), look.ink(0.72), "right", "middle");
    const radius = Math.max(1.6, Math.min(4.5, 14 / s.reach));
    meta.points.forEach((point, k) => drawPoint(pen, x(point[0]), y(point[1]), radius, meta.labels[k] % SIGNS.length));
    pen.save();
    pen.beginPath();
    pen.rect(...box);
    pen.clip();
    const [size, far] = [Math.hypot(s.x, s.y) || 1, s.reach * 2];
    Object.assign(pen, { strokeStyle: "rgba(255,255,255,.9)", lineWidth: 1.2 });
    dashed(pen, [5, 4], [x(0), y(0)], [x((s.x / size) * far), y((s.y / size) * far)]);
    drawTarget(pen, x(s.x), y(s.y));
    pen.restore();
    drawScale(pen, look, left + wide + 14, top, tall, s.show);
    geometry = { left, top, wide, tall, reach: s.reach };
  }

  function drawPoint(pen, x, y, radius, kind) {
    const [fillStyle, strokeStyle] = meta.colors[kind];
    Object.assign(pen, { fillStyle, strokeStyle, lineWidth: 0.8 });
    pen.beginPath();
    if (SIGNS[kind] === "●") pen.arc(x, y, radius, 0, 7);
    else if (SIGNS[kind] === "■") pen.rect(x - radius * 0.9, y - radius * 0.9, radius * 1.8, radius * 1.8);
    else {
      pen.moveTo(x, y - radius * 1.2);
      pen.lineTo(x + radius * 1.1, y + radius * 0.8);
      pen.lineTo(x - radius * 1.1, y + radius * 0.8);
      pen.closePath();
    }
    pen.fill();
    pen.stroke();
  }

  /** The point whose prediction is shown: a ring with a cross that is seen on any colour. */
  function drawTarget(pen, x, y) {
    for (const [strokeStyle, lineWidth] of [
      ["#111", 5],
      ["#fff", 2.5],
    ]) {
      Object.assign(pen, { strokeStyle, lineWidth });
      pen.beginPath();
      pen.arc(x, y, 8, 0, 7);
      pen.stroke();
      line(pen, [x - 3.5, y], [x + 3.5, y]);
      line(pen, [x, y - 3.5], [x, y + 3.5]);
    }
  }

  function drawScale(pen, look, left, top, tall, show) {
    for (let k = 0; k < 100; k++) {
      pen.fillStyle = `rgb(${shade(k / 99).map(Math.round)})`;
      pen.fillRect(left, top + tall * (1 - (k + 1) / 100), 10, tall / 100 + 1);
    }
    ["bottom", "middle", "top"].forEach((baseline, k) => {
      const value = painted.low + ((painted.high - painted.low) * k) / 2;
      const text = show === "norm" ? formatScore(value) : `${Math.round(100 * value)} %`;
      write(pen, text, left + 14, top + tall * (1 - k / 2), look.ink(0.8), "left", baseline);
    });
  }

  function drawRay(s, here, look) {
    const [pen, width, height] = sheet(plots.ray);
    const box = [38, 26, width - 50, height - 68];
    const size = Math.hypot(s.x, s.y) || 1;
    const far = Math.max(size * 1.1, s.reach);
    const along = Array.from({ length: 120 }, (_, k) => (k / 119) * far);
    const values = along.map((d) => shownOf(s, predict((s.x / size) * d, (s.y / size) * d)));
    const norm = s.show === "norm";
    const high = norm ? Math.max(...values) * 1.05 : 1;
    const axis = axes(pen, look, box, {
      x: [0, far],
      y: [0, high],
      xTicks: ticks(0, far, 4),
      yTicks: norm ? ticks(0, high, 3) : SHARE_TICKS,
      title: norm ? "Norm along the line" : "Along the dashed line, %",
      xName: "Distance from the middle",
    });
    Object.assign(pen, { strokeStyle: look.ink(0.9), lineWidth: 1.8, lineJoin: "round" });
    line(pen, ...along.map((d, k) => [axis.x(d), axis.y(values[k])]));
    Object.assign(pen, { fillStyle: look.paper, lineWidth: 2, strokeStyle: look.ink(1) });
    dot(pen, axis.x(Math.hypot(s.x, s.y)), axis.y(shownOf(s, here)), 4.5);
    plots.ray.setAttribute("aria-label", "The same along the line from the middle through the point");
  }

  function drawClasses(here, look) {
    const [pen, width, height] = sheet(plots.classes);
    const box = [38, 26, width - 50, height - 52];
    const [, top, wide, tall] = box;
    const count = here.p.length;
    const title = "Softmax at the point, %";
    const axis = axes(pen, look, box, { x: [0, count], y: [0, 1], xTicks: [], yTicks: SHARE_TICKS, title });
    const base = top + tall;
    pen.font = `11px ${look.font}`;
    here.p.forEach((p, k) => {
      pen.fillStyle = k === here.best ? look.id : look.ink(0.38);
      pen.fillRect(axis.x(k + 0.2), axis.y(p), (wide / count) * 0.6, Math.max(1, base - axis.y(p)));
      const name = `${meta.classes[k]} ${SIGNS[k % SIGNS.length]}`;
      write(pen, name, axis.x(k + 0.5), base + 6, look.ink(0.85), "center", "top");
    });
    const words = here.p.map((p, k) => `${meta.classes[k]} ${formatPercent(p)}`).join(", ");
    plots.classes.setAttribute("aria-label", `Softmax at the point: ${words}`);
  }

  let held = false;
  const move = (event) => {
    const [x, y] = placeOn(plots.plane, event);
    const { left, top, wide, tall, reach } = geometry;
    const clip = (share) => Math.min(1, Math.max(0, share));
    state.set({
      x: (clip((x - left) / wide) * 2 - 1) * reach * ASPECT,
      y: (1 - 2 * clip((y - top) / tall)) * reach,
    });
  };
  plots.plane.addEventListener("pointerdown", (event) => {
    if (!geometry) return;
    held = true;
    plots.plane.setPointerCapture(event.pointerId);
    move(event);
  });
  plots.plane.addEventListener("pointermove", (event) => held && move(event));
  for (const end of ["pointerup", "pointercancel"]) plots.plane.addEventListener(end, () => (held = false));
  const stopStyle = onRestyle(root, state.later);
  draw();
  return () => {
    state.stop();
    stopStyle();
    sentence.stop();
  };
}
