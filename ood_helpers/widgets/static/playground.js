// The playground's view: what a small network says over the plane, far beyond its data.
import { forward } from "./network.js";
import { softmax } from "./logits.js";
import { axes, bind, choice, compact, fixed, h, line, logarithmic, onRestyle, percent, sheet, slider, theme, ticks, write } from "./view.js";

const CIVIDIS = [[0, 34, 78], [65, 77, 107], [125, 124, 120], [188, 175, 111], [254, 232, 56]], COLUMNS = 108, ROWS = 81;
const SHAPES = ["circle", "square", "triangle"], FILLS = ["#ffffff", "#111111", "#56b4e9"];
const shade = (part) => {
  const at = Math.min(3.999, Math.max(0, part) * 4), k = Math.floor(at);
  return CIVIDIS[k].map((c, i) => c + (CIVIDIS[k + 1][i] - c) * (at - k));
};

export function renderPlayground({ model, el }) {
  const meta = model.get("meta"), state = bind(model, ["loss", "seed", "show", "reach", "x", "y", "networks"], draw);
  const reachable = { ...logarithmic(2, 60, 200) }, names = new Map(meta.losses);
  const ask = (message) => { status.textContent = "Training…"; model.send({ kind: "train", ...message }); };
  const fields = {
    loss: choice("Loss", meta.losses, (loss) => { state.set({ loss }); }, "loss"),
    show: choice("Colour shows", [["confidence", "Top probability"], ["norm", "Norm of the logits"]], (show) => state.set({ show }), "show"),
  };
  const sliders = {
    reach: slider("View reaches to", { ...reachable, text: (v) => `± ${fixed(v, 1)}`, input: (reach) => state.set({ reach }), key: "reach" }),
    x: slider("Point, across", { steps: 200, of: (p) => (p / 100 - 1) * state.get().reach * 4 / 3, at: (v) => (v / (state.get().reach * 4 / 3) + 1) * 100, text: (v) => fixed(v, 2), input: (x) => state.set({ x }), key: "x" }),
    y: slider("Point, up", { steps: 200, of: (p) => (p / 100 - 1) * state.get().reach, at: (v) => (v / state.get().reach + 1) * 100, text: (v) => fixed(v, 2), input: (y) => state.set({ y }), key: "y" }),
  };
  const button = h("button", { type: "button", "data-key": "retrain" }, "Train again"), status = h("span", { role: "status", class: "ood-hint" });
  button.addEventListener("click", () => ask({ seed: state.get().seed + 1 }));
  if (!meta.trains) button.disabled = true;
  const readouts = Object.fromEntries([["top", "Top probability"], ["says", "Class"], ["length", "Norm of the logits"], ["away", "Distance to the data"]]
    .map(([key, name]) => [key, [h("dt", {}, name), h("dd", { "data-key": key })]]));
  const plots = Object.fromEntries(["plane", "ray", "classes"].map((key) => [key, h("canvas", { role: "img", class: `ood-plot ood-${key}`, "data-key": key })]));
  const sentence = h("p", { class: "ood-sentence", "aria-live": "polite" });
  const root = h("section", { class: "ood-widget ood-playground", "aria-label": "Playground" },
    h("div", { class: "ood-row" }, fields.loss.node, fields.show.node, button, status),
    h("dl", { class: "ood-readouts" }, ...Object.values(readouts).map((pair) => h("div", {}, ...pair))),
    h("div", { class: "ood-map" }, ...Object.values(plots)),
    h("div", { class: "ood-sliders" }, ...Object.values(sliders).map((s) => s.node)), sentence);
  el.replaceChildren(root);
  const paper = h("canvas", { width: COLUMNS, height: ROWS });
  let painted = null, geometry = null, said = 0, asked = "";

  const say = (network, x, y) => {
    const z = forward(network, x, y), p = softmax(z), top = Math.max(...p);
    return { z, p, top, best: p.indexOf(top), norm: Math.hypot(...z) };
  };

  function paint(s, network) { // the landscape, only when something but the point has changed
    if (painted?.network === network && painted.show === s.show && painted.reach === s.reach) return;
    const cells = [];
    for (let r = 0; r < ROWS; r++) for (let c = 0; c < COLUMNS; c++)
      cells.push(say(network, (((c + 0.5) / COLUMNS) * 2 - 1) * s.reach * 4 / 3, (1 - ((r + 0.5) / ROWS) * 2) * s.reach));
    const values = cells.map((cell) => (s.show === "norm" ? cell.norm : cell.top));
    const ends = s.show === "norm" ? [0, Math.max(1e-9, ...values)] : [1 / meta.classes.length, 1];
    const pen = paper.getContext("2d"), image = pen.createImageData(COLUMNS, ROWS);
    values.forEach((value, k) => {
      image.data.set([...shade((value - ends[0]) / (ends[1] - ends[0])), 255], 4 * k);
    });
    pen.putImageData(image, 0, 0);
    painted = { network, show: s.show, reach: s.reach, ends };
  }

  function draw() {
    if (!root.clientWidth) return; // not in the page yet; its size is watched
    const s = state.get(), network = s.networks[s.loss], look = theme(root);
    for (const [key, field] of Object.entries(fields)) field.show(s[key]);
    for (const [key, control] of Object.entries(sliders)) control.show(s[key]);
    if (!network) {
      if (asked !== s.loss && meta.trains) { asked = s.loss; ask({}); }
      return;
    }
    asked = "";
    status.textContent = meta.trains ? `Trained in ${fixed(network.seconds, 1)} s, seed ${network.seed}` : "Training needs the notebook";
    paint(s, network);
    const here = say(network, s.x, s.y), away = Math.min(...meta.points.map(([a, b]) => Math.hypot(a - s.x, b - s.y)));
    readouts.top[1].textContent = percent(here.top, 2);
    readouts.says[1].textContent = meta.classes[here.best];
    readouts.length[1].textContent = compact(here.norm);
    readouts.away[1].textContent = fixed(away, 2);
    drawPlane(s, look);
    drawRay(s, network, here, look);
    drawClasses(here, look);
    const text = `${names.get(s.loss)}: at (${fixed(s.x, 1)}, ${fixed(s.y, 1)}), ${fixed(away, 1)} away from the nearest training point, it says ${meta.classes[here.best]} with ${percent(here.top)}.`;
    plots.plane.setAttribute("aria-label", `Map of the ${s.show === "norm" ? "norm of the logits" : "top probability"}. ${text}`);
    clearTimeout(said);
    said = setTimeout(() => { if (sentence.textContent !== text) sentence.textContent = text; }, 400);
  }

  function drawPlane(s, look) {
    const [pen, width, height] = sheet(plots.plane), box = [34, 6, width - 100, height - 34];
    const axis = { x: (v) => box[0] + box[2] * (v / (s.reach * 4 / 3) + 1) / 2, y: (v) => box[1] + box[3] * (1 - v / s.reach) / 2 };
    pen.imageSmoothingEnabled = true;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(paper, ...box);
    pen.font = `11px ${look.font}`;
    for (const [v, t] of ticks(-s.reach * 4 / 3, s.reach * 4 / 3, 7)) write(pen, t, axis.x(v), box[1] + box[3] + 6, look.ink(0.72), "center", "top");
    for (const [v, t] of ticks(-s.reach, s.reach, 5)) write(pen, t, box[0] - 6, axis.y(v), look.ink(0.72), "right", "middle");
    const radius = Math.max(1.6, Math.min(4.5, 14 / s.reach));
    meta.points.forEach(([x, y], k) => {
      const [a, b] = [axis.x(x), axis.y(y)], shape = SHAPES[meta.labels[k] % 3];
      Object.assign(pen, { fillStyle: FILLS[meta.labels[k] % 3], strokeStyle: meta.labels[k] % 3 === 1 ? "#fff" : "#111", lineWidth: 0.8 });
      pen.beginPath();
      if (shape === "circle") pen.arc(a, b, radius, 0, 7);
      else if (shape === "square") pen.rect(a - radius * 0.9, b - radius * 0.9, radius * 1.8, radius * 1.8);
      else { pen.moveTo(a, b - radius * 1.2); pen.lineTo(a + radius * 1.1, b + radius * 0.8); pen.lineTo(a - radius * 1.1, b + radius * 0.8); pen.closePath(); }
      pen.fill();
      pen.stroke();
    });
    const at = [axis.x(s.x), axis.y(s.y)], size = Math.hypot(s.x, s.y) || 1, far = s.reach * 2;
    pen.save();
    pen.beginPath();
    pen.rect(...box);
    pen.clip();
    Object.assign(pen, { strokeStyle: "rgba(255,255,255,.9)", lineWidth: 1.2 });
    pen.setLineDash([5, 4]);
    line(pen, [[axis.x(0), axis.y(0)], [axis.x((s.x / size) * far), axis.y((s.y / size) * far)]]);
    pen.setLineDash([]);
    for (const [colour, thick] of [["#111", 5], ["#fff", 2.5]]) { // the point: a ring with a cross, on any shade
      Object.assign(pen, { strokeStyle: colour, lineWidth: thick });
      pen.beginPath();
      pen.arc(...at, 8, 0, 7);
      pen.stroke();
      line(pen, [[at[0] - 3.5, at[1]], [at[0] + 3.5, at[1]]]);
      line(pen, [[at[0], at[1] - 3.5], [at[0], at[1] + 3.5]]);
    }
    pen.restore();
    const left = box[0] + box[2] + 14; // the key to the colours
    for (let k = 0; k < 100; k++) {
      pen.fillStyle = `rgb(${shade(k / 99).map(Math.round)})`;
      pen.fillRect(left, box[1] + box[3] * (1 - (k + 1) / 100), 10, box[3] / 100 + 1);
    }
    const [low, high] = painted.ends;
    for (const part of [0, 0.5, 1]) {
      const value = low + (high - low) * part;
      write(pen, s.show === "norm" ? compact(value) : `${Math.round(100 * value)} %`, left + 14, box[1] + box[3] * (1 - part), look.ink(0.8), "left", part === 0 ? "bottom" : part === 1 ? "top" : "middle");
    }
    geometry = { box, reach: s.reach };
  }

  function drawRay(s, network, here, look) {
    const [pen, width, height] = sheet(plots.ray), box = [38, 26, width - 50, height - 68], size = Math.hypot(s.x, s.y) || 1;
    const far = Math.max(size * 1.1, s.reach), along = Array.from({ length: 120 }, (_, k) => (k / 119) * far);
    const tops = along.map((d) => { const v = say(network, (s.x / size) * d, (s.y / size) * d); return s.show === "norm" ? v.norm : v.top; });
    const high = s.show === "norm" ? Math.max(...tops) * 1.05 : 1;
    const axis = axes(pen, look, box, { x: [0, far], y: [0, high], xTicks: ticks(0, far, 4), title: s.show === "norm" ? "Norm along the line" : "Top probability along the line, %",
      yTicks: s.show === "norm" ? ticks(0, high, 3) : [[0, "0"], [0.5, "50"], [1, "100"]], xName: "Distance from the middle" });
    Object.assign(pen, { strokeStyle: look.ink(0.9), lineWidth: 1.8, lineJoin: "round" });
    line(pen, along.map((d, k) => [axis.x(d), axis.y(tops[k])]));
    Object.assign(pen, { fillStyle: look.paper, lineWidth: 2, strokeStyle: look.ink(1) });
    pen.beginPath();
    pen.arc(axis.x(size), axis.y(s.show === "norm" ? here.norm : here.top), 4.5, 0, 7);
    pen.fill();
    pen.stroke();
    plots.ray.setAttribute("aria-label", "The same along the line from the middle through the point");
  }

  function drawClasses(here, look) {
    const [pen, width, height] = sheet(plots.classes), box = [38, 26, width - 50, height - 52];
    const axis = axes(pen, look, box, { x: [0, here.p.length], y: [0, 1], xTicks: [], yTicks: [[0, "0"], [0.5, "50"], [1, "100"]], title: "Softmax at the point, %" });
    pen.font = `11px ${look.font}`;
    here.p.forEach((p, k) => {
      pen.fillStyle = k === here.best ? look.id : look.ink(0.38);
      pen.fillRect(axis.x(k + 0.2), axis.y(p), (box[2] / here.p.length) * 0.6, Math.max(1, box[1] + box[3] - axis.y(p)));
      write(pen, `${meta.classes[k]} ${["●", "■", "▲"][k % 3]}`, axis.x(k + 0.5), box[1] + box[3] + 6, look.ink(0.85), "center", "top");
    });
    plots.classes.setAttribute("aria-label", `Softmax at the point: ${here.p.map((p, k) => `${meta.classes[k]} ${percent(p)}`).join(", ")}`);
  }

  let held = false;
  const move = (event) => {
    const frame = plots.plane.getBoundingClientRect(), { box, reach } = geometry;
    const part = (v, from, size) => Math.min(1, Math.max(0, (v - from) / size));
    state.set({ x: (part(event.clientX - frame.left, box[0], box[2]) * 2 - 1) * reach * 4 / 3, y: (1 - 2 * part(event.clientY - frame.top, box[1], box[3])) * reach });
  };
  plots.plane.addEventListener("pointerdown", (event) => { if (geometry) { held = true; plots.plane.setPointerCapture(event.pointerId); move(event); } });
  plots.plane.addEventListener("pointermove", (event) => { if (held) move(event); });
  for (const end of ["pointerup", "pointercancel"]) plots.plane.addEventListener(end, () => { held = false; });
  const stopStyle = onRestyle(root, state.later);
  draw();
  return () => { state.stop(); stopStyle(); clearTimeout(said); };
}
