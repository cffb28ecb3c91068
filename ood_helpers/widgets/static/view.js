// What all views share: elements, controls, redrawing. Text enters a page as text, never as HTML.

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

/** A labelled select; names: [[value, text], ...], or [[value, text, group], ...] in the order of the groups. */
export function choice(label, names, input, key) {
  const optionsOf = (entries) => {
    const groups = new Map();
    const nodes = [];
    for (const [value, text, group] of entries) {
      const option = h("option", { value }, text);
      if (group && !groups.has(group)) nodes.push(groups.set(group, h("optgroup", { label: group })).get(group));
      group ? groups.get(group).append(option) : nodes.push(option);
    }
    return nodes;
  };
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

/** Group buttons [{group, node}] below the names of their groups. */
export function group(buttons) {
  return [...new Set(buttons.map(({ group }) => group))].map((name) => {
    const members = buttons.filter(({ group }) => group === name).map(({ node }) => node);
    return h(
      "div",
      { class: "ood-group", role: "group", "aria-label": name },
      h("small", {}, name),
      h("div", {}, ...members),
    );
  });
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

/**
 * Draw a widget now, and call `restyled` when the page's theme or the widget's size changes; returns what ends that and
 * stops the widget's parts.
 */
export function keepDrawn(root, draw, restyled, parts) {
  const size = new ResizeObserver(restyled);
  const look = new MutationObserver(restyled);
  const media = matchMedia("(prefers-color-scheme: dark)");
  size.observe(root);
  for (const node of [document.body, document.documentElement]) look.observe(node, { attributes: true });
  media.addEventListener("change", restyled);
  draw();
  return () => {
    size.disconnect();
    look.disconnect();
    media.removeEventListener("change", restyled);
    for (const part of parts) part.stop();
  };
}
