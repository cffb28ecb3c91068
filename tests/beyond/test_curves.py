"""Neural collapse and risk-coverage: on known examples, against plain formulas, in a run and in pictures."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from ood_helpers import Config, fit
from ood_helpers.beyond import plots
from ood_helpers.beyond.collapse import neural_collapse
from ood_helpers.beyond.risk import risk_coverage
from ood_helpers.engine.history import History

RNG = np.random.default_rng(0)


def by_formula(features, labels, weight):
    """With covariances and a pseudo-inverse."""
    classes = sorted(set(labels))
    means = np.array([features[labels == c].mean(0) for c in classes])
    m = means - means.mean(0)
    residuals = np.array([f - means[c] for f, c in zip(features, labels)])
    within, between = residuals.T @ residuals / len(features), m.T @ m / len(classes)
    gram, count = m @ m.T, len(classes)
    simplex = (np.eye(count) - np.ones((count, count)) / count) / math.sqrt(count - 1)
    return {
        "nc1": np.trace(within @ np.linalg.pinv(between)) / count,
        "nc2": np.linalg.norm(gram / np.linalg.norm(gram) - simplex),
        "nc3": np.linalg.norm(weight / np.linalg.norm(weight) - m / np.linalg.norm(m)),
    }


@pytest.mark.parametrize("width", [3, 12])
def test_neural_collapse_is_its_formula(width):
    features, labels, weight = RNG.normal(size=(60, width)), np.arange(60) % 5, RNG.normal(size=(5, width))
    result = neural_collapse(*map(torch.from_numpy, (features, labels, weight)))
    assert result == pytest.approx(by_formula(features, labels, weight), rel=1e-9)


def test_collapsed_features_give_zeros_and_noise_does_not():
    simplex = torch.eye(4) - 1 / 4
    labels = torch.arange(40) % 4
    collapsed = neural_collapse(9 * simplex[labels] + 5, labels, 0.1 * simplex)
    assert collapsed == pytest.approx({"nc1": 0, "nc2": 0, "nc3": 0}, abs=1e-6)
    assert min(neural_collapse(torch.randn(40, 4), labels, torch.randn(4, 4)).values()) > 0.05


def test_what_is_not_defined_is_none():
    same = neural_collapse(torch.ones(6, 3), torch.arange(6) % 3, torch.ones(3, 3))
    assert same == {"nc1": None, "nc2": None, "nc3": None}
    assert neural_collapse(torch.randn(9, 3), torch.arange(9) % 3, torch.zeros(3, 3))["nc3"] is None
    one_class = neural_collapse(torch.randn(5, 3), torch.full((5,), 2), torch.randn(4, 3))
    assert set(one_class.values()) == {None}


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=12), st.randoms())
def test_risk_coverage_is_the_mean_over_random_orders_of_ties(rows, random):
    scores, correct = (np.array(column) for column in zip(*rows))
    result = risk_coverage(scores, correct)
    expected = []
    for k in range(1, len(rows) + 1):  # expected errors among the k first
        limit = sorted(scores)[-k]
        above, tied = scores > limit, scores == limit
        expected.append((~correct[above]).sum() + (k - above.sum()) * (~correct[tied]).mean())
    counts = np.arange(1, len(rows) + 1)
    np.testing.assert_allclose(result["risk"], np.array(expected) / counts, atol=1e-12)
    assert result["aurc"] == pytest.approx(np.mean(expected / counts))
    assert result["augrc"] == pytest.approx(np.mean(expected) / len(rows))
    order = random.sample(range(len(rows)), len(rows))
    assert risk_coverage(scores[order], correct[order])["aurc"] == pytest.approx(result["aurc"])


def test_a_perfect_score_defers_the_errors():
    correct = np.arange(100) >= 20
    best, worst = risk_coverage(np.arange(100), correct), risk_coverage(-np.arange(100), correct)
    assert best["risk"][79] == 0 and best["risk"][-1] == worst["risk"][-1] == 0.2
    assert best["augrc"] == pytest.approx(0.021) and best["aurc"] < 0.03 < 0.2 < worst["aurc"]


@pytest.mark.parametrize(
    "scores, correct, sentence",
    [
        ([0.1, np.nan], [True, False], "NaN"),
        ([0.1, 0.2], [True], r"\(2,\) of bool, got \(1,\)"),
        ([0.1, 0.2], [1, 0], "of bool, got .* of int64"),
    ],
)
def test_bad_input_gets_one_sentence(scores, correct, sentence):
    with pytest.raises(ValueError, match=sentence):
        risk_coverage(scores, correct)


@pytest.mark.parametrize("distinct", [200, 5])
def test_intervals_of_risk_and_coverage_are_those_of_resampled_images(distinct):
    rng = np.random.default_rng(1)
    scores, correct = rng.integers(0, distinct, 60) / distinct, rng.random(60) < 0.8
    found = risk_coverage(scores, correct, interval=0.9)["interval"]
    resampled = [risk_coverage(scores[i], correct[i]) for i in (rng.integers(0, 60, 60) for _ in range(1000))]
    for name in ("aurc", "augrc"):
        expected = np.quantile([one[name] for one in resampled], [0.05, 0.95])
        np.testing.assert_allclose(found[name], expected, rtol=0.1, atol=0.005)
    with pytest.raises(ValueError, match=r"interval must be between 0 and 1, such as 0\.95, got 95"):
        risk_coverage(scores, correct, interval=95)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return fit(Config(epochs=3, ood=("near",)), tmp_path_factory.mktemp("runs"), "cpu", progress=False)


def test_a_run_records_the_norms_and_the_collapse_of_its_training(run):
    history = run.history
    assert all(len(history[name]) == 4 for name in ("nc1", "nc2", "nc3", "classifier_norm"))
    assert history["nc1"][-1] < 0.5 * history["nc1"][0]
    weight = run.load_model().classifier.weight
    assert history["classifier_norm"][-1] == pytest.approx(weight.norm().item(), rel=1e-5)
    followed = max(len(run.dataset().split("train")[0]) // 50, 24)  # images of each set
    quantiles = np.quantile(np.linalg.norm(run.features["near"][:followed], axis=1), [0.1, 0.5, 0.9])
    np.testing.assert_allclose(history["feature_norm"]["near"][-1], quantiles, rtol=1e-4)
    assert set(history["aurc"]) == set(history["augrc"]) == {"train", "validation", "test"}
    assert history["aurc"]["test"][-1] < history["aurc"]["test"][0]


def test_a_checkpoint_without_the_newer_numbers_goes_on(run):
    sets, labels = {"train": run.images("test")}, {"train": torch.from_numpy(run.labels["test"])}
    make = lambda: History(run.load_model(), torch.nn.Identity(), sets, labels, 2)  # noqa: E731
    first = make()
    first.record(0, None, 0.0)
    state = first.state_dict()
    state["records"] = {name: state["records"][name] for name in ("epoch", "loss", "seconds")}
    second = make()
    second.load_state_dict(state)
    second.record(1, 1.0, 0.0), second.record(2, 1.0, 0.0)
    history, _ = second.summary()
    assert history["nc1"][0] is None and history["nc1"][1] == history["nc1"][2] is not None
    assert np.isnan(plots.recorded(history, "feature_norm")[0])


def test_curves_are_drawn_from_a_run_and_older_runs_are_told_what_they_lack(run):
    axes = Figure().subplots(3)
    plots.norms(axes[0], run.history), plots.neural_collapse(axes[1], run.history)
    p = run.scores("msp")["test"]
    plots.risk_coverage(axes[2], {"softmax": (p, run.logits["test"].argmax(1) == run.labels["test"])})
    assert [len(ax.lines) for ax in axes] == [3, 3, 1]
    labels = [text.get_text() for text in axes[2].get_legend().get_texts()]
    assert labels[0].startswith("Softmax (CE): ") and labels[0].endswith(" %")
    ax = plots.logit_norms(Figure().subplots(), {"softmax": run})
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [median for _, median, _ in run.history["norm"]["test"]])
    older = {name: value for name, value in run.history.items() if name != "nc1"}
    with pytest.raises(ValueError, match="this run has no nc1; train it again with this version"):
        plots.neural_collapse(axes[1], older)


def test_every_label_of_a_bump_chart_stands_at_its_last_rank():
    import pandas as pd

    ranks = pd.DataFrame({"A": [1, 2, 3], "B": [3, 1, np.nan]}, index=["x", "y", "z"])
    ax = plots.bump(Figure().subplots(), ranks, {"y": {"color": "#000000"}, "z": {"color": "#009E73"}})
    assert [(text.get_text(), text.xy) for text in ax.texts] == [("y", (1, 1.0)), ("z", (0, 3.0))]
    assert ax.yaxis_inverted() and len(ax.lines) == 3
