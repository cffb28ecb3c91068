// A click on a figure shows it as large as the window; a click or Escape closes it.
const large = document.createElement("dialog");
large.className = "large";
large.setAttribute("aria-label", "Enlarged figure");
document.body.append(large);
for (const button of document.querySelectorAll("button.enlarge"))
  button.addEventListener("click", () => {
    const close = document.createElement("button");
    close.append("Close");
    large.replaceChildren(close, button.querySelector("img").cloneNode());
    large.showModal();
  });
large.addEventListener("click", () => large.close());
