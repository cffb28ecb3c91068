"""A dozen detectors of pytorch-ood on a trained run, beside our scores where we have the same."""

import numpy as np
import pytest
import torch
from pytorch_ood import detector as theirs
from pytorch_ood.metrics import OODMetrics
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ood_helpers import metrics, scores
from ood_helpers.beyond.feature_scores import FEATURE_SCORES
from ood_helpers.bridges import pytorch_ood

# Name of our score -> their detector from the parts of a network and the number of features.
OF_LOGITS = {
    "msp": theirs.MaxSoftmax,
    "max_logit": theirs.MaxLogit,
    "energy": theirs.EnergyBased,
    "entropy": theirs.Entropy,
    "gen": theirs.GEN,
}
OF_FEATURES = {
    "mahalanobis": lambda parts, size: theirs.Mahalanobis(parts.encoder),
    "relative_mahalanobis": lambda parts, size: theirs.RMD(parts.encoder),
    "knn": lambda parts, size: theirs.KNN(parts.encoder, k=50),
    "fdbd": lambda parts, size: theirs.fDBD(parts.encoder, parts.head),
    "nci": lambda parts, size: theirs.NCI(parts.encoder, parts.head, alpha=0.001),
    "vim": lambda parts, size: theirs.ViM(parts.encoder, size // 2, *parts.weight_and_bias),
    "react": lambda parts, size: theirs.ReAct(parts.maps, parts.maps_head),
    "scale": lambda parts, size: theirs.SCALE(parts.maps, parts.maps_head),
    "ash_s": lambda parts, size: theirs.ASH(parts.maps, parts.maps_head, variant="ash-s"),
}


@pytest.fixture(scope="module")
def images(run):
    """Training, test and OOD images in 0..1, as torchvision's loaders give them."""
    dataset = run.dataset()
    train, labels = dataset.split("train")
    return {
        "train": train / 255,
        "labels": labels,
        "test": run.images("test") / 255,
        "ood": run.images("letters") / 255,
    }


@pytest.fixture(scope="module")
def parts(run):
    return pytorch_ood(run, pixels=255)


def scored(detector, x):
    with torch.no_grad():
        return torch.cat([detector.predict(batch) for batch in x.split(100)]).double().numpy()


@pytest.mark.parametrize("name", OF_LOGITS)
def test_their_detectors_of_logits_are_ours_with_the_other_sign(run, parts, images, name):
    detector = OF_LOGITS[name](parts.model)
    ours = scores.score(name)(run.logits["test"])
    found = scored(detector, images["test"])
    if name == "gen":  # the mean over classes, ours is the sum
        found = found * run.logits["test"].shape[1]
    np.testing.assert_allclose(-found, ours, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", OF_FEATURES)
def test_their_detectors_of_features_rank_as_ours(run, parts, images, name):
    size = run.features["test"].shape[1]
    detector = OF_FEATURES[name](parts, size)
    detector.fit(DataLoader(TensorDataset(images["train"], images["labels"]), 200)) if detector.requires_fit else None
    found = {key: -scored(detector, images[key]) for key in ("test", "ood")}
    with torch.inference_mode():
        train = parts.encoder(images["train"])
        ours = {
            key: FEATURE_SCORES[name](train, images["labels"], parts.head, parts.encoder(images[key])).numpy()
            for key in ("test", "ood")
        }
    both = [np.concatenate([values["test"], values["ood"]]) for values in (found, ours)]
    assert np.corrcoef(*(both_.argsort().argsort() for both_ in both))[0, 1] > 0.999
    auroc = [metrics.detection(values["test"], values["ood"])["auroc"] for values in (found, ours)]
    assert auroc[0] == pytest.approx(auroc[1], abs=1e-3)


def test_our_scores_are_their_detectors_and_their_metrics_ours(run, parts, images):
    detector = parts.detector("mmles")
    result = OODMetrics()
    result.update(detector(images["test"]), torch.zeros(len(images["test"])).long())
    result.update(
        detector.predict_logits(torch.from_numpy(run.logits["letters"])), -torch.ones(len(images["ood"])).long()
    )
    ours = run.detection("mmles", positive="ood")["letters"]
    computed = result.compute()
    assert computed["AUROC"] == pytest.approx(ours["auroc"], abs=1e-4)
    assert computed["FPR95TPR"] == pytest.approx(ours["fpr95"], abs=1e-2)
    assert type(detector).__name__ == "mmles" and not parts.model.training


def test_a_distance_head_is_refused_in_one_sentence():
    from ood_helpers import losses, models

    network = models.build("cnn", 3, (1, 8, 8), losses.recipe("isomaxplus").head)
    with pytest.raises(ValueError, match="needs a linear classifier, and IsoMaxPlusLossFirstPart computes distances"):
        pytorch_ood(network).weight_and_bias
    assert torch.equal(pytorch_ood(nn.Sequential(nn.Linear(2, 3, bias=False))).weight_and_bias[1], torch.zeros(3))


def test_t2fnorms_temperature_is_part_of_weight_and_bias():
    from ood_helpers import losses, models

    parts = pytorch_ood(models.build("cnn", 3, (1, 8, 8), losses.recipe("t2fnorm").head))
    weight, bias = parts.weight_and_bias
    with torch.no_grad():
        features = parts.encoder(torch.rand(4, 1, 8, 8))
        torch.testing.assert_close(features @ weight.T + bias, parts.head(features))


@pytest.mark.parametrize("loss", ["logitnorm", "isomaxplus", "dismax"])
def test_our_losses_train_inside_their_examples(loss):
    """The loop of their examples: a model, a criterion of logits and labels, and their detector at the end."""
    from ood_helpers import losses, models

    torch.manual_seed(0)
    recipe = losses.recipe(loss)
    network = models.build("cnn", 3, (1, 8, 8), recipe.head)
    criterion = recipe.criterion(network.classifier)
    optimizer = torch.optim.SGD([*network.parameters(), *criterion.parameters()], lr=0.05, momentum=0.9)
    labels = torch.arange(48) % 3
    x = 80.0 * labels[:, None, None, None] + 20 * torch.rand(48, 1, 8, 8)
    values = []
    for _ in range(15):
        batch, targets = (
            criterion.preprocess(x, labels, torch.Generator()) if hasattr(criterion, "preprocess") else (x, labels)
        )
        value = criterion(network(batch), targets)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.8 * values[0]
    assert theirs.MaxSoftmax(pytorch_ood(network).model).predict(x).shape == (48,)
