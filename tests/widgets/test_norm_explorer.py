"""The norm explorer in Python and in JavaScript."""

import numpy as np
import pytest
from javascript import evaluate, needs_node

from ood_helpers.widgets import NormExplorer


@needs_node
def test_javascript_computes_what_autograd_computes():
    rng = np.random.default_rng(0)
    widgets = [
        NormExplorer(
            rng.normal(0, 3, int(rng.integers(2, 7))),
            target=int(rng.integers(2)),
            loss=loss,
            norm=float(rng.choice([0.2, 1.4, 1.6, 8, 20])),  # LogitClip's threshold is 1.5, and MbLS's margin 10
            temperature=float(rng.uniform(0.02, 2)),
            margin=float(rng.uniform(0, 5)),
        )
        for loss in NormExplorer.choices["loss"]
        for _ in range(12)
    ]
    cases = [{"meta": widget.meta, "state": widget.current()} for widget in widgets]
    for widget, theirs in zip(widgets, evaluate(["logits"], "logitCompute(c.state, c.meta)", cases), strict=True):
        for name, value in widget.summary.items():
            assert theirs[name] == pytest.approx(value, rel=1e-6, abs=1e-6), (name, widget.current())
        assert theirs["loss"] >= theirs["bound"] - 1e-9


def test_the_sentence_names_the_direction_in_which_training_pulls():
    assert "pulls the norm by +" in (text := NormExplorer([4.0, 0.0, -1.0]).finding()) and "longer" in text
    assert "pulls the norm by −" in (text := NormExplorer([0.0, 4.0, -1.0]).finding()) and "shorter" in text
    assert "pulls the norm by −" in NormExplorer([20.0, 0.0, -1.0], loss="mbls").finding()  # beyond its margin
    assert "pulls the norm by +" in NormExplorer([1.0, 0.0, -1.0], loss="logitclip").finding()  # below its threshold
    for loss in ("logitnorm", "meln", "logitclip"):
        assert "its pull on the norm is 0." in NormExplorer([4.0, 0.0, -1.0], loss=loss).finding()


def test_bad_input_gets_one_clear_sentence():
    for arguments, words in (
        (([1.0],), "two or more finite numbers"),
        (([1.0, np.nan],), "two or more finite numbers"),
        (([1.0, 2.0], 2), "an index into it"),
        (([1.0, 2.0], 0, ["a"]), "2 logits need 2 class names, got 1"),
    ):
        with pytest.raises(ValueError, match=words):
            NormExplorer(*arguments)
