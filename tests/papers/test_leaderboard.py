"""The public leaderboards: their sizes, ranks and the reversal that notebook 8 shows."""

import pytest

from ood_helpers.papers.leaderboard import leaderboard, ranks


def test_the_boards_have_the_entries_that_were_counted():
    table = leaderboard()
    assert table.notna().sum().to_dict() == {"CIFAR-10": 57, "CIFAR-100": 53, "ImageNet-200": 52, "ImageNet-1K": 52}
    for percent in (table, leaderboard("far")):
        assert 10 < percent.min(axis=None) < 60 and 90 < percent.max(axis=None) < 100


def test_ranks_are_those_of_the_boards():
    near = ranks().astype("Int64")
    assert near.loc["MSP"].tolist() == [34, 19, 11, 31]
    assert near.loc["LogitNorm + MSP"].tolist() == [10, 31, 17, 35]
    assert near.loc["CombOOD", ["ImageNet-200", "ImageNet-1K"]].tolist() == [1, 1]
    assert (ranks("far").min() == 1).all()


def test_unknown_sets_are_refused():
    with pytest.raises(ValueError, match="unknown OOD sets 'middle'; known: near, far"):
        leaderboard("middle")
