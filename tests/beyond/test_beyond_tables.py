"""Every loss with every score: what is measured, what is left out, and what counts as clearly better."""

import numpy as np
import pytest

from ood_helpers import Config, fit, metrics, scores
from ood_helpers.beyond import tables
from ood_helpers.beyond.feature_scores import FEATURE_SCORES, OF_FEATURES_ALONE


@pytest.fixture(scope="module", params=["softmax", "dismax"])
def run(request, tmp_path_factory):
    config = Config(loss=request.param, epochs=2, limit=128, ood=("near", "noise"))
    return fit(config, tmp_path_factory.mktemp("runs"), "cpu", progress=False)


def test_every_score_that_applies_is_measured(run):
    frame = tables.aurocs({"run": [run]})
    linear = run.config.loss == "softmax"
    expected = {*scores.SCORES, *scores.BEYOND, *(FEATURE_SCORES if linear else OF_FEATURES_ALONE)} - {"min_distance"}
    assert set(frame) == expected and frame.notna().all(axis=None) and frame.index.tolist() == [("run", 0)]
    norms = {name: np.linalg.norm(f.astype(np.float64), axis=1) for name, f in run.features.items()}
    by_hand = np.mean([metrics.detection(norms["test"], norms[ood])["auroc"] for ood in ("near", "noise")])
    assert frame["feature_norm"].item() == pytest.approx(100 * by_hand)


def test_a_difference_is_clear_where_its_interval_excludes_zero():
    values = {"reference": [90.0, 91.0, 92.0], "better": [92.0, 93.0, 94.1], "luck": [80.0, 99.0, 92.0]}
    table = tables.against(values, "reference")
    assert table["clearly"].to_dict() == {"better": "better", "reference": "", "luck": ""}
    assert table.index.tolist() == ["better", "reference", "luck"] and table.loc["better", "n"] == 3
    lower = tables.against(values, "better")
    assert lower.loc["reference", "clearly"] == "worse" and lower.loc["reference", "difference"] == -2.0
