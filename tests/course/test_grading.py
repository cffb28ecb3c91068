"""How answers are judged: calls that fail, forbidden helpers, inputs that stay what they were."""

import sys

import numpy as np
import pytest

from ood_helpers.course.grading import Hint, auroc, call, check_predictions, compare


@pytest.mark.parametrize(
    "answer, word",
    [
        (lambda z: 1 / 0, "ZeroDivisionError"),
        (lambda z: None, "nothing yet"),
        (lambda z: np.ones((2, 3)) + np.ones(2), "keepdim"),
        (lambda z: auroc(z, z), "that is ood_helpers.course.grading at work"),
        (0.7, "hand over the function"),
    ],
)
def test_a_call_that_fails_is_a_hint(answer, word):
    with pytest.raises(Hint, match=word):
        call(answer, np.ones(3))


def test_a_function_that_modifies_its_inputs_does_no_harm():
    z = np.ones(3)
    assert call(lambda z: z.__iadd__(1).sum(), z) == 6 and z.sum() == 3


def test_debuggers_and_profilers_go_on_during_a_call_and_after_it():
    def answer():
        return 1

    def trace(frame, event, _):
        traced.append(frame.f_code.co_name)

    def profile(*_):
        pass

    traced, before = [], (sys.gettrace(), sys.getprofile())
    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        call(answer)
        after = sys.gettrace(), sys.getprofile()
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    assert "answer" in traced and after == (trace, profile)


def test_compare_prefers_the_hint_of_a_known_mistake():
    compare([1.0, 2.0], [1, 2.00001], {}, "wrong")
    for result, word in (
        ([2, 1], "swapped"),
        ([3, 3], "wrong"),
        ([1], "shape"),
        ([np.nan, 1], "NaN"),
        ("x", "numbers"),
    ):
        with pytest.raises(Hint, match=word):
            compare(result, [1, 2], {"swapped": [2, 1]}, "wrong")


def test_predictions_are_counted_and_not_named():
    measured = {"a": "same", "b": "changes"}
    check_predictions(dict(measured), measured, "")
    for answer, word in (({"a": "same"}, "keep the 2 lines"), ({"a": "same", "b": 1}, "1 of 2 lines have no answer")):
        with pytest.raises(Hint, match=word):
            check_predictions(answer, measured, "")
    with pytest.raises(Hint, match=r"1 of 2 are right\. Think\."):
        check_predictions({"a": "same", "b": "same"}, measured, "Think.")
