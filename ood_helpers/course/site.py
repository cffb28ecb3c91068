"""The course as files: notebooks for students and teachers, slides, and a static site.

Everything is made from the notebooks as they are committed, with their outputs, without a kernel or a network. Formulas
become MathML and nothing is fetched, so that slides and pages open as files.
"""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from markupsafe import Markup

from .. import figures
from .editions import Book, books, write_editions
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
SHARED = ("ood", "epoch", "target", "positive")  # traits that two explorers side by side share

Live = dict[str, tuple[str, list[Any]]]  # page name -> title, widgets


class Explorer(NamedTuple):
    """Where a live explorer is: the title of its page and its address, with the state after #."""

    title: str
    address: str


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


def page_for(states: list[dict[str, Any]], live: Live) -> str | None:
    """Return the page that shows saved widgets: of the same kinds, with all OOD sets that they and their steps have.

    Parameters
    ----------
    states : list of dict
        What ``Widget.saved_state`` gave, for one widget or for several side by side.
    live : dict
        What ``live_explorers`` gives.

    Returns
    -------
    str or None
        None where there is no such page: a widget of other data is shown as its picture.
    """

    def sets_of(saved: dict[str, Any]) -> set[str]:
        steps = [step["state"] for step in saved.get("steps", ())]
        return {*saved.get("sets", ()), *(state["ood"] for state in [saved["state"], *steps] if "ood" in state)}

    for name, (_, widgets) in live.items():
        same_kinds = [widget.page for widget in widgets] == [saved["page"] for saved in states]
        if same_kinds and all(sets_of(saved) <= {*w.choices.get("ood", ())} for saved, w in zip(states, widgets)):
            return name
    return None


def address(states: list[dict[str, Any]], runs: list[str]) -> str:
    """Return the part of a page's address after # that opens it in the state of saved widgets.

    Parameters
    ----------
    states : list of dict
        What ``Widget.saved_state`` gave, for one widget or for several side by side.
    runs : list of str
        Names of the runs on the page. There, one of several trainings of a loss is named with its seed; in the
        notebook a single one is not.

    Examples
    --------
    >>> address([{"state": {"run": "IsoMax", "score": "msp"}}], ["Softmax (CE)", "IsoMax, seed 0"])
    'run=IsoMax%2C+seed+0&score=msp'
    """
    fragment = {}
    for k, saved in enumerate(states):
        for name, value in _named(saved["state"], runs).items():
            if value is not None:
                fragment[f"{k}.{name}" if k else name] = str(value).lower() if isinstance(value, bool) else value
    return urlencode(fragment)


def _named(state: dict[str, Any], runs: list[str]) -> dict[str, Any]:
    """A saved state with the name that its run has on the page, or without it if the run is not there."""
    found = [run for run in runs if _same_run(run, state.get("run", ""))]
    return {name: found[0] if name == "run" else value for name, value in state.items() if name != "run" or found}


def _same_run(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}, seed") or other.startswith(f"{one}, seed")


def live_explorers(runs: str | Path | None = None) -> Live:
    """Return the explorers of the site, from saved runs; missing ones are trained."""
    from .. import papers
    from ..config import Config
    from ..sweeps import fit_all, lesson
    from ..widgets import NormExplorer, Playground, ScoreExplorer, Sketchpad, link

    runs = runs or figures.settings().runs
    groups = lesson(Config(), ("softmax", "logitnorm"), 3, runs)
    # MELN is drawn on as the variant that learns; as written, its answers are those of a failed training.
    others = [Config(loss="meln", loss_options={"positive_temperature": True})]
    others += [Config(loss=loss) for loss in ("isomax", "isomaxplus", "dismax", "dismax_fpr", "meln")]
    # DisMax's twin: IsoMax+ at the scale that DisMax has at its start
    others.append(Config(loss="isomaxplus", loss_options={"entropic_scale": 10 / math.sqrt(2)}))
    trained = fit_all(others, runs)
    everything = [*groups["softmax"], *groups["logitnorm"], *trained]
    one_each = [groups["softmax"][0], groups["logitnorm"][0], *trained[:5]]
    shipped = papers.shipped("cifar10")
    photographs = [run for group in shipped.values() for run in group]

    def pair(runs: list, second: int) -> list:
        """Two explorers, the second with the first LogitNorm."""
        left, right = ScoreExplorer(runs), ScoreExplorer(runs)
        right.run = right.choices["run"][second]
        link(left, right, *SHARED)
        return [left, right]

    return {
        "sketchpad": ("Draw a stranger", [Sketchpad(one_each)]),
        "photographs": ("Scores on photographs", [ScoreExplorer(photographs)]),
        "photographs_pair": ("Two losses on photographs", pair(photographs, len(shipped["softmax"]))),
        "scores": ("Scores of every loss on digits", [ScoreExplorer(everything)]),
        "scores_pair": ("Two losses on digits", pair(everything, len(groups["softmax"]))),
        "norm": ("Norm and direction of one logit vector", [NormExplorer()]),
        "playground": ("A network in the plane", [Playground()]),
    }


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
            paths[page][path] = [step | {"state": _named(step["state"], runs)} for step in states[0]["steps"]]
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
