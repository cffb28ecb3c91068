// A guided path above any widget: numbered steps that set the widget's state and light up the part that is meant.
import { button, h } from "./view.js";

/** The renderer of a widget, with the path of `meta.steps` above the widget if there is one. */
export function withSteps(render) {
  return (context) => {
    const { model, el } = context;
    const { steps } = model.get("meta");
    if (!steps?.length) return render(context);

    const go = (k) => {
      for (const [name, value] of Object.entries(valuesAt(model, k))) model.set(name, value);
      model.save_changes();
    };
    const numbers = steps.map((_, k) => {
      const node = button(String(k + 1), () => go(k));
      node.setAttribute("aria-label", `Step ${k + 1} of ${steps.length}`);
      return node;
    });
    const back = button("‹ Back", () => go(Math.max(0, model.get("step") - 1)), "back");
    const next = button("Next ›", () => go(Math.min(steps.length - 1, model.get("step") + 1)), "next");
    const show = button("Show me where", () => focusOn(litParts()[0]), "show");
    const sentence = h("p", { "aria-live": "polite", class: "ood-step", "data-key": "step" });
    const body = h("div");
    const bar = h(
      "section",
      { class: "ood-widget ood-steps", "aria-label": "Guided path" },
      h("div", { class: "ood-step-buttons" }, ...numbers, back, next, show),
      sentence,
    );
    el.replaceChildren(bar, body);
    const stop = render({ ...context, el: body });
    const litParts = () => [...body.querySelectorAll(".ood-lit")];

    function light() {
      const k = model.get("step");
      const { parts } = steps[k];
      sentence.replaceChildren(h("b", {}, `${k + 1} of ${steps.length}. `), steps[k].sentence);
      numbers.forEach((node, j) => node.setAttribute("aria-current", j === k ? "step" : "false"));
      back.setAttribute("aria-disabled", k === 0); // disabled, it would lose the keyboard's focus
      next.setAttribute("aria-disabled", k === steps.length - 1);
      for (const node of litParts()) {
        node.classList.remove("ood-lit");
        node.querySelector("[aria-description]")?.removeAttribute("aria-description");
        node.removeAttribute("aria-description");
      }
      for (const node of body.querySelectorAll("[data-key]")) {
        if (!parts.includes(node.dataset.key)) continue;
        node.setAttribute("aria-description", steps[k].sentence); // read to those who get there by keyboard
        (node.closest("label, dl > div") ?? node).classList.add("ood-lit");
      }
      show.hidden = !litParts().length;
    }
    model.on("change:step", light);
    light();
    return () => {
      model.off("change:step", light);
      stop?.();
    };
  };
}

/** The values that a step sets, in the state's order: a threshold comes after the score whose unit it has. */
export function valuesAt(model, k) {
  const { steps, state } = model.get("meta");
  const names = state.filter((name) => Object.hasOwn(steps[k].state, name));
  return { step: k, ...Object.fromEntries(names.map((name) => [name, steps[k].state[name]])) };
}

function focusOn(part) {
  if (!part) return;
  const control = part.matches("label") ? part.control : part;
  if (control.tabIndex < 0) control.tabIndex = -1; // a plot can be focused, but is no stop of the Tab key
  control.scrollIntoView({ block: "center" });
  control.focus({ preventScroll: true });
}
