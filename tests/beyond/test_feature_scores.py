"""Scores of features: against a second implementation in NumPy, one image at a time, and against pytorch-ood."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from ood_helpers import losses, scores
from ood_helpers.beyond.feature_scores import FEATURE_SCORES, NCI_ALPHA, OF_FEATURES_ALONE
from ood_helpers.beyond.logit_scores import gen, p_norm
from ood_helpers.beyond.norm_losses import T2FNormHead

RNG = np.random.default_rng(0)
CLASSES, WIDTH = 4, 11
LABELS = RNG.integers(0, CLASSES, 150)
MIX = RNG.normal(size=(WIDTH, WIDTH))
CENTRES = 3 * RNG.normal(size=(CLASSES, WIDTH))
# Activations behind a ReLU, as the networks' features are.
TRAIN = np.maximum(RNG.normal(size=(150, WIDTH)) @ MIX + CENTRES[LABELS] + 2, 0)
X = np.maximum(RNG.normal(size=(30, WIDTH)) @ MIX + 2, 0)
HEAD = nn.Linear(WIDTH, CLASSES).double()
for parameter in HEAD.parameters():
    parameter.data = torch.from_numpy(RNG.uniform(-0.3, 0.3, parameter.shape))
W, B = HEAD.weight.detach().numpy(), HEAD.bias.detach().numpy()


def softmax(z):
    p = np.exp(np.asarray(z) - max(z))
    return p / p.sum()


def energy(f):
    return math.log(math.fsum(math.exp(np.dot(w, f) + b) for w, b in zip(W, B)))


def logits(f):
    return [float(np.dot(w, f) + b) for w, b in zip(W, B)]


def react(f):
    ordered = np.sort(TRAIN, axis=None)
    at = 0.9 * (len(ordered) - 1)  # linear interpolation between the two nearest
    limit = ordered[int(at)] + (at % 1) * (ordered[int(at) + 1] - ordered[int(at)])
    return energy([min(v, limit) for v in f])


def largest(f):
    count = len(f) - round(0.65 * len(f))
    return sorted(range(len(f)), key=lambda k: -f[k])[:count]


def stretch(f):
    return math.exp(sum(f) / sum(f[k] for k in largest(f)))


def scale(f):
    return energy([v * stretch(f) for v in f])


def ash_s(f):
    kept = largest(f)
    return energy([v * stretch(f) if k in kept else 0.0 for k, v in enumerate(f)])


def fdbd(f):
    z = logits(f)
    best = int(np.argmax(z))
    distances = [(z[best] - z[c]) / math.dist(W[best], W[c]) for c in range(CLASSES) if c != best]
    return sum(distances) / (CLASSES - 1) / math.dist(f, TRAIN.mean(0))


def nci(f):
    direction = (f - TRAIN.mean(0)) / math.dist(f, TRAIN.mean(0))
    return float(np.dot(W[int(np.argmax(logits(f)))], direction)) + NCI_ALPHA * sum(abs(v) for v in f)


def vim(f):
    origin = -np.linalg.lstsq(W, B, rcond=None)[0]  # the smallest u with W u = -b
    _, _, directions = np.linalg.svd(TRAIN - origin)
    minor = directions[WIDTH // 2 :]

    def outside(g):
        return math.hypot(*(minor @ (g - origin)))

    alpha = np.mean([max(logits(g)) for g in TRAIN]) / np.mean([outside(g) for g in TRAIN])
    return energy(f) - alpha * outside(f)


def neco(f):
    mean, deviation = TRAIN.mean(0), TRAIN.std(0)
    g = (f - mean) / deviation
    _, values, directions = np.linalg.svd((TRAIN - mean) / deviation, full_matrices=False)
    share, d = 0.0, 0
    while share < 0.9:
        share += values[d] ** 2 / (values**2).sum()
        d += 1
    return math.hypot(*(directions[:d] @ g)) / math.hypot(*g) * max(logits(f))


def max_cosine(f):
    return max(np.dot(w, f) / math.hypot(*w) / math.hypot(*f) for w in W)


def squared_distance(f, rows, mean, residuals):
    return float((f - mean) @ np.linalg.solve(residuals.T @ residuals / len(rows), f - mean))


def mahalanobis(f, train=TRAIN):
    means = [train[c == LABELS].mean(0) for c in range(CLASSES)]
    residuals = np.stack([row - means[c] for row, c in zip(train, LABELS)])
    return -min(squared_distance(f, train, mean, residuals) for mean in means)


def mahalanobis_pp(f):
    return mahalanobis(f / math.hypot(*f), TRAIN / np.linalg.norm(TRAIN, axis=1, keepdims=True))


def relative_mahalanobis(f):
    mean = TRAIN.mean(0)
    return mahalanobis(f) + squared_distance(f, TRAIN, mean, TRAIN - mean)


def knn(f):
    unit = f / math.hypot(*f)
    return -sorted(math.dist(unit, row / math.hypot(*row)) for row in TRAIN)[49]


_OF_THE_CLASSIFIER = (react, scale, ash_s, fdbd, nci, vim, neco, max_cosine)
_OF_FEATURES = (mahalanobis, mahalanobis_pp, relative_mahalanobis, knn)
FORMULAS = {f.__name__: f for f in (*_OF_THE_CLASSIFIER, *_OF_FEATURES)} | {"feature_norm": lambda f: math.hypot(*f)}


@pytest.mark.parametrize("name", FEATURE_SCORES)
def test_a_score_is_its_formula(name):
    expected = [FORMULAS[name](f) for f in X]
    result = FEATURE_SCORES[name](TRAIN, LABELS, HEAD, X)
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-12)
    of_torch = FEATURE_SCORES[name](*map(torch.from_numpy, (TRAIN, LABELS)), HEAD, torch.from_numpy(X))
    assert isinstance(of_torch, torch.Tensor) and np.array_equal(of_torch.numpy(), result)


@pytest.mark.parametrize("gamma, top", [(0.1, 100), (0.5, 3), (2.0, 1)])
def test_gen_is_its_formula(gamma, top):
    z = RNG.normal(0, 4, (30, 7))
    largest_p = [sorted(softmax(row))[::-1][:top] for row in z]
    expected = [-math.fsum(p**gamma * (1 - p) ** gamma for p in row) for row in largest_p]
    np.testing.assert_allclose(gen(z, gamma=gamma, top=top), expected, rtol=1e-9)


@pytest.mark.parametrize("p", [1.0, 2.0, 4.5])
def test_p_norm_is_its_formula(p):
    z = RNG.normal(0, 4, (30, 7))
    expected = [max(row) / math.fsum(abs(v) ** p for v in row) ** (1 / p) for row in z]
    np.testing.assert_allclose(p_norm(z, p=p), expected, rtol=1e-9)


@pytest.mark.parametrize("name", scores.BEYOND)
def test_scores_of_logits_keep_the_kind_and_are_finite(name):
    function = scores.score(name)
    of_torch = function(torch.randn(5, 3).bfloat16())
    assert of_torch.dtype == torch.float32 and isinstance(function(np.ones((2, 3))), np.ndarray)
    z = torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    result = function(z)
    assert result.isfinite().all() and torch.autograd.grad(result.sum(), z)[0].isfinite().all()
    assert function(torch.tensor([[5.0, -1.0, -1.0]])) > function(torch.tensor([[1.0, 0.9, -1.9]]))


@pytest.mark.parametrize("name", FEATURE_SCORES)
def test_a_distance_head_is_refused_in_one_sentence_where_its_weights_are_needed(name):
    head = losses.DisMaxLossFirstPart(WIDTH, CLASSES)
    if name in OF_FEATURES_ALONE:
        assert len(FEATURE_SCORES[name](TRAIN, LABELS, head, X)) == len(X)
    else:
        with pytest.raises(ValueError, match="needs a linear classifier, and DisMaxLossFirstPart computes distances"):
            FEATURE_SCORES[name](TRAIN, LABELS, head, X)


def test_t2fnorms_temperature_is_part_of_the_classifier():
    head = T2FNormHead(WIDTH, CLASSES, temperature=0.5).double().eval()
    z = head(torch.from_numpy(X)).detach().numpy()
    react_nothing = FEATURE_SCORES["react"](TRAIN, LABELS, head, X, percentile=100)
    kept = X.max(1) <= TRAIN.max()
    np.testing.assert_allclose(react_nothing[kept], scores.energy(z)[kept], rtol=1e-12)


def test_features_that_do_not_fit_are_refused():
    for score in FEATURE_SCORES.values():
        with pytest.raises(ValueError, match="with the same D"):
            score(TRAIN, LABELS, HEAD, X[:, 1:])
    for call, sentence in (
        (lambda: gen(X, gamma=0), "gamma must be a positive number, got 0"),
        (lambda: gen(X, top=0), "top must be a positive number, got 0"),
        (lambda: p_norm(X, p=-1), "p must be a positive number, got -1"),
    ):
        with pytest.raises(ValueError, match=sentence):
            call()


@pytest.fixture
def double():
    """pytorch-ood makes tensors of the default type, and float32 loses digits where it inverts a covariance."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_scores_equal_those_of_pytorch_ood(double):
    """Its scores are higher for OOD; its covariances are sums, with 1e-6 added to the diagonal."""
    detector = pytest.importorskip("pytorch_ood.detector")
    train, labels, x = (torch.from_numpy(array) for array in (TRAIN, LABELS, X))
    maps, flat, z = x[:, :, None, None], nn.Sequential(nn.Flatten(), HEAD), HEAD(x).detach()
    w, b = HEAD.weight.detach(), HEAD.bias.detach()
    assert z.softmax(1).min() > 1e-7  # below, it clamps probabilities
    single = nn.Linear(WIDTH, CLASSES).float()  # for detectors that convert features to float32
    single.load_state_dict(HEAD.state_dict())
    count = len(train)
    theirs = {
        "mahalanobis": 2 * count * detector.Mahalanobis(None).fit_features(train, labels).predict_features(x),
        "relative_mahalanobis": count * detector.RMD(None).fit_features(train, labels).predict_features(x),
        "knn": detector.KNN(None, k=50).fit_features(train, labels).predict_features(x),
        "fdbd": detector.fDBD(None, single).fit_features(train).predict_features(x),
        "nci": detector.NCI(None, single, alpha=NCI_ALPHA).fit_features(train).predict_features(x),
        "vim": detector.ViM(None, WIDTH // 2, w, b).fit_features(train, labels).predict_features(x),
        "react": detector.ReAct(None, flat)
        .fit_feature_maps(train[:, :, None, None], labels)
        .predict_feature_maps(maps),
        "scale": detector.SCALE(None, flat).predict_feature_maps(maps),
        "ash_s": detector.ASH(None, flat).predict_feature_maps(maps),
    }
    pairs = [(FEATURE_SCORES[name](train, labels, HEAD, x), value) for name, value in theirs.items()]
    pairs += [
        (scores.msp(z), detector.MaxSoftmax.score(z)),
        (scores.max_logit(z), detector.MaxLogit.score(z)),
        (scores.energy(z), detector.EnergyBased.score(z)),
        (scores.entropy(z), detector.Entropy.score(z)),
        (gen(z) / CLASSES, detector.GEN.score(z)),
    ]
    for ours, other in pairs:
        np.testing.assert_allclose(ours, -other, rtol=1e-5, atol=1e-5)


def test_negative_activations_count_as_nothing_in_the_sums_that_stretch():
    f = X.copy()
    f[:, 0] = -0.17  # GELU's least; with all others 0, the sums would be negative or near 0
    f[0, 1:], f[1] = 0, -0.1
    for name in ("scale", "ash_s"):
        values = FEATURE_SCORES[name](TRAIN, LABELS, HEAD, f)
        assert np.isfinite(values).all()
    positive = np.maximum(f, 0)
    ratio = [math.exp(sum(row) / (math.fsum(sorted(row)[-WIDTH + round(0.65 * WIDTH) :]) or 1)) for row in positive]
    expected = [energy(row * r) for row, r in zip(f, ratio)]
    np.testing.assert_allclose(FEATURE_SCORES["scale"](TRAIN, LABELS, HEAD, f), expected, rtol=1e-9)
