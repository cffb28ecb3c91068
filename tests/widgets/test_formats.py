"""Numbers in sentences: Python writes them as JavaScript does."""

import numpy as np
from javascript import evaluate, needs_node

from ood_helpers.widgets import formats

# Ties are 0.125, 48.25 and their like.
NUMBERS = [0.0, 1.0, -1.5, 0.12345, 0.9996, 0.99983, 0.9999999, 3.14159, -12.345, 1e-6, 3.2e-5, 3e-9, -0.00032]
NUMBERS += [0.1, 0.25, 0.125, 0.4825, 1.0049, 0.0996, -0.0625, 7.123, *np.geomspace(1e-7, 9e4, 130).tolist()]


@needs_node
def test_javascript_formats_as_python_does():
    expression = "[formatFixed(c, 1), formatPercent(c), formatScore(c), formatSigned(c)]"
    for value, theirs in zip(NUMBERS, evaluate(["formats"], expression, NUMBERS), strict=True):
        ours = [formats.format_fixed(value, 1), formats.format_percent(value)]
        assert [*ours, formats.format_score(value), formats.format_signed(value)] == theirs
    large = [99.97, 123.45, -4321.9, 1e5]
    assert [formats.format_score(value) for value in large] == evaluate(["formats"], "formatScore(c)", large)
