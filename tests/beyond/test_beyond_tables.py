"""Every loss with every score: what is measured, what is left out, and what counts as clearly better."""

from types import SimpleNamespace

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
    newer = tables.by_newer_score({"one": [run], "again": [run]})
    assert newer.index.tolist() == [run.label] * 2 and newer.loc[run.label, "gen"].tolist() == [frame["gen"].item()] * 2
    assert newer["react"].isna().all() != linear and set(newer) & set(scores.SCORES) == {"energy"}


def test_of_large_sets_every_kth_image_is_scored(run, monkeypatch):
    every = tables.all_scores(run)["energy"]["noise"]
    monkeypatch.setattr(tables, "MOST", len(every) // 3)
    np.testing.assert_array_equal(tables.all_scores(run)["energy"]["noise"], every[::3])


def test_a_run_that_was_exported_without_its_aurocs_is_left_out():
    def exported(aurocs, seed):
        return SimpleNamespace(label="Softmax (CE)", config=Config(seed=seed), aurocs=aurocs)

    runs = [exported({"gen": {"near": 80.0, "far": 90.0}}, 0), exported({}, 1)]
    assert tables.aurocs({"softmax": runs})["gen"].tolist() == [85.0]
    assert tables.by_newer_score({"softmax": runs[1:]}).empty


def test_a_difference_is_clear_where_its_interval_excludes_zero():
    values = {"reference": [90.0, 91.0, 92.0], "better": [92.0, 93.0, 94.1], "luck": [80.0, 99.0, 92.0]}
    table = tables.against(values, "reference")
    assert table["clearly"].to_dict() == {"better": "better", "reference": "", "luck": ""}
    assert table.index.tolist() == ["better", "reference", "luck"] and table.loc["better", "n"] == 3
    lower = tables.against(values, "better")
    assert lower.loc["reference", "clearly"] == "worse" and lower.loc["reference", "difference"] == -2.0
