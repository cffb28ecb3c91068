// What networks say about one image: a row for each with its verdict, and the image among the scores of many.
import { formatConfidence, formatFixed, formatScore } from "./formats.js";
import { axes, bars, dashed, dot, line, sheet, ticks, write } from "./plot.js";
import { expNegative, fromScore, sortKeys, toScore } from "./scores.js";
import { OWN_KEYS, h } from "./view.js";

const CERTAIN = 0.99; // a higher confidence surprises no more than this one
const CONFIDENCES = [0.2, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999]; // ticks of a top probability's axis
const THUMB = 18; // px, of a drawing in the histogram

/** What a network's logits amount to: probabilities, its score as a key of scores.js, and its verdict. */
export function judge({ score, limit }, logits) {
  const top = Math.max(...logits);
  const powers = Array.from(logits, (z) => expNegative(z - top));
  const total = powers.reduce((a, b) => a + b, 0);
  const [key] = sortKeys(logits, logits.length, score, 1);
  return {
    probabilities: powers.map((e) => e / total),
    best: logits.indexOf(top),
    confidence: 1 / total,
    norm: Math.hypot(...logits),
    key,
    known: key >= limit,
  };
}

/** How surprising answers are: the highest confidence of a network that accepts the image, if any refuses it. */
export function surpriseOf(answers) {
  const refusing = answers.filter((answer) => !answer.known).length;
  const surest = Math.max(0, ...answers.filter((answer) => answer.known).map((answer) => answer.confidence));
  return surest && refusing ? Math.floor(1000 * Math.min(surest, CERTAIN)) + refusing / 100 : 0;
}

/** The most surprising answers as two sentences, of a network that was sure and of those that were not fooled. */
export function surpriseWords(networks, classes, answers) {
  const sure = answers.filter((answer) => answer.known).sort((a, b) => b.confidence - a.confidence)[0];
  const name = networks[answers.indexOf(sure)].name;
  return [
    `${name} calls this a “${classes[sure.best]}” with ${formatConfidence(sure.confidence)}.`,
    refusalWords(networks, answers).replace(/:.*$/, "."), // without their names
  ];
}

/** The sentence under the widget, as verdicts.py writes it. */
export function verdictSentence(networks, classes, answers, chosen, what) {
  const own = answers[chosen];
  const verdict = own.known ? "and accepts it as known" : "but refuses it as a stranger";
  const answer = `“${classes[own.best]}” with ${formatConfidence(own.confidence)}`;
  return `${networks[chosen].name} calls ${what} ${answer} ${verdict}. ${refusalWords(networks, answers)}`.trim();
}

function refusalWords(networks, answers) {
  const refusing = networks.filter((_, k) => !answers[k].known).map(({ name }) => name);
  const all = networks.length;
  if (all === 1) return "";
  if (!refusing.length) return `None of the ${all} networks refuses it.`;
  if (refusing.length === all) return `All ${all} networks refuse it.`;
  const verb = refusing.length === 1 ? "refuses" : "refuse";
  return `${refusing.length} of ${all} networks ${verb} it as a stranger: ${refusing.join(", ")}.`;
}

/** A row for each network; `choose(k)` is called when one is chosen. */
export function verdictTable({ networks, classes, scores }, choose) {
  const group = `ood-networks-${Math.random()}`; // JupyterLab loads this module once for each widget
  const rows = networks.map(({ name, score }, k) => {
    const radio = h("input", { type: "radio", name: group, value: k, "data-key": `network-${k}`, ...OWN_KEYS });
    radio.addEventListener("change", () => choose(k));
    const part = {
      radio,
      answer: h("b", { "data-key": `answer-${k}` }),
      confidence: h("span", {}),
      classes: h("canvas", { role: "img", class: "ood-classes" }),
      norm: h("span", { class: "ood-norm-value", "data-key": `norm-${k}` }),
      strip: h("canvas", { role: "img", class: "ood-strip" }),
      score: h("small", { "data-key": `score-${k}`, title: scores[score] }),
      verdict: h("span", { class: "ood-chip", "data-key": `verdict-${k}` }),
    };
    const node = h(
      "label",
      { class: "ood-verdict" },
      h("span", { class: "ood-network" }, radio, h("span", {}, name)),
      h("span", { class: "ood-answer" }, part.answer, part.confidence),
      part.classes,
      part.norm,
      h("span", { class: "ood-score" }, part.strip, part.score),
      part.verdict,
    );
    return { ...part, node };
  });
  const heads = ["Network", "Answer", "Probabilities", "Norm", "Score and threshold", "Verdict"];
  const head = h(
    "div",
    { class: "ood-verdict ood-heads", "aria-hidden": "true" },
    ...heads.map((t) => h("span", {}, t)),
  );
  const node = h("div", { class: "ood-verdicts", role: "radiogroup", "aria-label": "Networks" }, head);
  node.append(...rows.map((row) => row.node));
  return {
    node,
    draw(answers, ood, look) {
      rows.forEach((row, k) => {
        drawClassBars(row.classes, classes, answers[k], look);
        drawStrip(row.strip, networks[k], ood, answers[k], look);
      });
    },
    show(answers, chosen) {
      rows.forEach((row, k) => {
        const [network, answer] = [networks[k], answers[k]];
        row.radio.checked = k === chosen;
        row.node.classList.toggle("ood-chosen", k === chosen);
        say(row.answer, classes[answer.best]);
        say(row.confidence, formatConfidence(answer.confidence));
        say(row.norm, formatFixed(answer.norm, 1));
        const [score, limit] = [answer.key, network.limit].map((key) => formatScore(toScore(network.score, key)));
        say(row.score, `${score} ${answer.known ? "≥" : "<"} ${limit}`);
        say(row.verdict, answer.known ? "✓ known" : "✗ stranger");
        row.verdict.classList.toggle("ood-known", answer.known);
        const words = answer.probabilities.map((p, c) => `${classes[c]} ${formatConfidence(p)}`).join(", ");
        row.classes.setAttribute("aria-label", `probabilities: ${words}`);
        row.strip.setAttribute("aria-label", `${scores[network.score]} and threshold`);
      });
    },
  };
}

/** Change a text only where it differs: a new text makes the browser compute the page's layout anew. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function drawClassBars(canvas, classes, { probabilities, best }, look) {
  const [pen, width, height] = sheet(canvas);
  const named = classes.every((name) => name.length < 3);
  const base = height - (named ? 12 : 1);
  const room = width / classes.length;
  pen.font = `10px ${look.font}`;
  probabilities.forEach((p, c) => {
    pen.fillStyle = c === best ? look.ink(0.9) : look.ink(0.45);
    pen.fillRect(c * room + 1.5, base - Math.max(1, p * (base - 1)), room - 3, Math.max(1, p * (base - 1)));
    if (named) write(pen, classes[c], (c + 0.5) * room, height, look.ink(c === best ? 1 : 0.66), "center", "bottom");
  });
}

const keyAxis =
  ({ low, high }, width, margin) =>
  (key) =>
    margin + ((Math.min(high, Math.max(low, key)) - low) / (high - low)) * (width - 2 * margin);

/** A network's scores in a line: ID filled, OOD outlined, its threshold, and the image as a dot. */
function drawStrip(canvas, network, ood, answer, look) {
  const [pen, width, height] = sheet(canvas);
  const base = height - 4;
  const x = keyAxis(network, width, 4);
  const bins = network.counts.ID.length;
  const outline = (counts) => {
    const peak = Math.max(...counts);
    pen.beginPath();
    pen.moveTo(4, base);
    counts.forEach((count, k) => {
      const y = base - (count / peak) * (base - 2);
      pen.lineTo(4 + (k / bins) * (width - 8), y);
      pen.lineTo(4 + ((k + 1) / bins) * (width - 8), y);
    });
    pen.lineTo(width - 4, base);
  };
  outline(network.counts.ID);
  Object.assign(pen, { fillStyle: look.id, globalAlpha: 0.4 });
  pen.fill();
  outline(network.counts[ood]);
  Object.assign(pen, { strokeStyle: look.ood, lineWidth: 1, globalAlpha: 0.9 });
  pen.stroke();
  Object.assign(pen, { strokeStyle: look.ink(0.9), lineWidth: 1.5, globalAlpha: 1 });
  const limit = x(network.limit);
  line(pen, [limit, 0], [limit, height]);
  Object.assign(pen, { strokeStyle: look.paper, fillStyle: answer.known ? look.id : look.ood, lineWidth: 1.5 });
  dot(pen, x(answer.key), base - 1, 4.5);
}

/**
 * The histogram of a network's score, with images on its axis. marks: [{key, known, current, fall, paint}], where
 * paint(pen, x, y, size) draws the image and fall is the share of its way down that it has come.
 */
export function drawScores(canvas, network, ood, marks, scoreName, look) {
  const [pen, width, height] = sheet(canvas);
  const box = [52, 10, width - 60, height - 52];
  const [left, top, wide, tall] = box;
  const { low, high, limit, counts, score } = network;
  const shares = [counts.ID, counts[ood]].map((c) => c.map((n) => n / c.reduce((a, b) => a + b, 0)));
  const most = 1.25 * Math.max(...shares.flat());
  const axis = axes(pen, look, box, {
    x: [low, high],
    y: [0, most],
    xTicks: keyTicks(score, low, high, wide),
    yTicks: ticks(0, 100 * most, 3).map(([value, text]) => [value / 100, text]),
    xName: scoreName,
    yName: "Share, %",
  });
  const edges = Array.from({ length: counts.ID.length + 1 }, (_, k) => low + ((high - low) * k) / counts.ID.length);
  bars(pen, look, axis, edges, ...shares, top + tall);
  Object.assign(pen, { strokeStyle: look.ink(0.95), lineWidth: 1.5 });
  dashed(pen, [5, 3], [axis.x(limit), top], [axis.x(limit), top + tall]);
  pen.font = `11px ${look.font}`;
  const room = axis.x(limit) - left > 70;
  write(pen, room ? "stranger ◂" : "◂", axis.x(limit) - 5, top + 9, look.ink(0.85), "right", "middle");
  write(
    pen,
    wide - (axis.x(limit) - left) > 60 ? "▸ known" : "▸",
    axis.x(limit) + 5,
    top + 9,
    look.ink(0.85),
    "left",
    "middle",
  );
  const placed = [];
  for (const { key, known, current, fall, paint } of marks) {
    const x = Math.min(left + wide - THUMB / 2, Math.max(left + THUMB / 2, axis.x(key)));
    const level = Math.min(4, placed.filter((other) => Math.abs(other - x) < THUMB).length); // images lie on each other
    placed.push(x);
    const y = top + (tall - THUMB * (level + 1) - 2) * fall;
    Object.assign(pen, {
      fillStyle: look.paper,
      strokeStyle: known ? look.id : look.ood,
      lineWidth: current ? 3 : 1.5,
    });
    pen.fillRect(x - THUMB / 2, y, THUMB, THUMB);
    paint(pen, x - THUMB / 2, y, THUMB);
    pen.strokeRect(x - THUMB / 2, y, THUMB, THUMB);
  }
}

/** Ticks of a score's keys; of MSP, whose keys are log-odds, at probabilities. */
function keyTicks(score, low, high, wide) {
  if (score !== "msp") return ticks(low, high, 6);
  const out = [];
  let last = -Infinity;
  for (const p of CONFIDENCES) {
    const key = fromScore("msp", p);
    const text = `${Number((100 * p).toPrecision(6))} %`;
    const x = ((key - low) / (high - low)) * wide;
    if (x < 0 || x > wide || x - last < 14 + 6 * text.length) continue;
    last = x;
    out.push([key, text]);
  }
  return out;
}
