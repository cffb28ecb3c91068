// The norm explorer's view: a dial with two handles, and the loss's response.
import { formatFixed, formatPercent, formatScore, formatSigned } from "./formats.js";
import { COVERED, guessPanel, percentQuestion, wordQuestion } from "./guess.js";
import { logitCompute, lossGradient, softmax, vectorAt } from "./logits.js";
import { SHARE_TICKS, axes, dashed, dot, line, sheet, theme, ticks, write } from "./plot.js";
import { bind, canvases, choice, h, linear, keepDrawn, placeOn, readouts, sentenceBelow, slider } from "./view.js";

const RINGS = 24; // of the dial's map of the loss
const RAYS = 45;
const TEMPERATURE_NAMES = { logitnorm: "Temperature τ", meln: "Temperature T" };

export function renderNormExplorer({ model, el }) {
  const meta = model.get("meta");
  const state = bind(model, meta.state, draw);
  const truth = `“${meta.classes[meta.target]}”`; // a digit in quotes is a name
  const labels = new Map(meta.losses);
  const reach = meta.allowed.norm.between[1];
  let view = null;
  let dial = null; // its geometry

  const loss = choice("Loss", meta.losses, (name) => state.set({ loss: name }), "loss");
  const sliderOf = (key, label, steps, text) => {
    const positions = linear(...meta.allowed[key].between, steps);
    return slider(label, { ...positions, text, input: (value) => state.set({ [key]: value }), key });
  };
  const sliders = {
    norm: sliderOf("norm", "Norm ‖z‖", 199, (v) => formatFixed(v, 1)),
    angle: sliderOf("angle", "Direction", 180, (v) => `${formatFixed(v, 0)}° from ${truth}`),
    temperature: sliderOf("temperature", "Temperature", 198, (v) => formatFixed(v, 2)),
    margin: sliderOf("margin", "MELN’s margin m", 100, (v) => formatFixed(v, 2)),
  };
  const numbers = readouts({
    loss: "Loss",
    bound: "Its lower bound",
    size: "Gradient, size",
    radial: "Pull on the norm",
  });
  const plots = canvases(["dial", "logits", "probabilities", "gradient"]);
  const sentence = sentenceBelow();
  const directions = { "+": "longer", "−": "shorter", 0: "neither" };
  const questions = [
    percentQuestion(
      () => `What probability does softmax give ${truth}?`,
      () => view.probabilities[meta.target],
      formatPercent,
    ),
    wordQuestion(
      () => "Does a training step make the logits longer, shorter, or neither?",
      ["longer", "shorter", "neither"],
      () => directions[formatSigned(-view.radial)[0]],
    ),
  ];
  const subject = () => {
    const s = state.get();
    return `${labels.get(s.loss)}, norm ${formatFixed(s.norm, 1)}, ${formatFixed(s.angle, 0)}° from ${truth}`;
  };
  const guess = guessPanel({ model, subject, questions, changed: state.later });
  const root = h(
    "section",
    { class: "ood-widget ood-norm", "aria-label": "Norm explorer" },
    h("div", { class: "ood-row" }, loss.node),
    guess.node,
    numbers.list,
    h("div", { class: "ood-quarters" }, ...Object.values(plots)),
    h("div", { class: "ood-sliders" }, ...Object.values(sliders).map((control) => control.node)),
    ...sentence.nodes,
  );
  el.replaceChildren(root);

  function draw() {
    if (!root.clientWidth) return; // not in the page yet; its size is watched
    const s = state.get();
    view = logitCompute(s, meta);
    const look = theme(root);
    const covered = guess.covered();
    root.classList.toggle("ood-covered", covered);
    guess.show();
    loss.show(s.loss);
    for (const [key, control] of Object.entries(sliders)) control.show(s[key]);
    sliders.temperature.range.disabled = !TEMPERATURE_NAMES[s.loss];
    sliders.margin.range.disabled = s.loss !== "meln";
    sliders.temperature.rename(TEMPERATURE_NAMES[s.loss] ?? "Temperature");
    for (const key of ["loss", "bound", "size"]) numbers[key].value.textContent = formatFixed(view[key], 4);
    numbers.radial.value.textContent = formatSigned(-view.radial);
    drawDial(s, view, look);
    drawBars("logits", "Logits z", view.z, [-reach, reach], look);
    drawBars("probabilities", "Softmax of z, %", view.probabilities, [0, 1], look, softmax(view.seen));
    const most = 1.15 * Math.max(1e-3, ...view.gradient.map(Math.abs));
    const step = view.gradient.map((g) => -g);
    drawBars("gradient", "Step −∂loss/∂z", step, [-most, most], look);
    const words = covered ? COVERED : describe(s, view);
    plots.dial.setAttribute("aria-label", `The logit vector on a dial. ${words}`);
    sentence.show(words);
  }

  function describe(s, view) {
    const pull = formatSigned(-view.radial);
    const effect =
      directions[pull[0]] === "neither"
        ? `depends on the direction alone: its pull on the norm is ${pull}`
        : `pulls the norm by ${pull}: ${directions[pull[0]]} logits lower it`;
    return (
      `${labels.get(s.loss)}, norm ${formatFixed(s.norm, 1)}, ${formatFixed(s.angle, 0)}° from ${truth}: ` +
      `softmax gives ${truth} ${formatPercent(view.probabilities[meta.target])}. ` +
      `The loss, ${formatFixed(view.loss, 3)}, ${effect}.` +
      (s.loss === "meln" ? " The margin shifts every logit alike and changes nothing." : "")
    );
  }

  function drawDial(s, view, look) {
    const [pen, width, height] = sheet(plots.dial);
    const radius = Math.min(width / 2 - 22, height - 62);
    const [x0, y0] = [width / 2, height - 36];
    const at = (norm, angle) => {
      const [r, turn] = [(norm / reach) * radius, (angle * Math.PI) / 180];
      return [x0 + r * Math.cos(turn), y0 - r * Math.sin(turn)];
    };
    if (!guess.covered()) drawLoss(s, look, pen, x0, y0, radius);
    pen.font = `11px ${look.font}`;
    Object.assign(pen, { strokeStyle: look.ink(0.3), lineWidth: 1 });
    for (const [norm, text] of ticks(0, reach, 4).slice(1)) {
      pen.beginPath();
      pen.arc(x0, y0, (norm / reach) * radius, Math.PI, 0);
      pen.stroke();
      const [x, y] = at(norm, 0);
      write(pen, text, x, y + 6, look.ink(0.72), "center", "top");
    }
    line(pen, at(reach, 180), at(reach, 0));
    write(pen, `favours ${truth} ▸`.slice(0, 26), x0 + radius, y0 + 20, look.ink(0.85), "right", "top");
    write(pen, "◂ against", x0 - radius, y0 + 20, look.ink(0.85), "left", "top");
    pen.font = `600 12px ${look.font}`;
    write(pen, `Norm and direction (${look.dark ? "brighter" : "darker"}: more loss)`, 0, 14, look.ink(0.9));
    const tip = at(s.norm, s.angle);
    const knob = at(reach, s.angle);
    Object.assign(pen, { strokeStyle: look.ink(0.4), lineWidth: 1 });
    dashed(pen, [3, 3], tip, knob);
    Object.assign(pen, { strokeStyle: look.id, lineWidth: 3, lineCap: "round" });
    line(pen, [x0, y0], tip);
    if (!guess.covered()) drawStep(view, look, pen, tip);
    Object.assign(pen, { fillStyle: look.id, strokeStyle: look.paper, lineWidth: 2 });
    dot(pen, ...tip, 7);
    Object.assign(pen, { fillStyle: look.paper, strokeStyle: look.ink(1) });
    pen.beginPath();
    pen.rect(knob[0] - 6, knob[1] - 6, 12, 12);
    pen.fill();
    pen.stroke();
    dial = { x0, y0, radius, tip, knob };
  }

  /** The loss over the half plane: along a ray it falls for cross-entropy, and is constant for LogitNorm. */
  function drawLoss(s, look, pen, x0, y0, radius) {
    const values = Array.from({ length: RINGS * RAYS }, (_, k) => {
      const norm = ((Math.floor(k / RAYS) + 0.5) / RINGS) * reach;
      const angle = (((k % RAYS) + 0.5) / RAYS) * 180;
      return lossGradient(vectorAt({ norm, angle }, meta), meta.target, { ...s, constants: meta.constants }).value;
    });
    const [low, high] = [Math.min(...values), Math.max(...values)];
    values.forEach((value, k) => {
      const [ring, ray] = [Math.floor(k / RAYS), k % RAYS];
      const [from, to] = [(-Math.PI * ray) / RAYS, (-Math.PI * (ray + 1)) / RAYS];
      pen.fillStyle = look.ink(0.035 * Math.round(10 * Math.sqrt((value - low) / (high - low || 1))));
      pen.beginPath();
      pen.arc(x0, y0, (radius * (ring + 1)) / RINGS, to, from);
      pen.arc(x0, y0, (radius * ring) / RINGS, from, to, true);
      pen.fill();
    });
  }

  /** An arrow in the direction of a training step. */
  function drawStep(view, look, pen, tip) {
    const [right, up] = view.step;
    const size = Math.hypot(right, up);
    if (size <= 1e-6) return;
    const length = 14 + 46 * Math.min(1, Math.sqrt(size));
    const end = [tip[0] + (right / size) * length, tip[1] - (up / size) * length];
    const turn = Math.atan2(end[1] - tip[1], end[0] - tip[0]);
    const barb = (side) => [end[0] - 8 * Math.cos(turn + side), end[1] - 8 * Math.sin(turn + side)];
    Object.assign(pen, { strokeStyle: look.ood, lineWidth: 2.5 });
    dashed(pen, [5, 3], tip, end);
    line(pen, barb(-0.5), end, barb(0.5));
  }

  function drawBars(key, title, values, range, look, seen = null) {
    const [pen, width, height] = sheet(plots[key]);
    const box = [38, 28, width - 46, height - 76];
    const [left, , wide] = box;
    const count = values.length;
    const yTicks = key === "probabilities" ? SHARE_TICKS : ticks(...range, 4);
    const axis = axes(pen, look, box, { x: [0, count], y: range, xTicks: [], yTicks, title });
    const zero = axis.y(0);
    const room = wide / count;
    pen.font = `11px ${look.font}`;
    // Names that would touch are written in two rows.
    const rows = meta.classes.some((name) => pen.measureText(name).width > room - 3) ? 2 : 1;
    values.forEach((value, k) => {
      pen.fillStyle = k === meta.target ? look.id : look.ink(0.38);
      const y = axis.y(value);
      pen.fillRect(axis.x(k + 0.18), Math.min(zero, y), room * 0.64, Math.max(1, Math.abs(y - zero)));
      // The probability as the loss sees it.
      if (seen) {
        Object.assign(pen, { strokeStyle: look.ood, lineWidth: 2 });
        line(pen, [axis.x(k + 0.1), axis.y(seen[k])], [axis.x(k + 0.9), axis.y(seen[k])]);
      }
      let name = meta.classes[k];
      while (name.length > 1 && pen.measureText(name).width > room * rows - 3) name = name.slice(0, -1);
      const ink = look.ink(k === meta.target ? 1 : 0.72);
      write(pen, name, axis.x(k + 0.5), height - 42 + 12 * (k % rows), ink, "center", "top");
    });
    Object.assign(pen, { strokeStyle: look.ink(0.5), lineWidth: 1 });
    line(pen, [left, Math.round(zero) + 0.5], [left + wide, Math.round(zero) + 0.5]);
    if (seen) write(pen, "line: as the loss sees it", left + wide, height - 13, look.ink(0.72), "right", "top");
    const words = values.map((value, k) => `${meta.classes[k]} ${formatScore(value)}`).join(", ");
    plots[key].setAttribute("aria-label", `${title}: ${words}`);
  }

  let held = ""; // the trait whose handle is held
  const near = ([x, y], [a, b]) => Math.hypot(x - a, y - b) < 16;
  const handleAt = (at) => (near(at, dial.knob) ? "angle" : near(at, dial.tip) ? "norm" : "");
  plots.dial.addEventListener("pointerdown", (event) => {
    held = handleAt(placeOn(plots.dial, event));
    if (held) plots.dial.setPointerCapture(event.pointerId);
  });
  plots.dial.addEventListener("pointermove", (event) => {
    const at = placeOn(plots.dial, event);
    plots.dial.style.cursor = held ? "grabbing" : handleAt(at) ? "grab" : "default";
    const [right, up] = [at[0] - dial.x0, dial.y0 - at[1]];
    if (held === "angle") state.set({ angle: Math.round((Math.atan2(Math.max(0, up), right) * 180) / Math.PI) });
    if (held === "norm") {
      const turn = (state.get().angle * Math.PI) / 180;
      const norm = ((right * Math.cos(turn) + up * Math.sin(turn)) / dial.radius) * reach;
      const [low, high] = meta.allowed.norm.between;
      state.set({ norm: Math.min(high, Math.max(low, norm)) });
    }
  });
  for (const end of ["pointerup", "pointercancel"]) plots.dial.addEventListener(end, () => (held = ""));
  return keepDrawn(root, draw, state.later, [state, sentence, guess]);
}
