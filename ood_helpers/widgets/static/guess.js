// Guess, then look: questions that are answered before a widget is uncovered; the answers of a session as text.
import { OWN_KEYS, button, h } from "./view.js";

export const COVERED = "Covered: guess before you look.";
const STORE = "ood-guesses"; // in the browser's session: each line is one guess, with tabs between its parts
const HEAD = ["shown", "question", "guess", "truth", "gap"];

let unstored = []; // for a browser that keeps nothing

function guessesSoFar() {
  try {
    return JSON.parse(sessionStorage.getItem(STORE) ?? "[]");
  } catch {
    return unstored;
  }
}

function remember(lines) {
  unstored = [...guessesSoFar(), ...lines];
  try {
    sessionStorage.setItem(STORE, JSON.stringify(unstored));
  } catch {
    // A page in a strict frame may not store; its guesses last as long as the page does.
  }
}

/** A question with a number in percent as its answer. */
export function percentQuestion(ask, truth, write) {
  const input = h("input", { type: "number", min: 0, max: 100, step: "any", inputmode: "decimal", ...OWN_KEYS });
  const node = h("label", { class: "ood-question" }, h("span"), input, " %");
  return {
    node,
    ask,
    read: () => (input.value === "" || !input.validity.valid ? null : Number(input.value) / 100),
    compare: (guess) => [write(guess), write(truth()), signed(100 * (guess - truth()), " points")],
    clear: () => (input.value = ""),
  };
}

/** A question with one of some words as its answer. */
export function wordQuestion(ask, words, truth) {
  const options = ["", ...words].map((word) => h("option", { value: word }, word || "choose …"));
  const select = h("select", OWN_KEYS, ...options);
  return {
    node: h("label", { class: "ood-question" }, h("span"), select),
    ask,
    read: () => select.value || null,
    compare: (guess) => [guess, truth(), guess === truth() ? "right" : "wrong"],
    clear: () => (select.value = ""),
  };
}

export const signed = (value, unit) =>
  `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(Math.abs(value) < 0.95 ? 2 : 1)}${unit}`;

/**
 * The panel above a widget that opens covered. `subject()` says what is shown; a question is {node, ask, read, compare,
 * clear}: `ask()` its text, `read()` the guess or null, `compare(guess)` guess, truth and gap as text. The widget hides
 * what `covered()` should not show, and draws again when `changed` is called.
 */
export function guessPanel({ model, subject, questions, changed }) {
  let phase = "off"; // then covered, then revealed
  const form = h("div", { class: "ood-questions" }, ...questions.map((question) => question.node));
  const results = h("tbody");
  const table = h(
    "table",
    { class: "ood-confusion" },
    h("thead", {}, h("tr", {}, ...HEAD.slice(1).map((name) => h("th", { scope: "col" }, name)))),
    results,
  );
  const status = h("span", { role: "status", class: "ood-hint" });
  const text = h("textarea", {
    readonly: "",
    rows: 4,
    "aria-label": "Your guesses",
    ...OWN_KEYS,
  });
  const reveal = button("Reveal", () => go("revealed"), "reveal");
  const again = button("Guess again", () => go("covered"), "again");
  const copy = button("Copy my guesses", copyAll, "copy");
  const title = h("b");
  const node = h(
    "section",
    { class: "ood-guess", "aria-label": "Guess, then look" },
    title,
    form,
    table,
    h("div", { class: "ood-row" }, reveal, copy, again, status),
    text,
  );

  function go(next) {
    if (next === "covered") questions.forEach((question) => question.clear());
    if (next === "revealed") compareAll();
    phase = next;
    text.hidden = true;
    status.textContent = "";
    show();
    changed();
    if (next === "revealed") copy.focus(); // the button that had the focus is gone
  }

  function compareAll() {
    const answered = questions.map((question) => [question, question.read()]).filter(([, guess]) => guess !== null);
    const rows = answered.map(([question, guess]) => [question.ask(), ...question.compare(guess)]);
    results.replaceChildren(
      ...rows.map(([ask, ...cells]) =>
        h("tr", {}, h("th", { scope: "row" }, ask), ...cells.map((cell) => h("td", {}, cell))),
      ),
    );
    if (!rows.length) results.replaceChildren(h("tr", {}, h("td", { colspan: 4 }, "No question was answered.")));
    remember(rows.map((row) => [subject(), ...row].map((part) => part.replace(/\s+/g, " ")).join("\t")));
  }

  async function copyAll() {
    const lines = guessesSoFar();
    text.value = [HEAD.join("\t"), ...lines].join("\n");
    try {
      await navigator.clipboard.writeText(text.value);
      status.textContent = `Copied: ${lines.length} ${lines.length === 1 ? "guess" : "guesses"} of this session.`;
    } catch {
      text.hidden = false; // where the clipboard is closed to pages
      text.select();
      status.textContent = "Copy the marked text.";
    }
  }

  function show() {
    node.hidden = phase === "off";
    form.hidden = reveal.hidden = phase !== "covered";
    table.hidden = again.hidden = copy.hidden = phase !== "revealed";
    title.textContent = phase === "covered" ? "Guess before you look." : "Your guess and the truth.";
    for (const question of questions) question.node.querySelector("span").textContent = question.ask();
  }

  const follow = () => go(model.get("guess") ? "covered" : "off");
  model.on("change:guess", follow);
  if (model.get("guess")) phase = "covered";
  text.hidden = true;
  show();
  return {
    node,
    show,
    covered: () => phase === "covered",
    revealed: () => phase === "revealed",
    stop: () => model.off("change:guess", follow),
  };
}
