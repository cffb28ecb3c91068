"""Backbones: images (B, channels, H, W), standardised -> features (B, D). Each function returns a module and D."""

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .kernels import Dropout
from .torchvision import import_torchvision


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """3x3 convolution with padding and without bias."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


class GloballyPooled(nn.Sequential):
    """Layers followed by global average pooling."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).mean((2, 3))


Backbone = tuple[nn.Module, int]  # and its number of features


def cnn(channels: int, dropout: float = 0.0) -> Backbone:
    """Three convolutions for images of 8 to 32 pixels: 24,000 parameters, for laptops."""
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((channels, 16, 1), (16, 32, 2), (32, 64, 2)):
        layers += [conv3x3(inputs, outputs, stride), nn.BatchNorm2d(outputs), nn.ReLU()]
    return GloballyPooled(*layers, nn.Dropout(dropout)), 64


def cnn5(channels: int, dropout: float = 0.0) -> Backbone:
    """Five convolutions for images of 24 to 64 pixels, whose features see 35 of them: 97,000 parameters, for laptops.

    Its first convolution halves the image, so that it costs no more than :func:`cnn`.
    """
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((channels, 16, 2), (16, 32, 1), (32, 64, 2), (64, 64, 2), (64, 64, 1)):
        layers += [conv3x3(inputs, outputs, stride), nn.BatchNorm2d(outputs), nn.ReLU()]
    return GloballyPooled(*layers, nn.Dropout(dropout)), 64


def he_initialised(make_backbone: Callable[..., Backbone]) -> Callable[..., Backbone]:
    """Wrap a backbone's function to draw convolutions from He's normal distribution, fan-out (He et al., 2015)."""

    def make_initialised(channels: int, dropout: float = 0.0) -> Backbone:
        backbone, num_features = make_backbone(channels, dropout)
        for module in backbone.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        return backbone, num_features

    return make_initialised


class ZeroPaddingShortcut(nn.Module):
    """Shortcut without parameters: every second pixel, with channels of zeros on either side (He et al., 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, x.shape[1] // 2, x.shape[1] // 2))


def resnet(
    channels: int,
    dropout: float = 0.0,
    *,
    blocks: tuple[int, ...],
    width: int,
    zero_padding: bool = False,
    zero_last_norm: bool = False,
) -> Backbone:
    """ResNet for 32-pixel images (He et al., 2016): a 3x3 stem without pooling, torchvision's basic blocks.

    ``blocks`` are the blocks of each stage, ``width`` the channels of the first; each further stage doubles them.
    ``zero_padding``: shortcuts without parameters, as in He's networks for CIFAR. ``zero_last_norm``: each block's
    last batch norm starts with weight 0, as in DisMax's code.
    """
    BasicBlock = import_torchvision().models.resnet.BasicBlock
    inputs = width
    layers: list[nn.Module] = [conv3x3(channels, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    for stage, count in enumerate(blocks):
        outputs = width * 2**stage
        for i in range(count):
            stride = 2 if stage and not i else 1
            shortcut: nn.Module | None = None
            if inputs != outputs and zero_padding:
                shortcut = ZeroPaddingShortcut()
            elif inputs != outputs:
                projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
                shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))
            block = BasicBlock(inputs, outputs, stride, shortcut)
            if zero_last_norm:
                nn.init.zeros_(block.bn2.weight)
            layers.append(block)
            inputs = outputs
    return GloballyPooled(*layers, nn.Dropout(dropout)), inputs


def densenet(channels: int, dropout: float = 0.0, *, depth: int = 100, growth: int = 12) -> Backbone:
    """DenseNet-BC for 32-pixel images (Huang et al., 2017): torchvision's, three blocks after a 3x3 stem."""
    blocks = ((depth - 4) // 6,) * 3
    layers = import_torchvision().models.DenseNet(growth, blocks, 2 * growth, drop_rate=dropout).features
    layers.conv0 = conv3x3(channels, 2 * growth)
    del layers.norm0, layers.relu0, layers.pool0
    return GloballyPooled(*layers, nn.ReLU(inplace=True)), layers.norm5.num_features


class Whitening(nn.Module):
    """Fixed 2x2 filters that decorrelate neighbouring pixels, each with both signs, followed by GELU.

    The filters are the principal directions of the training images' 2x2 patches, each divided by its standard
    deviation; ``fit`` computes them.
    """

    filters: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("filters", torch.zeros(8 * channels, channels, 2, 2))

    def fit(self, images: Tensor) -> None:
        """Compute the filters from standardised images (N, channels, H, W)."""
        patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(1)
        variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (directions / (variances + 5e-4).sqrt()).T.flip(0).reshape(-1, *self.filters.shape[1:])
        self.filters.copy_(torch.cat([filters, -filters]))

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(F.conv2d(x, self.filters))


class PooledGroup(nn.Module):
    """Two convolutions that start as the identity, each with batch norm and GELU; max-pooling after the first."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1, self.conv2 = conv3x3(inputs, outputs), conv3x3(outputs, outputs)
        # A short training leaves little time for running statistics to settle, hence the large momentum.
        self.norm1, self.norm2 = (nn.BatchNorm2d(outputs, momentum=0.4) for _ in range(2))
        # Weight decay would shrink the norms' weights until GELU is almost linear; they stay at 1, as in airbench94.
        for norm in (self.norm1, self.norm2):
            norm.weight.requires_grad_(False)
        nn.init.dirac_(self.conv1.weight.data[:inputs])
        nn.init.dirac_(self.conv2.weight.data)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(x)))


def airbench(channels: int, dropout: float = 0.0, *, widths: tuple[int, int, int] = (64, 256, 256)) -> Backbone:
    """Network of airbench94 (Jordan, arXiv:2404.00498) for photographs of 24 to 64 pixels: 2.0 million parameters.

    A fixed whitening layer and three groups of two convolutions. Unlike there, logits are not divided by 9, since that
    changes the confidence that is studied here.
    """
    groups = [PooledGroup(*sizes) for sizes in zip((8 * channels, *widths), widths)]
    layers = Whitening(channels), *groups, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Dropout(dropout)
    return nn.Sequential(*layers), widths[-1]


class PreActivation(nn.Module):
    """Block of the wide residual network: batch norm, ReLU, convolution, twice, with dropout in between."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), conv3x3(inputs, outputs, stride)
        self.norm2, self.conv2 = nn.BatchNorm2d(outputs), conv3x3(outputs, outputs)
        self.dropout = Dropout(dropout)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.norm1(x))
        # If the width changes, the shortcut starts after the first activation, as in the authors' network.
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        return shortcut + self.conv2(self.dropout(F.relu(self.norm2(self.conv1(activated)))))


def wrn(channels: int, dropout: float = 0.0, *, depth: int, widen: int) -> Backbone:
    """Wide residual network WRN-depth-widen (Zagoruyko and Komodakis, 2016)."""
    layers: list[nn.Module] = [conv3x3(channels, 16)]
    inputs = 16
    for stage in range(3):
        outputs = 16 * widen * 2**stage
        for i in range((depth - 4) // 6):
            layers.append(PreActivation(inputs, outputs, 2 if stage and not i else 1, dropout))
            inputs = outputs
    return GloballyPooled(*layers, nn.BatchNorm2d(inputs), nn.ReLU(inplace=True)), inputs


class CenterCrop(nn.Module):
    """The central 224 x 224 pixels (image sets have 256, for random crops); grey becomes RGB."""

    def forward(self, x: Tensor) -> Tensor:
        top, left = (max(side - 224, 0) // 2 for side in x.shape[2:])
        return x[:, :, top : top + 224, left : left + 224].expand(-1, 3, -1, -1)


def torchvision_backbone(channels: int, dropout: float = 0.0, *, name: str) -> Backbone:
    """torchvision's network of that name, for images of 224 pixels, without its classifier."""
    network = import_torchvision().models.get_model(name)
    inputs, network.fc = network.fc.in_features, nn.Dropout(dropout)
    return nn.Sequential(CenterCrop(), network), inputs


def load_pretrained(backbone: Any, name: str) -> None:
    """Load torchvision's weights of that name, downloaded once, into a :func:`torchvision_backbone`.

    Raise FileNotFoundError, with the file to fetch and its place, if the download fails.
    """
    weights = import_torchvision().models.get_weight(name)
    try:
        state = weights.get_state_dict(check_hash=True, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())
        raise FileNotFoundError(
            f"the weights {name} could not be loaded ({reason}); without a network, fetch {weights.url} "
            f"elsewhere and put it into {torch.hub.get_dir()}/checkpoints"
        ) from error
    backbone[1].load_state_dict({key: value for key, value in state.items() if not key.startswith("fc.")})


# Initialised as in their papers' code; OpenOOD's ResNet-18 as torch's.
BACKBONES: dict[str, Callable[..., Backbone]] = {
    "cnn": cnn,
    "cnn5": cnn5,
    "airbench": airbench,
    "resnet18": partial(resnet, blocks=(2, 2, 2, 2), width=64),
    "resnet18_w16": partial(resnet, blocks=(2, 2, 2, 2), width=16),
    "resnet34": he_initialised(partial(resnet, blocks=(3, 4, 6, 3), width=64, zero_last_norm=True)),
    "resnet110": he_initialised(partial(resnet, blocks=(18, 18, 18), width=16, zero_padding=True)),
    "wrn_16_2": he_initialised(partial(wrn, depth=16, widen=2)),
    "wrn_40_2": he_initialised(partial(wrn, depth=40, widen=2)),
    "wrn_28_10": he_initialised(partial(wrn, depth=28, widen=10)),
    "densenet_bc_100_12": he_initialised(densenet),
    "resnet18_224": partial(torchvision_backbone, name="resnet18"),
    "resnet50_pretrained": partial(torchvision_backbone, name="resnet50"),
}
AUTO = "cnn_auto"  # the small network that fits the images' size
MODELS = (*BACKBONES, AUTO)
SMALL = ("cnn", "cnn5", AUTO)  # too small to gain from a second thread or from bfloat16
LARGE = ("resnet18_224", "resnet50_pretrained")
PRETRAINED = {"resnet50_pretrained": "ResNet50_Weights.IMAGENET1K_V1"}


def for_images(model: str, shape: tuple[int, int, int]) -> str:
    """Name of a model's backbone for images of a shape: "cnn_auto" is "cnn" below 24 pixels and "cnn5" above.

    >>> for_images("cnn_auto", (1, 8, 8)), for_images("cnn_auto", (1, 28, 28)), for_images("resnet18", (3, 32, 32))
    ('cnn', 'cnn5', 'resnet18')
    """
    if model != AUTO:
        return model
    return "cnn" if min(shape[1:]) < 24 else "cnn5"
