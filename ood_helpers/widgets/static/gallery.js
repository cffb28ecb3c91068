// The images behind an opened bar of the score explorer.
import { formatScore } from "./formats.js";
import { h } from "./view.js";

const HINTS = {
  images: "Click a bar to see its images. Drag the line to move the threshold.",
  list: "Click a bar to list its contents. Drag the line to move the threshold.",
};

export function openGallery(model, meta) {
  const node = h("div", { class: "ood-gallery" });
  let shown = "";

  function show(picked) {
    const key = JSON.stringify(picked && picked.map((p) => [p.set, p.items]));
    if (key === shown) return;
    shown = key;
    if (!picked) {
      node.replaceChildren(h("p", { class: "ood-hint" }, meta.has_images ? HINTS.images : HINTS.list));
      return;
    }
    node.replaceChildren(...picked.map(shelf));
    const sets = picked.map(({ set, items }) => [set, items.map((item) => item.index)]);
    if (meta.has_images) model.send({ kind: "images", sets });
  }

  function shelf({ set, items, total }, side) {
    const sampled = items.length < Math.min(meta.max_picked, total) ? "; this page contains a sample" : "";
    const part = items.length < total ? ` (${items.length || "none"} shown${sampled})` : "";
    const title = `${side ? set : "ID"} in this bar: ${total}${part}`;
    return h(
      "div",
      { class: "ood-shelf" },
      h("h4", {}, h("i", { class: side ? "ood-key-ood" : "ood-key-id" }), title),
      h("div", { class: "ood-tiles" }, ...items.map((item) => tile(set, item))),
    );
  }

  function tile(set, { index, score, prediction, label }) {
    const predicted = meta.classes[prediction];
    const caption = [h("b", {}, formatScore(score)), h("span", { title: predicted }, `taken for ${predicted}`)];
    const wrong = label !== null && label !== prediction;
    if (label !== null) {
      const truth = meta.classes[label];
      caption.push(h("span", { title: truth }, wrong ? `but is ${truth}` : "correct"));
    }
    const image = h("canvas", { role: "img", "aria-label": `Image ${index} of ${set}` });
    return h(
      "figure",
      { "data-index": index, "data-set": set, class: wrong ? "ood-wrong" : "" },
      ...(meta.has_images ? [image] : []),
      h("figcaption", {}, ...caption),
    );
  }

  /** Raw RGBA images of equal sizes, in the requested order. */
  function receive(message, buffers) {
    if (message.kind !== "images") return;
    message.sets.forEach(([set, indices, [width, height]], k) => {
      const bytes = new Uint8ClampedArray(buffers[k].buffer, buffers[k].byteOffset, buffers[k].byteLength);
      const frames = [...node.querySelectorAll("figure")].filter((frame) => frame.dataset.set === set);
      const size = width * height * 4;
      indices.forEach((index, i) => {
        const canvas = frames.find((frame) => frame.dataset.index === String(index))?.querySelector("canvas");
        if (!canvas) return;
        Object.assign(canvas, { width, height });
        const image = new ImageData(bytes.slice(i * size, (i + 1) * size), width, height);
        canvas.getContext("2d").putImageData(image, 0, 0);
      });
    });
  }

  model.on("msg:custom", receive);
  return { node, show, stop: () => model.off("msg:custom", receive) };
}
