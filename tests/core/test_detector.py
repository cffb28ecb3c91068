"""The detector: its threshold accepts what it says, and it is saved, loaded and described."""

import json
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ood_helpers import metrics, models, scores
from ood_helpers.beyond.feature_scores import FEATURE_SCORES
from ood_helpers.detector import Detector

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 300)
LOGITS = 3 * np.eye(3)[LABELS] + RNG.standard_normal((300, 3))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return models.build("cnn", 3, (1, 8, 8), nn.Linear)


@pytest.mark.parametrize("acceptance", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("n", [19, 20, 57])
def test_it_accepts_at_least_the_wanted_share_of_new_inputs_on_average(n, acceptance):
    shares, plain = [], []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        validation, new = rng.standard_normal((n, 2)), rng.standard_normal((200, 2))
        detector = Detector(score="max_logit", acceptance=acceptance).fit(validation)
        shares.append(detector.accepts(new).mean())
        plain.append((scores.max_logit(new) >= metrics.threshold(scores.max_logit(validation), acceptance)).mean())
    error = 3 * np.std(shares) / 20  # three standard errors of the mean
    assert acceptance - error <= np.mean(shares) <= acceptance + 1 / (n + 1) + error
    assert np.mean(plain) <= np.mean(shares)


def test_too_few_validation_inputs_are_said_so():
    with pytest.raises(ValueError, match=r"accepting 0\.95 of new ID images needs at least 19, got 18 scores"):
        Detector().fit(LOGITS[:18])


def test_a_fit_that_fails_leaves_the_detector_as_it_was():
    detector = Detector(temperature="fit")
    with pytest.raises(ValueError, match="at least 19, got 10 scores"):
        detector.fit(LOGITS[:10], LABELS[:10])
    with pytest.raises(ValueError, match="the detector is not fitted"):
        detector.predict(LOGITS)
    before = dict(vars(detector.fit(LOGITS, LABELS)))
    with pytest.raises(ValueError, match="at least 19, got 10 scores"):
        detector.fit(LOGITS[:10], 2 - LABELS[:10], name="other")
    assert vars(detector) == before


@pytest.mark.parametrize("settings", [{"temperature": "fit"}, {"cost": 3}])
@pytest.mark.parametrize(
    "labels, message",
    [
        (LABELS[:, None], r"logits must be \(N, C\) and labels \(N,\), got \(300, 3\) and \(300, 1\)"),
        (LABELS[:-1], r"got \(300, 3\) and \(299,\)"),
        (LABELS + 1, r"labels must be integers in 0\.\.2"),
        (LABELS / 1, r"labels must be integers in 0\.\.2"),
    ],
)
def test_labels_that_do_not_fit_are_refused(settings, labels, message):
    with pytest.raises(ValueError, match=message):
        Detector(**settings).fit(LOGITS, labels)


@pytest.mark.parametrize("settings", [{"temperature": "fit"}, {"cost": 3}, {}])
def test_logits_may_be_tensors_of_any_precision(settings):
    logits, labels = torch.from_numpy(LOGITS).bfloat16(), torch.from_numpy(LABELS)
    expected = Detector(**settings).fit(logits.double().numpy(), LABELS)
    result = Detector(**settings).fit(logits.requires_grad_(), labels)
    assert result.threshold_ == pytest.approx(expected.threshold_)
    np.testing.assert_allclose(result.score(logits), expected.score(logits.detach().double()))


@pytest.mark.parametrize("cost", [0.5, 3, 20])
def test_a_cost_gives_the_threshold_with_the_least_total(cost):
    ood = RNG.standard_normal((100, 3))
    detector = Detector(cost=cost).fit(LOGITS, LABELS, ood=ood)
    values = scores.msp(np.concatenate([LOGITS, ood]))
    wrong = np.append(LOGITS.argmax(1) != LABELS, np.ones(100, bool))
    totals = {t: (values < t).sum() + cost * (wrong & (values >= t)).sum() for t in [*values, np.inf]}
    chosen = (values < detector.threshold_).sum() + cost * (wrong & (values >= detector.threshold_)).sum()
    assert chosen == min(totals.values())


def test_without_an_error_the_temperature_is_not_fitted_and_scores_do_not_saturate():
    labels = LOGITS.argmax(1)
    detector = Detector(temperature="fit").fit(LOGITS, labels)
    assert detector.temperature_ == 1
    assert len(np.unique(detector.score(LOGITS))) > len(LOGITS) / 2  # at the limit of the fit most would be exactly 1


def test_temperature_is_that_of_validation_and_scales_the_logits():
    detector = Detector(temperature="fit").fit(LOGITS, LABELS)
    assert detector.temperature_ == metrics.fit_temperature(LOGITS, LABELS)
    np.testing.assert_allclose(detector.score(LOGITS), scores.msp(LOGITS / detector.temperature_))


def test_images_loaders_dicts_and_logits_give_the_same(network):
    images = torch.randint(256, (60, 1, 8, 8), dtype=torch.uint8)
    labels = torch.arange(60) % 3
    loader = DataLoader(TensorDataset(images, labels), 16)
    with torch.inference_mode():
        logits = network.eval()(images).numpy()
    network.train()
    detector = Detector(network, "energy", "fit").fit(loader)
    assert network.training and network.backbone.training
    assert detector.temperature_ == pytest.approx(metrics.fit_temperature(logits, labels))
    dicts = [{"data": batch, "label": None} for batch in images.split(7)]
    for data in (images, images.numpy(), loader, dicts, torch.from_numpy(logits)):
        np.testing.assert_allclose(detector.score_samples(data), detector.score_samples(logits), rtol=1e-4)
    assert detector.predict(images).tolist() == np.where(detector.accepts(logits), 1, -1).tolist()
    assert (detector.decision_function(logits) >= 0).tolist() == detector.accepts(logits).tolist()


@pytest.mark.parametrize("score", ["mahalanobis", "knn", "vim"])
def test_scores_of_features_take_the_training_set(network, score, tmp_path):
    train, labels = torch.randint(256, (90, 1, 8, 8), dtype=torch.uint8), torch.arange(90) % 3
    validation = torch.randint(256, (40, 1, 8, 8), dtype=torch.uint8)
    detector = Detector(network, score).fit(validation, train=(train, labels))
    network.eval()
    with torch.inference_mode():
        train_features, features = network.features(train), network.features(validation)
    expected = FEATURE_SCORES[score](train_features, labels, network.classifier, features)
    np.testing.assert_allclose(detector.score(validation), expected, rtol=1e-3, atol=1e-3)
    detector.save(tmp_path / "detector.safetensors")
    loaded = Detector.load(tmp_path / "detector.safetensors", network)
    np.testing.assert_array_equal(loaded.score(validation), detector.score(validation))
    assert loaded.report(validation).startswith(f"{score} of what enters the layer 'classifier' >= ")
    for model in (None, nn.Flatten()):
        with pytest.raises(
            ValueError, match=r"score of features, which needs .*: Detector\.load\(path, wrap\(model\)\)"
        ):
            Detector.load(tmp_path / "detector.safetensors", model)
    with pytest.raises(ValueError, match=f"the score {score} needs the features of a network"):
        Detector(lambda x: x.flatten(1), score)
    with pytest.raises(ValueError, match=r"needs the training set: fit\(\.\.\., train="):
        Detector(network, score).fit(validation)


def test_saved_and_loaded_it_answers_the_same_and_knows_its_model(network, tmp_path):
    path = tmp_path / "detector.safetensors"
    detector = Detector(network, "entropy", "fit", acceptance=0.9).fit(LOGITS, LABELS, name="mine")
    detector.save(path)
    loaded = Detector.load(path, network)
    assert loaded.report(LOGITS[:9]) == detector.report(LOGITS[:9]) and "(mine)" in loaded.report(LOGITS[:9])
    assert Detector.load(path).accepts(LOGITS).tolist() == detector.accepts(LOGITS).tolist()
    torch.manual_seed(1)
    with pytest.raises(ValueError, match="fitted with a model of other weights"):
        Detector.load(path, models.build("cnn", 3, (1, 8, 8), nn.Linear))


def test_a_pickle_or_another_file_is_not_loaded(tmp_path):
    path = tmp_path / "detector.safetensors"
    path.write_bytes(pickle.dumps(Detector().fit(LOGITS)))
    with pytest.raises(ValueError, match="is not a safetensors file"):
        Detector.load(path)
    from ood_helpers.engine.tensors import write_tensors

    for metadata in ({}, {"detector": "{}"}, {"detector": json.dumps({"settings": {"score": "x"}, "fitted": {}})}):
        write_tensors(path, {"id_scores": [1.0]}, metadata)
        with pytest.raises(ValueError, match="does not hold a detector"):
            Detector.load(path)


def test_scikit_learns_conventions():
    detector = Detector(score="energy", acceptance=0.9).fit(LOGITS)
    copy = clone(detector)
    assert copy.get_params() == detector.get_params() and not hasattr(copy, "threshold_")
    assert detector.set_params(score="msp").get_params()["score"] == "msp" and not hasattr(detector, "threshold_")
    with pytest.raises(ValueError, match="not fitted"):
        copy.predict(LOGITS)
    with pytest.raises(
        ValueError, match="unknown parameter 'treshold'; known: model, score, temperature, acceptance, cost"
    ):
        detector.set_params(treshold=0.5)


def test_the_report_names_threshold_set_convention_and_what_is_not_promised():
    detector = Detector().fit(LOGITS, LABELS, name="digits validation")
    far = RNG.standard_normal((50, 3))
    report = detector.report({"far": far}, test=LOGITS[:100])
    values, result = detector.score(far), metrics.detection(detector.score(LOGITS[:100]), detector.score(far))
    row = next(line for line in report.splitlines() if line.startswith("far")).split()
    assert row[:3] == ["far", "50", f"{(values >= detector.threshold_).mean():.1%}"]
    assert row[-2:] == [f"{result['auroc']:.4f}", f"{result['fpr95']:.1%}"]
    for part in ("fitted on 300 inputs (digits validation)", "95%", "ID as the positive class", "no share", "test"):
        assert part in report


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: Detector("resnet18"), "the model must be callable, inputs to logits, not str"),
        (lambda: Detector(score="mps"), "unknown score 'mps'; known: msp"),
        (lambda: Detector(temperature=0), 'temperature must be a positive number or "fit", not 0'),
        (lambda: Detector(cost=-1), "cost must be positive, not -1"),
        (lambda: Detector(temperature="fit").fit(LOGITS), "needs class labels and logits"),
        (lambda: Detector().fit(torch.zeros(2, 1, 8, 8)), "a detector without a model takes logits"),
        (lambda: Detector(nn.Conv2d(1, 1, 3)).fit(torch.zeros(20, 1, 8, 8)), "the model must give logits"),
        (lambda: Detector(lambda x: x).fit([]), "there are no inputs"),
        (lambda: Detector(lambda x: x).fit([{"x": 1}]), "a batch needs one of the keys data, pixel_values"),
        (lambda: Detector(score=lambda z: z.max(1)).fit(LOGITS).save("x"), "score of your own cannot be saved"),
        (lambda: Detector().save("x"), "not fitted"),
        (lambda: Detector().fit(LOGITS).report({"test": LOGITS}, test=LOGITS), "give the OOD set another name"),
    ],
)
def test_wrong_use_is_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
