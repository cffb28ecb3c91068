// A page without a kernel: each widget's view on a small stand-in for its model. The state lives in the address.
import { h } from "./view.js";

const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

function standIn({ traits, constants, buffers, sprites }, changed) {
  const values = { ...traits, ...constants, alone: true }, listeners = new Map();
  for (const [name, base64] of Object.entries(buffers ?? {})) values[name] = new DataView(bytesOf(base64).buffer);
  const tell = (event, ...rest) => [...(listeners.get(event) ?? [])].forEach((listener) => listener(...rest));
  const sheets = {};
  const pixelsOf = (set) => sheets[set] ??= (async () => {
    const image = new Image();
    image.src = `data:image/jpeg;base64,${sprites[set].jpeg}`;
    await image.decode();
    const canvas = h("canvas", { width: image.width, height: image.height }), pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.drawImage(image, 0, 0);
    return pen;
  })();
  return {
    get: (name) => values[name],
    set(name, value) {
      if (values[name] === value) return;
      values[name] = value;
      tell(`change:${name}`);
      changed(name, value);
    },
    save_changes() {},
    on(event, listener) { listeners.set(event, (listeners.get(event) ?? new Set()).add(listener)); },
    off(event, listener) { listeners.get(event)?.delete(listener); },
    async send(message) { // the kernel's part: the pixels of some images
      const places = values.meta.tiles, answer = [], pixels = [];
      for (const [set, indices] of message.sets) {
        const pen = await pixelsOf(set), { size: [w, t], columns } = sprites[set], all = new Uint8Array(indices.length * w * t * 4);
        indices.forEach((index, k) => {
          const at = places[set][index];
          all.set(pen.getImageData((at % columns) * w, Math.floor(at / columns) * t, w, t).data, k * w * t * 4);
        });
        answer.push([set, indices, [w, t]]);
        pixels.push(new DataView(all.buffer));
      }
      tell("msg:custom", { kind: "images", sets: answer }, pixels);
    },
  };
}

const fits = (value, { among, between, none }) => (among ? among.includes(value)
  : value === null ? none : typeof value === "number" && value >= between[0] && value <= between[1]);

/** #score=energy&1.run=... : what differs from the saved state; a name before a dot is the widget's number. */
function readAddress(entries, models) {
  for (const [key, text] of new URLSearchParams(location.hash.slice(1))) {
    const [, place, name] = /^(?:(\d+)\.)?(\w+)$/.exec(key) ?? [], entry = entries[place ?? 0];
    if (!entry || !Object.hasOwn(entry.traits, name)) continue;
    let value = text;
    if (typeof entry.traits[name] !== "string") try { value = JSON.parse(text); } catch { continue; }
    if (fits(value, entry.allowed[name])) models[place ?? 0].set(name, value);
  }
}

function writeAddress(entries, models) {
  const parts = new URLSearchParams();
  entries.forEach(({ traits }, k) => Object.entries(traits).forEach(([name, first]) => {
    const value = models[k].get(name);
    if (value !== first) parts.set(k ? `${k}.${name}` : name, typeof value === "string" ? value : JSON.stringify(value));
  }));
  history.replaceState(null, "", `#${parts}`);
}

export function openPage(renderers) {
  const entries = JSON.parse(document.getElementById("ood-data").textContent), place = document.getElementById("ood-widgets");
  let timer = 0;
  const models = entries.map((entry, k) => standIn(entry, (name, value) => {
    entries.forEach(({ links }, j) => links.forEach(([other, shared]) => {
      if (shared === name && j === k) models[other].set(name, value);
      if (shared === name && other === k) models[j].set(name, value);
    }));
    clearTimeout(timer);
    timer = setTimeout(writeAddress, 250, entries, models);
  }));
  readAddress(entries, models);
  addEventListener("hashchange", () => readAddress(entries, models));
  entries.forEach(({ renderer }, k) => {
    const el = h("div");
    place.append(el);
    renderers[renderer]({ model: models[k], el });
  });
  place.classList.toggle("ood-many", entries.length > 1);
}
