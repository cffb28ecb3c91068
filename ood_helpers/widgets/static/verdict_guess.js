// What is guessed of the networks' verdicts on an image before they are uncovered.
import { formatConfidence } from "./formats.js";
import { guessPanel, percentQuestion, wordQuestion } from "./guess.js";

const verdictOf = ({ known }) => (known ? "known" : "stranger");

/** `chosen()` is the index of the chosen network, `answers()` what the networks say about `image()`, which is text. */
export function verdictGuess({ model, networks, image, chosen, answers, changed }) {
  const name = () => networks[chosen()].name;
  const own = () => answers()[chosen()];
  const counts = Array.from({ length: networks.length + 1 }, (_, k) => String(k));
  const refusing = () => String(answers().filter(({ known }) => !known).length);
  const questions = [
    wordQuestion(
      () => `What is the verdict of ${name()}?`,
      ["known", "stranger"],
      () => verdictOf(own()),
    ),
    percentQuestion(
      () => `How high is the top probability of ${name()}?`,
      () => own().confidence,
      formatConfidence,
    ),
  ];
  if (networks.length > 1)
    questions.push(wordQuestion(() => `How many of the ${networks.length} networks refuse it?`, counts, refusing));
  return guessPanel({ model, subject: () => `${name()}, ${image()}`, questions, changed });
}
