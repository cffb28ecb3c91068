"""Widgets in other people's pages: as a frame, and as a module with anywidget's interface, as README.md shows."""

import re
from pathlib import Path

import pytest
from explorers import make_explorer
from playwright.sync_api import expect
from waiting import wait_for

from ood_helpers.widgets import NormExplorer
from ood_helpers.widgets import page as pages
from ood_helpers.widgets.formats import format_percent

README = (Path(pages.__file__).parent / "README.md").read_text()


@pytest.mark.parametrize("width", [1000, 390])
def test_the_frame_of_the_readme_is_as_high_as_its_content(width, chromium, tmp_path):
    example = re.search("```html\n(.*?)```", README, re.S)[1]
    assert len(example.splitlines()) == 5
    make_explorer(images=True).to_html(tmp_path / "explorer.html")
    (tmp_path / "host.html").write_text(f"<!doctype html><body style='margin: 0'>{example}")
    page = chromium.new_page(viewport={"width": width, "height": 800})
    page.goto((tmp_path / "host.html").as_uri())
    inside = page.locator("iframe").content_frame
    inside.locator("dd:not(:empty)").first.wait_for()
    expect(inside.locator("[data-key=score]")).to_have_value("energy")

    def height():
        return inside.locator("main").evaluate("node => Math.ceil(node.getBoundingClientRect().height)")

    def fits():
        wait_for(lambda: page.locator("iframe").bounding_box()["height"] == height())
        scrolls = inside.locator("html").evaluate(
            "node => [node.scrollWidth - innerWidth, node.scrollHeight - innerHeight]"
        )
        assert max(scrolls) <= 0
        return height()

    before = fits()
    inside.locator("[data-key=bin]").press("End")  # the images of a bar need room
    inside.locator("figure").first.wait_for()
    assert fits() > before
    page.close()


RENDER = """async ([source, given]) => {
    const { default: widget } = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
    const values = new Map(Object.entries(given)), listeners = {};
    window.host = {
        get: (name) => values.get(name),
        set: (name, value) => { values.set(name, value); (listeners[`change:${name}`] ?? []).forEach((f) => f()); },
        on: (event, f) => (listeners[event] ??= []).push(f),
        save_changes() {},
    };
    const el = document.createElement("div");
    document.body.append(el);
    widget.render({ model: window.host, el: el.attachShadow({ mode: "open" }) });
}"""


def test_a_module_renders_with_a_host_that_knows_only_the_interface(chromium, tmp_path):
    """MyST's ``{anywidget}`` hands over a module's address, JSON for its model, and an element, in a shadow root."""
    assert "```{anywidget} explorer.mjs" in README and "to_module" in README
    explorer = make_explorer(images=True)
    source = explorer.to_module(tmp_path / "explorer.mjs").read_text()
    page, errors = chromium.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.evaluate(RENDER, [source, {"score": "energy", "ood": "far", "temperature": -1, "other": 5}])
    page.wait_for_selector("dd:not(:empty)")
    explorer.score, explorer.ood = "energy", "far"
    auroc = page.locator("dd[data-key=auroc]")
    expect(auroc).to_have_text(format_percent(explorer.summary["metrics"]["auroc"]))
    assert page.locator(".ood-slider").first.evaluate("(node) => getComputedStyle(node).display") == "grid"  # styled
    page.locator("[data-key=temperature]").press("ArrowRight")  # the reader's change reaches the host
    wait_for(lambda: page.evaluate("window.host.get('temperature')") > 1)
    page.evaluate("window.host.set('score', 'entropy')")  # and the host's the widget
    expect(page.locator("[data-key=score]")).to_have_value("entropy")
    page.evaluate(RENDER, [NormExplorer().to_module(tmp_path / "norm.mjs").read_text(), {}])
    page.locator("dd[data-key=radial]:not(:empty)").wait_for()
    assert not errors
    page.close()
