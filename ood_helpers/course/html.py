"""Cells of a notebook as HTML that fetches nothing: Markdown with MathML, highlighted code, figures with captions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from mistune import import_plugin
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from ..widgets import page as pages
from ..widgets.base import STATE_MIME

STATIC = Path(__file__).parent / "static"
IMPORTS = re.compile(r"^(import|from) ", re.M)
STYLES = {"page": ("course", "notebook"), "slides": ("course", "notebook", "slides"), "front": ("course", "front")}
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-src 'self' file:; script-src "


def formula(latex: str, display: bool) -> str:
    r"""Convert a LaTeX formula to MathML, which browsers draw without a script.

    >>> formula("s^2", display=False)[:41], r"\arg" in formula(r"\arg\max", False)
    ('<math xmlns="http://www.w3.org/1998/Math/', False)
    """
    from latex2mathml.converter import convert

    latex = re.sub(r"\\arg(?![a-z])", r"\\operatorname{arg}", " ".join(latex.split()))  # latex2mathml has no \arg
    return convert(latex, display="block" if display else "inline")


def slug(heading: str) -> str:
    """Return the name of a section in its page's address.

    >>> slug("What is *known*, and what is not?")
    'what-is-known-and-what-is-not'
    """
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def scrollable(table: str) -> Markup:
    """Return the HTML of a table in a region that can be scrolled, also with the keyboard."""
    return Markup(f'<div class="wide" tabindex="0" role="region" aria-label="table">{table}</div>')


class _Renderer(IPythonRenderer):
    """nbconvert's Markdown with MathML, tables that can be scrolled, and links to the pages of the site."""

    def text(self, text: str) -> str:
        return re.sub(r"(?<=\d) (?=%)", "\u00a0", super().text(text))  # a line does not begin with %

    def block_math(self, body: str) -> str:
        return formula(body, display=True)

    def inline_math(self, body: str) -> str:
        return formula(body, display=False)

    def table(self, text: str) -> str:
        return scrollable(f"<table>{text}</table>")

    def heading(self, text: str, level: int, **attributes: Any) -> str:
        if level != 2:
            return super().heading(text, level, **attributes)
        name = slug(re.sub(r"<[^>]*>", "", text))
        return f'<h2 id="{name}">{text} <a class="anchor" href="#{name}" aria-label="Link to this section">#</a></h2>\n'

    def paragraph(self, text: str) -> str:
        lead = re.match(r"<strong>(Finding|Bet)", text)
        return f'<p class="{lead[1].lower()}">{text}</p>\n' if lead else super().paragraph(text)

    def link(self, text: str, url: str, title: str | None = None) -> str:
        if "://" not in url and url.endswith((".ipynb", ".html")):  # notebooks and saved pages are pages of the site
            url = f"{Path(url).stem}.html"
        return super().link(text, url, title)


def markdown(source: str) -> Markup:
    r"""Convert a notebook's Markdown to HTML; HTML in it is escaped.

    >>> markdown("[next](02_growing_logit_norms.ipynb)")
    Markup('<p><a href="02_growing_logit_norms.html">next</a></p>\n')
    """
    renderer = _Renderer(exclude_anchor_links=True)
    return Markup(MarkdownWithMath(renderer, plugins=[import_plugin("table")]).render(source))


def highlight(source: str) -> Markup:
    """Convert Python code to HTML, with a ``span`` for each token."""
    import pygments
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return Markup(pygments.highlight(source, PythonLexer(), HtmlFormatter(nowrap=True)))


@cache
def template(name: str = "course.html.j2") -> Any:
    """Load a Jinja template; its macros (``page``, ``slides``; ``front``) give the body of a document."""
    environment = Environment(loader=FileSystemLoader(STATIC), autoescape=True, trim_blocks=True)
    environment.filters |= {"markdown": markdown, "highlight": highlight}
    return environment.get_template(name).module


def static_file(name: str) -> str:
    """Return the text of a style sheet or script of the course."""
    return (STATIC / name).read_text(encoding="utf-8")


def document(title: str, body: str, script: str = "", kind: str = "page") -> str:
    """Return a page: ``body`` with the course's style, and a policy that allows ``script`` and nothing else.

    ``kind`` is the body's class: "page", "slides" or "front".
    """
    style = "".join(static_file(f"{name}.css") for name in STYLES[kind])
    ending = f"\n<script>{script}</script>" if script else ""
    return pages.document(title, f"{body}{ending}", style, POLICY + pages.csp_hash(script), kind)


def sections(cells: Iterable[Any]) -> list[tuple[str, Markup]]:
    """Return the sections of a notebook: their names in the address and their headings in HTML."""
    headings = [
        str(heading)
        for cell in cells
        if cell.cell_type == "markdown"
        for heading in re.findall(r"<h2 id=[^>]*>(.*?) <a class=.anchor", str(markdown(cell.source)), re.DOTALL)
    ]
    return [(slug(re.sub(r"<[^>]*>", "", heading)), Markup(heading)) for heading in headings]


def tags(cell: Any) -> set[str]:
    """Return the tags of a cell."""
    return set(cell.metadata.get("tags", ()))


@dataclass
class Output:
    """One output: printed ``text``, ``html``, or a picture ``png`` (base64) with a caption.

    ``section`` is the heading of its section and ``notes`` what a teacher says to it, for slides, as HTML.
    ``states`` is the saved state of the explorers that the picture shows, empty for figures.
    """

    text: str = ""
    html: str = ""
    png: str = ""
    alt: str = ""
    caption: str = ""
    section: str = ""
    notes: str = ""
    states: list[dict[str, Any]] = field(default_factory=list)


def outputs(cell: Any) -> Iterator[Output]:
    """Yield the outputs of a code cell.

    The alternative text of a figure is in the metadata that ``save_figure`` gives it; that of an explorer is its
    sentence.
    """
    for output in cell.get("outputs", ()):
        data = output.get("data", {})
        if output.output_type == "stream":
            yield Output(text=output.text.rstrip())
        elif "text/markdown" in data:
            yield Output(html=markdown(data["text/markdown"]))
        elif STATE_MIME in data and "image/png" in data:
            states, sentence = data[STATE_MIME], data["text/plain"].strip()
            states = states if isinstance(states, list) else [states]
            yield Output(png=data["image/png"].strip(), alt=sentence, caption=sentence, states=states)
        elif "image/png" in data:
            alt = output.metadata.get("image/png", {}).get("alt") or "A figure; its numbers are in the text below it."
            yield Output(png=data["image/png"].strip(), alt=alt, caption=alt)
        elif "text/html" in data:  # a table; the policy keeps scripts in it from running
            yield Output(html=table(data["text/html"]))
        elif "text/plain" in data:
            yield Output(text=data["text/plain"].rstrip())


def table(html: str) -> Markup:
    """A pandas table that can be scrolled, with its title as a caption and its text to the left.

    The title is the name of the columns, which pandas writes above the names of the rows, where it would wrap in their
    width. One of up to 8 characters stays there, and so does that of several levels of columns.

    >>> from pandas import DataFrame
    >>> written = DataFrame({"noise": [98.0]}).rename_axis(columns="AUROC in %").to_html()
    >>> "<caption>AUROC in %</caption>" in table(written)
    True
    """
    levels = re.search(r"<tbody>\s*<tr>((?:\s*<th[^>]*>[^<]*</th>)*)", html)
    count = max(levels[1].count("<th"), 1) if levels else 1  # of the names of the rows
    head = re.search(
        rf"<thead>\s*<tr[^>]*>((?:\s*<th></th>){{{count - 1}}})\s*<th>([^<]{{9,}})</th>((?:\s*<th>[^<]*</th>)*)\s*</tr>"
        # a second row names the levels of the rows, and is empty above the columns
        rf"(?:\s*<tr>((?:\s*<th>[^<]*</th>){{{count}}})(?:\s*<th></th>)+\s*</tr>)?\s*</thead>",
        html,
    )
    if head:
        before, title, columns, names = head.groups()
        caption = f"<caption>{title}</caption><thead><tr>{names or before + '<th></th>'}{columns}</tr></thead>"
        html = html[: head.start()] + caption + html[head.end() :]
    html = re.sub(r"<td>(?=[^<]*[^\W\d]{3})", '<td class="words">', html)
    return scrollable(html)


def with_captions(cells: Iterable[Any]) -> Iterator[Output]:
    """Yield the outputs of consecutive code cells, with what a cell prints as the caption of the figure before it.

    A figure after which nothing is printed is captioned by its alternative text.
    """
    waiting: list[Output] = []
    for cell in cells:
        shown = list(outputs(cell))
        waiting += [output for output in shown if output.png]
        printed = "\n".join(output.text for output in shown if output.text)
        if printed and waiting:
            *before, last = waiting
            yield from (*before, replace(last, caption=printed))
            waiting = []
        elif printed:
            yield Output(text=printed)
        if tables := [output for output in shown if output.html]:
            yield from (*waiting, *tables)  # a figure comes before the tables of later cells, as in the notebook
            waiting = []
    yield from waiting


@dataclass
class Block:
    """Markdown, an exercise, its solution, or consecutive code cells (``kind``), with their outputs."""

    kind: str
    source: str
    tags: set[str]
    outputs: list[Output]

    @property
    def folded(self) -> str:
        """What a page says in place of this code: imports and the code of explorers are folded, all other is shown."""
        if any(output.states for output in self.outputs):
            return "The code of the explorer"
        return "Imports and settings" if IMPORTS.search(self.source) else ""


def blocks(cells: Iterable[Any]) -> Iterator[Block]:
    """Yield the blocks of a notebook: code cells with no text between them are one, and one with imports is its own."""
    consecutive: list[Any] = []
    for cell in [*cells, None]:
        kind = next((tag for tag in ("exercise", "solution") if cell and tag in tags(cell)), cell and cell.cell_type)
        if consecutive and (kind != "code" or IMPORTS.search(consecutive[-1].source)):
            source = "\n\n".join(each.source for each in consecutive)
            yield Block("code", source, set(), list(with_captions(consecutive)))
            consecutive = []
        if kind == "code":
            consecutive.append(cell)
        elif cell:
            yield Block(kind, cell.source, tags(cell), [output for output in outputs(cell) if output.text])
