"""The losses against the authors' own numbers, against their formulas, and at the edges."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ood_helpers import losses

PARITY = {
    key: torch.from_numpy(np.array(value)) for key, value in np.load(Path(__file__).parent / "parity_seed0.npz").items()
}
HEADS = {
    "isomax": losses.IsoMaxLossFirstPart,
    "isomaxplus": losses.IsoMaxPlusLossFirstPart,
    "dismax": losses.DisMaxLossFirstPart,
}


def same(ours, theirs, rtol=1e-9):
    torch.testing.assert_close(ours.detach().reshape(theirs.shape), theirs, rtol=rtol, atol=1e-15)


def head_of(name, dtype=torch.float64):
    """The authors' head of the parity file."""
    head = HEADS[name](16, 5).to(dtype)
    with torch.no_grad():
        head.prototypes.copy_(PARITY["prototypes"])
        if name != "isomax":
            head.distance_scale.fill_(PARITY["distance_scale"])
    return head


def batch_labels(criterion, labels):
    """The labels as a training loop passes them: what `preprocess` returns, if the criterion has it."""
    if not hasattr(criterion, "preprocess") or len(labels) < 2:
        return labels
    return criterion.preprocess(torch.zeros(len(labels), 1, 2, 2), labels)[1]


def authors_logits(name, x, w, scale):
    """The heads as published: pairwise differences."""
    if name == "isomax":
        return -torch.cdist(x, w, compute_mode="donot_use_mm_for_euclid_dist")
    d = scale.abs() * torch.cdist(F.normalize(x), F.normalize(w), compute_mode="donot_use_mm_for_euclid_dist")
    return -d if name == "isomaxplus" else -(d + d.mean(1, keepdim=True)) / math.sqrt(2)


# Against the authors' numbers


@pytest.mark.parametrize("name", HEADS)
def test_distance_losses_equal_the_authors(name):
    head, x = head_of(name), PARITY["features"].clone().requires_grad_()
    criterion = losses.recipe(name).criterion(head)
    logits = head(x)
    loss = criterion(logits, PARITY["targets"])
    loss.backward()
    same(logits, PARITY[f"{name}_logits"])
    same(loss, PARITY[f"{name}_loss"])
    same(x.grad, PARITY[f"{name}_grad_features"])
    same(head.prototypes.grad, PARITY[f"{name}_grad_prototypes"])
    if name != "isomax":
        same(head.distance_scale.grad, PARITY[f"{name}_grad_scale"])


@pytest.mark.parametrize("tau", [0.01, 0.04, 1.0])
def test_logitnorm_equals_the_authors_and_its_one_line_formula(tau):
    z = PARITY["logits"].clone().requires_grad_()
    loss = losses.LogitNormLoss(tau)(z, PARITY["targets"])
    loss.backward()
    same(loss, PARITY[f"logitnorm_{tau}_loss"])
    same(z.grad, PARITY[f"logitnorm_{tau}_grad"])
    same(loss, F.cross_entropy(z / ((z.norm(dim=1, keepdim=True) + 1e-7) * tau), PARITY["targets"]).detach())


def test_meln_equals_the_authors():
    criterion = losses.MarginEnhancedLogitNormLoss(0.7, 0.1).double()
    criterion.temperature.data.fill_(PARITY["meln_temperature"])
    criterion.margin.data.fill_(PARITY["meln_margin"])
    z = PARITY["logits"].clone().requires_grad_()
    loss = criterion(z, PARITY["targets"])
    loss.backward()
    same(loss, PARITY["meln_loss"])
    same(z.grad, PARITY["meln_grad"])
    same(criterion.temperature.grad, PARITY["meln_grad_temperature"])
    assert abs(criterion.margin.grad) < 1e-15


def test_fractional_probability_equals_the_authors():
    head = losses.DisMaxLossFirstPart(16, 5)
    criterion = losses.DisMaxLossSecondPart(head, "fpr")
    before = PARITY["fpr_images"].clone(), PARITY["fpr_targets"].clone()
    seed = torch.Generator().manual_seed(0)  # whose first permutation of 8 is the file's
    images, targets = criterion.preprocess(PARITY["fpr_images"], PARITY["fpr_targets"], seed)
    same(images, PARITY["fpr_images_mixed"])
    assert targets.equal(PARITY["fpr_targets_mixed"])
    same(criterion(PARITY["fpr_logits"], targets), PARITY["fpr_loss"])
    assert before[0].equal(PARITY["fpr_images"]) and before[1].equal(PARITY["fpr_targets"]), "changed inputs"


def test_targets_name_the_images_that_a_mosaic_is_made_of():
    criterion = losses.DisMaxLossSecondPart(losses.DisMaxLossFirstPart(16, 16), "fpr")
    y = torch.arange(14)
    images, targets = criterion.preprocess(y[:, None, None, None].expand(14, 1, 4, 6).float(), y)
    z = torch.randn(14, 16, dtype=torch.float64)
    quadrants = images[7:, 0, ::2, ::3].flatten(1).long()  # one pixel of each, whose value is its label
    assert all(len(set(four)) == 4 for four in quadrants.tolist())
    cross_entropy = -F.log_softmax(10 * z[7:], 1).gather(1, quadrants).mean()
    kl = cross_entropy - math.log(4)  # the entropy of four quarters
    same(criterion(z, targets), (F.cross_entropy(10 * z[:7], targets[:7]) + kl) / 2)


@pytest.mark.parametrize("score_type", losses.DISMAX_SCORES)
def test_dismax_scores_equal_the_authors(score_type):
    head = losses.DisMaxLossFirstPart(16, 5)
    head.score_type = score_type
    same(head.scores(PARITY["dismax_logits"]), PARITY[f"score_{score_type}"])


def test_dismaxs_default_is_the_authors_without_regularisation():
    head = head_of("dismax")
    criterion = losses.DisMaxLossSecondPart(head)
    assert criterion.regularization is None
    images, labels = torch.rand(len(PARITY["targets"]), 3, 4, 4), PARITY["targets"]
    assert criterion.preprocess(images, labels)[0] is images
    same(criterion(head(PARITY["features"]), labels), PARITY["dismax_loss"])


def test_the_long_name_of_the_regularisation_is_an_alias():
    results = []
    for name in ("fpr", "fractional_probability"):
        criterion = losses.DisMaxLossSecondPart(losses.DisMaxLossFirstPart(16, 5), regularization=name)
        images = criterion.preprocess(PARITY["fpr_images"], PARITY["fpr_targets"], torch.Generator().manual_seed(0))
        results.append((criterion.regularization, images, criterion(PARITY["fpr_logits"], images[1])))
    (a, images, loss), (b, other_images, other_loss) = results
    assert a == b == "fpr" == losses.recipe("dismax_fpr").criterion(None).regularization
    assert images[0].equal(other_images[0]) and loss == other_loss
    same(loss, PARITY["fpr_loss"])


def test_a_batch_without_preprocess_is_refused_where_it_would_be_half_wrong():
    head = losses.DisMaxLossFirstPart(8, 4)
    criterion = losses.DisMaxLossSecondPart(head, "fpr")
    x, images, y = torch.randn(8, 8), torch.rand(8, 3, 4, 4), torch.tensor([0, 1, 2, 3, 3, 1, 0, 2])

    def refused(labels):
        with pytest.raises(ValueError, match=r"call `inputs, targets = criterion.preprocess\(inputs, targets\)`"):
            criterion(head(x), labels)

    refused(y)
    _, mixed = criterion.preprocess(images, y, torch.Generator().manual_seed(0))
    refused(y)  # the original labels
    loss = criterion(head(x), mixed)
    assert loss == criterion(head(x), mixed)  # twice, as for a line search or a print
    assert loss == criterion(head(x), mixed.clone())  # a copy, as from another device
    refused(mixed.roll(1))  # the next batch
    head.eval()
    criterion(head(x), y)  # evaluation has no mosaics
    assert not any("mixed" in key for key in criterion.state_dict())


# What is true of the formulas


def test_melns_margin_is_inert_unless_it_is_on_the_target():
    z, y = PARITY["logits"], PARITY["targets"]

    def loss_and_slope(margin, **options):
        criterion = losses.MarginEnhancedLogitNormLoss(1.0, margin, **options).double()
        loss = criterion(z, y)
        loss.backward()
        return loss.item(), criterion.margin.grad.item()

    inert = [loss_and_slope(m) for m in (0.0, 0.1, 5.0)]
    assert max(abs(loss - inert[0][0]) for loss, _ in inert) < 1e-12 and max(abs(s) for _, s in inert) < 1e-15
    acting = [loss_and_slope(m, margin_on="target") for m in (0.0, 0.1, 5.0)]
    assert acting[0][0] == pytest.approx(inert[0][0], rel=1e-12)
    assert acting[0][0] < acting[1][0] < acting[2][0] and all(slope > 0 for _, slope in acting)


def test_the_recipe_holds_an_acting_margin_fixed():
    build = losses.recipe("meln").criterion
    assert build(None).margin.requires_grad and not build(None, margin_on="target").margin.requires_grad


def test_melns_temperature_crosses_zero_unless_it_is_positive_by_construction():
    def temperatures(**options):
        y = torch.arange(6)
        z = 5 * torch.eye(6)[y]  # aligned logits, which do not move
        criterion, path = losses.MarginEnhancedLogitNormLoss(**options), []
        optimiser = torch.optim.SGD(criterion.parameters(), lr=0.01, momentum=0.9)  # the authors' own
        for _ in range(100):
            optimiser.zero_grad()
            loss = criterion(z, y)
            loss.backward()
            optimiser.step()
            path.append(criterion.temperature.item())
        return path, loss.item()

    path, loss = temperatures()
    assert min(path[:18]) > 0 > path[18] and path[-1] == pytest.approx(-53, abs=1)
    assert loss == pytest.approx(1.81, abs=0.005) and loss > math.log(6)
    path, loss = temperatures(positive_temperature=True)
    assert min(path) > 0 and loss < 1


def test_dismax_trains_like_isomaxplus_with_a_smaller_entropic_scale():
    x = PARITY["features"]
    results = []
    for name, scale in (("dismax", 10.0), ("isomaxplus", 10.0 / math.sqrt(2))):
        head, features = head_of(name), x.clone().requires_grad_()
        criterion = losses.recipe(name).criterion(head, entropic_scale=scale)
        loss = criterion(head(features), PARITY["targets"])
        loss.backward()
        results.append((loss, features.grad, head.prototypes.grad, head.distance_scale.grad))
    for dismax, isomaxplus in zip(*results):
        same(dismax, isomaxplus.detach(), rtol=1e-12)


def test_cross_entropy_equals_softmax_then_log_in_range_and_outlives_it():
    y = torch.zeros(4, dtype=torch.long)
    gap = torch.tensor([0.0, 1.0, 5.0, 8.0])
    z = torch.stack([-gap, torch.zeros(4)], 1)
    sequential = -torch.log(torch.softmax(10 * z, 1)[range(4), y]).mean()
    torch.testing.assert_close(losses.IsoMaxLossSecondPart()(z, y), sequential, rtol=1e-5, atol=0)
    far = torch.tensor([[-11.0, 0.0]])
    assert torch.log(torch.softmax(10 * far, 1)[0, 0]) == -math.inf
    assert losses.IsoMaxLossSecondPart()(far, y[:1]) == 110


def test_the_regularisation_is_kl_of_target_from_prediction():
    criterion = losses.DisMaxLossSecondPart(losses.DisMaxLossFirstPart(4, 5), "fpr", alpha=3.0)
    z, y = PARITY["fpr_logits"], batch_labels(criterion, PARITY["fpr_targets"])
    log_p = F.log_softmax(10 * z[4:], 1)
    q = sum(F.one_hot(y[4:].roll(k), 5) for k in range(4)).double() / 4
    q_from_p = (torch.special.xlogy(q, q) - q * log_p).sum(1).mean()
    p_from_q = (log_p.exp() * (log_p - q.clamp_min(1e-9).log())).sum(1).mean()
    plain = F.cross_entropy(10 * z[:4], y[:4])
    same(criterion(z, y), (plain + 3 * q_from_p) / 2)
    assert abs(q_from_p - p_from_q) > 0.1, "the two directions must differ here, or this shows nothing"


@given(k=st.integers(2, 20), tau=st.floats(0.02, 5), seed=st.integers(0, 2**32 - 1))
def test_no_logits_beat_the_lower_bound_and_aligned_ones_reach_it(k, tau, seed):
    y = torch.arange(k)
    criterion, bound = losses.LogitNormLoss(tau), losses.lower_bound(k, tau)
    z = torch.randn(k, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert criterion(z, y) >= bound * (1 - 1e-6) - 1e-12
    aligned = 1e6 * (torch.eye(k, dtype=torch.float64) - 1 / k)
    assert criterion(aligned, y).item() == pytest.approx(bound, rel=1e-6, abs=1e-12)


def test_the_papers_lower_bound_is_looser():
    assert math.log1p(9 * math.exp(-2)) < losses.lower_bound(10, 1.0) == pytest.approx(1.42, abs=0.005)
    assert losses.lower_bound(100, 1.0) == pytest.approx(3.62, abs=0.005)
    assert losses.lower_bound(10, 0.04) < 1e-9


# Numerics


@pytest.mark.parametrize("distance", [1.0, 0.3, 0.03, 3e-3, 3e-4])
@pytest.mark.parametrize("name", HEADS)
def test_float32_heads_are_as_exact_as_pairwise_differences(name, distance):
    torch.manual_seed(0)
    w = F.normalize(torch.randn(10, 512, dtype=torch.float64))
    y = torch.arange(64) % 10
    x = (w[y] + distance * F.normalize(torch.randn(64, 512, dtype=torch.float64))).float()
    w = w.float()

    def gradients(logits, dtype):
        inputs = [x.to(dtype).requires_grad_(), w.to(dtype).requires_grad_()]
        z = logits(*inputs)
        mixed = z.gather(1, y[:, None]).sum() - 0.1 * z.logsumexp(1).sum()
        return [z.detach().double()] + [g.double() for g in torch.autograd.grad(mixed, inputs)]

    def ours(x, w):
        head = HEADS[name](512, 10)
        return torch.func.functional_call(head, {"prototypes": w}, (x,))

    def theirs(x, w):
        return authors_logits(name, x, w, torch.ones(1))

    exact = gradients(theirs, torch.float64)
    for e, mine, published in zip(exact, gradients(ours, torch.float32), gradients(theirs, torch.float32)):
        assert (mine - e).norm() <= 1.5 * (published - e).norm() + 1e-6 * e.norm()


def test_heads_can_be_differentiated_twice():
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    for make in HEADS.values():
        head = make(4, 5).double()
        nn.init.normal_(head.prototypes)
        assert torch.autograd.gradgradcheck(head, (x,))


@pytest.mark.parametrize("name", losses.RECIPES)
def test_half_precision_is_computed_in_float32(name):
    recipe = losses.recipe(name)
    head = recipe.head(8, 4)
    if name == "isomax":
        nn.init.normal_(head.prototypes)
    criterion = recipe.criterion(head)
    y = batch_labels(criterion, torch.arange(8) % 4)
    x = torch.randn(8, 8).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        z = head(x)
        loss = criterion(z, y)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, criterion(z.float(), y), rtol=1e-6, atol=0)
    if isinstance(head, tuple(HEADS.values())):
        assert z.dtype == torch.float32
        torch.testing.assert_close(z, head(x.float()), rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", losses.RECIPES)
def test_compiles_without_a_graph_break(name):
    recipe = losses.recipe(name)
    head = recipe.head(6, 4)
    criterion = recipe.criterion(head)
    x = torch.randn(8, 6, requires_grad=True)

    def step(x, y):
        return criterion(head(x), y)

    torch._dynamo.reset()
    compiled_step = torch.compile(step, backend="aot_eager", fullgraph=True)
    for _ in range(3):  # batches with labels of their own
        y = batch_labels(criterion, torch.randint(4, (8,)))
        compiled = compiled_step(x, y)
        torch.testing.assert_close(compiled, step(x, y))
        torch.testing.assert_close(*(torch.autograd.grad(loss, x)[0] for loss in (compiled, step(x, y))))
        if name == "dismax_fpr":
            assert compiled_step(x, (y + 1) % 4).isnan()  # where step(x, y) refuses


# Edges


def finite_step(recipe, head, x, y):
    x = x.clone().requires_grad_()
    criterion = recipe.criterion(head)
    loss = criterion(head(x), batch_labels(criterion, y))
    gradients = torch.autograd.grad(loss, [x, *head.parameters(), *criterion.parameters()], allow_unused=True)
    assert loss.isfinite()
    assert all(g is None or g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("name", losses.RECIPES)
@pytest.mark.parametrize("features", [0.0, 1.0, 1e4, "prototype"])
def test_zero_coincident_and_huge_features_give_finite_losses_and_gradients(name, features):
    recipe = losses.recipe(name)
    head = recipe.head(8, 4)
    y = torch.arange(4)
    if features == "prototype":
        x = next(head.parameters()).detach().clone()  # every feature on its own prototype, or class weight
        x[1] = 3 * x[1]
    else:
        x = features * torch.randn(4, 8)
    finite_step(recipe, head, x, y)


@pytest.mark.parametrize("name", losses.RECIPES)
@pytest.mark.parametrize("value", [0.0, 1e4, -1e4])
def test_zero_and_huge_logits_give_finite_losses_and_gradients(name, value):
    recipe = losses.recipe(name)
    criterion = recipe.criterion(recipe.head(8, 4))
    z = (value * torch.eye(4)).requires_grad_()
    loss = criterion(z, batch_labels(criterion, torch.arange(4)))
    assert loss.isfinite() and torch.autograd.grad(loss, z)[0].isfinite().all()


def test_a_zero_feature_gets_no_gradient_from_a_direction_it_lacks():
    x = torch.zeros(1, 4, requires_grad=True)
    z = losses.DisMaxLossFirstPart(4, 3)(x)
    assert torch.autograd.grad(z.sum(), x)[0].abs().max() == 0


@pytest.mark.parametrize("name", losses.RECIPES)
def test_a_batch_of_one_is_finite_or_refused(name):
    recipe = losses.recipe(name)
    head = recipe.head(8, 4)
    if name == "dismax_fpr":
        with pytest.raises(ValueError, match="at least 2"):
            finite_step(recipe, head, torch.randn(1, 8), torch.tensor([3]))
        head.eval()  # where nothing is mixed
    finite_step(recipe, head, torch.randn(1, 8), torch.tensor([3]))


def test_a_thousand_classes_and_an_odd_batch():
    recipe = losses.recipe("dismax_fpr")
    finite_step(recipe, recipe.head(2048, 1000), torch.randn(5, 2048), torch.tensor([0, 999, 5, 5, 5]))


@pytest.mark.parametrize("name", ["isomax", "isomaxplus", "dismax", "dismax_fpr"])
def test_dismaxs_entropic_scale_acts_in_training_only_and_isomaxs_always(name):  # as in the authors' code
    recipe = losses.recipe(name)
    head = recipe.head(8, 4)
    criterion, z, y = recipe.criterion(head), torch.randn(6, 4), torch.arange(6) % 4
    training = criterion(z, batch_labels(criterion, y))
    head.eval(), criterion.eval()
    scale = 10 if name.startswith("isomax") else 1
    torch.testing.assert_close(criterion(z, y), F.cross_entropy(scale * z, y))
    if name != "dismax_fpr":
        torch.testing.assert_close(training, F.cross_entropy(10 * z, y))


def test_temperature_divides_the_logits_and_is_saved_with_the_head():
    for make in HEADS.values():
        head, x = make(8, 4), torch.randn(3, 8)
        before = head(x)
        head.temperature.fill_(4.0)
        torch.testing.assert_close(head(x), before / 4)
        fresh = make(8, 4)
        fresh.load_state_dict(head.state_dict())
        assert fresh.temperature == 4


def test_criteria_own_no_parameter_of_the_head():
    for name, recipe in losses.RECIPES.items():
        own = dict(recipe.criterion(recipe.head(8, 4)).named_parameters())
        assert bool(own) == (recipe.loss_lr is not None) == (name == "meln")


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: losses.recipe("triplet"), "unknown loss 'triplet'; known: softmax, logitnorm, meln"),
        (lambda: losses.LogitNormLoss(0.0), "temperature must be a positive number, got 0.0"),
        (lambda: losses.IsoMaxLossFirstPart(4, 3, temperature=-1), "temperature must be a positive number, got -1"),
        (lambda: losses.LogitNormLoss("cpu"), "temperature must be a positive number, got 'cpu'"),
        (lambda: losses.LogitNormLoss(temperature=None), "temperature must be a positive number, got None"),
        (lambda: losses.LogitNormLoss("cpu", t="0.04"), "temperature must be a positive number, got '0.04'"),
        (lambda: losses.lower_bound(1, 1.0), "at least 2 classes"),
        (lambda: losses.MarginEnhancedLogitNormLoss(margin_on="both"), "'both'; known: all, target"),
        (lambda: losses.DisMaxLossSecondPart(None, regularization="mixup"), "'mixup'; known: None, fpr, frac"),
        (lambda: losses.DisMaxLossFirstPart(4, 3)(torch.zeros(2, 5)), r"features must be \(B, 4\), got \(2, 5\)"),
        (lambda: losses.LogitNormLoss()(torch.zeros(2, 3), torch.tensor([0, 3])), "must be in 0..2, got 0"),
        (lambda: losses.LogitNormLoss()(torch.zeros(2, 3), torch.tensor([-100, 0])), "got -100..0"),
        (lambda: losses.LogitNormLoss()(torch.zeros(2, 3), torch.tensor([0])), r"logits must be \(B, C\)"),
        (lambda: losses.LogitNormLoss()(torch.zeros(0, 3), torch.zeros(0).long()), r"logits must be \(B, C\)"),
        (
            lambda: losses.DisMaxLossSecondPart(None, "fpr").preprocess(torch.zeros(4, 8), torch.zeros(4)),
            "needs images",
        ),
        (lambda: losses.DisMaxLossSecondPart(None, "fpr").preprocess(torch.zeros(1, 3, 8, 8), None), "at least 2"),
    ],
)
def test_bad_input_gets_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_an_unknown_score_type_lists_the_known():
    head = losses.DisMaxLossFirstPart(4, 3)
    head.score_type = "MAX"
    with pytest.raises(ValueError, match="unknown score_type 'MAX'; known: MPS, ES, MDS"):
        head.scores(torch.zeros(1, 3))


def test_nan_logits_give_a_nan_loss_for_the_training_loop_to_report():
    z = torch.full((2, 3), math.nan)
    for name, recipe in losses.RECIPES.items():
        criterion = recipe.criterion(recipe.head(8, 3))
        assert criterion(z, batch_labels(criterion, torch.tensor([0, 1]))).isnan(), name


# The authors' READMEs


class Model(nn.Module):
    def __init__(self, num_features=12, num_classes=5):
        super().__init__()
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(num_features, num_classes)

    def forward(self, x):
        return self.classifier(self.flatten(x))


def test_dismax_readme_runs_unchanged():
    num_features, num_classes = 12, 5
    model = Model()
    model.classifier = losses.DisMaxLossFirstPart(num_features, num_classes)
    criterion = losses.DisMaxLossSecondPart(model.classifier)
    inputs, targets = torch.rand(6, 3, 2, 2), torch.tensor([0, 1, 2, 3, 4, 0])

    inputs, targets = criterion.preprocess(inputs, targets)
    outputs = model(inputs)
    loss = criterion(outputs, targets)
    loss.backward()
    scores = model.classifier.scores(outputs)

    d = outputs.mean(1, keepdim=True) / 2 - outputs  # since z = -(d + mean d), mean z = -2 mean d
    p = outputs.softmax(1)
    torch.testing.assert_close(scores, -d.amin(1) - 3 * d.mean(1) + (p * p.log()).sum(1))
    assert model.classifier.prototypes.grad.abs().sum() > 0


def test_isomaxplus_readme_runs_unchanged():
    num_features, num_classes = 12, 5
    model = Model()
    model.classifier = losses.IsoMaxPlusLossFirstPart(num_features, num_classes)
    criterion = losses.IsoMaxPlusLossSecondPart()
    inputs, targets = torch.rand(6, 3, 2, 2), torch.tensor([0, 1, 2, 3, 4, 0])
    outputs = model(inputs)
    loss = criterion(outputs, targets)
    loss.backward()
    score = outputs.max(dim=1)[0]
    assert score.shape == (6,) and (score <= 0).all() and loss.isfinite()


def test_dismax_readme_with_regularisation_runs_unchanged():
    model = Model()
    model.classifier = losses.DisMaxLossFirstPart(12, 5)
    criterion = losses.DisMaxLossSecondPart(model.classifier, regularization="fpr")
    inputs, targets = criterion.preprocess(torch.rand(6, 3, 2, 2), torch.tensor([0, 1, 2, 3, 4, 0]))
    criterion(model(inputs), targets).backward()
    assert model.classifier.prototypes.grad.abs().sum() > 0


def test_logitnorm_and_meln_readmes_run_unchanged():
    x, target = torch.randn(4, 6), torch.arange(4)
    ours = losses.LogitNormLoss(temperature=0.04)(x, target)
    for device in ("cpu", torch.device("cpu"), 0):
        assert losses.LogitNormLoss(device, t=0.04)(x, target) == ours == losses.LogitNormLoss(device, 0.04)(x, target)
    assert losses.LogitNormLoss(0.04)(x, target) == ours > 0
    assert losses.MarginEnhancedLogitNormLoss(initial_temperature=1.0, initial_margin=0.1)(x, target) > 0
