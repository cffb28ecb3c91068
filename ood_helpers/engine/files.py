"""Atomic writes and a lock between processes.

Whoever reads a file or a directory written here finds the old content or the new content, never a part of it, even if
the process is killed or the power fails: content is written under a temporary name, flushed to the disk and renamed.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def atomic_write(path: str | Path, content: bytes | str) -> None:
    """Write a file under a temporary name, flush it to the disk and rename it.

    Parameters
    ----------
    path : path of the file; its directory is created where it does not exist
    content : bytes, or text, which is encoded as UTF-8

    Raises
    ------
    OSError
        When the file cannot be written; an existing file stays as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with _write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
            _flush(temporary)
            _rename(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | Path, flush: bool = True) -> Iterator[Path]:
    """Yield an empty staging directory, which replaces ``path`` when the block ends without an error.

    All files in it are flushed to the disk before it is renamed, unless ``flush`` is False: that is for thousands of
    small files that can be made again, which would take minutes to flush one by one. An existing directory is renamed
    first and removed last; the next call puts it back if the process was killed in between. Both temporary names
    depend on ``path`` only, so that the leftovers of a killed process are found and removed: processes that may write
    one directory at the same time must hold a lock (see ``locked``).

    Raises
    ------
    OSError
        When it cannot be written; an existing directory stays as it was.
    """
    path = Path(path)
    staging, old = (path.with_name(f".{path.name.lstrip('.')}.{suffix}") for suffix in ("part", "old"))
    with _write_errors(path):
        _put_back(old, path)
        shutil.rmtree(staging, ignore_errors=True)
        try:
            staging.mkdir(parents=True)
            yield staging
            for entry in (*staging.rglob("*"), staging) if flush else ():
                _flush(entry)
            if path.is_dir() and not path.is_symlink():
                os.replace(path, old)
            _rename(staging, path)
        finally:
            _put_back(old, path)
            shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def locked(path: str | Path, message: str) -> Iterator[None]:
    """Hold the lock file ``path``; wait, and show ``message``, while another process holds it.

    The operating system releases the lock of a process that dies.
    """
    from filelock import FileLock, Timeout
    from tqdm.auto import tqdm

    path = Path(path)
    lock = FileLock(path)
    with _write_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            text = message.replace("{", "{{").replace("}", "}}")  # bar_format is a format string
            with tqdm(bar_format=f"{text} [{{elapsed}}<?]", leave=False) as bar:
                while not lock.is_locked:
                    with suppress(Timeout):
                        lock.acquire(timeout=1)
                    bar.refresh()
    try:
        yield
    finally:
        lock.release()


def _put_back(old: Path, path: Path) -> None:
    """Rename a replaced directory back where nothing has taken its place, else remove it."""
    if old.exists() and not path.exists():
        _rename(old, path)
    shutil.rmtree(old, ignore_errors=True)


def _rename(source: Path, target: Path) -> None:
    os.replace(source, target)
    _flush(target.parent)


def _flush(path: Path) -> None:
    """Flush a file, or a directory's list of names, to the disk."""
    if path.is_file():
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
        return
    with suppress(OSError):  # not every system can flush a directory
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        advice = "free some space or choose another folder, and run it again: what was saved before is kept"
        raise OSError(f"{path} cannot be written: {reason}; {advice}") from None
