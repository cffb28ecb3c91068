"""Backbones: images in, features out, and then whatever head a recipe brings."""
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn


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
        # numpy-free and in 64 bits: a float32 sum over 50,000 images would lose the last digits
        counts = [torch.bincount(channel.flatten().int(), minlength=256).double() for channel in images.unbind(1)]
        values = torch.arange(256, dtype=torch.float64)
        for c, count in enumerate(counts):
            count = count.cpu()
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


def resnet(channels, dropout=0.0, *, blocks, width):
    """ResNet for 32-pixel images (He et al., 2016): a 3x3 stem without pooling, torchvision's basic blocks."""
    from torchvision.models.resnet import BasicBlock

    layers, inputs = [conv3x3(channels, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True)], width
    for stage, count in enumerate(blocks):
        outputs = width * 2**stage
        for i in range(count):
            stride = 2 if stage and not i else 1
            shortcut = None
            if stride != 1 or inputs != outputs:
                shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            layers.append(BasicBlock(inputs, outputs, stride, shortcut))
            inputs = outputs
    return Pooled(*layers, nn.Dropout(dropout)), inputs


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, cut):
        # A 64-bit draw decides four elements; one at a time, as in torch's own dropout on the CPU, the draws take
        # half of a wide network's time. The probability is exact to 2^-16, the scale fits it, so the mean stays.
        bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-2**63, None).view(torch.int16)[: x.numel()]
        keep = (bits >= cut - 2**15).to(x.dtype).mul_(2**16 / (2**16 - cut))
        keep = keep.as_strided(x.shape, x.stride())
        ctx.save_for_backward(keep)
        return x * keep

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0], None


class Dropout(nn.Dropout):
    """``nn.Dropout``, an eighth of its cost on the CPU; the same distribution, other draws."""

    def forward(self, x):
        if not self.training or not self.p or x.device.type != "cpu":
            return super().forward(x)
        return _Drop.apply(x, round(self.p * 2**16))


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


BACKBONES = {
    "cnn": cnn,
    "resnet18": partial(resnet, blocks=(2, 2, 2, 2), width=64),
    "resnet18_w16": partial(resnet, blocks=(2, 2, 2, 2), width=16),
    "resnet34": partial(resnet, blocks=(3, 4, 6, 3), width=64),
    "wrn_16_2": partial(wrn, depth=16, widen=2),
    "wrn_40_2": partial(wrn, depth=40, widen=2),
    "wrn_28_10": partial(wrn, depth=28, widen=10),
}


def build(name, num_classes, shape, head, dropout=0.0):
    """A :class:`Network` by name.

    Parameters
    ----------
    name : one of ``BACKBONES``
    num_classes : int
    shape : (channels, height, width) of the images
    head : ``head(num_features, num_classes)`` gives the classifier
    dropout : probability, between a block's convolutions (WRN) or before the head (the others)

    Errors: ValueError for an unknown name.

    >>> sum(p.numel() for p in build("wrn_28_10", 10, (3, 32, 32), nn.Linear).parameters())
    36479194
    """
    if name not in BACKBONES:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(BACKBONES)}")
    backbone, num_features = BACKBONES[name](shape[0], dropout)
    return Network(backbone, num_features, head, num_classes, shape[0])
