// A frame is as high as the widgets in it, which report their height; until then it has that of notebook.css.
addEventListener("message", ({ source, data }) => {
  const frame = [...document.querySelectorAll("iframe")].find((each) => each.contentWindow === source);
  const height = Number(data?.oodHeight);
  if (frame && height > 0) frame.style.height = `${Math.min(height, 8000)}px`;
});
