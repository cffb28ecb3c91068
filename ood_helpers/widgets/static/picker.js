// The picker's view: a photograph, cropped and reduced to the training images' size, and every network's verdict.
import { formatPercent } from "./formats.js";
import { COVERED } from "./guess.js";
import { sheet, theme } from "./plot.js";
import { verdictGuess } from "./verdict_guess.js";
import { drawScores, judge, say, verdictSentence, verdictTable } from "./verdicts.js";
import { OWN_KEYS, bind, button, choice, group, h, linear, keepDrawn, placeOn, sentenceBelow, slider } from "./view.js";

const WAIT = 120; // ms without a change, after which the kernel gets the pixels
const CROP_MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function renderPicker({ model, el }) {
  const meta = model.get("meta");
  const { networks, classes, shipped, size } = meta;
  const alone = Boolean(model.get("standalone"));
  const state = bind(model, [...meta.state, "own"], draw);
  let photo = null; // {image, x, y, side}: the chosen file and its crop, in its pixels
  let timer = 0;
  let grip = null; // where in the crop it is held

  const seen = h("canvas", { role: "img", class: "ood-photo-seen", "data-key": "seen" });
  const stage = h("canvas", {
    role: "img",
    class: "ood-photo",
    "data-key": "crop",
    tabindex: 0,
    "aria-label": "Your picture and its crop; the arrow keys move the crop",
    ...OWN_KEYS,
  });
  const file = h("input", { type: "file", accept: "image/*", "data-key": "file", ...OWN_KEYS });
  const zoom = slider("Size of the crop", {
    ...linear(0.1, 1, 90),
    text: (v) => formatPercent(v, 0),
    input: resize,
    key: "zoom",
  });
  const status = h("p", { class: "ood-hint", role: "status" });
  const own = h(
    "div",
    { class: "ood-own" },
    h("label", { class: "ood-file" }, h("span", {}, "Choose a picture, or drop one here"), file),
    stage,
    zoom.node,
  );
  stage.hidden = true;
  zoom.node.hidden = true;
  const pictures = shipped.map((picture) => {
    const canvas = h("canvas", { "aria-hidden": "true", class: "ood-thumb" });
    const node = button("", () => state.set({ picture: picture.name }), `picture-${picture.name}`);
    node.classList.add("ood-start");
    node.setAttribute("aria-label", picture.name);
    node.append(canvas, h("span", {}, picture.name.replace(`${picture.group} `, ""))); // the group is named above
    return { picture, node, canvas, group: picture.group === "known" ? "known classes" : picture.group };
  });
  const table = verdictTable(meta, (k) => state.set({ run: networks[k].name }));
  const sets = meta.allowed.ood.among.map((name) => [name, name]);
  const ood = choice("Strangers in the histogram", sets, (name) => state.set({ ood: name }), "ood");
  const scores = h("canvas", { role: "img", class: "ood-plot ood-where", "data-key": "where" });
  const sentence = sentenceBelow();
  const chosenOf = (s) =>
    Math.max(
      0,
      networks.findIndex(({ name }) => name === s.run),
    );
  const answersTo = ({ logits }) => networks.map((network, k) => judge(network, logits[k]));
  const guess = verdictGuess({
    model,
    networks,
    image: () => currentPicture(state.get()).name,
    chosen: () => chosenOf(state.get()),
    answers: () => answersTo(currentPicture(state.get())),
    changed: state.later,
  });
  const root = h(
    "section",
    { class: "ood-widget ood-picker", "aria-label": "Picker" },
    guess.node,
    h(
      "div",
      { class: "ood-bench" },
      h("div", {}, seen, h("small", {}, `${size[1]} × ${size[0]} pixels: what the networks see`), status, own),
      h("div", {}, table.node, h("div", { class: "ood-row" }, ood.node), scores),
    ),
    h("div", { class: "ood-starts", role: "group", "aria-label": "Pictures" }, ...group(pictures)),
    ...sentence.nodes,
  );
  own.hidden = alone;
  if (alone) {
    status.textContent =
      "This page has no kernel: it shows the pictures that come with it. In a notebook you can choose your own.";
  }
  el.replaceChildren(root);

  function currentPicture(s) {
    const found = shipped.find(({ name }) => name === s.picture);
    if (found) return found;
    return s.own?.pixels ? { name: meta.own, ...s.own } : shipped[0];
  }

  function draw() {
    if (!root.clientWidth) return; // not in the page yet; its size is watched
    const s = state.get();
    const look = theme(root);
    const picture = currentPicture(s);
    const chosen = chosenOf(s);
    const answers = answersTo(picture);
    paintPixels(seen, picture.pixels, size);
    pictures.forEach(({ picture: each, canvas, node }) => {
      paintPixels(canvas, each.pixels, size);
      node.classList.toggle("ood-current", each === picture);
    });
    table.draw(answers, s.ood, look);
    const tile = h("canvas", {});
    paintPixels(tile, picture.pixels, size);
    const paint = (pen, x, y, side) => pen.drawImage(tile, x, y, side, side);
    const { key, known } = answers[chosen];
    const name = meta.scores[networks[chosen].score];
    drawScores(scores, networks[chosen], s.ood, [{ key, known, current: true, fall: 1, paint }], name, look);
    drawStage(look);
    table.show(answers, chosen);
    ood.show(s.ood);
    const what = picture.name === meta.own ? meta.own : `the picture “${picture.name}”`;
    const covered = guess.covered();
    root.classList.toggle("ood-covered", covered);
    guess.show();
    const words = covered ? COVERED : verdictSentence(networks, classes, answers, chosen, what);
    seen.setAttribute("aria-label", `What the networks see of ${what}`);
    scores.setAttribute("aria-label", `Scores of ${networks[chosen].name}. ${words}`);
    sentence.show(words);
  }

  // A picture of one's own

  async function open(blob) {
    let image = null;
    try {
      image = await createImageBitmap(blob);
    } catch {
      say(status, "This file is no picture that the browser can read.");
      return;
    }
    const side = Math.min(image.width, image.height);
    photo = { image, side, x: (image.width - side) / 2, y: (image.height - side) / 2 };
    say(status, "");
    stage.hidden = false;
    zoom.node.hidden = false;
    cropped();
  }

  function cropped() {
    const { image } = photo;
    photo.x = Math.min(image.width - photo.side, Math.max(0, photo.x));
    photo.y = Math.min(image.height - photo.side, Math.max(0, photo.y));
    zoom.show(photo.side / Math.min(image.width, image.height));
    state.later();
    clearTimeout(timer);
    timer = setTimeout(send, WAIT);
  }

  function send() {
    const [height, width] = size;
    const small = h("canvas", { width, height });
    const pen = small.getContext("2d", { willReadFrequently: true });
    Object.assign(pen, { imageSmoothingEnabled: true, imageSmoothingQuality: "high", fillStyle: "#fff" });
    pen.fillRect(0, 0, width, height);
    pen.drawImage(photo.image, photo.x, photo.y, photo.side, photo.side, 0, 0, width, height);
    const { data } = pen.getImageData(0, 0, width, height);
    const pixels = new Uint8Array((data.length / 4) * 3);
    for (let k = 0; k < pixels.length; k++) pixels[k] = data[Math.floor(k / 3) * 4 + (k % 3)];
    model.send({ kind: "pixels" }, undefined, [pixels.buffer]);
  }

  function resize(share) {
    if (!photo) return;
    const side = share * Math.min(photo.image.width, photo.image.height);
    photo.x += (photo.side - side) / 2;
    photo.y += (photo.side - side) / 2;
    photo.side = side;
    cropped();
  }

  const scaleOf = ({ image }) => Math.min(stage.clientWidth / image.width, stage.clientHeight / image.height);

  function drawStage(look) {
    if (!photo || stage.hidden) return;
    const { image, x, y, side } = photo;
    stage.style.height = `${Math.min(320, (stage.clientWidth * image.height) / image.width)}px`;
    const [pen] = sheet(stage);
    const scale = scaleOf(photo);
    pen.drawImage(image, 0, 0, image.width * scale, image.height * scale);
    for (const [strokeStyle, lineWidth] of [
      [look.paper, 5],
      [look.ood, 2.5],
    ]) {
      Object.assign(pen, { strokeStyle, lineWidth });
      pen.strokeRect(x * scale, y * scale, side * scale, side * scale);
    }
  }

  file.addEventListener("change", () => file.files[0] && open(file.files[0]));
  own.addEventListener("dragover", (event) => event.preventDefault());
  own.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
  });
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    const [x, y] = placeOn(stage, event).map((v) => v / scaleOf(photo));
    grip = [x - photo.x, y - photo.y];
  });
  stage.addEventListener("pointermove", (event) => {
    if (!grip) return;
    const [x, y] = placeOn(stage, event).map((v) => v / scaleOf(photo));
    [photo.x, photo.y] = [x - grip[0], y - grip[1]];
    cropped();
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => (grip = null));
  stage.addEventListener("keydown", (event) => {
    const move = CROP_MOVES[event.key];
    if (!move || !photo) return;
    event.preventDefault();
    photo.x += (move[0] * photo.side) / 16;
    photo.y += (move[1] * photo.side) / 16;
    cropped();
  });

  return keepDrawn(root, draw, state.later, [state, sentence, guess, { stop: () => clearTimeout(timer) }]);
}

/** Pixels, three bytes each in base64, on a canvas that has as many. */
function paintPixels(canvas, base64, [height, width]) {
  if (canvas.dataset.shown === base64) return;
  canvas.dataset.shown = base64;
  const pixels = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(width, height);
  for (let k = 0; k < width * height; k++)
    image.data.set([pixels[3 * k], pixels[3 * k + 1], pixels[3 * k + 2], 255], 4 * k);
  pen.putImageData(image, 0, 0);
}
