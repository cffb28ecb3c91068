"""Each fast kernel against its plain formula: values, gradients, edge cases and vmap."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from ood_helpers.engine import kernels


def plain_distances(x, w):
    return torch.cdist(x, w, compute_mode="donot_use_mm_for_euclid_dist")


def plain_operating_points(id_scores, ood_scores):
    id_scores, ood_scores = id_scores.astype(np.float64), ood_scores.astype(np.float64)
    thresholds = np.unique(np.concatenate([id_scores, ood_scores]))[::-1]  # 0.0 and -0.0 are equal
    return [[0, *(int((scores >= t).sum()) for t in thresholds)] for scores in (id_scores, ood_scores)]


def fast_operating_points(id_scores, ood_scores):
    chunks = list(kernels.operating_points(id_scores, ood_scores))
    for before, after in itertools.pairwise(chunks):
        assert (before[0][-1], before[1][-1]) == (after[0][0], after[1][0])
    return [[0, *np.concatenate([chunk[k][1:] for chunk in chunks]).tolist()] for k in (0, 1)]


def score_arrays(dtype):
    anything = st.floats(width=np.dtype(dtype).itemsize * 8, allow_nan=False)  # infinities and -0.0 too
    tied = st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 1.0, np.inf])
    return st.one_of(*(arrays(dtype, st.integers(1, 40), elements=elements) for elements in (anything, tied)))


@pytest.mark.parametrize("id_dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("ood_dtype", [np.float16, np.float32, np.float64])
@given(data=st.data())
def test_operating_points_are_counts_at_distinct_scores(id_dtype, ood_dtype, data):
    pair = data.draw(score_arrays(id_dtype)), data.draw(score_arrays(ood_dtype))
    before = [scores.copy() for scores in pair]
    assert fast_operating_points(*pair) == plain_operating_points(*pair)
    assert all(np.array_equal(old, new) for old, new in zip(before, pair)), "changed inputs"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("decimals", [0, 1, 7])
def test_operating_points_across_chunks(dtype, decimals, monkeypatch):
    monkeypatch.setattr(kernels, "CHUNK_SIZE", 7)
    rng = np.random.default_rng(0)
    for n, m in ((70, 33), (7, 7), (1, 13)):
        pair = [rng.standard_normal(size).round(decimals).astype(dtype) for size in (n, m)]
        assert fast_operating_points(*pair) == plain_operating_points(*pair)


def assert_same_gradients(fast, plain, *inputs):
    results = []
    for function in (fast, plain):
        copies = [x.clone().requires_grad_() for x in inputs]
        y = function(*copies)
        weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
        results.append([y.detach(), *torch.autograd.grad((y * weights).sum(), copies)])
    for ours, theirs in zip(*results):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.fixture
def points():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(count, 6, generator=generator, dtype=torch.float64) for count in (9, 4)]


def test_normalised_rows_and_their_gradients(points):
    x = points[0] * torch.logspace(-6, 6, 9, dtype=torch.float64)[:, None]
    torch.testing.assert_close(kernels.normalize_rows(x), F.normalize(x), rtol=1e-12, atol=0)
    assert_same_gradients(kernels.normalize_rows, F.normalize, points[0])
    assert torch.autograd.gradcheck(kernels.normalize_rows, points[0].requires_grad_())
    assert torch.autograd.gradgradcheck(kernels.normalize_rows, points[0])


def test_a_row_of_zeros_stays_zero_and_gets_no_gradient():
    x = torch.zeros(2, 3, requires_grad=True)
    y = kernels.normalize_rows(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert not y.any() and not slope.any()


def test_distances_and_their_gradients(points):
    assert_same_gradients(kernels.pairwise_distances, plain_distances, *points)
    x, w = (p.requires_grad_() for p in points)
    assert torch.autograd.gradcheck(kernels.pairwise_distances, (x, w))
    assert torch.autograd.gradgradcheck(kernels.pairwise_distances, (x, w))


@pytest.mark.parametrize("distance", [1.0, 0.01, 1e-4])
def test_the_distance_to_the_nearest_row_is_exact_in_float32(distance):
    generator = torch.Generator().manual_seed(0)
    w = 30 * F.normalize(torch.randn(5, 64, generator=generator))
    step = distance * F.normalize(torch.randn(5, 64, generator=generator))
    x = w + step
    exact = (x.double() - w.double()).norm(dim=1)
    torch.testing.assert_close(kernels.pairwise_distances(x, w).diagonal().double(), exact, rtol=1e-5, atol=0)


def test_coincident_points_are_at_distance_zero_with_gradient_zero():
    x = torch.randn(3, 4, requires_grad=True)
    d = kernels.pairwise_distances(x, x.detach().clone())
    (slope,) = torch.autograd.grad(d.diagonal().sum(), x)
    assert not d.diagonal().any() and not slope.any()


def test_kernels_under_vmap(points):
    x, w = points
    for fast, plain in (
        (lambda row: kernels.normalize_rows(row[None]), lambda row: F.normalize(row[None])),
        (lambda row: kernels.pairwise_distances(row[None], w), lambda row: plain_distances(row[None], w)),
    ):
        torch.testing.assert_close(torch.func.vmap(fast)(x), torch.stack([plain(row) for row in x]))
        slopes = torch.func.vmap(torch.func.grad(lambda row, f=fast: f(row).square().sum() + f(row).sum()))(x)
        expected = [torch.func.grad(lambda row, f=plain: f(row).square().sum() + f(row).sum())(row) for row in x]
        torch.testing.assert_close(slopes, torch.stack(expected))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_has_its_rate_mean_and_gradient_in_every_precision(dtype, p):
    torch.manual_seed(0)
    x = torch.full((40, 50, 51), 2.0, dtype=dtype, requires_grad=True)
    y = kernels.Dropout(p)(x)
    zeros = (y == 0).double().mean().item()
    assert abs(zeros - p) < 5 * (p * (1 - p) / y.numel()) ** 0.5  # five standard errors
    assert y.dtype == dtype and y.double().mean().item() == pytest.approx(2, rel=0.01)
    assert y.unique().tolist() == [0.0, pytest.approx(2 / (1 - p), rel=0.01)]
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(slope * 2, y.detach())


def test_dropout_keeps_the_memory_format_and_repeats_with_the_seed():
    x = torch.randn(2, 3, 5, 7).to(memory_format=torch.channels_last)
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(kernels.Dropout(0.4)(x))
    assert results[0].equal(results[1]) and results[0].stride() == x.stride()
    used = results[0] != 0
    torch.testing.assert_close(results[0][used], x[used] / 0.6, rtol=1e-4, atol=0)


def test_dropout_is_the_identity_in_evaluation_and_at_rate_zero():
    x = torch.randn(4, 4)
    assert kernels.Dropout(0.5).eval()(x) is x and kernels.Dropout(0.0)(x).equal(x)
    assert isinstance(kernels.Dropout(0.5), nn.Dropout)


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    dropout, x = kernels.Dropout(0.3), torch.ones(64, 16, 33, 31, requires_grad=True)
    y = dropout(x)
    kept = (y > 0).double()
    scale = 65536 / (65536 - round(0.3 * 65536))
    assert set(y.unique().tolist()) == {0.0, np.float32(scale)}
    n = kept.numel()
    assert abs(kept.mean() - 1 / scale) < 5 * (0.21 / n) ** 0.5  # five standard errors of the rate ...
    flat = kept.flatten() - 1 / scale
    for lag in (1, 2, 3, 4, 31, 33 * 31):  # ... and of the correlation between elements
        assert abs((flat[lag:] * flat[:-lag]).mean()) < 5 * 0.21 / n**0.5
    assert not torch.equal(dropout(x), y)
    y.backward(torch.ones_like(y))
    assert torch.equal(x.grad, y.detach())
    assert dropout.eval()(x) is x
