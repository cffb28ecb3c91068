"""The interface of OpenOOD's networks, tested without OpenOOD; with it, see ``openood_library.py``."""

import numpy as np
import pytest
import torch

from ood_helpers import losses, models
from ood_helpers.bridges import OpenOODNet


def test_standardisation_is_undone_and_the_interface_is_theirs(run, net, data):
    with torch.no_grad():
        logits, feature = net(data, return_feature=True)
        same, maps = net(data, return_feature_list=True)
        assert net.intermediate_forward(data, 4).shape == maps[-1].shape == (*feature.shape, 1, 1)
        clipped = net.forward_threshold(data, 0.5)
    np.testing.assert_allclose(logits, run.logits["test"], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(feature, run.features["test"], rtol=1e-3, atol=1e-3)
    assert torch.equal(logits, same) and net.feature_size == feature.shape[1]
    weight, bias = net.get_fc()
    np.testing.assert_allclose(feature.clip(max=0.5).numpy() @ weight.T + bias, clipped, rtol=1e-3, atol=1e-3)
    assert [p.shape for p in net.fc.parameters()] == [weight.shape, bias.shape]


def test_t2fnorms_temperature_is_part_of_the_last_layer():
    net = OpenOODNet(models.build("cnn", 3, (1, 8, 8), losses.recipe("t2fnorm").head))
    weight, bias = net.get_fc()
    with torch.no_grad():
        logits, feature = net(torch.rand(4, 1, 8, 8), return_feature=True)
    np.testing.assert_allclose(feature.numpy() @ weight.T + bias, logits, rtol=1e-4, atol=1e-5)


def test_a_distance_head_is_refused_in_one_sentence():
    net = OpenOODNet(models.build("cnn", 3, (1, 8, 8), losses.recipe("isomaxplus").head))
    assert net(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    with pytest.raises(ValueError, match="is not a linear classifier: this postprocessor does not apply"):
        net.get_fc()
