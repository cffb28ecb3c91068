"""Waiting for pages in Chromium: for the next frames, for the address, and until a condition holds."""

import json
import time


def wait_for(condition, seconds=30, why=lambda: ""):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, why()
        time.sleep(0.05)


def settle(page):
    """Wait for two frames: whatever happened before is then drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


# Timers of a page end in the order in which they are due, so that the page's own, of 250 ms, has ended before this one.
WRITTEN = "() => new Promise((done) => setTimeout(() => done(location.hash), 300))"


def address(page):
    """The part of the address that holds the state, after the page has written its last change."""
    settle(page)
    return page.evaluate(WRITTEN)


OPEN = """(state) => new Promise((done) => {
    const hash = `#${new URLSearchParams(state)}`;
    const drawn = () => requestAnimationFrame(() => requestAnimationFrame(done));
    if (location.hash === hash) return drawn();
    addEventListener("hashchange", drawn, { once: true });
    location.hash = hash;
})"""


def open_state(page, state):
    """Open a widget's state by the page's address, and wait until it is drawn."""
    page.evaluate(OPEN, {name: value if isinstance(value, str) else json.dumps(value) for name, value in state.items()})
