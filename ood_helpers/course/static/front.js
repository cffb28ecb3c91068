// The front page's path: a step shows its page in the frame; the address keeps the step.
const frame = document.querySelector("iframe");
const steps = [...document.querySelectorAll(".path a")];
const begin = document.querySelector(".begin");

function go(k, moves) {
  const step = steps[k];
  if (!step) return;
  steps.forEach((other) => other.removeAttribute("aria-current"));
  step.setAttribute("aria-current", "step");
  document
    .querySelector(".task")
    .replaceChildren(...step.parentElement.querySelector(".words").cloneNode(true).childNodes);
  document.querySelector(".next").hidden = k === steps.length - 1;
  document.querySelector(".back").hidden = k === 0;
  document.querySelector(".place").textContent = `Step ${k + 1} of ${steps.length}`;
  document.querySelector(".now").hidden = false;
  begin.hidden = true;
  const wanted = step.getAttribute("href");
  if (frame.getAttribute("src") !== wanted) frame.setAttribute("src", wanted);
  frame.title = step.textContent;
  history.replaceState(null, "", `#step=${k + 1}`);
  if (moves) document.querySelector(".now").scrollIntoView({ block: "start" });
}

const present = () => steps.findIndex((step) => step.hasAttribute("aria-current"));
steps.forEach((step, k) =>
  step.addEventListener("click", (event) => {
    event.preventDefault();
    go(k, true);
  }),
);
begin.addEventListener("click", () => go(0, false));
document.querySelector(".next").addEventListener("click", () => go(present() + 1, true));
document.querySelector(".back").addEventListener("click", () => go(present() - 1, true));
const open = () => go(Number(/step=(\d+)/.exec(location.hash)?.[1]) - 1, false);
addEventListener("hashchange", open);
open();
