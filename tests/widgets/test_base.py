"""What the widgets have in common: saved outputs, links, rows of widgets."""

import base64
import io
import json

import numpy as np
import pytest
from explorers import make_explorer
from PIL import Image

from ood_helpers.widgets import NormExplorer, Playground, ScoreExplorer, SideBySide, link, static_figures
from ood_helpers.widgets.base import STATE_MIME


def mime_bundle(widget):
    content = widget._repr_mimebundle_()
    return content[0] if isinstance(content, tuple) else content


def open_png(png):
    return Image.open(io.BytesIO(png)).convert("RGB")


def test_a_saved_notebook_shows_a_picture_and_no_html():
    data = mime_bundle(ScoreExplorer.from_logits(np.eye(3), np.zeros((4, 3))))
    assert "application/vnd.jupyter.widget-view+json" in data and "text/html" not in data
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG") and len(data["image/png"]) < 100_000
    assert "AUROC 100.0 %" in data["text/plain"]


def test_a_saved_notebook_contains_the_state_as_json():
    score = ScoreExplorer.from_logits(np.eye(3), {"near": np.zeros((4, 3))}, score="energy", temperature=2.0, bin=4)
    for widget, page in ((score, "scores"), (NormExplorer(loss="meln"), "norm"), (Playground(x=-3.0), "playground")):
        saved = mime_bundle(widget)[STATE_MIME]
        assert saved["page"] == page and saved["state"] == pytest.approx(widget.current())
        assert json.loads(json.dumps(saved)) == saved
    row = mime_bundle(SideBySide(score, NormExplorer()))[STATE_MIME]
    assert [each["page"] for each in row] == ["scores", "norm"] and row[0]["state"]["score"] == "energy"


def test_a_row_shows_every_widget_with_and_without_a_kernel():
    first, second = NormExplorer(loss="meln"), Playground()
    row = SideBySide(first, second)
    assert row.children == (first, second)
    bundle = mime_bundle(row)
    assert "application/vnd.jupyter.widget-view+json" in bundle and "text/html" not in bundle
    assert bundle["text/plain"] == f"{first.finding()}\n{second.finding()}"
    above, below = (open_png(static_figures.png(widget.static())) for widget in (first, second))
    both = open_png(base64.b64decode(bundle["image/png"]))
    assert both.size == (max(above.width, below.width), above.height + below.height)
    assert both.crop((0, 0, *above.size)).tobytes() == above.tobytes()
    assert both.crop((0, above.height, below.width, both.height)).tobytes() == below.tobytes()


def test_linked_widgets_follow_each_other_in_python():
    a, b = make_explorer(0), make_explorer(1)
    link(a, b, "target", "score")
    a.target, b.score = 0.8, "energy"
    assert (b.target, a.score) == (0.8, "energy")
    with pytest.raises(ValueError, match="cannot share 'tau'; known: run, score"):
        link(a, b, "tau")


def test_a_change_from_the_browser_is_not_sent_back_to_it():
    a, b = NormExplorer(), NormExplorer()
    link(a, b, "norm")
    a.set_state({"norm": 3.0})  # as ipywidgets does with a message from the browser, where the link has moved b already
    assert a.norm == 3.0 and b.norm != 3.0
    a.norm = 4.0
    assert b.norm == 4.0


def test_a_saved_notebook_contains_the_guided_path():
    widget = NormExplorer(steps=[("Longer.", {"norm": 9.0}), ("Shorter.", {"norm": 2.0}, "dial")])
    saved = json.loads(json.dumps(mime_bundle(widget)[STATE_MIME]))
    assert saved["steps"][1] == {"sentence": "Shorter.", "parts": ["dial"], "state": {"norm": 2.0}}
    assert "steps" not in NormExplorer().saved_state()
