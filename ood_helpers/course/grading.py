"""How exercises are judged: fresh inputs, an independent oracle, a watch on what is called, and hints.

No constant passes, and neither does the package's own helper in the student's place.
"""

import copy
import itertools
import re
import sys

import numpy as np

EXERCISES = {}
_draws = itertools.count()


class Hint(Exception):
    """An answer is not right yet; the message helps on."""


def exercise(function):
    EXERCISES[function.__name__] = function
    return function


def run(answer, *inputs, but=("ood_helpers",)):
    """What a student's function gives for copies of `inputs`, or a Hint: it fails, or calls `but`."""
    if not callable(answer):
        raise Hint("hand over the function itself, without calling it.")
    called, before = set(), sys.getprofile()
    inputs = copy.deepcopy(inputs)

    def watch(frame, event, _):
        if event == "call":
            called.add(frame.f_globals.get("__name__") or "")

    sys.setprofile(watch)
    try:
        result = answer(*inputs)
    except Exception as error:  # whatever a student's code raises belongs into the hint
        sys.setprofile(before)
        shapes = (
            ""
            if not re.search("match|broadcast", str(error))
            else " Print the shapes: does a sum or a norm need keepdim=True, or do class numbers need one_hot?"
        )
        raise Hint(f"your function stops with {type(error).__name__}: {error}.{shapes}") from None
    finally:
        sys.setprofile(before)
    used = sorted(name for name in called if name.split(".")[0] in but or name in but)
    if used:
        raise Hint(f"that is {used[0]} at work. It is well tested, but here the exercise is to write it.")
    if result is None or result is ...:
        raise Hint("your function returns nothing yet.")
    return result


def compare(found, expected, traps, otherwise):
    """Pass where `found` is `expected`; else the Hint of the trap whose value it has, or `otherwise`."""
    try:
        found = np.asarray(found.detach() if hasattr(found, "detach") else found, dtype=float)
    except (TypeError, ValueError):
        raise Hint(f"the answer should be numbers, not {type(found).__name__}.") from None
    expected = np.asarray(expected, dtype=float)

    def same(value):
        return found.shape == np.shape(value) and np.allclose(found, value, rtol=1e-4, atol=1e-7)

    if same(expected):
        return
    for hint, value in traps.items():
        if same(value):
            raise Hint(hint)
    if found.shape != expected.shape:
        raise Hint(f"the result has the shape {found.shape}; it should have {expected.shape}.")
    if not np.isfinite(found).all():
        raise Hint("there is a NaN or an infinity in the result. Which number became too large, or which sum 0?")
    raise Hint(otherwise)


def predicted(answer, measured, think):
    """Pass where all predictions agree with what was measured; the hint counts, it does not name."""
    if not isinstance(answer, dict) or set(answer) != set(measured):
        raise Hint(f"keep the {len(measured)} lines as they are and write one word behind each.")
    words = sorted(set(measured.values()))
    if open_ := [name for name, word in answer.items() if word not in words]:
        raise Hint(f"{len(open_)} of {len(answer)} lines have no answer yet; each is one of: {', '.join(words)}.")
    right = sum(answer[name] == word for name, word in measured.items())
    if right < len(measured):
        raise Hint(f"{right} of {len(measured)} are right. {think}")


def auroc(id_scores, ood_scores):
    """P(ID > OOD) + P(equal) / 2 by comparing all pairs: slow and plain, the oracle of the checks."""
    gap = np.subtract.outer(np.asarray(id_scores, float), np.asarray(ood_scores, float))
    return (gap > 0).mean() + (gap == 0).mean() / 2


def softmax(z):
    z = np.exp(z - z.max(-1, keepdims=True))
    return z / z.sum(-1, keepdims=True)


def fresh():
    """A generator for the next check: other numbers each time, the same when a notebook starts anew."""
    return np.random.default_rng([7, next(_draws)])


def random_logits(rows=40, classes=6, scale=3.0):
    random = fresh()
    return random.normal(0, scale, (rows, classes)), random.integers(classes, size=rows)
