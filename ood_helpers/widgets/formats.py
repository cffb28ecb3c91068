"""Numbers in sentences; static/view.js formats them in the same way, and a test compares the sentences."""

import math

import numpy as np


def format_fixed(value: float, digits: int) -> str:
    """A number with ``digits`` decimals and a typographic minus sign.

    >>> format_fixed(-1.25, 1)
    '−1.2'
    """
    return f"{value:.{digits}f}".replace("-", "−")


def format_percent(share: float) -> str:
    """A share as a percentage with one decimal.

    >>> format_percent(0.953)
    '95.3 %'
    """
    return f"{100 * share:.1f} %"


def format_score(value: float) -> str:
    """A score with three decimals: fewer if it is large, more if three would round a probability up to 1.

    >>> format_score(0.98812), format_score(0.99983), format_score(12.3456), format_score(123.456)
    ('0.988', '0.9998', '12.35', '123.5')
    """
    if 0.9995 < value < 1:
        return format_fixed(value, math.ceil(-math.log10(1 - value)))
    return format_fixed(value, 1 if abs(value) >= 100 else 2 if abs(value) >= 10 else 3)


def format_signed(value: float) -> str:
    """A number with its sign and two significant digits; below 5e-7, a rounding error, it is 0.

    >>> format_signed(0.00032), format_signed(-0.25), format_signed(3e-9)
    ('+0.00032', '−0.25', '0')
    """
    if abs(value) < 5e-7:
        return "0"
    digits = np.format_float_positional(abs(value), precision=2, fractional=False, trim="k", min_digits=2)
    return f"{'−' if value < 0 else '+'}{digits.rstrip('.')}"
