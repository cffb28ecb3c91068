"""The playground: its networks in Python, their training in JavaScript, its picture."""

import numpy as np
import pytest
import torch
from javascript import evaluate, needs_node
from matplotlib.colors import to_hex

from ood_helpers import losses
from ood_helpers.widgets import Playground, points2d


@pytest.fixture(scope="module")
def playground():
    return Playground()


def test_the_static_picture_has_the_colours_and_names_of_the_live_one(playground):
    for show, label in (("confidence", "top probability"), ("norm", "norm of the logits")):
        playground.show = show
        ax, bar = playground.static().axes
        assert [entry.get_text() for entry in ax.get_legend().get_texts()] == playground.meta["classes"]
        assert bar.get_ylabel() == label and ax.collections[0].get_cmap().name == "cividis"
        faces = [to_hex(line.get_markerfacecolor()) for line in ax.lines[:3]]
        assert faces == [face for face, _ in playground.meta["colors"]]
        ends = [to_hex(ax.collections[0].get_cmap()(end)) for end in (0.0, 1.0)]
        assert ends == ["#{:02x}{:02x}{:02x}".format(*playground.meta["shades"][k]) for k in (0, -1)]


def test_settings_decide_the_network_which_is_trained_when_it_is_asked_for(playground):
    first = playground.answer
    playground.seed = 3
    other = playground.answer
    assert playground.networks["softmax"]["settings"]["seed"] == 3 and other != first
    playground.set_state({"seed": 0})  # from the browser
    assert playground.answer == first
    playground.set_state({"networks": {"softmax": playground.networks["softmax"] | {"weights": ZEROS}}})
    assert playground.answer["top"] == pytest.approx(1 / 3)  # the browser's network is used


ZEROS = {
    name: [0.0] * parameter.numel() for name, parameter in points2d.initial("softmax", 0, 1.0)[0].named_parameters()
}

# c: the loss and its settings, and optionally a network; the page's rules, points and labels.
TRAIN = """(() => {
  const { rules, points, labels } = c;
  const training = createTraining(c.loss, c.settings, points, labels, rules);
  const plain = (arrays) => Object.fromEntries(Object.entries(arrays).map(([name, values]) => [name, [...values]]));
  const at = lossAndGradients(training.network, workspace(training.network), points, labels, rules);
  const own = Object.fromEntries(Object.entries(at.gradients.own).map(([name, [value]]) => [name, value]));
  const begin = process.cpuUsage();
  for (let k = 0; k < c.steps; k++) training.step();
  const { user, system } = process.cpuUsage(begin);
  return { value: at.value, weights: plain(at.gradients.weights), own, ...training.result(),
    gradients: plain(at.gradients.weights), seconds: (user + system) / 1e6 };
})()"""


def in_the_page(playground, *cases):
    shared = {"points": playground.meta["points"], "labels": playground.meta["labels"], "steps": 0}
    rules = playground.meta["training"]
    return evaluate(["training"], TRAIN, [shared | {"rules": rules} | case for case in cases])


def settings(**changes):
    return {"seed": 0, "temperature": 0.3, "lr": 0.1, "warmup": True} | changes


@needs_node
def test_gradients_in_the_page_equal_torchs_for_every_loss(playground):
    cases = [
        {"loss": loss, "settings": settings(seed=seed, temperature=temperature)}
        for loss in points2d.LOSSES
        for seed, temperature in ((0, 0.3), (7, 1.0), (2**31, 0.02))
    ]
    for case, page in zip(cases, in_the_page(playground, *cases)):
        network, criterion = points2d.initial(case["loss"], case["settings"]["seed"], case["settings"]["temperature"])
        value = criterion(network(torch.tensor(playground.points)), torch.tensor(playground.labels))
        value.backward()
        assert page["value"] == pytest.approx(value.item(), rel=1e-6)
        for name, parameter in network.named_parameters():
            np.testing.assert_allclose(page["gradients"][name], parameter.grad.flatten(), rtol=1e-5, atol=1e-5)
        own = {name.split(".")[-2 if "original" in name else -1]: p.grad for name, p in criterion.named_parameters()}
        assert page["own"] == {name: pytest.approx(slope.item(), rel=1e-5, abs=1e-5) for name, slope in own.items()}


@needs_node
def test_a_training_in_the_page_ends_with_the_kernels_network(playground, monkeypatch):
    monkeypatch.setitem(points2d.RULES, "steps", 50)
    rules = playground.meta["training"] | {"steps": 50}
    cases = [{"loss": loss, "settings": settings()} for loss in points2d.LOSSES]
    cases.append({"loss": "logitnorm", "settings": settings(warmup=False, seed=4)})
    for case, page in zip(cases, in_the_page(playground, *(case | {"steps": 50, "rules": rules} for case in cases))):
        kernel = points2d.train(case["loss"], playground.points, playground.labels, **case["settings"])
        assert page["settings"] == kernel["settings"]
        assert page["temperature"] == pytest.approx(kernel["temperature"], rel=1e-5)
        np.testing.assert_allclose(page["curve"], kernel["curve"], rtol=1e-4, atol=1e-6)
        for name, values in kernel["weights"].items():
            np.testing.assert_allclose(page["weights"][name], values, rtol=1e-4, atol=1e-4)


@needs_node
def test_a_thousand_steps_take_less_than_a_second(playground):
    case = {"loss": "logitnorm", "settings": settings(), "steps": 500}
    first, second = in_the_page(playground, case, case)  # of processor time, whatever else runs here
    assert min(first["seconds"], second["seconds"]) < 0.5


def test_logitnorm_without_warm_up_fails_and_with_it_learns():
    hard = Playground(loss="logitnorm", temperature=0.02, lr=1.0, warmup=False, seed=1)
    assert hard.accuracy < 0.9 and "The training failed" in hard.finding()
    hard.warmup = True
    assert hard.accuracy == 1 and "failed" not in hard.finding()
    assert min(hard.networks["logitnorm"]["curve"]) > losses.lower_bound(3, 0.02)
