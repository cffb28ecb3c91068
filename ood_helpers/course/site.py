"""The course, made from the notebooks: students' and teachers' notebooks, slides, and a static site.

`python -m ood_helpers.course course` and `... site` write course/ and site/ without a kernel and a network:
the notebooks are read as they are committed, with their outputs. Slides and pages are plain HTML of our own;
formulas become MathML and nothing is fetched, so that they open from a file.
"""

import html
import math
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from .. import figures
from ..widgets import page as pages
from .html import STATIC, address, code, document, groups, outputs, passports, picture, prose, shown, tags, text_of

SHARED = ("ood", "epoch", "target", "positive")  # by two explorers side by side


@dataclass
class Book:
    """A notebook to be shown: its title and its question stand in its first cell."""

    path: Path
    cells: list

    @property
    def stem(self):
        return self.path.stem

    @property
    def title(self):
        return re.search(r"# (.+)", self.cells[0].source)[1]

    @property
    def question(self):
        return re.search(r"\*\*Question\.\*\* (.+?)\n\n", self.cells[0].source, re.S)[1]


def books(folder=None):
    """The notebooks in order; ValueError where there are none."""
    import nbformat

    paths = sorted((Path(folder) if folder else figures.root() / "notebooks").glob("*.ipynb"))
    if not paths:
        raise ValueError(f"there is no notebook in {folder or figures.root() / 'notebooks'}")
    return [Book(path, nbformat.read(path, 4).cells) for path in paths]


def course(target="course", notebooks=None):
    """Write target/student (no solutions, no outputs), target/teacher and target/slides."""
    import nbformat

    target, found = Path(target), books(notebooks)
    for kind in ("student", "teacher", "slides"):
        (target / kind).mkdir(parents=True, exist_ok=True)
    for book in found:
        notebook = nbformat.read(book.path, 4)
        for cell in notebook.cells:  # two folders down from the repository, where notebooks/ is one
            cell.source = cell.source.replace("](../figures/", "](../../figures/")
        nbformat.write(notebook, target / "teacher" / book.path.name)
        notebook.cells = [cell for cell in notebook.cells if "solution" not in tags(cell)]
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, target / "student" / book.path.name)
        (target / "slides" / f"{book.stem}.html").write_text(slides(book), encoding="utf-8")
    print(f"{len(found)} notebooks for students, for teachers and as slides in {target}")


def slides(book, data="digits", live=None):
    """One page of slides: the question, the room's questions, each section's first words and its figures.

    Arrow keys, Page Up and Down, Home and End move; without a script the slides stand one below the other.
    `live`, where explorers stand beside the slides, gives the link to the one that a saved picture shows.
    """

    def still(finding, png):
        return picture(png, finding) + (live(finding) if live else ""), finding

    alts, first = passports(data), book.cells[0]
    told = [f"<h1>{html.escape(book.title)}</h1>" + prose(f"**Question.** {book.question}")]
    told += [prose(cell.source) for cell in book.cells if "questions" in tags(cell)]
    for cells in groups(book.cells):
        cell = cells[0]
        if {"questions", "exercise", "solution"} & set(tags(cell)) or cell is first:
            continue
        if cell.cell_type == "markdown":
            told += [_lead(part) for part in re.split(r"(?m)^(?=## )", cell.source) if part.startswith("## ")]
            told += [prose(cell.source)] if cell.id.startswith("task-") else []
        else:
            told += shown(cells, alts, still)
    body = "".join(
        f'<section tabindex="-1" aria-label="slide {k} of {len(told)}">{content}'
        f'<p class="place">{k} / {len(told)}</p></section>\n'
        for k, content in enumerate(told, 1)
    )
    return document(book.title, f"<main>\n{body}</main>", (STATIC / "slides.js").read_text(), "slides")


def _lead(section):
    """A section's heading, first paragraph and displayed formulas; the rest is what a teacher says."""
    heading, _, rest = section.partition("\n")
    formulas = re.findall(r"\$\$.+?\$\$", rest, re.S)
    lead = next((part for part in rest.split("\n\n") if part.strip() and "$$" not in part), "")
    return prose("\n\n".join([heading, lead, *formulas]))


def explorers(runs=None):
    """{page: (title, widgets)} of the live explorers, from trained runs; what is missing is trained."""
    from ..config import Config
    from ..sweeps import fit_all, lesson
    from ..widgets import NormExplorer, Playground, ScoreExplorer, link

    runs = runs or figures.settings().runs
    groups = lesson(Config(), ("softmax", "logitnorm"), 3, runs)
    others = [Config(loss=loss) for loss in ("meln", "isomax", "isomaxplus", "dismax", "dismax_fpr")]
    others += [
        Config(loss="meln", loss_options={"positive_temperature": True}),
        Config(loss="isomaxplus", loss_options={"entropic_scale": 10 / math.sqrt(2)}),
    ]  # DisMax's twin
    everything = [*groups["softmax"], *groups["logitnorm"], *fit_all(others, runs)]
    pair = ScoreExplorer(everything), ScoreExplorer(everything)
    pair[1].run = pair[1].choices["run"][3]  # LogitNorm beside softmax
    link(*pair, *SHARED)
    return {
        "scores": ("Scores of every loss", [ScoreExplorer(everything)]),
        "scores_pair": ("Two losses side by side", pair),
        "norm": ("Norm and direction of one logit vector", [NormExplorer()]),
        "playground": ("A network in the plane", [Playground()]),
    }


def site(target="site", notebooks=None, live=None, data="digits"):
    """Write target/index.html, a page and slides per notebook, and the explorers' pages; returns the index.

    Nothing in it is fetched from anywhere. `live` is what `explorers` gives.
    """
    target, found, live = Path(target), books(notebooks), live or explorers()
    target.mkdir(parents=True, exist_ok=True)
    for name, (title, widgets) in live.items():
        widgets[0].to_html(target / f"{name}.html", *widgets[1:], title=title)
    for page in figures.folder(data).glob("*.html"):  # the notebooks link to them
        shutil.copyfile(page, target / page.name)
    names, alts = live["scores"][1][0].choices["run"], passports(data)

    def place(finding):
        page, state = address(finding, names)
        return page, f"{page}.html#{html.escape(state)}"

    def alone(finding):
        return f'<a href="{place(finding)[1]}">Open it alone: the address keeps every setting</a>'

    def frame(finding, _):
        page, here = place(finding)
        return (
            f'<iframe src="{here}" title="{html.escape(live[page][0])}" loading="lazy"></iframe>' + alone(finding)
        ), finding

    for k, book in enumerate(found):
        nav = _navigation(found[k - 1] if k else None, found[k + 1] if k + 1 < len(found) else None, book)
        body = "\n".join(_blocks(book, alts, frame))
        (target / f"{book.stem}.html").write_text(
            document(
                book.title,
                f'<a class="skip" href="#content">Skip to the text</a>\n{nav}\n'
                f'<main id="content">\n{body}\n</main>\n{nav}',
            ),
            encoding="utf-8",
        )
        (target / f"{book.stem}_slides.html").write_text(slides(book, data, alone), encoding="utf-8")
    index = target / "index.html"
    index.write_text(_contents(found, live), encoding="utf-8")
    print(f"{len(found)} notebooks and {len(live)} explorers as pages: open {index}")
    return index


def _navigation(before, after, book):
    def to(other, rel, text):
        return f'<a href="{other.stem}.html" rel="{rel}">{text}</a>' if other else "<span></span>"

    here = f'<span><a href="index.html">Contents</a> · <a href="{book.stem}_slides.html">Slides</a></span>'
    links = [
        to(before, "prev", before and f"← {html.escape(before.title)}"),
        here,
        to(after, "next", after and f"{html.escape(after.title)} →"),
    ]
    return f'<nav aria-label="notebooks">{"".join(links)}</nav>'


def _blocks(book, alts, live):
    for cells in groups(book.cells):
        cell = cells[0]
        if cell.cell_type == "markdown":
            yield prose(cell.source)
        elif "exercise" in tags(cell):
            yield code(cell.source)
        elif "solution" in tags(cell):
            yield _folded("A solution", code(cell.source) + text_of(outputs(cell, {}, live)[1]))
        else:
            lines = "\n\n".join(each.source for each in cells).splitlines()
            source = code("\n".join(lines))
            yield source if len(lines) < 12 else _folded(f"The code, {len(lines)} lines", source)
            yield from shown(cells, alts, live)


def _folded(summary, content):
    return f"<details><summary>{summary}</summary>{content}</details>"


def _contents(found, live):
    def item(stem, title, more=""):
        return f'<li><a href="{stem}.html">{html.escape(title)}</a>{more}</li>'

    def slides_and_question(book):
        return f' (<a href="{book.stem}_slides.html">slides</a>){prose(book.question)}'

    notebooks = "\n".join(
        item(book.stem, re.sub(r"^\d+[. ·]+", "", book.title), slides_and_question(book)) for book in found
    )
    explorers = "\n".join(item(name, title) for name, (title, _) in live.items())
    return document(
        "What a network says about images it has never seen",
        f"""<main>
<h1>What a network says about images it has never seen</h1>
<p>Eight notebooks on out-of-distribution detection, as pages: everything on them was computed, nothing is
fetched. The explorers are alive without Python. To run the notebooks themselves, take the repository and type
<code>make lab</code>.</p>
<h2>Notebooks</h2>
<ol>
{notebooks}
</ol>
<h2>Explorers</h2>
<ul>
{explorers}
</ul>
</main>""",
    )
