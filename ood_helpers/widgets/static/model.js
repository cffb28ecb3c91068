// The stand-in for a widget's model where there is no kernel: in an exported page, and in other people's pages.
import { withSteps } from "./steps.js";
import { h } from "./view.js";

const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

/** What anywidget's model offers, without a kernel; `changed(name, value)` is called after every change. */
export function createModel({ traits, constants, buffers, sprites }, changed) {
  const values = { ...traits, ...constants, standalone: true };
  for (const [name, base64] of Object.entries(buffers ?? {})) values[name] = new DataView(bytesOf(base64).buffer);
  const listeners = new Map();
  const emit = (event, ...rest) => [...(listeners.get(event) ?? [])].forEach((listener) => listener(...rest));
  const sheets = {};
  const openSheet = (set) => (sheets[set] ??= decode(sprites[set].jpeg));
  return {
    get: (name) => values[name],
    set(name, value) {
      if (values[name] === value) return;
      values[name] = value;
      emit(`change:${name}`);
      changed(name, value);
    },
    save_changes() {},
    on(event, listener) {
      listeners.set(event, (listeners.get(event) ?? new Set()).add(listener));
    },
    off(event, listener) {
      listeners.get(event)?.delete(listener);
    },
    // The kernel's part: the pixels of some images.
    async send(message) {
      const sets = [];
      const pixels = [];
      for (const [set, indices] of message.sets) {
        const pen = await openSheet(set);
        const { size, columns } = sprites[set];
        const [width, height] = size;
        const all = new Uint8Array(indices.length * width * height * 4);
        indices.forEach((index, k) => {
          const at = values.meta.tiles[set][index];
          const [x, y] = [(at % columns) * width, Math.floor(at / columns) * height];
          all.set(pen.getImageData(x, y, width, height).data, k * width * height * 4);
        });
        sets.push([set, indices, size]);
        pixels.push(new DataView(all.buffer));
      }
      emit("msg:custom", { kind: "images", sets }, pixels);
    },
  };
}

async function decode(jpeg) {
  const image = new Image();
  image.src = `data:image/jpeg;base64,${jpeg}`;
  await image.decode();
  const canvas = h("canvas", { width: image.width, height: image.height });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(image, 0, 0);
  return pen;
}

export function isAllowed(value, { among, between, none, matching }) {
  if (among) return among.includes(value);
  if (matching) return new RegExp(matching).test(value);
  if (value === null) return none;
  return typeof value === "number" && value >= between[0] && value <= between[1];
}

/**
 * A module that renders one widget with its data, in the form of anywidget: the host's model may hold values to begin
 * with, and receives every change.
 */
export function standalone(entry, style, render) {
  return {
    render({ model: host, el }) {
      const model = createModel(entry, (name, value) => {
        host?.set?.(name, value);
        host?.save_changes?.();
      });
      for (const [name, rule] of Object.entries(entry.constants.meta.allowed)) {
        const take = () => {
          const value = host?.get?.(name);
          if (value !== undefined && isAllowed(value, rule)) model.set(name, value);
        };
        take();
        host?.on?.(`change:${name}`, take);
      }
      const place = h("div");
      el.replaceChildren(h("style", {}, style), place); // in here also where the host has a shadow root
      return withSteps(render)({ model, el: place });
    },
  };
}
