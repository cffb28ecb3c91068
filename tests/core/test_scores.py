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
    return {
        "msp": p.max(1),
        "max_logit": z.max(1),
        "energy": np.log(np.exp(z).sum(1)),
        "entropy": negative_entropy,
        "min_distance": z.max(1),
        "mmls": z.max(1) + z.mean(1),
        "mmles": z.max(1) + z.mean(1) + negative_entropy,
        "mmleps": z.max(1) + z.mean(1) + negative_entropy + p.max(1),
    }[name]


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
    model.body[2].eval()  # as frozen statistics are
    with torch.no_grad():  # as callers often are
        first = f(model, images)
    assert model.training and not model.body[2].training and images.equal(before)
    assert model.body[2].num_batches_tracked == 0 and all(p.grad is None for p in model.parameters())
    parts = torch.cat([f(model, images[:4]), f(model, images[4:])])
    assert not first.requires_grad and not parts.requires_grad
    torch.testing.assert_close(parts, first)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda x: scores.gradnorm(nn.Flatten(), x), r"`features\(images\)` and a `classifier`, .*, got Flatten"),
        (lambda x: scores.gradnorm(torch.zeros(3, 4), x), "needs a torch.nn.Module .*, got Tensor"),
        (lambda x: scores.odin(torch.zeros(3, 4), x), "odin.* needs a torch.nn.Module, .*, got Tensor"),
        (lambda x: scores.odin(x, small("softmax")), "odin.* needs a torch.nn.Module"),
        (lambda x: scores.gradnorm(small("softmax"), x.numpy()), r"images \(N, C, H, W\), got ndarray"),
        (lambda x: scores.odin(small("softmax"), x[0]), r"images \(N, C, H, W\), got \(3, 2, 2\)"),
    ],
)
def test_a_wrong_model_or_wrong_images_get_one_sentence(call, sentence, images):
    with pytest.raises(ValueError, match=sentence):
        call(images)


# Scores that need the features of the training set


def three_classes(count=200, width=6, seed=0):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(width, width))
    labels = rng.integers(0, 3, count)
    return rng.normal(size=(count, width)) @ mix + 4 * rng.normal(size=(3, width))[labels], labels


def mahalanobis_by_sklearn(train, labels, features):
    from sklearn.covariance import EmpiricalCovariance

    means = np.stack([train[labels == label].mean(0) for label in range(3)])
    fitted = EmpiricalCovariance(assume_centered=True).fit(train - means[labels])
    return -np.stack([fitted.mahalanobis(features - mean) for mean in means]).min(0)


def test_mahalanobis_is_scikit_learns():
    (train, labels), (features, _) = three_classes(), three_classes(50, seed=1)
    expected = mahalanobis_by_sklearn(train, labels, features)
    np.testing.assert_allclose(scores.mahalanobis(train, labels, features), expected, rtol=1e-9)
    far = scores.mahalanobis(train + 1e7, labels, features + 1e7)
    np.testing.assert_allclose(far, expected, rtol=1e-5)
    labels = np.array([7, 3, 40])[labels]  # any integers
    result = scores.mahalanobis(torch.tensor(train), torch.tensor(labels), torch.tensor(features))
    assert isinstance(result, torch.Tensor) and result.dtype == torch.float64
    np.testing.assert_allclose(result, expected, rtol=1e-9)


def test_mahalanobis_of_a_singular_covariance():
    (train, labels), (features, _) = three_classes(), three_classes(50, seed=1)
    flat = np.random.default_rng(2).normal(size=(6, 9))  # nine dimensions, of which the features fill six
    expected = scores.mahalanobis(train, labels, features)
    np.testing.assert_allclose(scores.mahalanobis(train @ flat, labels, features @ flat), expected, rtol=1e-7)
    by_sklearn = mahalanobis_by_sklearn(train @ flat, labels, features @ flat)
    np.testing.assert_allclose(by_sklearn, expected, rtol=1e-7)
    few = scores.mahalanobis(train[:4], labels[:4], features)
    assert np.isfinite(few).all() and (few <= 0).all()


def test_mahalanobis_does_not_depend_on_the_features_coordinates():
    (train, labels), (features, _) = three_classes(), three_classes(1500, seed=1)
    change = np.random.default_rng(3).normal(size=(6, 6))
    np.testing.assert_allclose(
        scores.mahalanobis(train @ change + 5, labels, features @ change + 5),
        scores.mahalanobis(train, labels, features),
        rtol=1e-7,
    )


@pytest.mark.parametrize("k", [1, 7, 200])
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_knn_is_scikit_learns(k, dtype, tolerance):
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import normalize

    (train, _), (features, _) = three_classes(), three_classes(1500, seed=1)
    features[:5] = 3 * train[:5]  # normalised, these have a neighbour at no distance
    found, _ = NearestNeighbors(n_neighbors=k).fit(normalize(train)).kneighbors(normalize(features))
    result = scores.knn(train.astype(dtype), features.astype(dtype), k)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, -found[:, -1], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "f",
    [lambda train, labels, x: scores.mahalanobis(train, labels, x), lambda train, labels, x: scores.knn(train, x, k=5)],
)
def test_features_like_the_training_ones_score_higher(f):
    train, labels = three_classes()
    assert np.median(f(train, labels, train)) > np.median(f(train, labels, -train - 9)) + 0.1


def test_features_that_do_not_fit_are_refused():
    train, labels = three_classes(20)
    broken = train.copy()
    broken[3, 3] = np.nan
    for f in (lambda train, x: scores.knn(train, x, 3), lambda train, x: scores.mahalanobis(train, labels, x)):
        with pytest.raises(ValueError, match=r"shape \(N, D\), with the same D, got \(20, 6\) and \(20, 5\)"):
            f(train, train[:, 1:])
        with pytest.raises(ValueError, match="must be finite"):
            f(broken, train)
        with pytest.raises(ValueError, match="must be finite"):
            f(train, broken)
    for k in (0, 21):
        with pytest.raises(ValueError, match=f"k must be between 1 and the 20 training features, got {k}"):
            scores.knn(train, train, k)
    for wrong in (labels[:-1], labels[:, None], labels + 0.5):
        with pytest.raises(ValueError, match="integers, one for each of the 20 training features"):
            scores.mahalanobis(train, wrong, train)
