"""A finding is an assertion on the digits and an answer on any other data."""

import pytest

from ood_helpers.course import claim


def test_a_finding_must_hold_on_the_digits(monkeypatch, capsys):
    monkeypatch.setenv("DATA", "digits")
    claim(True, "two is even")
    with pytest.raises(AssertionError, match="three is even; this does not hold"):
        claim(False, "three is even")
    assert not capsys.readouterr().out


@pytest.mark.parametrize(("holds", "answer"), [(True, "yes"), (False, "no")])
def test_on_other_data_the_answer_is_printed(monkeypatch, capsys, holds, answer):
    monkeypatch.setenv("DATA", "cifar10")
    claim(holds, "two is even")
    assert capsys.readouterr().out == f"Here: {answer} (two is even).\n"
