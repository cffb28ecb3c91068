// The playground's view: a small network that is trained in the page, and its predictions far beyond its data.
import { formatFixed, formatPercent, formatScore } from "./formats.js";
import { COVERED, guessPanel, percentQuestion, wordQuestion } from "./guess.js";
import { highest, softmax } from "./logits.js";
import { ASPECT, drawLossCurve, drawPlane, drawRay, drawSoftmax, openMap } from "./playground_plots.js";
import { theme } from "./plot.js";
import { forward, prepare, workspace } from "./point_network.js";
import { createTraining, temperatureOf } from "./training.js";
import {
  bind,
  button,
  canvases,
  choice,
  h,
  keepDrawn,
  logarithmic,
  placeOn,
  readouts,
  sentenceBelow,
  slider,
  toggle,
} from "./view.js";

const WATCHED = 1200; // ms that a training is drawn out to, so that it can be watched
const BUDGET = 30; // ms of training in a frame, or as long as drawing the last one took
const TEMPERATURES = {
  logitnorm: "Temperature τ",
  t2fnorm: "Temperature τ",
  meln: "First temperature",
  meln_positive: "First temperature",
};

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
    x: coordinate("Point, across", "x", ASPECT),
    y: coordinate("Point, up", "y", 1),
    reach: magnitude("View reaches to", "reach", (v) => `± ${formatFixed(v, 1)}`),
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
  const point = ({ x, y }) => `(${formatFixed(x, 1)}, ${formatFixed(y, 1)})`;
  const questions = [
    wordQuestion(
      () => `Which class does the network predict at ${point(state.get())}?`,
      meta.classes,
      () => meta.classes[here.best],
    ),
    percentQuestion(
      () => "How high is its top probability?",
      () => here.top,
      formatPercent,
    ),
  ];
  const subject = () => `${labels.get(state.get().loss)}, seed ${state.get().seed}, ${point(state.get())}`;
  const guess = guessPanel({ model, subject, questions, changed: state.later });
  const root = h(
    "section",
    { class: "ood-widget ood-playground", "aria-label": "Playground" },
    h("div", { class: "ood-row" }, fields.loss.node, fields.show.node, again, fields.warmup.node, status),
    guess.node,
    numbers.list,
    h("div", { class: "ood-map" }, ...Object.values(plots)),
    h("div", { class: "ood-sliders" }, ...Object.values(sliders).map((control) => control.node)),
    ...sentence.nodes,
  );
  el.replaceChildren(root);
  const map = openMap(meta);
  let geometry = null; // of the plane
  let here = null; // the prediction at the point
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
    const valueAt = s.show === "norm" ? (x, y) => predict(x, y).norm : (x, y) => predict(x, y).top;
    map.paint([shown.key, curve.length, s.show, s.reach].join(), s, valueAt);
    here = predict(s.x, s.y);
    const away = Math.min(...meta.points.map(([x, y]) => Math.hypot(x - s.x, y - s.y)));
    const right = meta.points.filter(([x, y], k) => predict(x, y).best === meta.labels[k]).length;
    const accuracy = right / meta.points.length;
    const name = meta.classes[here.best];
    numbers.top.value.textContent = formatPercent(here.top, 2);
    numbers.best.value.textContent = name;
    numbers.length.value.textContent = formatScore(here.norm);
    numbers.away.value.textContent = formatFixed(away, 2);
    numbers.accuracy.value.textContent = formatPercent(accuracy);
    const covered = guess.covered();
    root.classList.toggle("ood-covered", covered);
    guess.show();
    const drawn = { s, meta, look, map, curve, former, valueAt, here, covered };
    geometry = drawPlane(plots.plane, drawn);
    drawLossCurve(plots.curve, drawn);
    drawRay(plots.ray, drawn);
    drawSoftmax(plots.classes, drawn);
    const failed =
      accuracy < 0.9 ? ` The training failed: ${formatPercent(accuracy)} of the training points are right.` : "";
    const answer =
      `${labels.get(s.loss)}: at ${point(s)}, ` +
      `${formatFixed(away, 1)} away from the nearest training point, the network predicts ${name} with ` +
      `${formatPercent(here.top)}.${failed}`;
    const words = covered ? COVERED : answer;
    plots.plane.setAttribute("aria-label", `Map of the ${names.get(s.show).toLowerCase()}. ${words}`);
    sentence.show(words);
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
  return keepDrawn(root, draw, state.later, [state, sentence, guess]);
}
