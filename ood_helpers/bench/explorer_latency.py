"""The time from a key press to changed pixels of an explorer, measured in Chromium against a null widget.

The null widget only paints a rectangle; the difference is the explorer's. Needs Playwright and Chromium.
"""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
FRAME = 1000 / 60  # ms
ALLOWED = {"threshold": 1, "temperature": 2, "epoch": 2, "score": 2}  # frames above the null widget, at the median

# Run in the page: a null widget, and a clock from an event to the first frame that differs.
_CLOCK = """
window.oodArm = (selector, canvas) => { // then oodTime resolves with the time from the next key to changed pixels
  const node = document.querySelector(selector), sheet = document.querySelector(canvas);
  const pixels = () => {
    const { data } = sheet.getContext("2d").getImageData(0, 0, sheet.width, sheet.height);
    const words = new Uint32Array(data.buffer);
    let hash = 0;
    for (let k = 0; k < words.length; k++) hash = (Math.imul(hash, 31) + words[k]) | 0;
    return hash;
  };
  const old = pixels(), key = new Promise((resolve) => {
    node.addEventListener("keydown", (event) => resolve(event.timeStamp), { once: true });
  });
  if (document.activeElement !== node) node.focus();
  window.oodTime = key.then(async (start) => {
    for (let tries = 0; tries < 120; tries++) {
      await new Promise(requestAnimationFrame);
      await new Promise((resolve) => setTimeout(resolve));
      const end = performance.now();
      if (pixels() !== old) return end - start;
    }
    return -1;
  });
};
window.oodNull = () => {
  const range = Object.assign(document.createElement("input"), { type: "range", max: 400, value: 200 });
  const canvas = Object.assign(document.createElement("canvas"), { width: 600, height: 340 });
  range.dataset.key = "null";
  range.dataset.lmSuppressShortcuts = "true";
  canvas.dataset.key = "null-canvas";
  document.body.prepend(range, canvas);
  const pen = canvas.getContext("2d");
  const paint = () => { pen.clearRect(0, 0, 600, 340); pen.fillRect(0, 0, range.value, 340); };
  range.addEventListener("input", () => requestAnimationFrame(paint));
  paint();
};
"""

# Run in the page: the time that a step of the pen on the sketchpad takes, its handler and its frame. The first callback
# of the frame is registered before the step and the last after it, so that waiting for the frame does not count.
_STROKE = """(key) => new Promise((resolve) => {
  const pad = document.querySelector("[data-key=pad]");
  let frame = 0;
  requestAnimationFrame(() => { frame = performance.now(); });
  const start = performance.now();
  pad.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const handled = performance.now() - start;
  requestAnimationFrame(() => resolve(handled + performance.now() - frame));
})"""


@contextmanager
def browser():
    """Chromium through Playwright; ImportError or FileNotFoundError, in one sentence, where one is missing."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise ImportError("the measurement needs Playwright: pip install playwright") from None
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not path:
        raise FileNotFoundError("the measurement needs Chromium: install the package chromium, or name it in CHROMIUM")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield chromium
        finally:
            chromium.close()


def measure(page, control: str, canvas: str = "canvas[data-key=scores]", steps: int = 30) -> np.ndarray:
    """Milliseconds (steps,) from a key press on [data-key=control] to the first frame in which the canvas differs."""
    times = []
    forth, back = ("ArrowDown", "ArrowUp") if control == "score" else ("ArrowLeft", "ArrowRight")
    for k in range(steps):
        page.evaluate("([s, c]) => oodArm(s, c)", [f"[data-key='{control}']", canvas])
        page.keyboard.press(forth if k % 6 < 3 else back)
        times.append(page.evaluate("window.oodTime"))
    if min(times) < 0:
        raise RuntimeError(f"{times.count(-1)} of {steps} key presses on {control} changed nothing")
    return np.array(times)


def compare(page, steps: int = 30, controls=tuple(ALLOWED)) -> dict[str, np.ndarray]:
    """{control: milliseconds} of an open page with a score explorer, with "null" first, measured between the others."""
    page.evaluate(_CLOCK + "; oodNull()")
    times = {"null": []} | {control: [] for control in controls}
    for control in controls:
        times["null"].append(measure(page, "null", "canvas[data-key='null-canvas']", max(10, steps // 2)))
        times[control].append(measure(page, control, steps=steps))
    return {control: np.concatenate(parts) for control, parts in times.items()}


def example(n: int, classes: int = 10, epochs: int = 4):
    """A score explorer of random logits: n ID and n OOD images."""
    from ..widgets import ScoreExplorer

    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n)
    logits = rng.normal(0, 1.5, (n, classes))
    logits[np.arange(n), labels] += rng.normal(6, 2, n)
    ood = rng.normal(0, 2, (n, classes))
    early = {name: [z[:1000] * (k + 1) / epochs for k in range(epochs)] for name, z in (("ID", logits), ("OOD", ood))}
    return ScoreExplorer.from_logits(logits, ood, labels=labels, snapshots={"epochs": range(epochs)} | early)


def table(times: dict[str, np.ndarray]) -> str:
    """The times as printed rows: control, median, 95th percentile, frames above the null widget."""
    floor = np.median(times["null"])
    rows = [f"{'control':12} {'median ms':>10} {'p95 ms':>8} {'above null':>11}"]
    for control, values in times.items():
        median, p95 = np.median(values), np.percentile(values, 95)
        rows.append(f"{control:12} {median:10.1f} {p95:8.1f} {(median - floor) / FRAME:+6.1f} frames")
    return "\n".join(rows)


def example_pad(folder: str | Path):
    """A sketchpad with a network of every loss; how long they have been trained does not matter to their speed."""
    from ..config import Config
    from ..losses import RECIPES
    from ..training import fit
    from ..widgets import Sketchpad

    configs = [Config(loss=loss, epochs=1, limit=40, ood=("noise",)) for loss in RECIPES]
    return Sketchpad([fit(config, folder, "cpu", progress=False) for config in configs])


def measure_strokes(page, steps: int = 60, slowdown: int = 4) -> np.ndarray:
    """Milliseconds (steps,) of a step of the pen on an open page with a sketchpad: every network and the picture.

    The processor is throttled by ``slowdown``, as that of a phone.
    """
    page.locator("[data-key=pad]").focus()
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": slowdown})
    for key in ("Delete", " "):
        page.evaluate(_STROKE, key)
    times = []
    for k in range(steps + 10):  # the first ones compile the script
        key = ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp")[k // 6 % 4]
        times.append(page.evaluate(_STROKE, key))
    session.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    return np.array(times[10:])


def bench_strokes(chromium, folder: str | Path) -> dict:
    """Print the time of a stroke on the sketchpad, throttled 4x, and the weight of its page; returns the numbers."""
    path = example_pad(folder).to_html(Path(folder) / "pad.html")
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    page.goto(path.as_uri())
    page.wait_for_selector("[data-key=answer-0]:not(:empty)")
    times = measure_strokes(page)
    page.close()
    result = {"median_ms": np.median(times), "p95_ms": np.percentile(times, 95), "page_kb": path.stat().st_size / 1000}
    print(
        f"sketchpad, a stroke with 7 networks, processor throttled 4x: median {result['median_ms']:.1f} ms, "
        f"p95 {result['p95_ms']:.1f} ms; the page has {result['page_kb']:.0f} kB\n"
    )
    return result


def bench(sizes=(10_000, 60_000), steps: int = 30) -> dict[int, dict[str, np.ndarray]]:
    """Print the latency of the exported explorer for n ID and n OOD images of ten classes, and of the sketchpad.

    Returns the explorer's times.
    """
    results = {}
    with browser() as chromium, tempfile.TemporaryDirectory() as folder:
        for n in sizes:
            path = example(n).to_html(Path(folder) / "page.html")
            page = chromium.new_page(viewport={"width": 1100, "height": 900})
            page.goto(path.as_uri())
            page.wait_for_selector("[data-key=auroc]:not(:empty)")
            results[n] = compare(page, steps)
            page.close()
            print(f"{n} ID and {n} OOD logits of 10 classes, key press to changed pixels:\n{table(results[n])}\n")
        bench_strokes(chromium, folder)
    return results
