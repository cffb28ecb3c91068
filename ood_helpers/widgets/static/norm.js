// The norm explorer's view: a dial with two handles, and what the loss answers.
import { lossOf, logitCompute, softmax, vectorAt } from "./logits.js";
import { axes, bind, choice, compact, fixed, h, line, linear, onRestyle, sheet, slider, theme, ticks, write } from "./view.js";

const REACH = 20; // the largest norm
const LOSSES = [["softmax", "Softmax (CE)"], ["logitnorm", "LogitNorm"], ["meln", "MELN"]];

export function renderNorm({ model, el }) {
  const meta = model.get("meta"), state = bind(model, ["loss", "norm", "angle", "temperature", "margin"], draw);
  const truth = `“${meta.classes[meta.target]}”`; // a digit in quotes is a name
  const loss = choice("Loss", LOSSES, (value) => state.set({ loss: value }), "loss");
  const sliders = {
    norm: slider("Norm ‖z‖", { ...linear(0.1, REACH, 199), text: (v) => fixed(v, 1), input: (norm) => state.set({ norm }), key: "norm" }),
    angle: slider("Direction", { ...linear(0, 180, 180), text: (v) => `${fixed(v, 0)}° from ${truth}`, input: (angle) => state.set({ angle }), key: "angle" }),
    temperature: slider("Temperature", { ...linear(0.02, 2, 198), text: (v) => fixed(v, 2), input: (temperature) => state.set({ temperature }), key: "temperature" }),
    margin: slider("Margin m", { ...linear(0, 5, 100), text: (v) => fixed(v, 2), input: (margin) => state.set({ margin }), key: "margin" }),
  };
  const readouts = Object.fromEntries([["loss", "Loss"], ["bound", "Its lower bound"], ["size", "Gradient, size"],
    ["radial", "Pull on the norm"]].map(([key, name]) => [key, [h("dt", {}, name), h("dd", { "data-key": key })]]));
  const plots = Object.fromEntries(["dial", "logits", "probabilities", "gradient"].map((key) =>
    [key, h("canvas", { role: "img", class: `ood-plot ood-${key}`, "data-key": key })]));
  const sentence = h("p", { class: "ood-sentence", "aria-live": "polite" });
  const root = h("section", { class: "ood-widget ood-norm", "aria-label": "Norm explorer" },
    h("div", { class: "ood-row" }, loss.node), h("dl", { class: "ood-readouts" }, ...Object.values(readouts).map((pair) => h("div", {}, ...pair))),
    h("div", { class: "ood-quarters" }, ...Object.values(plots)),
    h("div", { class: "ood-sliders" }, ...Object.values(sliders).map((s) => s.node)), sentence);
  el.replaceChildren(root);
  let dial = null, said = 0;

  function draw() {
    if (!root.clientWidth) return; // not in the page yet; its size is watched
    const s = state.get(), view = logitCompute(s, meta), look = theme(root);
    loss.show(s.loss);
    for (const [key, control] of Object.entries(sliders)) control.show(s[key]);
    sliders.temperature.range.disabled = s.loss === "softmax";
    sliders.margin.range.disabled = s.loss !== "meln";
    sliders.temperature.node.firstChild.textContent = { logitnorm: "Temperature τ", meln: "Temperature T" }[s.loss] ?? "Temperature";
    readouts.loss[1].textContent = fixed(view.loss, 4);
    readouts.bound[1].textContent = fixed(view.bound, 4);
    readouts.size[1].textContent = fixed(view.size, 4);
    const pull = Math.abs(view.radial) < 5e-7 ? 0 : -view.radial;
    readouts.radial[1].textContent = pull === 0 ? "0" : `${pull > 0 ? "+" : ""}${pull.toPrecision(2).replace("-", "−")}`;
    drawDial(s, view, look);
    drawBars("logits", "Logits z", view.z, [-REACH, REACH], look);
    drawBars("probabilities", "Softmax of z, %", view.probabilities, [0, 1], look, softmax(view.seen));
    const most = Math.max(1e-3, ...view.gradient.map(Math.abs));
    drawBars("gradient", "Step −∂loss/∂z", view.gradient.map((g) => -g), [-most * 1.15, most * 1.15], look);
    const text = `Norm ${fixed(s.norm, 1)}, ${fixed(s.angle, 0)}° from ${truth}: ${truth} gets ${fixed(100 * view.probabilities[meta.target], 1)} %. `
      + (s.loss === "softmax" ? `Cross-entropy pulls the norm by ${readouts.radial[1].textContent}: ${pull > 0 ? "longer logits pay, and the pull never ends." : "shorter logits pay, as the direction is wrong."}`
        : `The loss sees only the direction: its pull on the norm is ${readouts.radial[1].textContent}.`)
      + (s.loss === "meln" ? ` The margin shifts every logit alike: with m = 0 the loss is ${fixed(lossOf(view.z, meta.target, { ...s, margin: 0 }).value, 4)} too.` : "");
    plots.dial.setAttribute("aria-label", `The logit vector on a dial. ${text}`);
    clearTimeout(said);
    said = setTimeout(() => { if (sentence.textContent !== text) sentence.textContent = text; }, 400);
  }

  function drawDial(s, view, look) {
    const [pen, width, height] = sheet(plots.dial), radius = Math.min(width / 2 - 22, height - 62), x0 = width / 2, y0 = height - 36;
    const at = (norm, angle) => [x0 + ((norm / REACH) * radius) * Math.cos((angle * Math.PI) / 180), y0 - ((norm / REACH) * radius) * Math.sin((angle * Math.PI) / 180)];
    // The loss over the half plane, in bands: along a ray it falls for cross-entropy and stands still for LogitNorm.
    const rings = 24, rays = 45, values = [];
    for (let i = 0; i < rings; i++) for (let j = 0; j < rays; j++)
      values.push(lossOf(vectorAt({ norm: ((i + 0.5) / rings) * REACH, angle: ((j + 0.5) / rays) * 180 }, meta), meta.target, s).value);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    values.forEach((value, k) => {
      const i = Math.floor(k / rays), j = k % rays, band = Math.round(10 * Math.sqrt((value - low) / (high - low || 1)));
      pen.fillStyle = look.ink(0.035 * band);
      pen.beginPath();
      pen.arc(x0, y0, (radius * (i + 1)) / rings, (-Math.PI * (j + 1)) / rays, (-Math.PI * j) / rays);
      pen.arc(x0, y0, (radius * i) / rings, (-Math.PI * j) / rays, (-Math.PI * (j + 1)) / rays, true);
      pen.fill();
    });
    pen.font = `11px ${look.font}`;
    Object.assign(pen, { strokeStyle: look.ink(0.3), lineWidth: 1 });
    for (const norm of [5, 10, 15, 20]) {
      pen.beginPath();
      pen.arc(x0, y0, (norm / REACH) * radius, Math.PI, 0);
      pen.stroke();
      write(pen, String(norm), ...at(norm, 0).map((v, k) => v + 6 * k), look.ink(0.72), "center", "top");
    }
    line(pen, [at(REACH, 180), at(REACH, 0)]);
    write(pen, `favours ${truth} ▸`.slice(0, 26), x0 + radius, y0 + 20, look.ink(0.85), "right", "top");
    write(pen, "◂ against", x0 - radius, y0 + 20, look.ink(0.85), "left", "top");
    pen.font = `600 12px ${look.font}`;
    write(pen, `Norm and direction (${look.dark ? "brighter" : "darker"}: more loss)`, 0, 14, look.ink(0.9));
    const tip = at(s.norm, s.angle), knob = at(REACH, s.angle);
    Object.assign(pen, { strokeStyle: look.ink(0.4), lineWidth: 1 });
    pen.setLineDash([3, 3]);
    line(pen, [tip, knob]);
    pen.setLineDash([]);
    Object.assign(pen, { strokeStyle: look.id, lineWidth: 3, lineCap: "round" });
    line(pen, [[x0, y0], tip]);
    const [right, up] = view.step, size = Math.hypot(right, up);
    if (size > 1e-6) { // where a step of training would go
      const long = 14 + 46 * Math.min(1, Math.sqrt(size)), end = [tip[0] + (right / size) * long, tip[1] - (up / size) * long];
      Object.assign(pen, { strokeStyle: look.ood, lineWidth: 2.5 });
      pen.setLineDash([5, 3]);
      line(pen, [tip, end]);
      pen.setLineDash([]);
      const turn = Math.atan2(end[1] - tip[1], end[0] - tip[0]);
      line(pen, [[end[0] - 8 * Math.cos(turn - 0.5), end[1] - 8 * Math.sin(turn - 0.5)], end, [end[0] - 8 * Math.cos(turn + 0.5), end[1] - 8 * Math.sin(turn + 0.5)]]);
    }
    Object.assign(pen, { fillStyle: look.id, strokeStyle: look.paper, lineWidth: 2 });
    pen.beginPath();
    pen.arc(...tip, 7, 0, 7);
    pen.fill();
    pen.stroke();
    Object.assign(pen, { fillStyle: look.paper, strokeStyle: look.ink(1) });
    pen.beginPath();
    pen.rect(knob[0] - 6, knob[1] - 6, 12, 12);
    pen.fill();
    pen.stroke();
    dial = { x0, y0, radius, tip, knob };
  }

  function drawBars(key, title, values, range, look, seen = null) {
    const [pen, width, height] = sheet(plots[key]), box = [38, 28, width - 46, height - 76], count = values.length;
    const axis = axes(pen, look, box, { x: [0, count], y: range, xTicks: [], title,
      yTicks: key === "probabilities" ? [[0, "0"], [0.5, "50"], [1, "100"]] : ticks(...range, 4) });
    const zero = axis.y(0), wide = box[2] / count;
    pen.font = `11px ${look.font}`;
    const rows = meta.classes.some((name) => pen.measureText(name).width > wide - 3) ? 2 : 1; // names that touch take turns
    values.forEach((value, k) => {
      pen.fillStyle = k === meta.target ? look.id : look.ink(0.38);
      pen.fillRect(axis.x(k + 0.18), Math.min(zero, axis.y(value)), wide * 0.64, Math.max(1, Math.abs(axis.y(value) - zero)));
      if (seen) { // what the loss takes for the probability
        Object.assign(pen, { strokeStyle: look.ood, lineWidth: 2 });
        line(pen, [[axis.x(k + 0.1), axis.y(seen[k])], [axis.x(k + 0.9), axis.y(seen[k])]]);
      }
      let name = meta.classes[k];
      while (name.length > 1 && pen.measureText(name).width > wide * rows - 3) name = name.slice(0, -1);
      write(pen, name, axis.x(k + 0.5), height - 42 + 12 * (k % rows), look.ink(k === meta.target ? 1 : 0.72), "center", "top");
    });
    Object.assign(pen, { strokeStyle: look.ink(0.5), lineWidth: 1 });
    line(pen, [[box[0], Math.round(zero) + 0.5], [box[0] + box[2], Math.round(zero) + 0.5]]);
    if (seen) write(pen, "line: as the loss sees it", box[0] + box[2], height - 13, look.ink(0.72), "right", "top");
    plots[key].setAttribute("aria-label", `${title}: ${values.map((v, k) => `${meta.classes[k]} ${compact(v)}`).join(", ")}`);
  }

  let held = "";
  const place = (event) => { const box = plots.dial.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const near = ([x, y], [a, b]) => Math.hypot(x - a, y - b) < 16;
  plots.dial.addEventListener("pointerdown", (event) => {
    const at = place(event);
    held = near(at, dial.knob) ? "angle" : near(at, dial.tip) ? "norm" : "";
    if (held) plots.dial.setPointerCapture(event.pointerId);
  });
  plots.dial.addEventListener("pointermove", (event) => {
    const [x, y] = place(event), right = x - dial.x0, up = Math.max(0, dial.y0 - y);
    plots.dial.style.cursor = held ? "grabbing" : near([x, y], dial.knob) || near([x, y], dial.tip) ? "grab" : "default";
    if (held === "angle") state.set({ angle: Math.round((Math.atan2(up, right) * 180) / Math.PI) });
    if (held === "norm") {
      const turn = (state.get().angle * Math.PI) / 180, norm = ((right * Math.cos(turn) + (dial.y0 - y) * Math.sin(turn)) / dial.radius) * REACH;
      state.set({ norm: Math.min(REACH, Math.max(0.1, norm)) });
    }
  });
  for (const end of ["pointerup", "pointercancel"]) plots.dial.addEventListener(end, () => { held = ""; });
  const stopStyle = onRestyle(root, state.later);
  draw();
  return () => { state.stop(); stopStyle(); clearTimeout(said); };
}
