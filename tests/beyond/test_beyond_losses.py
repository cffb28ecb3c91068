"""Losses beyond the six papers: against their formulas, computed row by row in NumPy, and at the edges."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ood_helpers import Config, data, fit, losses
from ood_helpers.beyond.norm_losses import ELogitNormLoss, LogitClipLoss, T2FNormHead
from ood_helpers.beyond.target_losses import (
    FocalLoss,
    LabelSmoothingLoss,
    MarginLabelSmoothingLoss,
    OutlierExposureLoss,
)
from ood_helpers.engine.history import outputs

RNG = np.random.default_rng(0)
Z, Y = RNG.normal(0, 6, (12, 5)), RNG.integers(0, 5, 12)
W, B = RNG.normal(size=(5, 7)), RNG.normal(size=5)
X = RNG.normal(size=(12, 7))


def log_softmax(z):
    top = max(z)
    total = math.fsum(math.exp(v - top) for v in z)
    return [v - top - math.log(total) for v in z]


def cross_entropy(z, y):
    return -log_softmax(list(z))[y]


def elogitnorm(z, y):
    best = max(range(len(z)), key=lambda c: z[c])
    others = [c for c in range(len(z)) if c != best]
    distances = [abs(z[c] - z[best]) / math.dist(W[c], W[best]) for c in others]
    mean = sum(distances) / len(z)  # the predicted class counts, with a distance of 0
    return cross_entropy([v / mean for v in z], y)


def logitclip(z, y, t):
    norm = math.hypot(*z) + 1e-7
    return cross_entropy([v / norm / t for v in z] if norm > t else z, y)


def mbls(z, y):
    return cross_entropy(z, y) + 0.1 * sum(max(0.0, max(z) - v - 10) for v in z) / len(z)


def label_smoothing(z, y, epsilon=0.1):
    target = [epsilon / len(z) + (1 - epsilon) * (c == y) for c in range(len(z))]
    return -sum(q * log_p for q, log_p in zip(target, log_softmax(list(z))))


def focal(z, y, gamma):
    p = math.exp(log_softmax(list(z))[y])
    return -((1 - p) ** gamma) * math.log(p)


def linear_head(bias=True, width=7, classes=5):
    head = nn.Linear(width, classes, bias=bias).double()
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(W))
        if bias:
            head.bias.copy_(torch.from_numpy(B))
    return head


@pytest.mark.parametrize(
    "criterion, formula",
    [
        (ELogitNormLoss(linear_head()), elogitnorm),
        (LogitClipLoss(), lambda z, y: logitclip(z, y, 1.5)),
        (LogitClipLoss(threshold=12.0), lambda z, y: logitclip(z, y, 12.0)),
        (MarginLabelSmoothingLoss(), mbls),
        (LabelSmoothingLoss(), label_smoothing),
        (FocalLoss(), lambda z, y: focal(z, y, 3.0)),
        (FocalLoss(gamma=0.5), lambda z, y: focal(z, y, 0.5)),
    ],
)
def test_a_loss_is_its_formula(criterion, formula):
    z = torch.from_numpy(Z).requires_grad_()
    expected = np.mean([formula(z, y) for z, y in zip(Z.tolist(), Y)])
    assert criterion(z, torch.from_numpy(Y)).item() == pytest.approx(expected, rel=1e-9)
    assert torch.autograd.gradcheck(lambda z: criterion(z, torch.from_numpy(Y)), z)


def test_the_examples_lie_on_both_sides_of_every_threshold():
    norms, spans = np.linalg.norm(Z, axis=1), np.ptp(Z, axis=1)
    assert norms.min() < 12 < norms.max() and norms.min() > 1.5
    assert spans.min() < 10 < spans.max()


def test_t2fnorms_head_normalises_in_training_only():
    head = T2FNormHead(7, 5).double()
    head.load_state_dict(linear_head().state_dict())
    x = torch.from_numpy(X)
    in_training = np.array([[np.dot(w, f) / math.hypot(*f) / 0.1 + b for w, b in zip(W, B)] for f in X])
    np.testing.assert_allclose(head(x).detach(), in_training, rtol=1e-9)
    np.testing.assert_allclose(head.eval()(x).detach(), X @ W.T / 0.1 + B, rtol=1e-9)


def test_outlier_exposure_is_cross_entropy_and_that_of_outliers_to_the_uniform_distribution():
    o = RNG.normal(0, 3, (12, 5))
    both = torch.from_numpy(np.concatenate([Z, o])).requires_grad_()
    uniform = np.mean([-np.mean(log_softmax(row)) for row in o.tolist()])
    expected = np.mean([cross_entropy(z, y) for z, y in zip(Z.tolist(), Y)]) + 0.5 * uniform
    criterion = OutlierExposureLoss()
    assert criterion(both, torch.from_numpy(Y)).item() == pytest.approx(expected, rel=1e-9)
    assert torch.autograd.gradcheck(lambda z: criterion(z, torch.from_numpy(Y)), both)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_outliers_are_made_of_the_batchs_own_images(dtype):
    images = torch.randint(0, 256, (10, 3, 8, 8), generator=torch.Generator().manual_seed(1)).to(dtype)
    y = torch.arange(10) % 5
    criterion = OutlierExposureLoss()
    first, labels = criterion.preprocess(images, y, torch.Generator().manual_seed(7))
    again, _ = criterion.preprocess(images, y, torch.Generator().manual_seed(7))
    other, _ = criterion.preprocess(images, y, torch.Generator().manual_seed(8))
    assert first.dtype == dtype and first[:10].equal(images) and labels.equal(y)
    assert first.equal(again) and not first.equal(other)
    assert any(first[10:].byte().equal(data.outliers(images.byte(), seed)) for seed in [_drawn(7)])


def _drawn(seed):
    return torch.randint(2**31, (), generator=torch.Generator().manual_seed(seed)).item()


def test_outlier_exposure_without_outliers_is_refused_in_training_and_plain_in_evaluation():
    criterion, z, y = OutlierExposureLoss(), torch.from_numpy(Z), torch.from_numpy(Y)
    with pytest.raises(ValueError, match=r"call `inputs, targets = criterion\.preprocess"):
        criterion(z, y)
    assert criterion.eval()(z, y) == F.cross_entropy(z, y)


def test_elogitnorm_does_not_see_the_features_norm_and_sees_the_classifiers():
    head, x, y = linear_head(bias=False), torch.from_numpy(X), torch.from_numpy(Y)
    criterion, scaled = ELogitNormLoss(head), linear_head(bias=False)
    with torch.no_grad():
        scaled.weight *= 10
    at = [criterion(head(a * x), y).item() for a in (0.1, 1.0, 10.0)]
    assert at == pytest.approx([at[1]] * 3, rel=1e-9)
    harder = ELogitNormLoss(scaled)(scaled(x), y).item()
    s = F.cross_entropy(10 * torch.from_numpy(X @ W.T / np.array([_mean_distance(z) for z in X @ W.T])[:, None]), y)
    assert harder == pytest.approx(s.item(), rel=1e-9) and abs(harder - at[1]) > 0.1


def _mean_distance(z):
    best = z.argmax()
    return sum((z[best] - z[c]) / np.linalg.norm(W[best] - W[c]) for c in range(5) if c != best) / 5


def test_logitclip_with_a_threshold_below_one_raises_norms_and_is_logitnorm_above_it():
    y, t = torch.from_numpy(Y), 0.2
    z = F.normalize(torch.from_numpy(Z))  # norms of 1, between t and 1 / t
    assert torch.isclose(LogitClipLoss(threshold=t)(z, y), F.cross_entropy(5 * z, y))
    assert torch.isclose(LogitClipLoss(threshold=t)(z, y), losses.LogitNormLoss(temperature=t)(z, y))


@pytest.mark.parametrize("name", losses.BEYOND)
@pytest.mark.parametrize("features", [0.0, 1.0, 1e4, "weights"])
def test_zero_coincident_and_huge_features_give_finite_losses_and_gradients(name, features):
    recipe = losses.recipe(name)
    head = recipe.head(8, 4)
    x = head.weight.detach().clone() if features == "weights" else features * torch.randn(4, 8)
    x.requires_grad_()
    criterion, y = recipe.criterion(head), torch.arange(4) if name != "outlier_exposure" else torch.arange(2)
    loss = criterion(head(x), y)
    gradients = torch.autograd.grad(loss, [x, head.weight])
    assert loss.isfinite() and all(g.isfinite().all() for g in gradients)


def test_elogitnorm_of_equal_class_weights_is_finite():
    head = nn.Linear(8, 4)
    with torch.no_grad():
        head.weight[1] = head.weight[0]
    x = torch.randn(6, 8, requires_grad=True)
    loss = ELogitNormLoss(head)(head(x), torch.arange(6) % 4)
    assert loss.isfinite() and all(g.isfinite().all() for g in torch.autograd.grad(loss, [x, head.weight]))


@pytest.mark.parametrize("name", losses.BEYOND)
def test_half_precision_is_computed_in_float32(name):
    recipe = losses.recipe(name)
    head = recipe.head(8, 4)
    criterion, y = recipe.criterion(head), torch.arange(8) % 4
    with torch.autocast("cpu", torch.bfloat16):
        z = head(torch.randn(16 if name == "outlier_exposure" else 8, 8))
        loss = criterion(z, y)
    assert z.dtype == torch.bfloat16 and loss.dtype == torch.float32
    torch.testing.assert_close(loss, criterion(z.float(), y), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", losses.BEYOND)
def test_the_optimizer_gets_no_parameter_twice(name):
    recipe = losses.recipe(name)
    assert not list(recipe.criterion(recipe.head(8, 4)).parameters()) and recipe.loss_lr is None


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: ELogitNormLoss(losses.DisMaxLossFirstPart(4, 3)), "linear classifier, not DisMaxLossFirstPart"),
        (lambda: T2FNormHead(4, 3, temperature=0), "temperature must be a positive number, got 0"),
        (lambda: LogitClipLoss(threshold=-1), "threshold must be a positive number, got -1"),
        (lambda: LabelSmoothingLoss(smoothing=1.1), "smoothing must be in 0..1, got 1.1"),
        (lambda: FocalLoss(gamma="3"), "gamma must be a positive number, got '3'"),
        (lambda: FocalLoss()(torch.zeros(2, 3), torch.tensor([0, 3])), "labels must be in 0..2"),
        (lambda: OutlierExposureLoss()(torch.zeros(4, 3), torch.tensor([0, 3])), "labels must be in 0..2"),
    ],
)
def test_bad_input_gets_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize("name", losses.BEYOND)
def test_every_loss_trains_and_its_saved_network_gives_the_saved_logits(name, tmp_path):
    config = Config(loss=name, epochs=2, limit=128, known=4, ood=("near",))
    run = fit(config, tmp_path, "cpu", progress=False)
    assert run.label == losses.recipe(name).label and run.history["loss"][2] < run.history["loss"][1]
    logits = outputs(run.load_model(), run.images("near"))[1].numpy()
    np.testing.assert_allclose(logits, run.logits["near"], rtol=1e-4, atol=1e-4)


def test_the_six_papers_losses_stay_the_default():
    assert not set(losses.RECIPES) & set(losses.BEYOND)
    assert list(losses.RECIPES) == ["softmax", "logitnorm", "meln", "isomax", "isomaxplus", "dismax", "dismax_fpr"]
