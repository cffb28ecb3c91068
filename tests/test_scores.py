"""Scores: their formulas, their sign, their kind; ODIN and GradNorm on a small model."""
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ood_helpers import losses, scores

LOGITS = torch.randn(20, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def by_formula(name, z):
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    negative_entropy = (p * np.log(p)).sum(1)
    return {"msp": p.max(1), "max_logit": z.max(1), "energy": np.log(np.exp(z).sum(1)),
            "entropy": negative_entropy, "min_distance": z.max(1), "mmls": z.max(1) + z.mean(1),
            "mmles": z.max(1) + z.mean(1) + negative_entropy,
            "mmleps": z.max(1) + z.mean(1) + negative_entropy + p.max(1)}[name]


class Small(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8))
        self.classifier = head

    def features(self, x):
        return self.body(x / 255)

    def forward(self, x):
        return self.classifier(self.features(x))


@pytest.fixture
def images():
    torch.manual_seed(0)
    return torch.randint(0, 256, (9, 3, 2, 2), dtype=torch.uint8)


def small(name):
    torch.manual_seed(1)
    model = Small(losses.recipe(name).head(8, 4))
    nn.init.normal_(next(model.classifier.parameters()))  # IsoMax's prototypes start at 0
    return model


@pytest.mark.parametrize("name", scores.SCORES)
def test_formula_in_torch_and_numpy(name):
    expected = by_formula(name, LOGITS.numpy())
    of_torch, of_numpy = scores.score(name)(LOGITS), scores.score(name)(LOGITS.numpy())
    assert isinstance(of_torch, torch.Tensor) and isinstance(of_numpy, np.ndarray)
    np.testing.assert_allclose(of_torch.numpy(), expected, rtol=1e-12)
    np.testing.assert_array_equal(of_numpy, of_torch.numpy())


@pytest.mark.parametrize("name", scores.SCORES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_scored_in_float32(name, dtype):
    z = LOGITS.to(dtype)
    result = scores.score(name)(z)
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result.numpy(), by_formula(name, z.double().numpy()), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("name", scores.SCORES)
def test_higher_means_more_in_distribution(name):
    sure, unsure = torch.tensor([[5.0, -1.0, -1.0]]), torch.tensor([[0.1, 0.0, 0.0]])
    assert scores.score(name)(sure) > scores.score(name)(unsure)


@pytest.mark.parametrize("name", scores.SCORES)
@given(size=st.floats(0, 1e4))
def test_finite_with_finite_slopes_for_logits_up_to_1e4(name, size):
    z = (size * torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 0.0]])).requires_grad_()
    result = scores.score(name)(z)
    assert result.isfinite().all() and torch.autograd.grad(result.sum(), z)[0].isfinite().all()


def test_energy_at_a_temperature():
    torch.testing.assert_close(scores.energy(LOGITS, temperature=3.0), 3 * (LOGITS / 3).exp().sum(1).log())


def test_dismaxs_score_in_terms_of_distances():
    head = losses.DisMaxLossFirstPart(8, 4)
    x = torch.randn(5, 8)
    z = head(x)
    d = torch.cdist(nn.functional.normalize(x), nn.functional.normalize(head.prototypes)) / math.sqrt(2)
    p = z.softmax(1)
    torch.testing.assert_close(scores.mmles(z), -d.amin(1) - 3 * d.mean(1) + (p * p.log()).sum(1))


def test_bad_input():
    with pytest.raises(ValueError, match="unknown score 'margin'; known: msp, max_logit, energy"):
        scores.score("margin")
    with pytest.raises(ValueError, match=r"logits must have the shape \(N, C\), got \(3,\)"):
        scores.msp(torch.zeros(3))
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        scores.energy(LOGITS, temperature=0)


@pytest.mark.parametrize("name", losses.RECIPES)
def test_gradnorm_is_the_norm_of_each_images_own_gradient(name, images):
    model = small(name)
    result = scores.gradnorm(model, images)
    model.eval()
    for image, norm in zip(images, result):
        p = model(image[None].float()).softmax(1)
        kl = (0.25 * (0.25 / p).log()).sum()
        (slope,) = torch.autograd.grad(kl, next(q for q in model.classifier.parameters() if q.dim() == 2))
        assert slope.abs().sum().item() == pytest.approx(norm.item(), rel=1e-4, abs=1e-6)


def test_gradnorm_of_a_linear_head_in_closed_form(images):
    model = small("softmax").eval()
    with torch.no_grad():
        features = model.features(images.float())
        expected = features.abs().sum(1) * (model(images.float()).softmax(1) - 0.25).abs().sum(1)
    torch.testing.assert_close(scores.gradnorm(model, images), expected)


@pytest.mark.parametrize("name", losses.RECIPES)
def test_odins_step_raises_the_confidence(name, images):
    model = small(name)
    still, moved = scores.odin(model, images, step=0.0), scores.odin(model, images, step=0.001)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(still, (model(images.float()) / 1000).softmax(1).amax(1))
    assert (moved >= still).all() and (moved > still).any()


def test_odins_step_is_a_fraction_of_the_pixel_range(images):
    model = small("softmax").eval()
    x = images.float().requires_grad_()
    (model(x) / 10).softmax(1).amax(1).log().sum().backward()
    with torch.no_grad():
        expected = (model(x + 0.01 * 255 * x.grad.sign()) / 10).softmax(1).amax(1)
    torch.testing.assert_close(scores.odin(model, images, temperature=10, step=0.01), expected)


@pytest.mark.parametrize("f", [scores.odin, scores.gradnorm])
def test_models_and_images_are_left_as_they_were(f, images):
    model, before = small("softmax"), images.clone()
    with torch.no_grad():  # as callers often are
        first = f(model, images)
    assert model.training and images.equal(before)
    assert model.body[2].num_batches_tracked == 0 and all(p.grad is None for p in model.parameters())
    assert not first.requires_grad
    torch.testing.assert_close(torch.cat([f(model, images[:4]), f(model, images[4:])]), first)
