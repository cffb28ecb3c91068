"""Numbers in sentences; static/formats.js formats them in the same way, and a test compares the two."""

import math
from decimal import ROUND_HALF_UP, Decimal


def format_fixed(value: float, digits: int = 3) -> str:
    """A number with ``digits`` decimals and a typographic minus sign; a tie is rounded away from 0.

    >>> format_fixed(-1.25, 1)
    '−1.3'
    """
    return f"{Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):f}".replace("-", "−")


def format_percent(share: float) -> str:
    """A share as a percentage with one decimal.

    >>> format_percent(0.953)
    '95.3 %'
    """
    return f"{format_fixed(100 * share, 1)} %"


def format_confidence(share: float) -> str:
    """A confidence as a percentage with one decimal, which is never rounded up to certainty.

    >>> format_confidence(0.953), format_confidence(0.99999)
    ('95.3 %', '> 99.9 %')
    """
    return "> 99.9 %" if share > 0.999 else format_percent(share)


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
    exponent = int(f"{abs(value):.1e}".partition("e")[2])
    return f"{'−' if value < 0 else '+'}{format_fixed(abs(value), max(0, 1 - exponent))}"
