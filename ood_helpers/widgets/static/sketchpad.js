// The sketchpad's view: a pad, every network's verdict on the drawing, and where it falls among the scores.
import { BLOCKS, FULL, blendCounts, cellsOf, countsOf, fromText, pixelsOf, toText } from "./drawing.js";
import { makeEasel } from "./easel.js";
import { COVERED } from "./guess.js";
import { networkLogits, openNetworks, scoreGradient } from "./image_networks.js";
import { sheet, theme } from "./plot.js";
import { verdictGuess } from "./verdict_guess.js";
import { drawScores, judge, say, surpriseOf, surpriseWords, verdictSentence, verdictTable } from "./verdicts.js";
import { bind, button, choice, group, h, linear, keepDrawn, sentenceBelow, slider } from "./view.js";

const KEPT = 12; // drawings in the strip
const SURER_STEPS = 8; // of "make it surer", each of one cell in the block that matters most
const SURER_TIME = 55; // ms
const FALL_TIME = 420; // ms, of a drawing into the histogram
const GROUPS = { known: "known classes", near: "held-out classes", scribble: "by hand" };

export function renderSketchpad({ model, el }) {
  const meta = model.get("meta");
  const { networks: entries, classes, starts } = meta;
  const weights = model.get("weights");
  const buffer = weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.byteLength);
  const networks = openNetworks(entries, buffer, classes.length);
  const state = bind(model, meta.state, draw);
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const chosenOf = (s) =>
    Math.max(
      0,
      entries.findIndex(({ name }) => name === s.run),
    );
  const groupOf = (start) => GROUPS[start.group] ?? start.group;

  const history = []; // the latest drawing first: {drawing, cells, answers, surprising, truth, since}
  let current = null; // the one that is on the pad
  let answered = { drawing: null };
  let morph = null; // {from, to, share, drawing}
  let timer = 0; // of "make it surer"
  let frame = 0; // of a falling drawing
  let restyled = 0; // how often the page's theme or the widget's size has changed

  const easel = makeEasel({
    keep() {
      clearTimeout(timer);
      return current;
    },
    changed(kept) {
      current = kept;
      state.set({ drawing: toText(countsOf(easel.cells())) });
    },
    later: state.later,
  });
  easel.open(fromText(state.get().drawing));
  const thumb = () => h("canvas", { "aria-hidden": "true", class: "ood-thumb" });
  const seen = h("canvas", { role: "img", class: "ood-seen", "data-key": "seen" });
  const top = {
    thumb: thumb(),
    said: h("strong", {}),
    refused: h("span", {}),
  };
  const surprise = button("", () => top.entry && easel.put(top.entry.cells.slice(), top.entry), "surprise");
  surprise.classList.add("ood-surprise");
  surprise.append(top.thumb, h("span", {}, top.said, " ", top.refused));
  const table = verdictTable(meta, (k) => state.set({ run: entries[k].name }));
  const startButtons = starts.map((start, k) => {
    const picture = thumb();
    const node = button("", () => easel.put(cellsOf(fromText(start.drawing))), `start-${k}`);
    node.classList.add("ood-start");
    node.setAttribute("aria-label", `Start from ${start.name}, ${groupOf(start)}`);
    node.append(picture, h("span", {}, start.name));
    return { start, node, picture, group: groupOf(start) };
  });
  const targets = starts.map((start, k) => [String(k), `${start.name} (${groupOf(start)})`]);
  const fields = {
    target: choice("Morph into", targets, () => startMorph(0.5), "target"),
    ood: choice(
      "Strangers in the histogram",
      meta.allowed.ood.among.map((name) => [name, name]),
      (ood) => state.set({ ood }),
      "ood",
    ),
  };
  const share = slider("Morph", {
    ...linear(0, 1, 50),
    text: (v) => `${Math.round(100 * v)} %`,
    input: moveMorph,
    key: "morph",
  });
  const surer = button("", makeSurer, "surer");
  const strip = h("div", { class: "ood-drawn", role: "group", "aria-label": "The last drawings" });
  const scores = h("canvas", { role: "img", class: "ood-plot ood-where", "data-key": "where" });
  const legend = h("p", { class: "ood-legend" }, h("i", { class: "ood-key-id" }), "ID, test split");
  legend.append(h("i", { class: "ood-key-ood" }), "strangers");
  const sentence = sentenceBelow();
  const guess = verdictGuess({
    model,
    networks: entries,
    image: () => `drawing ${state.get().drawing}`,
    chosen: () => chosenOf(state.get()),
    answers: () => answered.answers,
    changed: state.later,
  });
  const root = h(
    "section",
    { class: "ood-widget ood-sketchpad", "aria-label": "Sketchpad" },
    surprise,
    guess.node,
    h(
      "div",
      { class: "ood-bench" },
      h(
        "div",
        {},
        h(
          "div",
          { class: "ood-easel" },
          easel.pad,
          h("div", { class: "ood-side" }, seen, h("small", {}, "8 × 8: what the networks see")),
          easel.tools,
        ),
        easel.hint,
      ),
      table.node,
    ),
    h("div", { class: "ood-starts", role: "group", "aria-label": "Start from" }, ...group(startButtons)),
    h("div", { class: "ood-row ood-change" }, fields.target.node, share.node, surer),
    h(
      "div",
      { class: "ood-fallen" },
      h("div", {}, h("div", { class: "ood-row" }, fields.ood.node, legend), scores),
      h("div", {}, h("h4", {}, "Your last drawings"), strip),
    ),
    ...sentence.nodes,
    easel.status,
  );
  el.replaceChildren(root);

  // What changes the drawing

  function startMorph(value) {
    const target = Number(fields.target.node.querySelector("select").value);
    easel.remember();
    morph = { from: countsOf(easel.cells()), to: fromText(starts[target].drawing) };
    moveMorph(value);
  }

  function moveMorph(value) {
    if (!morph) return startMorph(value);
    morph.share = value;
    const counts = blendCounts(morph.from, morph.to, value);
    morph.drawing = toText(counts);
    easel.show(cellsOf(counts), current);
  }

  /** Steps along the gradient of the chosen network's score, each of one cell where it matters most. */
  function makeSurer() {
    easel.remember();
    const network = networks[chosenOf(state.get())];
    let values = countsOf(easel.cells());
    const step = (left) => {
      const slope = scoreGradient(network, pixelsOf(values));
      const most = Math.max(...slope.map(Math.abs)) || 1;
      values = values.map((v, k) => Math.min(FULL, Math.max(0, v + slope[k] / most)));
      easel.show(cellsOf(values.map(Math.round), easel.cells()), current);
      if (left > 1 && still.matches) step(left - 1);
      else if (left > 1) timer = setTimeout(step, SURER_TIME, left - 1);
    };
    step(SURER_STEPS);
  }

  // What is shown. Pictures are drawn before any text changes: after it, their size would have to be computed anew.

  function paintThumb(canvas, drawing, look) {
    const key = `${drawing} ${restyled}`;
    if (canvas.dataset.shown === key) return;
    canvas.dataset.shown = key;
    const [pen, width] = sheet(canvas);
    paintCounts(pen, fromText(drawing), 0, 0, width, look);
  }

  function answer(drawing) {
    if (answered.drawing === drawing) return answered.answers;
    const pixels = pixelsOf(fromText(drawing));
    const answers = networks.map((network) => judge(network, networkLogits(network, pixels)));
    answered = { drawing, answers };
    if (!/[^0]/.test(drawing)) {
      current = null;
      return answers;
    }
    current ??= history.find((entry) => entry.drawing === drawing) ?? null;
    if (!current) {
      current = { since: performance.now() };
      history.unshift(current);
      if (history.length > KEPT) history.pop();
    }
    const origin = [meta.opening, ...starts].find((start) => start.drawing === drawing);
    const surprising = origin?.group === "known" ? 0 : surpriseOf(answers);
    Object.assign(current, { drawing, cells: easel.cells().slice(), answers, surprising, truth: origin?.truth ?? "" });
    return answers;
  }

  function draw() {
    if (!root.clientWidth) return; // not in the page yet; its size is watched
    const s = state.get();
    if (toText(countsOf(easel.cells())) !== s.drawing) {
      easel.open(fromText(s.drawing)); // from Python, from the address or from a linked pad
      current = null;
    }
    if (morph && morph.drawing !== s.drawing) morph = null;
    const look = theme(root);
    const chosen = chosenOf(s);
    const answers = answer(s.drawing);
    easel.draw(look);
    paintThumb(seen, s.drawing, look);
    startButtons.forEach(({ start, picture }) => paintThumb(picture, start.drawing, look));
    table.draw(answers, s.ood, look);
    drawFallen(s, chosen, look);
    showSurprise(look);
    showStrip(chosen, look);
    table.show(answers, chosen);
    fields.ood.show(s.ood);
    share.show(morph?.share ?? 0);
    say(surer, `Make ${entries[chosen].name} surer`);
    const what = /[^0]/.test(s.drawing) ? "the drawing" : "the empty pad";
    const covered = guess.covered();
    root.classList.toggle("ood-covered", covered);
    guess.show();
    const words = covered ? COVERED : verdictSentence(entries, classes, answers, chosen, what);
    seen.setAttribute("aria-label", `The drawing as 8 by 8 counts: ${fromText(s.drawing).join(" ")}`);
    scores.setAttribute("aria-label", `Scores of ${entries[chosen].name} and of the last drawings. ${words}`);
    sentence.show(words);
  }

  function showSurprise(look) {
    const entry = history.reduce((best, e) => (e.surprising > (best?.surprising ?? 0) ? e : best), null);
    top.entry = entry;
    const invitation = ["Draw something that none of the networks knows.", "Which of them says so?"];
    const [said, refused] = entry ? surpriseWords(entries, classes, entry.answers) : invitation;
    if (entry) paintThumb(top.thumb, entry.drawing, look);
    top.thumb.hidden = !entry;
    say(top.said, said);
    say(top.refused, `${entry?.truth ?? ""} ${refused}`.trim());
  }

  function showStrip(chosen, look) {
    while (strip.children.length > history.length) strip.lastChild.remove();
    while (strip.children.length < history.length) {
      const place = strip.children.length;
      const node = button("", () => easel.put(history[place].cells.slice(), history[place]), `drawn-${place}`);
      node.classList.add("ood-start");
      node.append(thumb(), h("span", {}));
      strip.append(node);
    }
    history.forEach((entry, k) => {
      const [picture, words] = strip.children[k].children;
      const { best, confidence, known } = entry.answers[chosen];
      paintThumb(picture, entry.drawing, look);
      say(words, `${known ? "✓" : "✗"} ${classes[best]}`);
      strip.children[k].classList.toggle("ood-current", entry === current);
      const verdict = `${classes[best]} with ${Math.round(100 * confidence)} %, ${known ? "known" : "stranger"}`;
      strip.children[k].setAttribute("aria-label", `Drawing ${k + 1}: ${verdict}`);
    });
  }

  function drawFallen(s, chosen, look) {
    const now = performance.now();
    let falling = false;
    const marks = history.map((entry) => {
      const fall = still.matches ? 1 : Math.min(1, (now - entry.since) / FALL_TIME);
      falling ||= fall < 1;
      const { key, known } = entry.answers[chosen];
      const counts = fromText(entry.drawing);
      const paint = (pen, x, y, size) => paintCounts(pen, counts, x, y, size, look);
      return { key, known, current: entry === current, fall: fall * fall, paint };
    });
    drawScores(scores, entries[chosen], s.ood, marks.reverse(), meta.scores[entries[chosen].score], look);
    cancelAnimationFrame(frame);
    if (falling) frame = requestAnimationFrame(() => drawFallen(state.get(), chosenOf(state.get()), theme(root)));
  }

  function stop() {
    clearTimeout(timer);
    cancelAnimationFrame(frame);
  }
  const restyle = () => {
    restyled++;
    state.later();
  };
  return keepDrawn(root, draw, restyle, [state, sentence, guess, { stop }]);
}

function paintCounts(pen, counts, x, y, size, look) {
  const side = size / BLOCKS;
  counts.forEach((count, k) => {
    if (!count) return;
    pen.fillStyle = look.ink((0.92 * count) / FULL);
    pen.fillRect(x + (k % BLOCKS) * side, y + Math.floor(k / BLOCKS) * side, side, side);
  });
}
