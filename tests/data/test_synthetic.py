"""Synthetic OOD sets and outliers: shapes, repeatability, and what the images look like."""

import hashlib

import pytest
import torch
from imagesets import make_set

from ood_helpers import data
from ood_helpers.data import synthetic


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 6, 11)])
@pytest.mark.parametrize("name", ["letters", "patches", "noise"])
def test_synthetic_sets_have_the_shape_and_repeat(name, shape):
    like = make_set([0, 1], shape)
    first, second = data.load_ood(name, like), data.load_ood(name, like)
    assert first.shape == shape and len(first.images) > 500 and first.name == name
    assert torch.equal(first.images, second.images) and torch.equal(first.labels, second.labels)
    assert torch.equal(first.splits["test"], torch.arange(len(first.images)))
    assert first.images.flatten(1).float().std(1).min() > 8  # none of them is flat


@pytest.mark.parametrize("name", ["letters", "patches", "noise"])
def test_writing_into_a_synthetic_set_changes_no_later_one(name, digits):
    expected = data.load_ood(name, digits).images.clone()
    made = data.load_ood(name, digits)
    made.images.zero_()
    made.labels.fill_(-1)
    again = data.load_ood(name, digits)
    assert torch.equal(again.images, expected) and again.labels.min() == 0


def test_letters_are_drawn_in_the_style_of_the_digits(digits):
    letters = data.load_ood("letters", digits)
    assert not set("OIZSBGQJ") & set(letters.classes)
    assert set(letters.images.unique().tolist()) <= set(digits.images.unique().tolist())  # the same 17 levels
    ink = [images.float().mean() for images in (letters.images, digits.images)]
    assert 0.8 < ink[0] / ink[1] < 1.25
    assert len(letters.images.unique(dim=0)) == len(letters.images)
    columns = torch.arange(8.0)
    centre = (letters.images.float().sum((1, 2)) * columns).sum(1) / letters.images.float().sum((1, 2, 3))
    assert abs(centre.mean() - 3.5) < 0.3


def test_colour_letters_have_their_own_ink_and_paper():
    images = data.load_ood("letters", make_set([0, 1], (3, 32, 32))).images
    corners = images[:, :, 0, 0]
    assert len(corners.unique(dim=0)) > 600
    assert torch.equal(corners, images[:, :, -1, -1])  # paper all around


def test_noise_is_uniform(digits):
    counts = data.load_ood("noise", digits).images.flatten().long().bincount(minlength=256)
    assert (counts - 250).abs().max() < 6 * 250**0.5


def test_outliers_are_made_of_the_given_images_alone():
    images = (torch.arange(40, dtype=torch.uint8) * 4).view(40, 1, 1, 1).repeat(1, 1, 8, 8)
    images[:, :, 0, 0] += 1
    before = images.clone()
    made, again, other = (data.outliers(images, seed) for seed in (3, 3, 4))
    assert torch.equal(images, before) and made.shape == images.shape and made.dtype == torch.uint8
    assert torch.equal(made, again) and not torch.equal(made, other)
    mosaics, blends, swapped, shuffled = (made[i::4, 0] for i in range(4))
    quadrants = torch.stack([mosaics[:, i, j] for i in (1, 7) for j in (1, 7)], 1)
    assert all(len(row.unique()) == 4 for row in quadrants) and set((quadrants % 4).flatten().tolist()) == {0}
    sums = {4 * (i + j) for i in range(40) for j in range(i)}
    assert all(len(blend.flatten()[1:].unique()) == 1 and int(blend[1, 1]) * 2 in sums for blend in blends)
    assert all(image[4, 4] == image[0, 0] + 1 for image in swapped)  # the marked corner moved to the centre
    assert all((image == image.median() + 1).sum() == 1 for image in shuffled)  # the marked pixel is in it
    assert sum(int(image[0, 0] == image.median() + 1) for image in shuffled) < len(shuffled)


@pytest.mark.parametrize(
    "images",
    [torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.zeros(8, 1, 8, 8), torch.zeros(8, 8, 8, dtype=torch.uint8)],
)
def test_outliers_refuse_what_is_no_stack_of_images(images):
    with pytest.raises(ValueError, match="at least four uint8 images"):
        data.outliers(images, seed=0)


@pytest.mark.parametrize("count, shape", [(7, (3, 9, 5)), (40, (1, 8, 8))])
def test_each_kind_of_outlier_has_its_function(count, shape):
    images = make_set([0] * count, shape).images
    made = data.outliers(images, seed=0)

    def are_among_the_images(candidates, of=images):
        return all((image == of).flatten(1).all(1).any() for image in candidates)

    assert are_among_the_images(made[3::4].flatten(2).sort(2).values, images.flatten(2).sort(2).values)
    if shape[1] % 2 == shape[2] % 2 == 0:  # then swapping twice gives the image back
        assert are_among_the_images(synthetic.swap_quadrants(made[2::4]))
    assert torch.equal(synthetic.blend(images, images), images)
    assert torch.equal(synthetic.mosaic(images, images, images, images), images)


def test_outliers_are_the_same_in_every_version():
    """LogitNorm's temperature is chosen on them, so other pixels would make other runs."""
    images = torch.arange(217 * 64).remainder(251).byte().view(217, 1, 8, 8)
    digest = hashlib.sha256(data.outliers(images).numpy().tobytes()).hexdigest()
    assert digest.startswith("7897d288c56c86a4")
