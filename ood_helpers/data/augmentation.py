"""Random changes of training images, a complete batch at a time, on the device that holds it."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


def crop_flip(images: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """Random crops of the zero-padded images and random flips, as one gather for the complete batch.

    (B, C, H, W) -> the same shape, stored channels last.
    """
    count, _, height, width = images.shape
    padded = nn.functional.pad(images, (padding,) * 4)
    shift = torch.randint(0, 2 * padding + 1, (2, count, 1), generator=generator, device=images.device)
    flip = torch.rand(count, 1, generator=generator, device=images.device) < 0.5
    across, down = torch.arange(width, device=images.device), torch.arange(height, device=images.device)
    return _gather(padded, down + shift[1], torch.where(flip, across.flip(0), across) + shift[0])


def shift_flip(images: Tensor, generator: torch.Generator, flip: Tensor, most: int = 2) -> Tensor:
    """Shift each image by up to ``most`` pixels, reflecting it at its borders, and mirror those where ``flip`` is true.

    (B, C, H, W) and (B,) -> (B, C, H, W), stored channels last.
    """
    count, _, height, width = images.shape
    shift = torch.randint(-most, most + 1, (2, count, 1), generator=generator, device=images.device)
    across, down = torch.arange(width, device=images.device), torch.arange(height, device=images.device)
    columns = _reflect(torch.where(flip[:, None], across.flip(0), across) + shift[0], width)
    return _gather(images, _reflect(down + shift[1], height), columns)


def alternating_flips(count: int, seed: int, epoch: int) -> Tensor:
    """Mirror each image in every second epoch; which half begins is random (Jordan, arXiv:2404.00498).

    >>> bool((alternating_flips(100, 0, epoch=1) ^ alternating_flips(100, 0, epoch=2)).all())
    True
    """
    first = torch.rand(count, generator=torch.Generator().manual_seed(seed)) < 0.5
    return first ^ (epoch % 2 == 0)


def _reflect(index: Tensor, size: int) -> Tensor:
    """Positions outside 0..size-1, reflected at the first and the last one."""
    return size - 1 - (size - 1 - index.abs()).abs()


def _gather(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Image i at rows[i] and columns[i], stored channels last."""
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    return images[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def resized_crop(images: Tensor, generator: torch.Generator, size: int = 224) -> Tensor:
    """Crops of 8 to 100 % of the area with aspect 3/4 to 4/3, scaled to ``size``, and flips, as usual for ImageNet.

    (B, C, H, W) -> float (B, C, size, size).
    """
    count = len(images)
    u = torch.rand(5, count, generator=generator, device=images.device)
    area, aspect = 0.08 + 0.92 * u[0], torch.exp((2 * u[1] - 1) * math.log(4 / 3))
    across, down = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    theta = torch.zeros(count, 2, 3, device=images.device)  # from the output's [-1, 1] to the input's
    theta[:, 0, 0], theta[:, 1, 1] = torch.where(u[4] < 0.5, -across, across), down
    theta[:, 0, 2], theta[:, 1, 2] = (1 - across) * (2 * u[2] - 1), (1 - down) * (2 * u[3] - 1)
    grid = nn.functional.affine_grid(theta, [count, 1, size, size], align_corners=False)
    return nn.functional.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)


# Each is called with images, generator and the epoch's alternating flips; crop_flip and resized_crop draw their own
# flips.
AUGMENTATIONS: dict[str, Callable[[Tensor, torch.Generator, Tensor], Tensor]] = {
    "none": lambda images, generator, flip: images,
    "crop_flip": lambda images, generator, flip: crop_flip(images, generator),
    "shift_flip": shift_flip,
    "resized_crop": lambda images, generator, flip: resized_crop(images, generator),
}
