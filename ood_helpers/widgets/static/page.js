// A page without a kernel: each widget's view with the stand-in for its model. The state is in the address.
import { createModel, isAllowed } from "./model.js";
import { valuesAt, withSteps } from "./steps.js";
import { h } from "./view.js";

function parse(text, example) {
  if (typeof example === "string") return text;
  try {
    const value = JSON.parse(text);
    return typeof example === "boolean" && typeof value === "number" ? value === 1 : value;
  } catch {
    return undefined;
  }
}

/**
 * #score=energy&1.run=... : what differs from the saved state; a name before a dot is the widget's number. A step sets
 * its values before the others, which are taken in the state's order: a threshold after the score whose unit it has.
 */
function readAddress(entries, models, url) {
  const address = new URLSearchParams(new URL(url).hash.slice(1));
  entries.forEach(({ traits, constants }, k) => {
    const { allowed } = constants.meta;
    const read = (name) => {
      const text = address.get(k ? `${k}.${name}` : name) ?? (k ? null : address.get(`0.${name}`));
      const value = text === null ? undefined : parse(text, traits[name]);
      return value !== undefined && isAllowed(value, allowed[name]) ? value : undefined;
    };
    const step = allowed.step ? read("step") : undefined;
    const values = step === undefined ? {} : valuesAt(models[k], step);
    for (const name of Object.keys(traits)) {
      const given = read(name);
      if (given !== undefined) models[k].set(name, given);
      else if (name in values) models[k].set(name, values[name]);
    }
  });
}

/** Give the first widget, and no other that shares its constants, the guided path that the address names. */
function choosePath(entry, name) {
  if (!Object.hasOwn(entry.paths ?? {}, name)) return null;
  const { meta } = entry.constants;
  const steps = entry.paths[name];
  const allowed = { ...meta.allowed, step: { among: steps.map((_, k) => k) } };
  const state = [...new Set([...meta.state, "step"])];
  entry.constants = { ...entry.constants, meta: { ...meta, steps, allowed, state } };
  entry.traits.step = 0;
  return name;
}

/** The widgets of the page; a part that an earlier one has too is given by its number. */
function readEntries() {
  const entries = JSON.parse(document.getElementById("ood-data").textContent);
  for (const entry of entries)
    for (const part of ["constants", "buffers", "sprites"])
      if (typeof entry[part] === "number") entry[part] = entries[entry[part]][part];
  return entries;
}

/** In another page's frame: report the height of the content, so that the frame can have it. */
function reportHeight() {
  document.body.classList.add("ood-framed");
  const content = document.querySelector("main");
  const report = () => parent.postMessage({ oodHeight: Math.ceil(content.getBoundingClientRect().height) }, "*");
  new ResizeObserver(report).observe(content);
}

function writeAddress(entries, models, path) {
  const parts = new URLSearchParams(path ? { path } : {});
  entries.forEach(({ traits }, k) => {
    for (const [name, first] of Object.entries(traits)) {
      const value = models[k].get(name);
      if (value === first) continue;
      parts.set(k ? `${k}.${name}` : name, typeof value === "string" ? value : JSON.stringify(value));
    }
  });
  history.replaceState(null, "", `#${parts}`);
}

export function openPage(renderers) {
  const entries = readEntries();
  const place = document.getElementById("ood-widgets");
  const path = choosePath(entries[0], new URLSearchParams(location.hash.slice(1)).get("path"));
  document.body.classList.toggle("ood-framed", parent !== window); // the page around it has a heading of its own
  let timer = 0;
  const models = entries.map((entry, k) =>
    createModel(entry, (name, value) => {
      entries.forEach(({ links }, j) =>
        links.forEach(([other, shared]) => {
          if (shared === name && j === k) models[other].set(name, value);
          if (shared === name && other === k) models[j].set(name, value);
        }),
      );
      clearTimeout(timer);
      timer = setTimeout(writeAddress, 250, entries, models, path);
    }),
  );
  if (path) for (const [name, value] of Object.entries(valuesAt(models[0], 0))) models[0].set(name, value);
  readAddress(entries, models, location.href);
  // The event's own address: the present one may have been rewritten since by writeAddress.
  addEventListener("hashchange", (event) => readAddress(entries, models, event.newURL));
  place.classList.toggle("ood-many", entries.length > 1);
  if (parent !== window) reportHeight();
  entries.forEach(({ renderer }, k) => {
    const el = h("div");
    place.append(el);
    withSteps(renderers[renderer])({ model: models[k], el });
  });
}
