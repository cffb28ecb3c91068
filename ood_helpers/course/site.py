"""The course as files: notebooks for students and teachers, slides, and a static site.

Everything is made from the notebooks as they are committed, with their outputs, without a kernel or a network. Formulas
become MathML and nothing is fetched, so that slides and pages open as files.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from markupsafe import Markup

from .. import figures
from .editions import Book, books, write_editions
from .explorers import Explorer, Live, address, live_explorers, names_on_page, page_for
from .front import front
from .html import Output, blocks, document, markdown, sections, static_file, tags, template

START = """# Start here

**Students:** open the first notebook in the first column. Choose *Run > Run All Cells*, read, and put your answers in
the place of the dots: `check` says that they are right, or gives a hint. Your notebook is saved as you write, and
`make course` never overwrites an answer. Nothing here is in a commit, so write wherever you like.

**Teachers:** the last column has the solutions and the answers to the questions for the room.

| for students | its question | for teachers |
|---|---|---|
{rows}

The original notebooks with their outputs are in [notebooks/](../notebooks/README.md).
"""

ENDING = "What to take"
CONCLUSIONS = ("**Finding", f"**{ENDING}")


def course(target: str | Path = "course", notebooks: str | Path | None = None) -> None:
    """Write ``target/student`` (no solutions, no outputs), ``target/teacher``, ``target/slides`` and a start page.

    Parameters
    ----------
    target : path
        A notebook in it that somebody has edited is never overwritten; see ``write_editions``.
    notebooks : path, optional
        The folder of the notebooks, by default that of the repository.
    """
    import nbformat
    from nbformat.v4 import new_markdown_cell, new_notebook

    target, all_books = Path(target), books(notebooks)
    (target / "slides").mkdir(parents=True, exist_ok=True)
    for book in all_books:
        write_editions(book, target)
        (target / "slides" / f"{book.stem}.html").write_text(slides(book), encoding="utf-8")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    page = new_notebook(cells=[new_markdown_cell(start_page(all_books), id="start")], metadata=kernel)
    (target / "start.ipynb").write_text(nbformat.writes(page) + "\n", encoding="utf-8")
    print(f"{len(all_books)} notebooks for students, for teachers and as slides in {target}")


def start_page(all_books: list[Book]) -> str:
    """Return the Markdown that ``make lab`` opens: where students begin, and what a teacher has."""
    rows = [
        f"| [{book.title}](student/{book.path.name}) | {' '.join(book.question.split())} "
        f"| [with solutions](teacher/{book.path.name}), [slides](slides/{book.stem}.html) |"
        for book in all_books
    ]
    return START.format(rows="\n".join(rows))


def slides(book: Book, explorers: Callable[[list[dict]], Explorer | None] | None = None) -> str:
    """One page of slides: the question, the questions for the room, the start and findings of sections, the figures.

    Arrow keys, Page Up and Down, Home and End move, F fills the screen, N shows the notes: the text that is not on
    the slide, and the answers to the questions. Without JavaScript the slides stand one below the other.

    Parameters
    ----------
    book : Book
        The notebook.
    explorers : callable, optional
        Gives the live explorer for a saved state, if there are pages to link to.
    """
    deck = [Output(html=markdown(f"# {book.title}\n\n**Question.** {book.question}"))]
    asked = [cell.source for cell in book.cells if "questions" in tags(cell)]
    deck += [Output(html=markdown(source), notes=markdown(book.answers)) for source in asked]
    section = Markup("")
    for block in blocks(book.cells[1:]):
        if headings := re.findall(r"^## (.*)$", block.source if block.kind == "markdown" else "", re.M):
            section = markdown(headings[-1])
        if block.kind == "code":
            # A description in words is read aloud; the finding has a slide of its own.
            described = [each.caption == each.alt and not each.states for each in block.outputs]
            deck += [
                replace(each, section=section, caption="" if alone else each.caption)
                for each, alone in zip(block.outputs, described)
            ]
        elif "task" in block.tags:
            deck.append(Output(html=markdown(block.source)))
        elif block.kind == "markdown" and "questions" not in block.tags:
            deck += [
                Output(html=markdown(lead), section=section * (not lead.startswith("## ")), notes=markdown(rest))
                for lead, rest in _leads(block.source)
            ]
    body = template().slides(deck, explorers, book.stem)
    return document(f"Slides: {book.title}", body, static_file("slides.js"), "slides")


def _leads(source: str) -> Iterator[tuple[str, str]]:
    """Yield what slides show of each section, and what a teacher says to it.

    A section's slide has the heading, the first paragraph, the displayed formulas and what follows from the last one;
    a long conclusion, findings and what to take along have slides of their own. The notes are all other paragraphs.
    """
    introduction, *sections = f"\n{source}".split("\n## ")
    for paragraph in introduction.split("\n\n"):
        if paragraph.strip().startswith(CONCLUSIONS):
            yield paragraph, ""
    for section in sections:
        heading, _, rest = section.partition("\n")
        paragraphs = [paragraph for paragraph in rest.split("\n\n") if paragraph.strip()]
        formulas = [k for k, paragraph in enumerate(paragraphs) if "$$" in paragraph]
        first = next((k for k in range(len(paragraphs)) if k not in formulas), None)
        conclusions = [k for k, text in enumerate(paragraphs) if text.startswith(CONCLUSIONS)]
        after = [k + 1 for k in formulas[-1:] if k + 1 < len(paragraphs)]
        short = [k for k in after if len(paragraphs[k].split()) < 50]
        shown = [f"## {heading}", *(paragraphs[k] for k in [first] if k is not None)]
        shown += [f"$${formula}$$" for formula in rest.split("$$")[1::2]]
        shown += [paragraphs[k] for k in short if k != first and k not in conclusions]
        apart = sorted({*conclusions, *(k for k in after if k not in short)} - {first})
        said = [text for k, text in enumerate(paragraphs) if k not in (first, *formulas, *apart, *short)]
        yield "\n\n".join(shown), "\n\n".join(said)
        yield from ((paragraphs[k], "") for k in apart)


def site(
    target: str | Path = "site", notebooks: str | Path | None = None, live: Live | None = None, data: str = "digits"
) -> Path:
    """Write a page and slides for each notebook, a page for each explorer, and ``target/index.html``.

    Parameters
    ----------
    target : path
    notebooks : path, optional
        The folder of the notebooks, by default that of the repository.
    live : dict, optional
        What ``live_explorers`` gives.
    data : str
        The dataset whose saved pages, to which the notebooks link, are copied.

    Returns
    -------
    pathlib.Path
        The index.
    """
    target, all_books = Path(target), books(notebooks)
    live = live or live_explorers()
    target.mkdir(parents=True, exist_ok=True)
    for page in figures.folder(data).glob("*.html"):
        shutil.copyfile(page, target / page.name)

    paths: dict[str, dict[str, list]] = {name: {} for name in live}
    script = static_file("frames.js") + static_file("figures.js")

    def explorers(states: list[dict]) -> Explorer | None:
        page = page_for(states, live)
        if page is None:
            return None
        title, widgets = live[page]
        runs = widgets[0].choices.get("run", [])
        fragment = address(states, runs)
        if "steps" in states[0]:
            path = f"path{len(paths[page]) + 1}"
            paths[page][path] = [step | {"state": names_on_page(step["state"], runs)} for step in states[0]["steps"]]
            fragment = f"path={path}&{fragment}"
        return Explorer(title, f"{page}.html#{fragment}")

    for before, book, after in zip([None, *all_books], all_books, [*all_books[1:], None]):
        body = template().page(book, before, after, list(blocks(book.cells)), explorers, sections(book.cells))
        text = document(f"{book.title} - ood_helpers", body, script)
        (target / f"{book.stem}.html").write_text(text, encoding="utf-8")
        (target / f"{book.stem}_slides.html").write_text(slides(book, explorers), encoding="utf-8")
    for name, (title, widgets) in live.items():
        widgets[0].to_html(target / f"{name}.html", *widgets[1:], title=title, paths=paths[name])
    titles = {name: title for name, (title, _) in live.items()}
    index = target / "index.html"
    softmax = live["sketchpad"][1][0].choices["run"][0] if "sketchpad" in live else ""
    index.write_text(front(all_books, titles, {"softmax": softmax}), encoding="utf-8")
    print(f"{len(all_books)} notebooks and {len(live)} explorers as pages: open {index}")
    return index
