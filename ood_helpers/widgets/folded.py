"""A ``cnn`` for the browser: batch norm folded into the convolutions, weights rounded to float16."""

import copy
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..beyond.feature_scores import linear_layer
from ..engine.backbones import GloballyPooled
from ..losses import DisMaxLossFirstPart, IsoMaxLossFirstPart, IsoMaxPlusLossFirstPart
from ..models import Network

DIGITS = "0123456789abcdefg"  # of a drawing as text: inked cells in a block of 4x4
SHAPE = (1, 8, 8)  # of an image, as static/image_networks.js expects it


def fold(network: Network) -> Network:
    """Return a copy of a trained ``cnn`` without batch norm, with weights that float16 can hold.

    Parameters
    ----------
    network : Network
        Built by ``models.build("cnn", ...)``, in evaluation mode; it is not modified.

    Returns
    -------
    Network
        It computes in float32. Its logits differ from the original's by the rounding of the weights alone.

    Examples
    --------
    >>> from ood_helpers.models import build
    >>> network = build("cnn", 6, SHAPE, nn.Linear).eval()
    >>> images = torch.arange(64.0).view(1, *SHAPE)
    >>> torch.allclose(fold(network)(images), network(images), atol=1e-2)
    True
    """
    modules = list(network.backbone.children())
    layers: list[nn.Module] = []
    for conv, norm in pairwise(modules):
        if isinstance(norm, nn.BatchNorm2d):
            layers += [fuse_conv_bn_eval(conv, norm), nn.ReLU()]
    folded = copy.deepcopy(network)
    folded.backbone = GloballyPooled(*layers)
    if isinstance(network.classifier, nn.Linear):  # as weight and bias alone: T2FNorm's has a temperature
        weight, bias = linear_layer(network.classifier)
        folded.classifier = nn.utils.skip_init(nn.Linear, *weight.T.shape)
        folded.classifier.load_state_dict({"weight": weight, "bias": bias})
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.copy_(parameter.half())
    return folded.eval().requires_grad_(False)


def pack(network: Network) -> tuple[dict, bytes]:
    """Return a folded network for static/image_networks.js: its description as JSON, and its weights as float16.

    The buffer holds weight (outputs, inputs, 3, 3) and bias of each convolution, then weight (C, D) and bias of a
    linear head, or the prototypes (C, D) of a distance head.
    """
    convolutions = [layer for layer in network.backbone.children() if isinstance(layer, nn.Conv2d)]
    head = network.classifier
    arrays = [array for layer in convolutions for array in (layer.weight, layer.bias)]
    if isinstance(head, IsoMaxLossFirstPart):
        arrays.append(head.prototypes)
        scale = float(getattr(head, "distance_scale", torch.ones(1)).abs() / head.temperature)
        entry = {
            "kind": "distance",
            "scale": scale / getattr(head, "divisor", 1.0),
            "unit": isinstance(head, IsoMaxPlusLossFirstPart),  # features and prototypes are divided by their norms
            "mean": isinstance(head, DisMaxLossFirstPart),  # the mean of the logits is added to each of them
        }
    else:
        arrays += [head.weight, head.bias]
        entry = {"kind": "linear"}
    return {
        "mean": float(network.mean),
        "std": float(network.std),
        "layers": [
            {"inputs": layer.in_channels, "outputs": layer.out_channels, "stride": layer.stride[0]}
            for layer in convolutions
        ],
        "head": entry | {"features": network.num_features},
    }, b"".join(array.detach().numpy().astype("<f2").tobytes() for array in arrays)


def count_image(image: np.ndarray) -> np.ndarray:
    """Pixels 0..255 of scikit-learn's digits as the counts 0..16 that they were made from.

    >>> count_image(np.array([0, 128, 255])).tolist()
    [0, 8, 16]
    """
    return np.rint(np.asarray(image, np.float64) * (16 / 255)).astype(np.uint8)


def pixel_image(counts: np.ndarray) -> np.ndarray:
    """Counts 0..16 as pixels 0..255, as ``data.load("digits")`` computes them.

    >>> pixel_image(np.array([0, 8, 16])).tolist()
    [0, 128, 255]
    """
    return np.rint(np.asarray(counts) * (255 / 16)).astype(np.uint8)


def encode(counts) -> str:
    """Return counts 0..16 (8, 8) as text, 64 digits of base 17.

    >>> encode(np.eye(8, dtype=int) * 16)[:10]
    'g00000000g'
    """
    counts = np.asarray(counts)
    if counts.shape != SHAPE[1:] or not np.isin(counts, range(17)).all():
        raise ValueError(f"image must be (8, 8) whole numbers of 0..16, got {counts.dtype} {counts.shape}")
    return "".join(DIGITS[int(count)] for count in counts.flat)


def decode(text: str) -> np.ndarray:
    """Return the counts (8, 8) that a text stands for.

    >>> int(decode("g" + 63 * "0").sum())
    16
    """
    return np.array([DIGITS.index(letter) for letter in text], np.uint8).reshape(SHAPE[1:])
