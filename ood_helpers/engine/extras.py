"""Libraries that not everybody needs: the extras of pyproject.toml."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Say which extra brings a library that is imported in the block and not installed.

    Raises
    ------
    ImportError
        Where an import fails, in one sentence.

    Examples
    --------
    >>> with needs("bridges"):
    ...     import no_such_library
    Traceback (most recent call last):
    ImportError: no_such_library is not installed; pip install 'ood_helpers[bridges]' brings it
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ImportError(f"{error.name} is not installed; pip install 'ood_helpers[{extra}]' brings it") from None
