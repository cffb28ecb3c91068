"""Exercises that check themselves: `check("name", answer)` says solved, or gives a hint, never the solution.

They stand at the end of each notebook, with their solutions in cells tagged `solution`.
"""

from ..grading import EXERCISES, Hint
from . import detection, losses, papers  # noqa: F401  (they enter the table)


def check(name, answer, *given):
    """Print whether `answer`, a function or a prediction, solves the exercise; `given` is what it is about.

    >>> check("softmax_gradient", ...)
    Not yet · softmax_gradient: still the dots. Put your answer in their place.
    >>> check("softmax_gradient", 0.3)
    Not yet · softmax_gradient: hand over the function itself, without calling it.
    """
    solved, message = verdict(name, answer, *given)
    print(f"{'Solved' if solved else 'Not yet'} · {name}: {message}")


def verdict(name, answer, *given):
    """(solved, message) of an answer. An unknown exercise raises ValueError and lists the known."""
    if name not in EXERCISES:
        raise ValueError(f"unknown exercise {name!r}; known: {', '.join(EXERCISES)}")
    if any(part is ... for part in (answer, *given)):
        return False, "still the dots. Put your answer in their place."
    try:
        return True, EXERCISES[name](answer, *given)
    except Hint as hint:
        return False, str(hint)
    except Exception as error:  # an answer of a kind that nobody thought of
        return False, f"this cannot be judged: {type(error).__name__}: {error}. Look at its type and shape."
