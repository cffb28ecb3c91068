"""How fast an explorer responds; a shared machine can be slower, so that these run with make test-long only."""

import numpy as np

from ood_helpers.bench import explorer_latency as latency


def frames_above(page, steps, controls=tuple(latency.ALLOWED)):
    """Frames above the null widget, at the median; the best of three tries, as a busy machine only ever adds."""
    best = {}
    for _ in range(3):
        times = latency.compare(page, steps, controls)
        print("\n" + latency.table(times))
        for name in controls:
            above = (np.median(times[name]) - np.median(times["null"])) / latency.FRAME
            best[name] = min(best.get(name, np.inf), above)
        if all(best[name] <= latency.ALLOWED[name] for name in controls):
            break
    return best


def test_a_key_press_is_answered_within_a_frame_or_two(visit):
    page = visit(latency.example(10_000))
    above = frames_above(page, 10)
    assert all(above[control] <= allowed for control, allowed in latency.ALLOWED.items()), above
    page.evaluate("""() => document.querySelector("[data-key=temperature]").addEventListener("input", () => {
        const end = performance.now() + 100; while (performance.now() < end); })""")
    assert frames_above(page, 4, ("temperature",))["temperature"] > 2  # a stall is noticed


def test_a_key_press_is_answered_within_a_frame_or_two_in_jupyterlab(lab_page):
    above = frames_above(lab_page, 8, ("threshold", "temperature"))
    assert all(above[control] <= latency.ALLOWED[control] for control in ("threshold", "temperature")), above
