"""The explorer's numbers: NumPy against scikit-learn, JavaScript against NumPy."""

import json

import numpy as np
import pytest
from explorers import generate_explorers
from javascript import evaluate, needs_node
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from ood_helpers import scores
from ood_helpers.widgets import ScoreExplorer, explorer_state
from ood_helpers.widgets.page import to_base64


def assert_same(ours, theirs, where=""):
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            assert_same(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs), where
        for k, pair in enumerate(zip(ours, theirs)):
            assert_same(*pair, f"{where}[{k}]")
    elif isinstance(ours, float):
        assert theirs == pytest.approx(ours, rel=1e-9, abs=1e-9), where
    else:
        assert ours == theirs, where


@needs_node
def test_javascript_computes_what_python_computes():
    explorers = list(generate_explorers())
    cases = [{"meta": e.meta, "logits": to_base64(e.logits), "state": e.current()} for e in explorers]
    buffer = "Uint8Array.from(Buffer.from(c.logits, 'base64')).buffer"
    results = evaluate(["explorer_state"], f"compute(c.state, openData(c.meta, {buffer}))", cases)
    for k, (explorer, theirs) in enumerate(zip(explorers, results, strict=True)):
        assert_same(json.loads(json.dumps(explorer.summary)), theirs, f"case {k}, {explorer.current()}: ")


@needs_node
def test_the_fast_exponential_of_the_browser_is_the_exponential():
    x = [-0.0, *(-np.geomspace(1e-9, 740, 2000)).tolist(), -800.0]
    ratios = evaluate(["scores"], "Math.exp(c) ? expNegative(c) / Math.exp(c) : 1 + expNegative(c)", x)
    np.testing.assert_allclose(ratios[:-60], 1, rtol=1e-13)
    np.testing.assert_allclose(ratios, 1, rtol=1e-8)  # denormal numbers have fewer digits


def test_numbers_are_those_of_scikit_learn():
    for explorer in generate_explorers(1, 60):
        state = explorer.current()
        id_keys, ood_keys = (
            explorer_state.sort_key(z, state["score"], state["temperature"], **explorer_state.options_of(state))
            for z in explorer_state.current_logits(state, explorer.data)
        )
        truth, values = np.r_[np.ones(len(id_keys)), np.zeros(len(ood_keys))], np.r_[id_keys, ood_keys]
        view = explorer.summary
        assert view["metrics"]["auroc"] == pytest.approx(roc_auc_score(truth, values), abs=1e-12)
        assert view["metrics"]["aupr_in"] == pytest.approx(average_precision_score(truth, values), abs=1e-12)
        if explorer.positive == "ood":
            truth, values = 1 - truth, -values
        fpr, tpr, _ = roc_curve(truth, values, drop_intermediate=False)
        assert view["metrics"]["fpr95"] == pytest.approx(fpr[np.argmax(tpr >= 0.95)], abs=1e-12)
        if explorer.threshold is None:  # the target is reached, and no threshold reaches it with fewer accepted
            shares = np.array(view["accepted"]) / view["sizes"]
            here = shares if explorer.positive == "id" else 1 - shares[::-1]
            assert here[1] == pytest.approx(fpr[np.argmax(tpr >= explorer.target)], abs=1e-12)
        assert [sum(view["counts"][k]) for k in ("id", "ood")] == view["sizes"]


def test_msp_is_ordered_where_float32_saturates():
    logits = np.array([[60.0, 0, 0], [50, 0, 0], [40, 0, 0]])
    explorer = ScoreExplorer.from_logits(logits[:2], logits[2:], temperature=0.5)
    assert len(set(scores.msp(logits.astype(np.float32) / 0.5))) == 1
    assert explorer.summary["metrics"]["auroc"] == 1.0
    tied = ScoreExplorer.from_logits([[0.3, 1.7, 0.9, 2.2]] * 3, [[2.2, 0.9, 1.7, 0.3]] * 3)  # the same numbers
    assert tied.summary["metrics"]["auroc"] == 0.5


def test_early_epochs_are_the_first_images_and_axes_stay():
    rng = np.random.default_rng(0)
    final = rng.normal(0, 4, (30, 3)), rng.normal(0, 2, (20, 3))
    snapshots = {"epochs": [0, 5], "ID": np.stack([final[0][:10] / 50] * 2), "OOD": np.stack([final[1][:10] / 50] * 2)}
    explorer = ScoreExplorer.from_logits(*final, snapshots=snapshots, score="energy")
    assert explorer.epoch == 5 and explorer.summary["sizes"] == [30, 20]
    late = explorer.summary
    explorer.epoch = 1  # the nearest saved one
    early = explorer.summary
    assert early["sizes"] == [10, 10]
    assert [early[k] for k in ("low", "high", "peak")] == [late[k] for k in ("low", "high", "peak")]
    assert early["norms"]["high"] == late["norms"]["high"] and early["norms"]["id"] != late["norms"]["id"]
