"""Metrics against scikit-learn, under ties, infinities and every precision; temperatures and thresholds."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import auc, average_precision_score, log_loss, precision_recall_curve, roc_auc_score, roc_curve

from ood_helpers import metrics
from ood_helpers.engine import kernels


def oracle(id_scores, ood_scores, positive="id"):
    """scikit-learn's four calls. It refuses infinities, so ranks, in the same order, stand for the scores."""
    both = np.concatenate([id_scores, ood_scores]).astype(np.float64)
    ranks = np.unique(both, return_inverse=True)[1].astype(float)
    is_id = np.arange(len(ranks)) < len(id_scores)
    fpr, tpr, _ = roc_curve(is_id, ranks, drop_intermediate=False)
    label, score = (is_id, ranks) if positive == "id" else (~is_id, -ranks)
    fpr_of, tpr_of, _ = roc_curve(label, score, drop_intermediate=False)
    fpr95 = fpr_of[np.argmax(tpr_of >= 0.95)]
    return {
        "auroc": roc_auc_score(is_id, ranks),
        "aupr_in": average_precision_score(is_id, ranks),
        "aupr_out": average_precision_score(~is_id, -ranks),
        "fpr95": fpr95,
        "tnr95": 1 - fpr95,
        "detection_accuracy": ((tpr + 1 - fpr) / 2).max(),
        "positive": positive,
    }


def agree(id_scores, ood_scores):
    for positive in metrics.POSITIVES:
        ours, theirs = (f(id_scores, ood_scores, positive) for f in (metrics.detection, oracle))
        assert ours.pop("positive") == theirs.pop("positive")
        assert ours == pytest.approx(theirs, abs=1e-12), positive


def resampled(values, rng):
    return values[rng.integers(0, len(values), len(values))]


@pytest.mark.parametrize("aupr", ["average_precision", "trapezoid"])
@pytest.mark.parametrize("positive", metrics.POSITIVES)
def test_intervals_are_those_of_a_plain_loop_over_resamples(aupr, positive):
    rng = np.random.default_rng(1)
    id_scores, ood_scores = rng.normal(1, 1, 60).round(1), rng.normal(0, 1, 40).round(1)
    rng, results = np.random.default_rng(0), []
    for _ in range(1000):
        drawn = resampled(id_scores, rng), resampled(ood_scores, rng)
        results.append(metrics.detection(*drawn, positive, aupr))
    whole = metrics.detection(id_scores, ood_scores, positive, aupr, interval=0.9)
    for name, ends in whole.pop("interval").items():
        assert ends == pytest.approx(np.quantile([result[name] for result in results], [0.05, 0.95]), abs=1e-12)
        assert ends[0] <= whole[name] <= ends[1] or name == "detection_accuracy"
    assert whole == metrics.detection(id_scores, ood_scores, positive, aupr)


@pytest.mark.slow
def test_an_interval_holds_the_true_value_about_as_often_as_it_says():
    rng, held = np.random.default_rng(0), 0
    for _ in range(60):
        result = metrics.detection(rng.normal(1, 1, 80), rng.normal(0, 1, 80), interval=0.9)
        held += result["interval"]["auroc"][0] <= 0.7602 <= result["interval"]["auroc"][1]  # Phi(1 / sqrt 2)
    assert 46 <= held <= 60  # 54 expected, three standard deviations


@pytest.mark.slow
def test_intervals_of_ten_thousand_scores_take_less_than_two_seconds():
    rng = np.random.default_rng(0)
    id_scores, ood_scores = rng.normal(1, 1, 10_000), rng.normal(0, 1, 10_000)
    start = time.process_time()
    metrics.detection(id_scores, ood_scores, interval=0.95)
    assert time.process_time() - start < 2


@given(data=st.data())
def test_trapezoidal_aupr_is_openoods(data):
    id_scores, ood_scores = (data.draw(score_arrays(np.float64)) for _ in range(2))
    ranks = np.unique(np.concatenate([id_scores, ood_scores]), return_inverse=True)[1].astype(float)
    is_id = np.arange(len(ranks)) < len(id_scores)
    found = metrics.detection(id_scores, ood_scores, aupr="trapezoid")
    for name, label, values in (("aupr_in", is_id, ranks), ("aupr_out", ~is_id, -ranks)):
        precision, recall, _ = precision_recall_curve(label, values)
        assert found[name] == pytest.approx(auc(recall, precision), abs=1e-12)


def score_arrays(dtype):
    width = np.dtype(dtype).itemsize * 8
    anything = st.floats(width=width, allow_nan=False)
    tied = st.integers(-2, 2).map(float)
    return st.one_of(*(arrays(dtype, st.integers(1, 60), elements=e) for e in (anything, tied)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@given(data=st.data())
def test_detection_equals_scikit_learn(dtype, data):
    agree(data.draw(score_arrays(dtype)), data.draw(score_arrays(dtype)))


@given(id_scores=score_arrays(np.float32), ood_scores=score_arrays(np.float64))
def test_mixed_precisions_are_compared_exactly(id_scores, ood_scores):
    agree(id_scores, ood_scores)


@pytest.mark.parametrize(
    "id_scores, ood_scores",
    [
        ([1.0], [0.0]),
        ([0.0], [1.0]),
        ([0.5], [0.5]),
        ([2.0] * 7, [2.0] * 3),
        ([np.inf, np.inf, 1.0], [-np.inf, 1.0, np.inf]),
        ([0.0, -0.0, 1.0], [-0.0, 0.0, -1.0]),
        ([1e-45, 1.0], [0.0, -1e-45]),
        ([1.0 + 1e-9, 3.0], [1.0, 1.0 - 1e-9]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ties_infinities_signed_zeros_and_single_scores(id_scores, ood_scores, dtype):
    agree(np.array(id_scores, dtype), np.array(ood_scores, dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decimals", [1, 7])
def test_sets_longer_than_one_chunk(dtype, decimals, monkeypatch):
    monkeypatch.setattr(kernels, "CHUNK_SIZE", 64)
    rng = np.random.default_rng(0)
    scores = (rng.standard_normal(n) + shift for n, shift in ((700, 1), (333, 0)))
    agree(*(s.round(decimals).astype(dtype) for s in scores))


@pytest.mark.parametrize("n", [19, 20, 21, 40, 100, 180])
def test_ninety_five_percent_is_exact(n):
    scores = np.arange(n, dtype=np.float32)
    agree(scores, scores - 0.5)


@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_only_the_order_of_the_scores_matters(seed, scale):
    rng = np.random.default_rng(seed)
    id_scores, ood_scores = rng.standard_normal(30) + 0.5, rng.standard_normal(20)
    scaled = metrics.detection(scale * id_scores, scale * ood_scores)
    assert metrics.detection(id_scores, ood_scores) == scaled


def test_scores_that_a_sigmoid_would_tie_stay_apart():  # as torchmetrics does to scores outside 0..1
    rng = np.random.default_rng(0)
    id_scores, ood_scores = (rng.normal(mean, 3, 2000).astype(np.float32) for mean in (32, 27))
    sigmoid = [1 / (1 + np.exp(-s)) for s in (id_scores, ood_scores)]
    exact = metrics.detection(id_scores, ood_scores)["auroc"]
    assert exact == pytest.approx(oracle(id_scores, ood_scores)["auroc"], abs=1e-12)
    assert metrics.detection(*sigmoid)["auroc"] < exact - 0.2


def test_the_two_conventions_of_fpr95_differ():
    rng = np.random.default_rng(0)
    id_scores = rng.normal(1, 0.3, 4000)
    ood_scores = np.where(rng.random(4000) < 0.9, rng.normal(-1, 0.3, 4000), rng.normal(3, 0.1, 4000))
    as_id, as_ood = (metrics.detection(id_scores, ood_scores, positive) for positive in ("id", "ood"))
    assert as_id["fpr95"] == pytest.approx(0.1, abs=0.02) and as_ood["fpr95"] == 1.0
    assert (as_id["positive"], as_ood["positive"]) == ("id", "ood")
    # By hand: accept 95 % of ID, count the OOD accepted with them.
    assert as_id["fpr95"] == (ood_scores >= np.sort(id_scores)[::-1][3799]).mean()
    assert as_ood["fpr95"] == (id_scores <= np.sort(ood_scores)[3799]).mean()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64])
def test_torch_tensors_of_any_precision(dtype):
    generator = torch.Generator().manual_seed(0)
    id_scores, ood_scores = ((3 * torch.randn(50, generator=generator) + shift).to(dtype) for shift in (1, 0))
    as_lists = metrics.detection(id_scores.tolist(), ood_scores.tolist())
    assert metrics.detection(id_scores, ood_scores) == as_lists
    assert metrics.detection(id_scores.double().requires_grad_(), ood_scores)["positive"] == "id"


def test_inputs_are_left_alone():
    for dtype in (np.float32, np.float64):
        id_scores, ood_scores = np.array([1, 3, 2], dtype), np.array([2, 1], dtype)
        metrics.detection(id_scores, ood_scores)
        metrics.curves(id_scores, ood_scores, "ood")
        assert id_scores.tolist() == [1, 3, 2] and ood_scores.tolist() == [2, 1]


@pytest.mark.parametrize("positive", metrics.POSITIVES)
@given(id_scores=score_arrays(np.float32), ood_scores=score_arrays(np.float32))
def test_curves_equal_scikit_learn(positive, id_scores, ood_scores):
    curve = metrics.curves(id_scores, ood_scores, positive)
    ranks = np.unique(np.concatenate([id_scores, ood_scores]), return_inverse=True)[1].astype(float)
    label = np.arange(len(ranks)) < len(id_scores)
    if positive == "ood":
        label, ranks = ~label, -ranks
    fpr, tpr, _ = roc_curve(label, ranks, drop_intermediate=False)
    np.testing.assert_allclose(curve["fpr"], fpr)
    np.testing.assert_allclose(curve["tpr"], tpr)
    area = np.sum(np.diff(curve["recall"]) * curve["precision"][1:])
    assert area == pytest.approx(average_precision_score(label, ranks))
    assert (curve["recall"][0], curve["precision"][0]) == (0, 1)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: metrics.detection([np.nan, 1.0], [0.0]), "ID scores contain NaN"),
        (lambda: metrics.detection([1.0], np.array([np.nan], np.float32)), "OOD scores contain NaN"),
        (lambda: metrics.detection([], [0.0]), "ID scores must be a non-empty vector"),
        (lambda: metrics.detection([0.0], torch.zeros(2, 2)), r"OOD scores must be .*, got the shape \(2, 2\)"),
        (lambda: metrics.detection([1.0], [0.0], positive="in"), "unknown positive class 'in'; known: id, ood"),
        (lambda: metrics.curves([1.0], [0.0], positive="in"), "unknown positive class 'in'; known: id, ood"),
        (lambda: metrics.accuracy([[1.0, 0.0]], [2]), "labels must be integers in 0..1"),
        (lambda: metrics.accuracy([[1.0, 0.0]], [0.5]), "labels must be integers in 0..1"),
        (lambda: metrics.nll([[1.0, 0.0]], [0, 1]), r"labels \(N,\), got \(1, 2\) and \(2,\)"),
        (lambda: metrics.nll([[np.nan, 0.0]], [0]), "logits contain NaN"),
        (lambda: metrics.ece([[3.0, -2.0]], [0]), "probabilities must be in 0..1; pass softmax"),
    ],
)
def test_bad_input_gets_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


# Calibration and accuracy


def ece_by_hand(probabilities, labels, bins):
    top, right = probabilities.max(1), probabilities.argmax(1) == labels
    total = 0.0
    for low, high in zip(np.linspace(0, 1, bins + 1)[:-1], np.linspace(0, 1, bins + 1)[1:]):
        inside = (top > low) & (top <= high)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - top[inside].mean())
    return total


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 50), bins=st.integers(1, 20))
def test_ece_nll_and_accuracy(seed, n, bins):
    rng = np.random.default_rng(seed)
    logits, labels = 3 * rng.standard_normal((n, 4)), rng.integers(0, 4, n)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert metrics.ece(p, labels, bins) == pytest.approx(ece_by_hand(p, labels, bins))
    assert metrics.ece(torch.from_numpy(p), torch.from_numpy(labels), bins) == metrics.ece(p, labels, bins)
    assert metrics.nll(logits, labels) == pytest.approx(log_loss(labels, p, labels=range(4)))
    assert metrics.accuracy(logits, labels) == (logits.argmax(1) == labels).mean()
    table = metrics.reliability(p, labels, bins)
    assert table["count"].sum() == n and all(len(column) == bins for column in table.values())


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    table = metrics.reliability([[0.5, 0.5], [1.0, 0.0]], [0, 0], bins=2)
    assert table["count"].tolist() == [1, 1]


def test_nll_of_huge_logits_is_finite():
    assert metrics.nll([[1e4, 0.0]], [1]) == 1e4


# The temperature that minimises the NLL, and the threshold that accepts 95 %


def sample(seed, n=500, scale=3.0):
    """Logits whose labels were drawn from softmax(logits / scale): the right temperature is near `scale`."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * scale * torch.randn(n, 5, generator=generator)
    return logits, torch.multinomial((logits / scale).softmax(1), 1, generator=generator)[:, 0]


@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.1, 1.0, 5.0]))
def test_the_temperature_minimises_the_nll(seed, scale):
    logits, labels = sample(seed, scale=scale)
    t = metrics.fit_temperature(logits, labels)
    best = metrics.nll(logits.double() / t, labels)
    assert all(best < metrics.nll(logits.double() / (t * step), labels) for step in (0.99, 1.01))
    assert t == pytest.approx(scale, rel=0.3)


def test_calibration_lowers_ece():
    logits, labels = sample(0, n=4000)
    t = metrics.fit_temperature(logits.numpy(), labels.numpy())
    before, after = (metrics.ece((logits / scale).softmax(1), labels) for scale in (1.0, t))
    assert before > 0.15 and after < 0.04


def test_logits_without_a_minimum_give_the_bounds():
    logits = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    assert metrics.fit_temperature(logits, torch.tensor([0, 1])) == 0.01
    assert metrics.fit_temperature(logits, torch.tensor([1, 0])) == 100
    for size in (0.0, 0.1):  # equal logits say nothing
        assert metrics.fit_temperature(torch.full((50, 10), size), torch.arange(50) % 10) == 100
    assert metrics.fit_temperature(1e4 * logits, torch.tensor([0, 1]), low=0.5) == 0.5


@given(scores=st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=60), tpr=st.floats(1e-12, 1))
def test_the_threshold_is_the_highest_that_accepts_enough(scores, tpr):
    t = metrics.threshold(scores, tpr)
    values = np.array(scores)
    assert (values >= t).mean() >= tpr - 1e-9
    higher = values[values > t]
    assert not len(higher) or (values >= higher.min()).mean() < tpr


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 200))
def test_the_threshold_is_the_one_behind_fpr95(seed, n):
    rng = np.random.default_rng(seed)
    id_scores, ood_scores = rng.standard_normal(n).round(1), rng.standard_normal(50).round(1)
    accepted = ood_scores >= metrics.threshold(torch.from_numpy(id_scores))
    assert accepted.mean() == metrics.detection(id_scores, ood_scores, positive="id")["fpr95"]


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: metrics.threshold([1.0], tpr=0.0), r"tpr must be in \(0, 1\], got 0.0"),
        (lambda: metrics.threshold([1.0], tpr=95), r"tpr must be in \(0, 1\], got 95"),
        (lambda: metrics.threshold([]), "ID scores must be a non-empty vector"),
        (lambda: metrics.threshold([np.nan]), "ID scores contain NaN"),
        (lambda: metrics.fit_temperature([[np.nan, 0.0]], [0]), "logits contain NaN"),
        (lambda: metrics.fit_temperature([[1.0, 0.0]], [2]), "labels must be integers in 0..1"),
        (lambda: metrics.fit_temperature([[1.0, 0.0]], [0], low=2.0, high=1.0), "need 0 < low < high"),
    ],
)
def test_bad_thresholds_and_temperatures_get_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_expected_cost_is_the_mean_cost_of_the_images():
    rng = np.random.default_rng(0)
    id_scores, ood_scores = rng.integers(0, 9, 40) + 2.0, rng.integers(0, 9, 25).astype(float)
    for price, share in ((1.0, 0.5), (20.0, 0.1), (0.0, 0.3), (3.0, 1.0)):
        result = metrics.expected_cost(id_scores, ood_scores, price, share)
        costs = [
            np.mean([(1 - share) * (s < t) for s in id_scores])
            + np.mean([price * share * (s >= t) for s in ood_scores])
            for t in result["thresholds"]
        ]
        np.testing.assert_allclose(result["costs"], costs)
        assert result["cost"] == pytest.approx(min(costs)) and result["threshold"] in result["thresholds"]
    assert metrics.expected_cost(id_scores, ood_scores, 0.0)["cost"] == 0  # accepting everything is free
    assert metrics.expected_cost([1.0], [2.0], 100.0)["threshold"] == np.inf  # reject everything
    for price, share in ((-1, 0.5), (1, 1.5), (np.nan, 0.5)):
        with pytest.raises(ValueError, match=r"price must be at least 0 and ood_share in \[0, 1\]"):
            metrics.expected_cost(id_scores, ood_scores, price, share)


@pytest.mark.parametrize("n, same", [(507, True), (10_000, True), (217, False)])
def test_the_rate_nearest_to_95_percent_is_ours_with_the_test_splits_of_the_notebooks(n, same):
    """The authors' code takes the nearest rate; README and notebook 06 say where that is the same."""
    id_scores, ood_scores = np.random.default_rng(0).normal(1, 1, n), np.random.default_rng(1).normal(size=500)
    ranked = np.sort(id_scores)[::-1]
    nearest = ranked[np.abs(np.arange(1, n + 1) / n - 0.95).argmin()]
    assert (nearest == metrics.threshold(id_scores, 0.95)) == same
    if same:
        assert (ood_scores >= nearest).mean() == metrics.detection(id_scores, ood_scores)["fpr95"]
