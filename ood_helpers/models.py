"""Networks: images (B, channels, H, W) -> features (B, D) -> logits (B, C)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .engine.backbones import BACKBONES, MODELS, PRETRAINED, Whitening, for_images, load_pretrained
from .engine.inference import SplitModel


class Network(SplitModel):
    """A backbone and its classifier, applied to raw images.

    The network standardises its input itself, so a saved network needs no preprocessing: images are uint8, or floats
    on the same 0..255 scale. Call :meth:`standardise_by` once with the training images.

    Parameters
    ----------
    backbone : module
        Standardised images (B, channels, H, W) to features (B, num_features).
    num_features : int
    head : callable
        ``head(num_features, num_classes)`` makes the classifier, e.g. ``nn.Linear`` or
        :class:`ood_helpers.losses.DisMaxLossFirstPart`.
    num_classes, channels : int

    Examples
    --------
    >>> network = build("cnn", 6, (1, 8, 8), nn.Linear)
    >>> network(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).shape
    torch.Size([2, 6])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, num_features: int, head: Callable[..., nn.Module], num_classes: int, channels: int
    ):
        super().__init__()
        self.backbone, self.num_features = backbone, num_features
        self.classifier = head(num_features, num_classes)
        self.register_buffer("mean", torch.full((channels, 1, 1), 127.5))
        self.register_buffer("std", torch.full((channels, 1, 1), 64.0))

    def standardise_by(self, images: Tensor) -> "Network":
        """Set what depends on the data from uint8 training images (N, channels, H, W).

        That is the mean and standard deviation of each channel, and the filters of a whitening layer.
        """
        # Histograms in 64 bits: a float32 sum would lose digits. In batches, since images may be memory-mapped.
        values = torch.arange(256, dtype=torch.float64)
        histograms = values.new_zeros(images.shape[1], 256)
        for batch in images.split(4096):
            for histogram, channel in zip(histograms, batch.unbind(1)):
                histogram += torch.bincount(channel.flatten(), minlength=256).cpu()
        for c, histogram in enumerate(histograms):
            mean = (histogram @ values) / histogram.sum()
            self.mean[c] = mean
            self.std[c] = ((histogram @ (values - mean) ** 2) / histogram.sum()).sqrt().clamp_min(1)
        for module in self.backbone.modules():
            if isinstance(module, Whitening):
                module.fit((images[:5000] - self.mean) / self.std)
        return self

    def features(self, images: Tensor) -> Tensor:
        """Compute features (B, num_features) of images (B, channels, H, W) with pixels in 0..255."""
        return self.backbone((images.to(self.mean.dtype) - self.mean) / self.std)


def _check_image_size(name: str, backbone: nn.Module, shape: tuple[int, int, int]) -> None:
    """Raise ValueError if images of that shape are too small for the backbone, found out by a forward pass."""
    if min(shape[1:]) >= 32:  # enough for all backbones
        return
    try:
        with torch.no_grad():
            backbone.eval()(torch.zeros(1, *shape))
    except RuntimeError:
        raise ValueError(
            f"images of {shape[1]}x{shape[2]} pixels are too small for {name}; "
            "load larger ones or take another model, such as cnn"
        ) from None
    finally:
        backbone.train()


def build(
    name: str,
    num_classes: int,
    shape: tuple[int, int, int],
    head: Callable[..., nn.Module],
    dropout: float = 0.0,
    pretrained: bool = True,
) -> Network:
    """Build a :class:`Network` by name.

    Parameters
    ----------
    name : str
        One of ``BACKBONES``, or "cnn_auto" for the small network that fits the images' size.
    num_classes : int
    shape : tuple of int
        (channels, height, width) of the images.
    head : callable
        ``head(num_features, num_classes)`` makes the classifier.
    dropout : float
        Probability, between a block's convolutions (WRN, DenseNet) or before the head (the others).
    pretrained : bool
        False skips the download of the weights of ``resnet50_pretrained``, if others are loaded afterwards.

    Raises
    ------
    ValueError
        If the name is unknown or the images are too small for the backbone.
    FileNotFoundError
        If a download fails; the message says which file to put where.

    Examples
    --------
    >>> sum(p.numel() for p in build("wrn_28_10", 10, (3, 32, 32), nn.Linear).parameters())
    36479194
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
    name = for_images(name, shape)
    backbone, num_features = BACKBONES[name](shape[0], dropout)
    _check_image_size(name, backbone, shape)
    if pretrained and name in PRETRAINED:
        load_pretrained(backbone, PRETRAINED[name])
    return Network(backbone, num_features, head, num_classes, shape[0])
