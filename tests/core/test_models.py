"""Networks: the papers' sizes, how they start, what they see, and where pretrained weights come from."""

import math
import urllib.error

import pytest
import torch
from torch import nn

from ood_helpers import models
from ood_helpers.engine import backbones

# with ten classes; ResNet-110 has He's shortcuts without parameters, the last three are torchvision's
PARAMETERS = {
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "resnet110": 1_727_962,
    "wrn_40_2": 2_243_546,
    "wrn_28_10": 36_479_194,
    "airbench": 1_972_490,
    "densenet_bc_100_12": 769_162,
    "resnet18_224": 11_181_642,
    "resnet50_pretrained": 23_528_522,
}


@pytest.mark.parametrize("name", backbones.BACKBONES)
def test_backbones_give_features_then_logits(name):
    network = models.build(name, 10, (3, 32, 32), nn.Linear, dropout=0.3, pretrained=False).eval()
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        features = network.features(images)
        assert features.shape == (2, network.num_features)
        torch.testing.assert_close(network(images), network.classifier(features))
    if name in PARAMETERS:
        assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]


def test_the_small_network_fits_the_size_of_its_images():
    counts = {}
    for side in (8, 23, 24, 64):
        network = models.build("cnn_auto", 6, (1, side, side), nn.Linear).eval()
        assert network(torch.zeros(2, 1, side, side)).shape == (2, 6)
        counts[side] = sum(isinstance(module, nn.Conv2d) for module in network.modules())
    assert counts == {8: 3, 23: 3, 24: 5, 64: 5}


@pytest.mark.parametrize("name", ["resnet34", "resnet110", "wrn_16_2", "densenet_bc_100_12", "resnet18_224"])
def test_convolutions_start_with_hes_fan_out(name):
    network = models.build(name, 10, (3, 32, 32), nn.Linear)
    large = [m for m in network.backbone.modules() if isinstance(m, nn.Conv2d) and m.weight.numel() > 4000]
    for conv in large:
        expected = math.sqrt(2 / (conv.out_channels * math.prod(conv.kernel_size)))
        assert conv.weight.std().item() == pytest.approx(expected, rel=0.1)
    assert large


def test_dropout_acts_in_training_alone():
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    for name in ("resnet18_w16", "wrn_16_2", "densenet_bc_100_12", "resnet18_224"):
        network = models.build(name, 10, (3, 32, 32), nn.Linear, dropout=0.5)
        for norm in network.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.momentum = 0.0  # so that only dropout can make two passes differ
        with torch.no_grad():
            assert not network(images).equal(network(images))
            network.eval()
            assert network(images).equal(network(images))


def test_resnet110s_shortcuts_have_no_parameters():
    x = torch.randn(2, 4, 6, 6)
    wide = backbones.ZeroPaddingShortcut()(x)
    assert wide.shape == (2, 8, 3, 3) and wide[:, 2:6].equal(x[:, :, ::2, ::2])
    assert not wide[:, :2].any() and not wide[:, 6:].any()


def test_resnet34_starts_its_blocks_at_zero_and_resnet18_does_not():
    started = {
        name: [
            block.bn2.weight.abs().sum().item() > 0
            for block in models.build(name, 10, (3, 32, 32), nn.Linear).backbone
            if hasattr(block, "bn2")
        ]
        for name in ("resnet18", "resnet34")
    }
    assert started == {"resnet18": [True] * 8, "resnet34": [False] * 16}


def test_networks_for_224_pixels_see_the_centre_and_grey_as_colour():
    network = models.build("resnet18_224", 4, (1, 256, 250), nn.Linear).eval()
    images = torch.randint(0, 256, (1, 1, 256, 250), dtype=torch.uint8)
    other = images.clone()
    other[:, :, :16] = other[:, :, -16:] = other[:, :, :, :13] = other[:, :, :, -13:] = 7
    with torch.no_grad():
        torch.testing.assert_close(network(images), network(other))
        cut = images[:, :, 16:-16, 13:-13].expand(-1, 3, -1, -1)
        torch.testing.assert_close(network(images), network(cut))
        other[:, :, 16] = 200
        assert not torch.allclose(network(images), network(other))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch's download folder, empty, and no network."""

    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def test_pretrained_weights_are_loaded_without_their_classifier(hub):
    import torchvision

    source = torchvision.models.resnet18()
    torch.save(source.state_dict(), hub / "resnet18-f37072fd.pth")
    backbone, _ = backbones.torchvision_backbone(3, name="resnet18")
    backbones.load_pretrained(backbone, "ResNet18_Weights.IMAGENET1K_V1")
    for name, tensor in backbone[1].state_dict().items():
        assert tensor.equal(source.state_dict()[name])


@pytest.mark.parametrize("content", [None, b"", b"not weights", b"cos\nsystem\n(S'touch hacked'\ntR."])
def test_missing_or_broken_weights_say_what_to_put_where(content, hub, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (hub / "resnet50-0676ba61.pth").write_bytes(content)
    with pytest.raises(FileNotFoundError) as caught:
        models.build("resnet50_pretrained", 6, (3, 224, 224), nn.Linear)
    message = str(caught.value)
    assert "resnet50-0676ba61.pth elsewhere" in message and str(hub) in message and "\n" not in message
    assert not (tmp_path / "hacked").exists()


def test_networks_standardise_by_the_training_images():
    images = torch.randint(0, 200, (500, 2, 4, 4), dtype=torch.uint8)
    network = models.build("cnn", 3, (2, 4, 4), nn.Linear).standardise_by(images)
    seen = []
    network.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network.features(images)
    torch.testing.assert_close(seen[0].mean((0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen[0].std((0, 2, 3)), torch.ones(2), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", backbones.BACKBONES)
def test_images_that_are_too_small_are_refused_at_once(name):
    """A network that is built can process the images, in training mode as in evaluation."""
    for side in (1, 2, 3, 8):
        try:
            network = models.build(name, 4, (3, side, side), nn.Linear, pretrained=False)
        except ValueError as error:
            assert str(error).startswith(f"images of {side}x{side} pixels are too small for {name}; ")
            assert side < 8 or name == "airbench"  # which needs 9
            continue
        assert all(module.training for module in network.modules())
        assert network.eval()(torch.zeros(2, 3, side, side)).isfinite().all()


def test_densenet_needs_four_pixels():
    with pytest.raises(ValueError, match="images of 3x9 pixels are too small for densenet_bc_100_12; load larger"):
        models.build("densenet_bc_100_12", 4, (1, 3, 9), nn.Linear)


def test_the_check_of_the_image_size_draws_no_random_numbers():
    states = []
    for side in (8, 32):  # 8 is checked, 32 is known to be enough
        torch.manual_seed(0)
        network = models.build("wrn_16_2", 4, (3, side, side), nn.Linear, dropout=0.5)
        states.append([*network.state_dict().values(), torch.rand(3)])
    assert all(a.equal(b) for a, b in zip(*states))


@pytest.mark.parametrize("shape", [(3, 24, 24), (1, 28, 28), (3, 32, 32), (3, 64, 64)])
def test_airbench_takes_photographs_of_several_sizes(shape):
    network = models.build("airbench", 10, shape, nn.Linear).eval()
    assert network.features(torch.randint(0, 256, (2, *shape), dtype=torch.uint8)).shape == (2, 256)


def test_the_whitening_layer_decorrelates_neighbouring_pixels_and_is_not_trained():
    images = torch.randint(0, 256, (200, 3, 8, 8), dtype=torch.uint8).repeat_interleave(4, 2).repeat_interleave(4, 3)
    network = models.build("airbench", 10, (3, 32, 32), nn.Linear).standardise_by(images)
    layer = network.backbone[0]
    seen = nn.functional.conv2d((images - network.mean) / network.std, layer.filters)
    assert seen.shape == (200, 24, 31, 31) and seen[:, :12].equal(-seen[:, 12:]) and not list(layer.parameters())
    covariance = seen[:, :12].transpose(0, 1).flatten(1)
    torch.testing.assert_close(covariance @ covariance.T / covariance.shape[1], torch.eye(12), atol=0.02, rtol=0)


def test_airbenchs_convolutions_start_as_the_identity():
    group = models.build("airbench", 10, (3, 32, 32), nn.Linear).backbone[1]
    x = torch.randn(2, 24, 5, 5)
    torch.testing.assert_close(group.conv1(x)[:, :24], x)


def test_no_training_scales_what_airbenchs_norms_return():
    """Weight decay would make their weights small, and GELU is linear near 0."""
    backbone = models.build("airbench", 10, (3, 32, 32), nn.Linear).backbone
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 6 and all(norm.bias.requires_grad for norm in norms)
    assert not any(norm.weight.requires_grad or (norm.weight != 1).any() for norm in norms)


def test_an_unknown_network_lists_the_known():
    with pytest.raises(ValueError, match=r"unknown model 'resnet19'; known: cnn, .*densenet_bc_100_12"):
        models.build("resnet19", 10, (3, 32, 32), nn.Linear)
