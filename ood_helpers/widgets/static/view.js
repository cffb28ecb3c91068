// What the three views share: elements, controls, a canvas with axes. Text enters a page as text, never as HTML.

export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Trait values as one object; changes are drawn in the next frame and reach Python a little later. */
export function bind(model, keys, draw) {
  let frame = 0, timer = 0;
  const later = () => { frame ||= requestAnimationFrame(() => { frame = 0; draw(); }); };
  keys.forEach((key) => model.on(`change:${key}`, later));
  return {
    get: () => Object.fromEntries(keys.map((key) => [key, model.get(key)])),
    set(changes) {
      for (const [key, value] of Object.entries(changes)) model.set(key, value);
      later();
      clearTimeout(timer);
      timer = setTimeout(() => model.save_changes(), 100);
    },
    later,
    stop() {
      cancelAnimationFrame(frame);
      keys.forEach((key) => model.off(`change:${key}`, later));
    },
  };
}

// JupyterLab takes the arrow keys away from any control that does not carry this itself.
export const OWN_KEYS = { "data-lm-suppress-shortcuts": "true" };

/** A labelled range input: `of(position)` and `at(value)` map its 0..steps to the value. */
export function slider(label, { steps = 400, of, at, text, input, key }) {
  const range = h("input", { type: "range", min: 0, max: steps, step: 1, "data-key": key, ...OWN_KEYS });
  const output = h("output"), node = h("label", { class: "ood-slider" }, h("span", {}, label), range, output);
  range.addEventListener("input", () => input(of(Number(range.value))));
  return { node, range, show(value) {
    if (Number(range.value) !== Math.round(at(value))) range.value = Math.round(at(value));
    output.textContent = text(value);
    range.setAttribute("aria-valuetext", text(value));
  } };
}

export const linear = (low, high, steps = 400) => ({ steps, of: (p) => low + ((high - low) * p) / steps,
  at: (v) => ((v - low) / (high - low)) * steps });
export const logarithmic = (low, high, steps = 400) => ({ steps, // 1 is a stop of its own, whatever the ends
  of: (p) => { const v = low * (high / low) ** (p / steps); return Math.abs(Math.log(v)) < 0.5 * Math.log(high / low) / steps ? 1 : v; },
  at: (v) => (Math.log(v / low) / Math.log(high / low)) * steps });

export function choice(label, names, input, key) { // names: [[value, text], ...]
  const select = h("select", { "data-key": key, ...OWN_KEYS });
  const node = h("label", { class: "ood-choice" }, h("span", {}, label), select);
  const fill = (pairs) => select.replaceChildren(...pairs.map(([value, text]) => h("option", { value }, text)));
  fill(names);
  select.addEventListener("change", () => input(select.value));
  return { node, fill, show(value) {
    if (select.value !== value) select.value = value;
    select.title = select.selectedOptions[0]?.textContent ?? ""; // a name too long for the page
  } };
}

export function toggle(label, input, key) {
  const box = h("input", { type: "checkbox", "data-key": key, ...OWN_KEYS });
  box.addEventListener("change", () => input(box.checked));
  return { node: h("label", { class: "ood-toggle" }, box, h("span", {}, label)), show(on) { box.checked = on; } };
}

/** Colours for the page as it is now: the text's own colour tells whether the page is dark. */
export function theme(root) {
  const [r, g, b] = getComputedStyle(root).color.match(/[\d.]+/g).map(Number);
  const dark = r * 0.3 + g * 0.59 + b * 0.11 > 128, ink = (alpha) => `rgba(${r},${g},${b},${alpha})`;
  return { dark, ink, id: dark ? "#3a9bdc" : "#0072b2", ood: dark ? "#ff7f2a" : "#d55e00", paper: dark ? "#111" : "#fff",
    font: getComputedStyle(root).fontFamily };
}

/** Call `draw` when the page's theme or the widget's size changes; returns what stops it. */
export function onRestyle(root, draw) {
  const size = new ResizeObserver(draw), look = new MutationObserver(draw), media = matchMedia("(prefers-color-scheme: dark)");
  size.observe(root);
  for (const node of [document.body, document.documentElement]) look.observe(node, { attributes: true });
  media.addEventListener("change", draw);
  return () => { size.disconnect(); look.disconnect(); media.removeEventListener("change", draw); };
}

/** A canvas in device pixels, with its context scaled to CSS pixels: [context, width, height]. */
export function sheet(canvas) {
  const width = canvas.clientWidth, height = canvas.clientHeight, ratio = window.devicePixelRatio || 1;
  const [w, t] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== t) Object.assign(canvas, { width: w, height: t });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return [context, width, height];
}

export function ticks(low, high, wanted) {
  const rough = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9), out = [];
  for (let k = first; k * step <= high + step * 1e-9; k++) out.push(k * step);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return out.map((value) => [value, value.toFixed(Math.min(digits, 6)).replace("-", "−")]);
}

/** Axes of a panel: {x, y} from value to pixel, with ticks, grid and names. `log` makes y logarithmic. */
export function axes(context, look, box, { x, y, xTicks, yTicks, xName, yName, title, log = false }) {
  const [left, top, width, height] = box;
  const px = (v) => left + ((v - x[0]) / (x[1] - x[0])) * width;
  const unit = log ? (v) => Math.log(Math.max(v, y[0]) / y[0]) / Math.log(y[1] / y[0]) : (v) => (v - y[0]) / (y[1] - y[0]);
  const py = (v) => top + height - unit(v) * height;
  context.font = `11px ${look.font}`;
  context.lineWidth = 1;
  for (const [value, text] of yTicks) {
    const at = Math.round(py(value)) + 0.5;
    context.strokeStyle = look.ink(0.12);
    line(context, [[left, at], [left + width, at]]);
    write(context, text, left - 6, at, look.ink(0.72), "right", "middle");
  }
  for (const [value, text] of xTicks) {
    const at = Math.round(px(value)) + 0.5;
    context.strokeStyle = look.ink(0.45);
    line(context, [[at, top + height], [at, top + height + 4]]);
    write(context, text, at, top + height + 7, look.ink(0.72), "center", "top");
  }
  context.strokeStyle = look.ink(0.45);
  line(context, [[left, top + height + 0.5], [left + width, top + height + 0.5]]);
  if (xName) write(context, xName, left + width / 2, top + height + 22, look.ink(0.85), "center", "top");
  if (title) {
    context.font = `600 12px ${look.font}`;
    write(context, title, left, top - 9, look.ink(0.9), "left", "bottom", width + 10);
  }
  if (yName) {
    context.save();
    context.font = `11px ${look.font}`;
    context.translate(left - 40, top + height / 2);
    context.rotate(-Math.PI / 2);
    write(context, yName, 0, 0, look.ink(0.85), "center", "bottom");
    context.restore();
  }
  return { x: px, y: py, top };
}

export function write(context, text, x, y, colour, align = "left", baseline = "alphabetic", room = undefined) {
  Object.assign(context, { fillStyle: colour, textAlign: align, textBaseline: baseline });
  context.fillText(text, x, y, room);
}

export function line(context, points) {
  context.beginPath();
  points.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

/** Diagonal stripes: the second cue of everything OOD. */
export function stripes(context, colour) {
  const tile = h("canvas", { width: 12, height: 12 }), pen = tile.getContext("2d");
  Object.assign(pen, { strokeStyle: colour, lineWidth: 2.6 });
  for (const shift of [-12, 0, 12]) line(pen, [[shift - 1, 13], [shift + 13, -1]]);
  const pattern = context.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(0.5));
  return pattern;
}

/** Bars of the ID set filled, of the OOD set striped and outlined. */
export function bars(context, look, axis, edges, id, ood, base) {
  const step = (values) => {
    const out = [[axis.x(edges[0]), base]];
    values.forEach((v, k) => out.push([axis.x(edges[k]), axis.y(v)], [axis.x(edges[k + 1]), axis.y(v)]));
    return [...out, [axis.x(edges[edges.length - 1]), base]];
  };
  const shape = (values) => {
    context.beginPath();
    step(values).forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
  };
  context.save();
  context.beginPath();
  context.rect(axis.x(edges[0]) - 1, axis.top - 1, axis.x(edges[edges.length - 1]) - axis.x(edges[0]) + 2, base - axis.top + 2);
  context.clip();
  shape(id);
  context.globalAlpha = 0.78;
  context.fillStyle = look.id;
  context.fill();
  context.globalAlpha = 1;
  shape(ood);
  context.fillStyle = stripes(context, look.ood);
  context.fill();
  Object.assign(context, { strokeStyle: look.ood, lineWidth: 1.5 });
  context.stroke();
  context.restore();
}

export const fixed = (value, digits = 3) => value.toFixed(digits).replace("-", "−");
export const percent = (value, digits = 1) => `${(100 * value).toFixed(digits)} %`;
/** Three decimals, fewer of a large number, and more where three would round a probability up to 1. */
export const compact = (value) => fixed(value, value < 1 && value > 0.9995 ? Math.ceil(-Math.log10(1 - value))
  : Math.abs(value) >= 100 ? 1 : Math.abs(value) >= 10 ? 2 : 3);
