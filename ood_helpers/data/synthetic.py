"""Images made here: far OOD sets that need no download, and outliers made from ID images alone."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

FAR = ("letters", "patches", "noise")

# Left out: what can be taken for a digit (O D Q o 0, I J l i j 1, Z z 2, S s 5, b G 6, B 8, g q 9).
LETTERS = "ACEFHKLMNPRTUVWXYacdefhkmnprtuvwxy"
FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSerif-BoldItalic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "STIXGeneralBolIta",
    "cmr10",
    "cmb10",
    "cmss10",
    "cmtt10",
    "cmti10",
)


@lru_cache(1)  # every training asks for them anew
def letters(shape):
    """Letters of Matplotlib's own fonts: (images, labels, classes), each letter in 21 fonts, shuffled.

    Drawn as scikit-learn's digits were: a binary picture four times the size, counted in blocks of 4 x 4
    pixels, as large as the box allows and centred. Upper and lower case share a class. Below 16 pixels the
    box is the whole image (as in the digits), above it 20/28 of it (as in MNIST). Grey sets get white on
    black, colour sets a random ink on a random paper, since black margins alone would give the letters
    away.
    """
    import matplotlib
    from PIL import ImageFont

    channels, height, width = shape
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [ImageFont.truetype(folder / f"{font}.ttf", 4 * max(height, width)) for font in FONTS]
    glyphs = torch.stack([_glyph(font, letter, height, width) for letter in LETTERS for font in fonts])
    classes = tuple(sorted(set(LETTERS.upper())))
    labels = torch.tensor([classes.index(letter.upper()) for letter in LETTERS for _ in fonts])
    rng = np.random.default_rng(0)
    order = torch.from_numpy(rng.permutation(len(glyphs)))  # so that the first few show many letters
    if channels == 3:
        paper, ink = torch.from_numpy(rng.uniform(0, 1, (2, len(glyphs), 3, 1, 1))).float()
        glyphs = paper + (ink - paper) * glyphs
    return (glyphs * 255).round().byte()[order], labels[order], classes


def _glyph(font, letter, height, width):
    """(1, H, W) in 0..1."""
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


@lru_cache(1)
def patches(shape, count=1000):
    """Crops of scikit-learn's two sample photographs, shrunk two to eight times; grey for grey sets.

    A crop is at most a third of the photograph high, and flat ones (standard deviation below 16 of 255) are
    drawn again: bare sky is no texture.
    """
    from PIL import Image
    from sklearn.datasets import load_sample_images

    channels, height, width = shape
    mode = "RGB" if channels == 3 else "L"
    photos = [Image.fromarray(photo).convert(mode) for photo in load_sample_images().images]
    largest = min(8, photos[0].width / width / 3, photos[0].height / height / 3)
    rng, images = np.random.default_rng(0), []
    while len(images) < count:
        photo, scale = photos[len(images) % 2], rng.uniform(min(2, largest), largest)
        left, top = rng.uniform(0, 1, 2) * (photo.width - scale * width, photo.height - scale * height)
        box = (left, top, left + scale * width, top + scale * height)
        patch = np.array(photo.resize((width, height), Image.Resampling.BOX, box)).reshape(height, width, -1)
        if patch.mean(2).std() >= 16:
            images.append(patch)
    images = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return images, torch.arange(count) % 2, ("china", "flower")


def noise(shape, count=1000):
    """Every pixel uniform in 0..255."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)
    return torch.from_numpy(pixels), torch.zeros(count, dtype=torch.int64), ("noise",)


def outliers(images, seed=0):
    """Outliers made from ID images alone, one per image, (N, C, H, W) uint8: no test OOD is looked at.

    They decide what needs OOD examples before any is seen (LogitNorm's temperature), so make them from the
    validation part. Four kinds in equal shares, near to far: mosaics of the quadrants of four images,
    blends of two images, images whose quadrants changed places, images whose pixels were shuffled (the same
    way in all channels). A mosaic or blend of images of one class can look like that class; with C classes
    it is 1 in C of the blends at most, the same for every choice that is compared.

    >>> made = outliers(torch.arange(8 * 64, dtype=torch.float32).div(2).byte().view(8, 1, 8, 8), seed=1)
    >>> made.shape, made.dtype
    (torch.Size([8, 1, 8, 8]), torch.uint8)
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or len(images) < 4:
        raise ValueError(
            f"outliers need at least four uint8 images (N, C, H, W), got {images.dtype} {tuple(images.shape)}"
        )
    rng = np.random.default_rng(seed)
    pool = images[torch.from_numpy(rng.permutation(len(images)))]
    made, (height, width) = pool.clone(), (images.shape[2] // 2, images.shape[3] // 2)
    top, left = slice(None, height), slice(None, width)
    bottom, right = slice(height, None), slice(width, None)

    def others(shift):  # the image `shift` places further, for those of this kind
        return pool.roll(-shift, 0)[kind]

    kind = slice(0, None, 4)
    made[kind, :, bottom, left] = others(1)[:, :, bottom, left]
    made[kind, :, top, right] = others(2)[:, :, top, right]
    made[kind, :, bottom, right] = others(3)[:, :, bottom, right]
    kind = slice(1, None, 4)
    made[kind] = ((pool[kind].int() + others(1).int()) // 2).byte()
    kind = slice(2, None, 4)
    made[kind] = pool[kind].roll((height, width), (2, 3))
    for i in range(3, len(pool), 4):
        order = torch.from_numpy(rng.permutation(pool[i, 0].numel()))
        made[i] = pool[i].flatten(1)[:, order].view_as(pool[i])
    return made
