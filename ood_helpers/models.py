"""Backbones: images in, features out, and then whatever head a recipe brings."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from . import import_torchvision
from .dropout import Dropout
from .imagenet import large, load_weights


class Network(nn.Module):
    """A backbone and its classifier, fed with raw images.

    Parameters
    ----------
    backbone : module, (B, channels, H, W) standardised floats -> (B, num_features)
    num_features : int
    head : ``head(num_features, num_classes)`` gives the classifier, e.g. ``nn.Linear`` or
        :class:`ood_helpers.losses.DisMaxLossFirstPart`
    num_classes, channels : int

    The network standardises its input itself, so that a trained run needs nothing beside it: images come as
    uint8 or as floats on the same 0..255 scale; call :meth:`standardise_by` once with the training images.

    >>> network = build("cnn", 6, (1, 8, 8), nn.Linear)
    >>> network(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).shape
    torch.Size([2, 6])
    """

    def __init__(self, backbone, num_features, head, num_classes, channels):
        super().__init__()
        self.backbone, self.num_features = backbone, num_features
        self.classifier = head(num_features, num_classes)
        self.register_buffer("mean", torch.full((channels, 1, 1), 127.5))
        self.register_buffer("std", torch.full((channels, 1, 1), 64.0))

    def standardise_by(self, images):
        """Take mean and standard deviation per channel from uint8 training images (N, C, H, W)."""
        # counted in 64 bits: a float32 sum would lose digits, and a set larger than memory is read in pieces
        values = torch.arange(256, dtype=torch.float64)
        counts = values.new_zeros(images.shape[1], 256)
        for some in images.split(4096):
            for count, channel in zip(counts, some.unbind(1)):
                count += torch.bincount(channel.flatten(), minlength=256).cpu()
        for c, count in enumerate(counts):
            mean = (count @ values) / count.sum()
            self.mean[c] = mean
            self.std[c] = ((count @ (values - mean) ** 2) / count.sum()).sqrt().clamp_min(1)
        return self

    def features(self, images):
        """Images (B, C, H, W), 0..255 -> features (B, num_features)."""
        return self.backbone((images.to(self.mean.dtype) - self.mean) / self.std)

    def forward(self, images):
        return self.classifier(self.features(images))


def conv3x3(inputs, outputs, stride=1):
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


class Pooled(nn.Sequential):
    """Layers, then the mean over what is left of height and width."""

    def forward(self, x):
        return super().forward(x).mean((2, 3))


def cnn(channels, dropout=0.0):
    """Three convolutions for images of 8 to 32 pixels: the laptop's network, 24,000 parameters."""
    layers = []
    for inputs, outputs, stride in ((channels, 16, 1), (16, 32, 2), (32, 64, 2)):
        layers += [conv3x3(inputs, outputs, stride), nn.BatchNorm2d(outputs), nn.ReLU()]
    return Pooled(*layers, nn.Dropout(dropout)), 64


def he(network):
    """The network with its convolutions drawn from He's normal distribution by fan out (He et al., 2015)."""

    def drawn(channels, dropout=0.0):
        backbone, num_features = network(channels, dropout)
        for module in backbone.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        return backbone, num_features

    return drawn


class Widen(nn.Module):
    """He's shortcut without parameters: every second pixel, and channels of zeros on either side."""

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, x.shape[1] // 2, x.shape[1] // 2))


def resnet(channels, dropout=0.0, *, blocks, width, widen=False, start_at_zero=False):
    """ResNet for 32-pixel images (He et al., 2016): a 3x3 stem without pooling, torchvision's basic blocks.

    ``widen``: shortcuts without parameters, as in He's networks for CIFAR. ``start_at_zero``: a block's last
    norm starts with weight 0, as DisMax's authors have it.
    """
    BasicBlock = import_torchvision().models.resnet.BasicBlock
    layers, inputs = [conv3x3(channels, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True)], width
    for stage, count in enumerate(blocks):
        outputs = width * 2**stage
        for i in range(count):
            stride, shortcut = 2 if stage and not i else 1, None
            if inputs != outputs:
                shortcut = (
                    Widen()
                    if widen
                    else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
                )
            layers.append(BasicBlock(inputs, outputs, stride, shortcut))
            if start_at_zero:
                nn.init.zeros_(layers[-1].bn2.weight)
            inputs = outputs
    return Pooled(*layers, nn.Dropout(dropout)), inputs


def densenet(channels, dropout=0.0, *, depth=100, growth=12):
    """DenseNet-BC for 32-pixel images (Huang et al., 2017): torchvision's, three blocks behind a 3x3 stem."""
    blocks = ((depth - 4) // 6,) * 3
    layers = import_torchvision().models.DenseNet(growth, blocks, 2 * growth, drop_rate=dropout).features
    layers.conv0 = conv3x3(channels, 2 * growth)
    del layers.norm0, layers.relu0, layers.pool0
    return Pooled(*layers, nn.ReLU(inplace=True)), layers.norm5.num_features


class PreActivation(nn.Module):
    """The wide residual network's block: norm, ReLU, convolution, twice, with dropout between."""

    def __init__(self, inputs, outputs, stride, dropout):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), conv3x3(inputs, outputs, stride)
        self.norm2, self.conv2 = nn.BatchNorm2d(outputs), conv3x3(outputs, outputs)
        self.dropout = Dropout(dropout)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None

    def forward(self, x):
        activated = F.relu(self.norm1(x))
        # where the width changes, the shortcut starts after the first activation, as in the authors' network
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        return shortcut + self.conv2(self.dropout(F.relu(self.norm2(self.conv1(activated)))))


def wrn(channels, dropout=0.0, *, depth, widen):
    """Wide residual network (Zagoruyko and Komodakis, 2016), WRN-depth-widen."""
    layers, inputs = [conv3x3(channels, 16)], 16
    for stage in range(3):
        outputs = 16 * widen * 2**stage
        for i in range((depth - 4) // 6):
            layers.append(PreActivation(inputs, outputs, 2 if stage and not i else 1, dropout))
            inputs = outputs
    return Pooled(*layers, nn.BatchNorm2d(inputs), nn.ReLU(inplace=True)), inputs


BACKBONES = {  # each starts as in the code of the paper that it is for; OpenOOD's ResNet-18 as torch has it
    "cnn": cnn,
    "resnet18": partial(resnet, blocks=(2, 2, 2, 2), width=64),
    "resnet18_w16": partial(resnet, blocks=(2, 2, 2, 2), width=16),
    "resnet34": he(partial(resnet, blocks=(3, 4, 6, 3), width=64, start_at_zero=True)),
    "resnet110": he(partial(resnet, blocks=(18, 18, 18), width=16, widen=True)),
    "wrn_16_2": he(partial(wrn, depth=16, widen=2)),
    "wrn_40_2": he(partial(wrn, depth=40, widen=2)),
    "wrn_28_10": he(partial(wrn, depth=28, widen=10)),
    "densenet_bc_100_12": he(densenet),
    "resnet18_224": partial(large, name="resnet18"),
    "resnet50_224": partial(large, name="resnet50"),
    "resnet50_pretrained": partial(large, name="resnet50"),
}
LARGE = ("resnet18_224", "resnet50_224", "resnet50_pretrained")
PRETRAINED = {"resnet50_pretrained": "ResNet50_Weights.IMAGENET1K_V1"}


def build(name, num_classes, shape, head, dropout=0.0, pretrained=True):
    """A :class:`Network` by name.

    Parameters
    ----------
    name : one of ``BACKBONES``
    num_classes : int
    shape : (channels, height, width) of the images
    head : ``head(num_features, num_classes)`` gives the classifier
    dropout : probability, between a block's convolutions (WRN, DenseNet) or before the head (the others)
    pretrained : False where the weights of ``resnet50_pretrained`` are loaded afterwards, so need no download

    Errors: ValueError for an unknown name; FileNotFoundError, with what to put where, when a download fails.

    >>> sum(p.numel() for p in build("wrn_28_10", 10, (3, 32, 32), nn.Linear).parameters())
    36479194
    """
    if name not in BACKBONES:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(BACKBONES)}")
    backbone, num_features = BACKBONES[name](shape[0], dropout)
    if pretrained and name in PRETRAINED:
        load_weights(backbone, PRETRAINED[name])
    return Network(backbone, num_features, head, num_classes, shape[0])
