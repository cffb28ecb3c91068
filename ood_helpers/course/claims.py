"""Findings that the notebooks state in their text, and that the cell before asserts."""

from ..figures import settings


def claim(holds: object, finding: str) -> None:
    """Assert a finding on the committed data; on other data, print whether it holds there.

    Parameters
    ----------
    holds : bool
        Whether the finding holds, computed in the cell.
    finding : str
        The finding in a few words.

    Raises
    ------
    AssertionError
        If the notebook runs on the digits, for which its text is written, and the finding does not hold.

    Examples
    --------
    >>> claim(1 < 2, "one is less than two")
    """
    if settings().data == "digits":
        if not holds:
            raise AssertionError(f"the text says: {finding}; this does not hold here")
    else:
        print(f"Here: {'yes' if holds else 'no'} ({finding}).")
