"""Exported widgets, open and covered, in both themes: axe-core finds no violation of WCAG 2.1 A or AA."""

import pytest
from accessibility import audit, needs_axe
from explorers import make_explorer

from ood_helpers.papers.exported_runs import trained
from ood_helpers.widgets import NormExplorer, Picker, Playground, Sketchpad

PATH = [("Look.", {}), ("Look there.", {})]


@pytest.fixture(scope="module")
def widgets(run):
    return {
        "scores": make_explorer(images=True, bin=40, price=5.0, steps=PATH),
        "norm": NormExplorer(steps=PATH),
        "playground": Playground(steps=PATH),
        "sketchpad": Sketchpad(run, steps=PATH),
        "picker": Picker(trained("cifar10", "softmax"), steps=PATH),
    }


@needs_axe
@pytest.mark.parametrize("name", ["scores", "norm", "playground", "sketchpad", "picker"])
def test_an_audit_finds_no_violation_in_an_exported_widget(visit, widgets, name):
    page = visit(widgets[name], ready=".ood-sentence:not(:empty)", reduced_motion="reduce")
    for address, size in (("", (1366, 768)), ("#guess=1", (390, 844))):
        page.set_viewport_size(dict(zip(("width", "height"), size)))
        page.evaluate("(hash) => { location.hash = hash; }", address)
        page.locator(".ood-covered" if address else ".ood-widget:not(.ood-covered)").last.wait_for()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert audit(page) == [], (name, address, scheme)
    page.evaluate("document.querySelector('canvas[role=img]').removeAttribute('aria-label')")
    assert "role-img-alt" in [rule for rule, _ in audit(page)]
