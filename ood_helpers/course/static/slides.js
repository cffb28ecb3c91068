// Slides without a framework: keys move from section to section, the address keeps the place.
const slides = [...document.querySelectorAll("section")];
const steps = {
  ArrowRight: 1,
  ArrowDown: 1,
  PageDown: 1,
  " ": 1,
  ArrowLeft: -1,
  ArrowUp: -1,
  PageUp: -1,
  Home: -1e9,
  End: 1e9,
};
const shown = () =>
  slides.reduce(
    (best, slide, k) =>
      Math.abs(slide.getBoundingClientRect().top) < Math.abs(slides[best].getBoundingClientRect().top) ? k : best,
    0,
  );
const show = (k) => {
  const slide = slides[Math.max(0, Math.min(slides.length - 1, k))];
  slide.scrollIntoView();
  slide.focus({ preventScroll: true });
  history.replaceState(null, "", `#${slides.indexOf(slide) + 1}`);
};
const actions = {
  f: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()),
  n: () => document.body.classList.toggle("with-notes"),
};
addEventListener("keydown", (event) => {
  if (event.key in actions && !event.altKey && !event.ctrlKey && !event.metaKey) return actions[event.key]();
  if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey || event.target.closest("a, pre")) return;
  event.preventDefault();
  show(shown() + steps[event.key]);
});
const open = () => {
  if (location.hash) show(location.hash.slice(1) - 1);
};
history.scrollRestoration = "manual"; // the address says where
for (const event of ["load", "hashchange"]) addEventListener(event, open); // at load pictures have their heights
