// What is guessed of a score explorer before it is uncovered: the OOD bars, a threshold, and the AUROC.
import { formatPercent, formatScore } from "./formats.js";
import { guessPanel, percentQuestion } from "./guess.js";
import { h, linear, slider } from "./view.js";

const GUESSED = 12; // wide bars
const POSITIONS = 400; // of the threshold's slider

/**
 * `scale` is {keyAt, shareAt, scoreAt} of the axis; `current()` the numbers that explorer_state.js computed, null before the first
 * drawing; `acceptedAt(key)` how many ID images a threshold accepts.
 */
export function scoreGuess({ model, meta, state, scale, current, acceptedAt }) {
  const { keyAt, shareAt, scoreAt } = scale;
  const narrow = meta.bins / GUESSED; // bars of the histogram that a wide one covers
  const empty = () => ({ bars: Array(GUESSED).fill(0), limit: null });
  let guess = empty();
  let guessedOf = ""; // its subject

  const range = (k) =>
    `${formatScore(scoreAt(keyAt(k / GUESSED)))} to ${formatScore(scoreAt(keyAt((k + 1) / GUESSED)))}`;
  const most = (shares) => `most at ${range(shares.indexOf(Math.max(...shares)))}`;

  const bars = guess.bars.map((_, k) =>
    slider(`Bar ${k + 1}`, {
      ...linear(0, 0.5, 50),
      text: (share) => `${formatPercent(share, 0)} at ${range(k)}`,
      input: (share) => change(() => (guess.bars[k] = share)),
      key: `guess_${k}`,
    }),
  );
  const threshold = slider("", {
    steps: POSITIONS,
    of: (p) => keyAt(p / POSITIONS),
    at: (key) => shareAt(key) * POSITIONS,
    text: (key) => formatScore(scoreAt(key)),
    input: (limit) => change(() => (guess.limit = limit)),
    key: "guess_threshold",
  });
  threshold.node.classList.add("ood-question");

  function change(apply) {
    apply();
    state.later();
  }

  const whereOodLies = {
    node: h(
      "div",
      { class: "ood-question" },
      h("span"),
      h("details", {}, h("summary", {}, "The bars as sliders"), ...bars.map((control) => control.node)),
    ),
    ask: () => `Where do the images of ${state.get().ood} lie? Drag bars up in the histogram.`,
    read: () => (guess.bars.some((share) => share > 0) ? guess.bars : null),
    compare(shares) {
      const { counts, sizes } = current();
      const sum = (values) => values.reduce((a, b) => a + b, 0);
      const truth = shares.map((_, k) => sum(counts.ood.slice(k * narrow, (k + 1) * narrow)) / sizes[1]);
      const overlap = sum(truth.map((share, k) => Math.min(share, shares[k] / sum(shares))));
      return [most(shares), most(truth), `overlap ${formatPercent(overlap)}`];
    },
    clear: () => (guess = empty()),
  };
  const whereToAccept = {
    node: threshold.node,
    ask: () => "Put the threshold where 95 % of ID is accepted.",
    read: () => guess.limit,
    compare(limit) {
      const { cost, sizes } = current();
      const accepted = formatPercent(acceptedAt(scoreAt(limit)) / sizes[0]);
      const [mine, truth] = [limit, cost.usual.key].map((key) => formatScore(scoreAt(key)));
      return [mine, truth, `accepts ${accepted} of ID`];
    },
    clear() {},
  };
  const howLargeIsAuroc = percentQuestion(
    () => `How large is the AUROC for ${state.get().ood}?`,
    () => current().metrics.auroc,
    formatPercent,
  );

  const subject = () => {
    const s = state.get();
    return [s.run, meta.scores[s.score], s.ood].join(", ");
  };
  const questions = [whereOodLies, whereToAccept, howLargeIsAuroc];
  const panel = guessPanel({ model, subject, questions, changed: state.later });

  return {
    ...panel,
    /** The guess to draw, null if there is none of what is shown; the sliders follow it. */
    drawn() {
      if (panel.covered()) guessedOf = subject();
      if (!(panel.covered() || panel.revealed()) || guessedOf !== subject()) return null;
      bars.forEach((control, k) => control.show(guess.bars[k]));
      threshold.show(guess.limit ?? keyAt(0.5));
      return { bars: guess.bars, limit: guess.limit ?? keyAt(0.5), narrow, covered: panel.covered() };
    },
    /** Draw the bar at a share of the axis up to a share of the set per narrow bar. */
    paint(share, height) {
      const k = Math.min(GUESSED - 1, Math.floor(share * GUESSED));
      change(() => (guess.bars[k] = Math.min(1, Math.max(0, height * narrow))));
    },
    place: (limit) => change(() => (guess.limit = limit)),
  };
}
