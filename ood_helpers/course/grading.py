"""What the exercises are judged with: hints, calls to a student's function, comparisons, and simple oracles.

An exercise is a function ``(random, answer, *given) -> message``: it draws inputs from ``random``, computes the right
result without the package's own helpers, and raises ``Hint`` unless the answer is right.
"""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Hint(Exception):
    """The answer is not right yet; the message helps the student to go on."""


def call(answer: Callable, *inputs: object, forbidden: Collection[str] = ("ood_helpers",)) -> Any:
    """Call a student's function with copies of ``inputs`` and return its result.

    Parameters
    ----------
    answer : callable
        The student's function.
    *inputs : object
        Its arguments; they are copied, so that a function that modifies them does no harm.
    forbidden : collection of str
        Packages or modules that the function must not call, such as the helper that solves the exercise.

    Returns
    -------
    Any
        What the function returned.

    Raises
    ------
    Hint
        If ``answer`` is not callable, raises an exception, returns nothing, or calls a forbidden module.
    """
    if not callable(answer):
        raise Hint("hand over the function itself, without calling it.")
    called, inputs = set(), copy.deepcopy(inputs)

    def record(frame, event, _):
        if event == "call":
            called.add(frame.f_globals.get("__name__") or "")

    # A profile function sees every call, also one that is wrapped or imported under another name. Debuggers and
    # coverage use sys.settrace, which stays as it is; a profiler that was running is restored.
    profiler = sys.getprofile()
    sys.setprofile(record)
    try:
        result = answer(*inputs)
    except Exception as error:  # whatever a student's code raises belongs into the hint
        sys.setprofile(profiler)
        shapes = " Print the shapes: does a sum or a norm need keepdim=True, or do class numbers need one_hot?"
        advice = shapes if re.search("match|broadcast", str(error)) else ""
        raise Hint(f"your function stops with {type(error).__name__}: {error}.{advice}") from None
    finally:
        sys.setprofile(profiler)
    used = sorted(name for name in called if name.split(".")[0] in forbidden or name in forbidden)
    if used:
        raise Hint(f"that is {used[0]} at work. It is well tested, but here the exercise is to write it.")
    if result is None or result is ...:
        raise Hint("your function returns nothing yet.")
    return result


def compare(result: Any, expected: ArrayLike, mistakes: Mapping[str, ArrayLike], otherwise: str) -> None:
    """Compare numbers with the expected ones and recognise common mistakes.

    Parameters
    ----------
    result : array_like or torch.Tensor
        The student's result.
    expected : array_like
        The right one, of the same shape; equal means within a relative 1e-4.
    mistakes : mapping of str to array_like
        For each hint the value that the mistake leads to.
    otherwise : str
        The hint for all other values.

    Raises
    ------
    Hint
        If ``result`` differs from ``expected``.
    """
    try:
        result = np.asarray(result.detach() if hasattr(result, "detach") else result, dtype=float)
    except (TypeError, ValueError):
        raise Hint(f"the answer should be numbers, not {type(result).__name__}.") from None
    expected = np.asarray(expected, dtype=float)

    def same(value: ArrayLike) -> bool:
        return result.shape == np.shape(value) and np.allclose(result, value, rtol=1e-4, atol=1e-7)

    if same(expected):
        return
    for hint, value in mistakes.items():
        if same(value):
            raise Hint(hint)
    if result.shape != expected.shape:
        raise Hint(f"the result has the shape {result.shape}; it should have {expected.shape}.")
    if not np.isfinite(result).all():
        raise Hint("there is a NaN or an infinity in the result. Which number became too large, or which sum 0?")
    raise Hint(otherwise)


def check_predictions(answer: Any, measured: Mapping[str, str], advice: str) -> None:
    """Compare a student's predictions, one word a line, with what was measured.

    Parameters
    ----------
    answer : dict of str to str
        The predictions.
    measured : mapping of str to str
        The right word for each line.
    advice : str
        Ends the hint, which says how many predictions are right but not which.

    Raises
    ------
    Hint
        If a line is missing, has no valid word, or is wrong.
    """
    if not isinstance(answer, dict) or set(answer) != set(measured):
        raise Hint(f"keep the {len(measured)} lines as they are and write one word behind each.")
    words = sorted(set(measured.values()))
    if unanswered := [name for name, word in answer.items() if word not in words]:
        raise Hint(f"{len(unanswered)} of {len(answer)} lines have no answer yet; each is one of: {', '.join(words)}.")
    right = sum(answer[name] == word for name, word in measured.items())
    if right < len(measured):
        raise Hint(f"{right} of {len(measured)} are right. {advice}")


def auroc(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """P(ID > OOD) + P(ID = OOD) / 2 over all pairs: slow and plain, the oracle of the exercises.

    >>> auroc([2, 3], [1, 2])
    0.875
    """
    difference = np.subtract.outer(np.asarray(id_scores, float), np.asarray(ood_scores, float))
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


def softmax(z: NDArray) -> NDArray:
    """Softmax over the last axis, in NumPy.

    >>> softmax(np.zeros((1, 2)))
    array([[0.5, 0.5]])
    """
    z = np.exp(z - z.max(-1, keepdims=True))
    return z / z.sum(-1, keepdims=True)


def random_logits(
    random: np.random.Generator, rows: int = 40, classes: int = 6, scale: float = 3.0
) -> tuple[NDArray, NDArray]:
    """Draw normal logits (rows, classes) with standard deviation ``scale``, and uniform labels (rows,)."""
    return random.normal(0, scale, (rows, classes)), random.integers(classes, size=rows)
