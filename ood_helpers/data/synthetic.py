"""Synthetic images: far OOD sets that need no download, and outliers made from ID images alone.

The far sets are functions of the images' shape (C, H, W), with C = 1 or 3, that return the images, uint8
(N, C, H, W), their labels, int64 (N,), and the names of the classes.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FAR = ("letters", "patches", "noise")

# Without the letters that can be taken for a digit (O D Q o 0, I J l i j 1, Z z 2, S s 5, b G 6, B 8, g q 9).
LETTERS = "ACEFHKLMNPRTUVWXYacdefhkmnprtuvwxy"
FONTS = (
    *(
        f"DejaVu{family}{style}"
        for family in ("Sans", "SansMono")
        for style in ("", "-Bold", "-Oblique", "-BoldOblique")
    ),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
    *(f"{name}10" for name in ("cmr", "cmb", "cmss", "cmtt", "cmti")),
)


def letters(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Letters in Matplotlib's fonts, each in 21 fonts, shuffled.

    They are drawn like scikit-learn's digits: a binary picture at four times the size, averaged over blocks of 4 x 4
    pixels, scaled to fill its box and centred. Below 16 pixels the box is the whole image (as in the digits), from 16
    pixels on it is 20/28 of it (as in MNIST). Upper and lower case share a class. Grey sets get white on black, colour
    sets a random ink on a random paper, because a black margin alone would tell letters from photographs.
    """
    images, labels, classes = _letters(shape)
    return images.clone(), labels.clone(), classes


@lru_cache(1)  # every training of a sweep asks for them, and large ones take a minute
def _letters(shape):
    import matplotlib
    from PIL import ImageFont

    channels, height, width = shape
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [ImageFont.truetype(folder / f"{font}.ttf", 4 * max(height, width)) for font in FONTS]
    glyphs = torch.stack([_glyph(font, letter, height, width) for letter in LETTERS for font in fonts])
    classes = tuple(sorted(set(LETTERS.upper())))
    labels = torch.tensor([classes.index(letter.upper()) for letter in LETTERS for _ in fonts])
    rng = np.random.default_rng(0)
    order = torch.from_numpy(rng.permutation(len(glyphs)))  # so that the first images show many letters
    if channels == 3:
        paper, ink = torch.from_numpy(rng.uniform(0, 1, (2, len(glyphs), 3, 1, 1))).float()
        glyphs = paper + (ink - paper) * glyphs
    return (glyphs * 255).round().byte()[order], labels[order], classes


def _glyph(font, letter, height, width):
    """One letter as float (1, H, W) in [0, 1]."""
    from PIL import Image, ImageDraw

    canvas = Image.new("L", (3 * font.size, 3 * font.size))
    ImageDraw.Draw(canvas).text((font.size, font.size // 2), letter, font=font, fill=255)
    ink = canvas.crop(canvas.getbbox())
    box = [4 * side if side < 16 else 4 * side * 20 // 28 for side in (width, height)]
    scale = min(box[0] / ink.width, box[1] / ink.height)
    ink = ink.resize((max(1, round(ink.width * scale)), max(1, round(ink.height * scale))))
    big = Image.new("L", (4 * width, 4 * height))
    big.paste(ink, ((big.width - ink.width) // 2, (big.height - ink.height) // 2))
    blocks = (torch.from_numpy(np.array(big)) > 127).float().view(1, height, 4, width, 4)
    return blocks.mean((2, 4))


def patches(shape: tuple[int, int, int], count: int = 1000) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Crops of scikit-learn's two sample photographs, downscaled by a factor of two to eight.

    A crop is at most a third of the photograph high. Flat crops such as bare sky (standard deviation below 16 of 255)
    are drawn again.
    """
    images, labels, classes = _patches(shape, count)
    return images.clone(), labels.clone(), classes


@lru_cache(1)
def _patches(shape, count):
    from PIL import Image
    from sklearn.datasets import load_sample_images

    channels, height, width = shape
    mode = "RGB" if channels == 3 else "L"
    photos = [Image.fromarray(photo).convert(mode) for photo in load_sample_images().images]
    largest = min(8, photos[0].width / width / 3, photos[0].height / height / 3)
    rng, crops = np.random.default_rng(0), []
    while len(crops) < count:
        photo, scale = photos[len(crops) % 2], rng.uniform(min(2, largest), largest)
        left, top = rng.uniform(0, 1, 2) * (photo.width - scale * width, photo.height - scale * height)
        box = (left, top, left + scale * width, top + scale * height)
        patch = np.array(photo.resize((width, height), Image.Resampling.BOX, box)).reshape(height, width, -1)
        if patch.mean(2).std() >= 16:
            crops.append(patch)
    images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()
    return images, torch.arange(count) % 2, ("china", "flower")


def noise(shape: tuple[int, int, int], count: int = 1000) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Images of ``shape`` (C, H, W) whose pixels are independent and uniform in 0..255; labels; class names."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)
    return torch.from_numpy(pixels), torch.zeros(count, dtype=torch.int64), ("noise",)


def outliers(images: Tensor, seed: int = 0) -> Tensor:
    """Outliers made from ID images alone, without looking at any test OOD set.

    For choices that need OOD examples before any is seen, such as LogitNorm's temperature; make them from validation
    images. Four kinds in equal shares, from near to far: mosaics of four images, blends of two images, images with
    swapped quadrants, images with shuffled pixels.

    A blend of two images of one class can still look like that class. The probability that both come from the same
    class is sum over classes of n_c (n_c - 1) / (N (N - 1)): just below 1/C for C balanced classes, more if they are
    unbalanced. It is the same for every choice that is compared.

    Parameters
    ----------
    images : uint8 (N, C, H, W) with N >= 4
    seed : int

    Returns
    -------
    uint8 (N, C, H, W): rows 0, 4, ... are mosaics, 1, 5, ... blends, 2, 6, ... swapped, 3, 7, ... shuffled.

    Raises
    ------
    ValueError
        When ``images`` has another type or shape.

    Examples
    --------
    >>> outliers(torch.arange(8 * 64).remainder(256).byte().view(8, 1, 8, 8), seed=1).shape
    torch.Size([8, 1, 8, 8])
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or len(images) < 4:
        raise ValueError(
            f"outliers need at least four uint8 images (N, C, H, W), got {images.dtype} {tuple(images.shape)}"
        )
    rng = np.random.default_rng(seed)
    pool = images[torch.from_numpy(rng.permutation(len(images)))]
    result = torch.empty_like(pool)
    result[0::4] = mosaic(*(pool.roll(-shift, 0)[0::4] for shift in range(4)))
    result[1::4] = blend(pool[1::4], pool.roll(-1, 0)[1::4])
    result[2::4] = swap_quadrants(pool[2::4])
    result[3::4] = shuffle_pixels(pool[3::4], rng)
    return result


def mosaic(top_left: Tensor, bottom_left: Tensor, top_right: Tensor, bottom_right: Tensor) -> Tensor:
    """One quadrant of each of four images, (N, C, H, W) each.

    >>> mosaic(*(torch.full((1, 1, 2, 2), i) for i in range(4)))[0, 0].tolist()
    [[0, 2], [1, 3]]
    """
    height, width = top_left.shape[2] // 2, top_left.shape[3] // 2
    result = top_left.clone()
    result[:, :, height:, :width] = bottom_left[:, :, height:, :width]
    result[:, :, :height, width:] = top_right[:, :, :height, width:]
    result[:, :, height:, width:] = bottom_right[:, :, height:, width:]
    return result


def blend(first: Tensor, second: Tensor) -> Tensor:
    """The mean of two uint8 images, rounded down.

    >>> blend(torch.tensor([200, 255]).byte(), torch.tensor([101, 255]).byte()).tolist()
    [150, 255]
    """
    return ((first.int() + second.int()) // 2).byte()


def swap_quadrants(images: Tensor) -> Tensor:
    """Exchange the quadrants of images (N, C, H, W) diagonally; the content of the corners moves to the centre.

    >>> swap_quadrants(torch.arange(4).view(1, 1, 2, 2))[0, 0].tolist()
    [[3, 2], [1, 0]]
    """
    return images.roll((images.shape[2] // 2, images.shape[3] // 2), (2, 3))


def shuffle_pixels(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Permute the pixels of each image (N, C, H, W), the same way in all its channels.

    >>> shuffle_pixels(torch.arange(4).view(1, 1, 2, 2), np.random.default_rng(0)).flatten().sort().values.tolist()
    [0, 1, 2, 3]
    """
    result = torch.empty_like(images)
    for i, image in enumerate(images):
        order = torch.from_numpy(rng.permutation(image[0].numel()))
        result[i] = image.flatten(1)[:, order].view_as(image)
    return result
