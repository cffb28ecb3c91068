"""Read the notebooks, and write students' and teachers' editions of them without overwriting anybody's work."""

from __future__ import annotations

import copy
import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..figures import root, write_if_changed


@dataclass
class Book:
    """A notebook whose first cell begins with its title, a heading, and a paragraph with its question."""

    path: Path
    notebook: Any

    @property
    def stem(self) -> str:
        """Name of the file without its suffix."""
        return self.path.stem

    @property
    def cells(self) -> list[Any]:
        """All cells, with their outputs."""
        return self.notebook.cells

    @property
    def title(self) -> str:
        """The heading, in Markdown."""
        return self.cells[0].source.split("\n\n")[0].removeprefix("# ")

    @property
    def question(self) -> str:
        """The paragraph that follows the heading, in Markdown, without the word Question."""
        return self.cells[0].source.split("\n\n")[1].removeprefix("**Question.** ")

    @property
    def answers(self) -> str:
        """Answers to the questions for the room, in Markdown, from ``teaching/<stem>.md``; empty if there is none."""
        path = self.path.parent / "teaching" / f"{self.stem}.md"
        return path.read_text(encoding="utf-8") if path.exists() else ""


def books(directory: str | Path | None = None) -> list[Book]:
    """Read the notebooks of a folder, by default ``notebooks/``, in order; ValueError if there are none."""
    import nbformat

    directory = Path(directory or root() / "notebooks")
    paths = sorted(directory.glob("*.ipynb"))
    if not paths:
        raise ValueError(f"there is no notebook in {directory}")
    return [Book(path, nbformat.read(path, as_version=4)) for path in paths]


def write_editions(book: Book, target: Path) -> None:
    """Write ``target/student/<name>`` without solutions and outputs, and ``target/teacher/<name>`` with both.

    The teacher's has the answers to the questions for the room below them.

    An existing notebook with edited cells is left as it is, and a new version is written next to it as
    ``<stem>_2.ipynb``. Whether cells were edited is decided by a digest of them in the notebook's metadata.
    """
    from nbconvert.preprocessors import ClearOutputPreprocessor, TagRemovePreprocessor
    from nbformat.v4 import new_markdown_cell

    teacher = copy.deepcopy(book.notebook)
    for cell in teacher.cells:  # two folders below the repository, where notebooks/ is one
        cell.source = cell.source.replace("](../figures/", "](../../figures/")
    student = copy.deepcopy(teacher)
    for step in (TagRemovePreprocessor(remove_cell_tags={"solution"}), ClearOutputPreprocessor()):
        student, _ = step.preprocess(student, {})
    for k, cell in enumerate(teacher.cells):
        if "questions" in cell.metadata.get("tags", ()) and book.answers:
            teacher.cells.insert(k + 1, new_markdown_cell(book.answers, id="answers", metadata={"tags": ["answers"]}))
            break
    for kind, edition in (("student", student), ("teacher", teacher)):
        _write_edition(edition, target / kind / book.path.name)


def _write_edition(edition: Any, path: Path) -> None:
    import nbformat

    digest = _digest_of_cells(edition)
    edition.metadata["ood"] = edition.metadata.get("ood", {}) | {"cells": digest}
    for number in itertools.count(1):
        candidate = path if number == 1 else path.with_name(f"{path.stem}_{number}{path.suffix}")
        if not candidate.exists():
            break
        existing = nbformat.read(candidate, as_version=4)
        written = existing.metadata.get("ood", {}).get("cells")
        if written == _digest_of_cells(existing):  # nobody has edited it
            break
        if written == digest:  # somebody works on this version
            return
    write_if_changed(candidate, f"{nbformat.writes(edition)}\n".encode())
    if candidate != path:
        print(f"{path} was edited and is left as it is; the new version is {candidate.name}")


def _digest_of_cells(notebook: Any) -> str:
    return hashlib.sha256("\0".join(cell.source for cell in notebook.cells).encode()).hexdigest()
