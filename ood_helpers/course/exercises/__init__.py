"""Exercises that check themselves: ``check("name", answer)`` says solved, or gives a hint, never the solution.

They stand at the end of each notebook, with their solutions in cells tagged ``solution``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..grading import Hint
from . import atlas, detection, distances, losses, museum, papers

_ALL = (
    *losses.EXERCISES,
    *distances.EXERCISES,
    *detection.EXERCISES,
    *papers.EXERCISES,
    *atlas.EXERCISES,
    *museum.EXERCISES,
)
EXERCISES = {exercise.__name__: exercise for exercise in _ALL}


def check(name: str, answer: Any, *given: Any) -> None:
    """Print whether an answer solves the exercise.

    Parameters
    ----------
    name : str
        The exercise, a key of ``EXERCISES``.
    answer : callable or dict
        A function or predictions.
    *given : object
        What the answer is about, where an exercise asks for it: a trained run, or a convention.

    Examples
    --------
    >>> check("softmax_gradient", ...)
    Not yet · softmax_gradient: still the dots. Put your answer in their place.
    >>> check("softmax_gradient", 0.3)
    Not yet · softmax_gradient: hand over the function itself, without calling it.
    """
    solved, message = verdict(name, answer, *given)
    print(f"{'Solved' if solved else 'Not yet'} · {name}: {message}")


def verdict(name: str, answer: Any, *given: Any) -> tuple[bool, str]:
    """Judge an answer and return (solved, message).

    The inputs are random, but the same for every check of an exercise: an answer is judged alike, whatever else was
    checked before.

    Raises
    ------
    ValueError
        If the exercise is unknown.
    """
    if name not in EXERCISES:
        raise ValueError(f"unknown exercise {name!r}; known: {', '.join(EXERCISES)}")
    if any(part is ... for part in (answer, *given)):
        return False, "still the dots. Put your answer in their place."
    random = np.random.default_rng(list(name.encode()))
    try:
        return True, EXERCISES[name](random, answer, *given)
    except Hint as hint:
        return False, str(hint)
    except Exception as error:  # an answer of a kind that nobody thought of
        return False, f"this answer cannot be judged: {type(error).__name__}: {error}. Look at its type and shape."
