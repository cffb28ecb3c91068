// What the three views share: elements, controls, a canvas with axes. Text enters a page as text, never as HTML.

const ANNOUNCE_AFTER = 400; // ms without a change, after which a screen reader reads the sentence

export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Trait values as one object; changes are drawn in the next frame and reach Python a little later. */
export function bind(model, keys, draw) {
  let frame = 0;
  let timer = 0;
  const later = () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      draw();
    });
  };
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

/** The sentence under a widget: it is seen at once, and announced to a screen reader when nothing moves any more. */
export function sentenceBelow() {
  const seen = h("p", { class: "ood-sentence", "aria-hidden": "true" });
  const announced = h("p", { class: "ood-announced", "aria-live": "polite" });
  let timer = 0;
  return {
    nodes: [seen, announced],
    show(text) {
      if (seen.textContent === text) return;
      seen.textContent = text;
      clearTimeout(timer);
      timer = setTimeout(() => announced.replaceChildren(text), ANNOUNCE_AFTER);
    },
    stop: () => clearTimeout(timer),
  };
}

// JupyterLab takes the arrow keys away from any control that does not carry this itself.
export const OWN_KEYS = { "data-lm-suppress-shortcuts": "true" };

/** A labelled range input: `of(position)` and `at(value)` map its 0..steps to the value. */
export function slider(label, { steps = 400, of, at, text, input, key }) {
  const range = h("input", { type: "range", min: 0, max: steps, step: 1, "data-key": key, ...OWN_KEYS });
  const name = h("span", {}, label);
  const output = h("output");
  const node = h("label", { class: "ood-slider" }, name, range, output);
  range.addEventListener("input", () => input(of(Number(range.value))));
  return {
    node,
    range,
    rename: (text) => (name.textContent = text),
    show(value) {
      const position = Math.round(at(value));
      if (Number(range.value) !== position) range.value = position;
      output.textContent = text(value);
      range.setAttribute("aria-valuetext", text(value));
    },
  };
}

export function linear(low, high, steps = 400) {
  return { steps, of: (p) => low + ((high - low) * p) / steps, at: (v) => ((v - low) / (high - low)) * steps };
}

/** Positions of a logarithmic slider; 1 is one of them, whatever the ends are. */
export function logarithmic(low, high, steps = 400) {
  const span = Math.log(high / low);
  return {
    steps,
    of: (p) => {
      const value = low * (high / low) ** (p / steps);
      return Math.abs(Math.log(value)) < (0.5 * span) / steps ? 1 : value;
    },
    at: (v) => (Math.log(v / low) / span) * steps,
  };
}

/** A labelled select; names: [[value, text], ...]. */
export function choice(label, names, input, key) {
  const optionsOf = (pairs) => pairs.map(([value, text]) => h("option", { value }, text));
  const select = h("select", { "data-key": key, ...OWN_KEYS }, ...optionsOf(names));
  let offered = JSON.stringify(names);
  const node = h("label", { class: "ood-choice" }, h("span", {}, label), select);
  select.addEventListener("change", () => input(select.value));
  return {
    node,
    /** Offer other names from now on. */
    only(pairs) {
      const wanted = JSON.stringify(pairs);
      if (wanted !== offered) select.replaceChildren(...optionsOf(pairs));
      offered = wanted;
    },
    show(value) {
      if (select.value !== value) select.value = value;
      select.title = select.selectedOptions[0]?.textContent ?? ""; // a name too long for the page
    },
  };
}

export function toggle(label, input, key) {
  const box = h("input", { type: "checkbox", "data-key": key, ...OWN_KEYS });
  box.addEventListener("change", () => input(box.checked));
  return {
    node: h("label", { class: "ood-toggle" }, box, h("span", {}, label)),
    show: (on) => (box.checked = on),
  };
}

export function button(label, click, key = "") {
  const node = h("button", { type: "button", ...(key && { "data-key": key }), ...OWN_KEYS }, label);
  node.addEventListener("click", click);
  return node;
}

/** Numbers with their names: {key: {term, value}} of {key: name}, and the list that holds them. */
export function readouts(names) {
  const entries = Object.entries(names).map(([key, name]) => {
    return [key, { term: h("dt", {}, name), value: h("dd", { "data-key": key }) }];
  });
  const items = entries.map(([, { term, value }]) => h("div", {}, term, value));
  return { ...Object.fromEntries(entries), list: h("dl", { class: "ood-readouts" }, ...items) };
}

/** {key: canvas}. */
export function canvases(keys) {
  const make = (key) => h("canvas", { role: "img", class: `ood-plot ood-${key}`, "data-key": key });
  return Object.fromEntries(keys.map((key) => [key, make(key)]));
}

/** Where an event is on a canvas, in CSS pixels. */
export function placeOn(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

/** Colours for the page as it is now: the text's own colour shows whether the page is dark. */
export function theme(root) {
  const style = getComputedStyle(root);
  const [r, g, b] = style.color.match(/[\d.]+/g).map(Number);
  const dark = r * 0.3 + g * 0.59 + b * 0.11 > 128;
  return {
    dark,
    ink: (alpha) => `rgba(${r},${g},${b},${alpha})`,
    id: dark ? "#3a9bdc" : "#0072b2",
    ood: dark ? "#ff7f2a" : "#d55e00",
    paper: dark ? "#111" : "#fff",
    font: style.fontFamily,
  };
}

/** Call `draw` when the page's theme or the widget's size changes; returns what stops it. */
export function onRestyle(root, draw) {
  const size = new ResizeObserver(draw);
  const look = new MutationObserver(draw);
  const media = matchMedia("(prefers-color-scheme: dark)");
  size.observe(root);
  for (const node of [document.body, document.documentElement]) look.observe(node, { attributes: true });
  media.addEventListener("change", draw);
  return () => {
    size.disconnect();
    look.disconnect();
    media.removeEventListener("change", draw);
  };
}

/** A cleared canvas in device pixels, with its context scaled to CSS pixels: [context, width, height]. */
export function sheet(canvas) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const ratio = window.devicePixelRatio || 1;
  const size = { width: Math.round(width * ratio), height: Math.round(height * ratio) };
  if (canvas.width !== size.width || canvas.height !== size.height) Object.assign(canvas, size);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return [context, width, height];
}

/** About `wanted` round numbers between low and high: [[value, text], ...]. */
export function ticks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= rough * 0.999);
  const digits = Math.min(6, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
  const out = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++)
    out.push([k * step, formatFixed(k * step, digits)]);
  return out;
}

/** At most about `wanted` powers of ten from 10^low to 10^high: [[value, text], ...]. */
export function powers(low, high, wanted) {
  const step = Math.max(1, Math.ceil((high - low) / wanted));
  const digits = [..."⁰¹²³⁴⁵⁶⁷⁸⁹"];
  const raised = (k) => (k < 0 ? "⁻" : "") + [...String(Math.abs(k))].map((digit) => digits[digit]).join("");
  const exponents = Array.from({ length: Math.floor((high - low) / step) + 1 }, (_, k) => high - k * step);
  return exponents.map((k) => [10 ** k, Math.abs(k) < 2 ? String(10 ** k) : `10${raised(k)}`]);
}

export const SHARE_TICKS = [
  [0, "0"],
  [0.5, "50"],
  [1, "100"],
];

/** Axes of a panel, with ticks, grid and names; returns {x, y} from value to pixel. `log` makes y logarithmic. */
export function axes(context, look, box, { x, y, xTicks, yTicks, xName, yName, title, log = false }) {
  const [left, top, width, height] = box;
  const [bottom, right] = [top + height, left + width];
  const px = (v) => left + ((v - x[0]) / (x[1] - x[0])) * width;
  const unit = log
    ? (v) => Math.log(Math.max(v, y[0]) / y[0]) / Math.log(y[1] / y[0])
    : (v) => (v - y[0]) / (y[1] - y[0]);
  const py = (v) => bottom - unit(v) * height;
  context.font = `11px ${look.font}`;
  context.lineWidth = 1;
  for (const [value, text] of yTicks) {
    const at = Math.round(py(value)) + 0.5;
    context.strokeStyle = look.ink(0.12);
    line(context, [left, at], [right, at]);
    write(context, text, left - 6, at, look.ink(0.72), "right", "middle");
  }
  for (const [value, text] of xTicks) {
    const at = Math.round(px(value)) + 0.5;
    context.strokeStyle = look.ink(0.45);
    line(context, [at, bottom], [at, bottom + 4]);
    write(context, text, at, bottom + 7, look.ink(0.72), "center", "top");
  }
  context.strokeStyle = look.ink(0.45);
  line(context, [left, bottom + 0.5], [right, bottom + 0.5]);
  if (xName) write(context, xName, left + width / 2, bottom + 22, look.ink(0.85), "center", "top", width + 22);
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

export function write(context, text, x, y, color, align = "left", baseline = "alphabetic", room = undefined) {
  Object.assign(context, { fillStyle: color, textAlign: align, textBaseline: baseline });
  context.fillText(text, x, y, room);
}

/** A line through [x, y] points. */
export function line(context, ...points) {
  context.beginPath();
  points.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

export function dashed(context, pattern, ...points) {
  context.setLineDash(pattern);
  line(context, ...points);
  context.setLineDash([]);
}

/** A filled circle with an outline, both in the colours that are set. */
export function dot(context, x, y, radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 7);
  context.fill();
  context.stroke();
}

/** Diagonal stripes: the second cue of everything OOD, besides its colour. */
function stripes(context, color) {
  const tile = h("canvas", { width: 12, height: 12 });
  const pen = tile.getContext("2d");
  Object.assign(pen, { strokeStyle: color, lineWidth: 2.6 });
  for (const shift of [-12, 0, 12]) line(pen, [shift - 1, 13], [shift + 13, -1]);
  const pattern = context.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(0.5));
  return pattern;
}

/** Bars of the ID set filled, of the OOD set striped and outlined; `ood` may be null. */
export function bars(context, look, axis, edges, id, ood, base) {
  const [left, right] = [axis.x(edges[0]), axis.x(edges[edges.length - 1])];
  const outline = (values) => {
    context.beginPath();
    context.moveTo(left, base);
    values.forEach((v, k) => {
      context.lineTo(axis.x(edges[k]), axis.y(v));
      context.lineTo(axis.x(edges[k + 1]), axis.y(v));
    });
    context.lineTo(right, base);
  };
  context.save();
  context.beginPath();
  context.rect(left - 1, axis.top - 1, right - left + 2, base - axis.top + 2);
  context.clip();
  outline(id);
  Object.assign(context, { globalAlpha: 0.78, fillStyle: look.id });
  context.fill();
  if (ood) {
    outline(ood);
    Object.assign(context, { globalAlpha: 1, fillStyle: stripes(context, look.ood) });
    context.fill();
    Object.assign(context, { strokeStyle: look.ood, lineWidth: 1.5 });
    context.stroke();
  }
  context.restore();
}

// Numbers in sentences, as formats.py writes them in Python.

export const formatFixed = (value, digits = 3) => value.toFixed(digits).replace("-", "−");

export const formatPercent = (share, digits = 1) => `${formatFixed(100 * share, digits)} %`;

/** A confidence, which is never rounded up to certainty. */
export const formatConfidence = (share) => (share > 0.999 ? "> 99.9 %" : formatPercent(share));

/** Three decimals: fewer if the number is large, more if three would round a probability up to 1. */
export function formatScore(value) {
  if (value > 0.9995 && value < 1) return formatFixed(value, Math.ceil(-Math.log10(1 - value)));
  return formatFixed(value, Math.abs(value) >= 100 ? 1 : Math.abs(value) >= 10 ? 2 : 3);
}

/** Sign and two significant digits; below 5e-7, a rounding error, it is 0. */
export function formatSigned(value) {
  if (Math.abs(value) < 5e-7) return "0";
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toPrecision(2)}`;
}
