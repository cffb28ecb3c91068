"""OpenOOD's postprocessors, networks and metrics, as far as they run on a CPU, on our network.

OpenOOD is not on the package index, so these tests are collected only where its repository (version 1.5) is on the
path; ``tests/README.md`` has the command. Run are its MSP, EBO, GEN, MaxLogit, ASH, SCALE and ReAct (with the threshold
it would set up on a GPU), and its metrics. Its evaluator and the set-up of its other postprocessors call ``.cuda()``.
"""

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

# Its packages are opened without their __init__ files, which import every method and libraries that none of these needs
# (faiss, libmr, imgaug).
(PLACE,) = importlib.util.find_spec("openood").submodule_search_locations
for part in ("evaluators", "networks", "postprocessors", "utils"):
    package = sys.modules.setdefault(f"openood.{part}", ModuleType(f"openood.{part}"))
    package.__path__ = [f"{PLACE}/{part}"]

from openood.evaluators.metrics import compute_all_metrics  # noqa: E402
from openood.networks.ash_net import ASHNet  # noqa: E402
from openood.networks.react_net import ReactNet  # noqa: E402
from openood.networks.scale_net import ScaleNet  # noqa: E402
from openood.postprocessors.ash_postprocessor import ASHPostprocessor  # noqa: E402
from openood.postprocessors.base_postprocessor import BasePostprocessor  # noqa: E402
from openood.postprocessors.ebo_postprocessor import EBOPostprocessor  # noqa: E402
from openood.postprocessors.gen_postprocessor import GENPostprocessor  # noqa: E402
from openood.postprocessors.maxlogit_postprocessor import MaxLogitPostprocessor  # noqa: E402
from openood.postprocessors.react_postprocessor import ReactPostprocessor  # noqa: E402
from openood.postprocessors.scale_postprocessor import ScalePostprocessor  # noqa: E402

from ood_helpers import metrics, scores  # noqa: E402
from ood_helpers.beyond.feature_scores import FEATURE_SCORES  # noqa: E402
from ood_helpers.bridges import openood_postprocessor  # noqa: E402


def config(**arguments):
    arguments = SimpleNamespace(postprocessor_args=SimpleNamespace(**arguments), postprocessor_sweep={})
    return SimpleNamespace(postprocessor=arguments)


@pytest.mark.parametrize(
    "make, name",
    [
        (lambda: BasePostprocessor(None), "msp"),
        (lambda: EBOPostprocessor(config(temperature=1)), "energy"),
        (lambda: MaxLogitPostprocessor(config()), "max_logit"),
        (lambda: GENPostprocessor(config(gamma=0.1, M=6)), "gen"),
    ],
)
def test_their_postprocessors_of_logits_are_our_scores(net, data, make, name):
    pred, conf = make().postprocess(net, data)
    ours_pred, ours = openood_postprocessor(name).postprocess(net, data)
    assert torch.equal(pred, ours_pred)
    torch.testing.assert_close(conf, ours, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["ash_b", "scale", "react"])
def test_their_networks_around_ours_give_our_scores_of_features(run, net, data, standardised, name):
    images, labels = run.dataset().split("train")
    with torch.no_grad():
        train = net(standardised(images), return_feature=True)[1]
        features = net(data, return_feature=True)[1]
    if name == "react":
        postprocessor, wrapped = ReactPostprocessor(config(percentile=90)), ReactNet(net)
        postprocessor.activation_log, postprocessor.setup_flag = train.numpy(), True
        postprocessor.setup(wrapped, None, None)
    else:
        make = ASHPostprocessor if name == "ash_b" else ScalePostprocessor
        postprocessor, wrapped = make(config(percentile=65)), (ASHNet if name == "ash_b" else ScaleNet)(net)
    pred, conf = postprocessor.postprocess(wrapped, data)
    assert pred.shape == conf.shape == (len(data),)
    if name in FEATURE_SCORES:
        ours = FEATURE_SCORES[name](train, labels, net.fc, features)
        torch.testing.assert_close(conf.double(), ours, rtol=1e-3, atol=1e-3)


def test_our_postprocessor_is_one_of_theirs_and_their_metrics_are_ours(run, net, data):
    postprocessor = openood_postprocessor("entropy")
    assert isinstance(postprocessor, BasePostprocessor) and not postprocessor.APS_mode
    pred, conf = (x.numpy() for x in postprocessor.postprocess(net, data))
    ood = scores.entropy(run.logits["letters"])
    label = np.concatenate([run.labels["test"], np.full(len(ood), -1)])
    both = np.concatenate([conf, ood])
    fpr, auroc, aupr_in, aupr_out, accuracy = compute_all_metrics(both, label, np.append(pred, np.zeros(len(ood))))
    ours = metrics.detection(conf, ood, positive="ood")
    assert (fpr, auroc) == pytest.approx((ours["fpr95"], ours["auroc"]))
    assert accuracy == pytest.approx(run.accuracy)
    assert (aupr_in, aupr_out) == pytest.approx((ours["aupr_in"], ours["aupr_out"]), abs=0.01)
