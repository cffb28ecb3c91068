"""Image sets from the outside: what load and load_ood give, and what they say when they cannot."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from imagesets import make_set, partition
from sklearn.datasets import load_digits

from ood_helpers import data


def test_digits_are_scikit_learns(digits):
    source = load_digits()
    known = source.target < 6
    assert digits.images.dtype == torch.uint8 and digits.shape == (1, 8, 8)
    np.testing.assert_array_equal(digits.labels, source.target[known])
    np.testing.assert_allclose(digits.images[:, 0] * (16 / 255), source.images[known], atol=0.04)
    assert digits.images.max() == 255
    np.testing.assert_array_equal(digits.near.labels + 6, source.target[~known])
    np.testing.assert_allclose(digits.near.images[:, 0] * (16 / 255), source.images[~known], atol=0.04)


def test_splits_are_fixed_disjoint_and_stratified(digits):
    again = data.load("digits")
    assert partition(digits) and list(digits.splits) == ["train", "validation", "test"]
    for split, index in digits.splits.items():
        assert torch.equal(index, again.splits[split])
        share = digits.split(split)[1].bincount(minlength=6) / digits.labels.bincount()
        assert (share - {"train": 6, "validation": 2, "test": 7}[split] / 15).abs().max() < 0.011
    images = digits.split("test")[0]
    assert torch.equal(images, digits.images[digits.splits["test"]])
    with pytest.raises(ValueError, match="has no split 'tset'; it has train, validation, test"):
        digits.split("tset")


def test_splits_are_the_same_in_every_version(digits):
    """Saved runs hold no indices: with another split, their test images would have been trained on."""
    indices = [*digits.splits.values(), *(fold.splits["test"] for fold in data.folds(digits))]
    assert hashlib.sha256(torch.cat(indices).numpy().tobytes()).hexdigest().startswith("51b6df6ab376730d")


def test_known_keeps_the_first_classes_and_holds_out_the_rest():
    everything, four = data.load("digits", known=10), data.load("digits", known=4)
    assert everything.near is None and len(everything.images) == 1797
    assert four.classes == ("0", "1", "2", "3") and four.near.classes == ("4", "5", "6", "7", "8", "9")
    assert len(four.images) + len(four.near.images) == 1797 and partition(four)
    assert torch.equal(four.split("test")[0], everything.split("test")[0][everything.split("test")[1] < 4])
    for known in (1, 11):
        with pytest.raises(ValueError, match="between 2 and the 10 classes"):
            data.load("digits", known=known)


def test_default_ood_names_need_no_loading():
    assert data.ood_names("digits") == ("near", "letters", "patches", "noise")
    assert data.ood_names("digits", known=10) == data.ood_names("mnist") == ("letters", "patches", "noise")
    assert data.ood_names("cifar10", known=6)[:2] == ("near", "cifar100")
    assert data.ood_names("folder:x", known=3) == data.ood_names("digits")
    for name in data.SETS:
        assert name not in data.ood_names(name)
        assert set(data.ood_names(name)) <= {"near", "letters", "patches", "noise", *data.SETS}


def test_unknown_names_list_the_known(digits):
    with pytest.raises(ValueError, match=r"unknown image set 'digit'; known: digits, cifar10, .*folder:PATH"):
        data.load("digit")
    with pytest.raises(ValueError, match=r"unknown image set 'leters'; known: near, letters, .*folder:PATH"):
        data.load_ood("leters", digits)
    with pytest.raises(ValueError, match="ID set itself"):
        data.load_ood("digits", digits)
    with pytest.raises(ValueError, match="no held-out classes"):
        data.load_ood("near", data.load("digits", known=10))


@given(st.lists(st.integers(8, 30), min_size=2, max_size=5), st.integers(2, 8), st.integers(0, 3))
def test_folds_partition_and_stratify(sizes, k, seed):
    imageset = make_set([label for label, size in enumerate(sizes) for _ in range(size)], shape=(1, 1, 1))
    made = data.folds(imageset, k, seed)
    tests = torch.cat([fold.splits["test"] for fold in made])
    assert sorted(tests.tolist()) == list(range(sum(sizes)))
    counts = torch.stack([fold.split("test")[1].bincount(minlength=len(sizes)) for fold in made])
    assert (counts.amax(0) - counts.amin(0)).max() <= 1 and counts.sum(1).max() - counts.sum(1).min() <= 1
    assert all(partition(fold) and set(fold.splits) == {"train", "validation", "test"} for fold in made)


def test_folds_refuse_what_cannot_be_dealt(digits):
    for k in (1, 6):
        with pytest.raises(ValueError, match="smallest class"):
            data.folds(make_set([0] * 5 + [1] * 9), k)
    with pytest.raises(ValueError, match="digits is the ID set itself"):
        data.load_ood("digits", data.folds(digits)[2])
    one, other = data.folds(digits, 5, seed=0)[0], data.folds(digits, 5, seed=1)[0]
    assert not torch.equal(one.splits["test"], other.splits["test"]) and one.near is digits.near
