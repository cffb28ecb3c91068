"""The temperature that minimises the NLL, and the threshold that accepts 95 %."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ood_helpers import calibration, metrics


def sample(seed, n=500, scale=3.0):
    """Logits whose labels were drawn from softmax(logits / scale): the right temperature is near `scale`."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * scale * torch.randn(n, 5, generator=generator)
    return logits, torch.multinomial((logits / scale).softmax(1), 1, generator=generator)[:, 0]


@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.1, 1.0, 5.0]))
def test_the_temperature_minimises_the_nll(seed, scale):
    logits, labels = sample(seed, scale=scale)
    t = calibration.fit_temperature(logits, labels)
    best = metrics.nll(logits.double() / t, labels)
    assert all(best < metrics.nll(logits.double() / (t * step), labels) for step in (0.99, 1.01))
    assert t == pytest.approx(scale, rel=0.3)


def test_calibration_lowers_ece():
    logits, labels = sample(0, n=4000)
    t = calibration.fit_temperature(logits.numpy(), labels.numpy())
    before, after = (metrics.ece((logits / scale).softmax(1), labels) for scale in (1.0, t))
    assert before > 0.15 and after < 0.04


def test_logits_without_a_minimum_give_the_bounds():
    logits = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    assert calibration.fit_temperature(logits, torch.tensor([0, 1])) == 0.01
    assert calibration.fit_temperature(logits, torch.tensor([1, 0])) == pytest.approx(100)
    assert calibration.fit_temperature(1e4 * logits, torch.tensor([0, 1]), low=0.5) == 0.5


@given(scores=st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=60), tpr=st.floats(0.01, 1))
def test_the_threshold_is_the_highest_that_accepts_enough(scores, tpr):
    t = calibration.threshold(scores, tpr)
    values = np.array(scores)
    assert (values >= t).mean() >= tpr - 1e-9
    higher = values[values > t]
    assert not len(higher) or (values >= higher.min()).mean() < tpr


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 200))
def test_the_threshold_is_the_one_behind_fpr95(seed, n):
    rng = np.random.default_rng(seed)
    id_scores, ood_scores = rng.standard_normal(n).round(1), rng.standard_normal(50).round(1)
    accepted = ood_scores >= calibration.threshold(torch.from_numpy(id_scores))
    assert accepted.mean() == metrics.detection(id_scores, ood_scores, positive="id")["fpr95"]


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: calibration.threshold([1.0], tpr=0.0), r"tpr must be in \(0, 1\], got 0.0"),
        (lambda: calibration.threshold([1.0], tpr=95), r"tpr must be in \(0, 1\], got 95"),
        (lambda: calibration.threshold([]), "ID scores must be a non-empty vector"),
        (lambda: calibration.threshold([np.nan]), "ID scores contain NaN"),
        (lambda: calibration.fit_temperature([[np.nan, 0.0]], [0]), "logits contain NaN"),
        (lambda: calibration.fit_temperature([[1.0, 0.0]], [2]), "labels must be integers in 0..1"),
        (lambda: calibration.fit_temperature([[1.0, 0.0]], [0], low=2.0, high=1.0), "need 0 < low < high"),
    ],
)
def test_bad_input_gets_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
