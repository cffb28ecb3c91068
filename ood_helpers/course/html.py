"""Cells of a notebook as HTML that fetches nothing: MathML, findings as captions, pictures in words."""

import html
import json
import re
from pathlib import Path
from urllib.parse import urlencode

from .. import figures
from ..widgets import page as pages

STATIC = Path(__file__).parent / "static"

NAME = re.compile(r'save_figure\(\s*\w+,\s*"(\w+)"')
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-src 'self' file:; script-src "


def tags(cell):
    return cell.metadata.get("tags", ())


# Text


def formula(latex, display):
    """MathML of a formula, which browsers draw themselves.

    >>> formula("s^2", display=False)[:41], "\\arg" in formula(r"\\arg\\max", False)
    ('<math xmlns="http://www.w3.org/1998/Math/', False)
    """
    from latex2mathml.converter import convert

    latex = re.sub(r"\\arg(?![a-z])", r"\\operatorname{arg}", " ".join(latex.split()))
    return convert(latex, display="block" if display else "inline")


def prose(markdown):
    """HTML of a notebook's Markdown; links to notebooks and to saved pages lead to the pages of the site."""
    import mistune

    formulas = []

    def keep(match):
        if match[1]:  # code stays as it is
            return match[0]
        formulas.append(formula(match[2] or match[3], display=bool(match[2])))
        return f"oodformula{len(formulas) - 1}x"

    text = re.sub(r"(`[^`]*`)|(?<!\\)\$\$(.+?)\$\$|(?<!\\)\$([^$`]+?)\$", keep, markdown, flags=re.S)
    page = mistune.create_markdown(plugins=["table"])(text)
    page = re.sub(r"oodformula(\d+)x", lambda match: formulas[int(match[1])], page)
    wide = r'<div class="wide" tabindex="0" role="region" aria-label="table">\g<0></div>'
    page = re.sub(r"<table>.*?</table>", wide, page, flags=re.S)
    return re.sub(r'href="(?:\.\./figures/\w+/)?([\w-]+)\.(?:ipynb|html)"', r'href="\1.html"', page)


def code(source, label="code"):
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    lines = highlight(source, PythonLexer(), HtmlFormatter(nowrap=True))
    return f'<pre class="code" tabindex="0" aria-label="{label}"><code>{lines}</code></pre>'


# Outputs


class Ready(str):
    """HTML already, where other strings are still text."""


def passports(data="digits"):
    """What each saved figure shows, in words, from its passport; those of the paper-scale runs stand elsewhere."""
    found = {
        path.stem: json.loads(path.read_text())
        for folder in ("cifar10_jpeg", data)
        for path in sorted(figures.folder(folder).glob("*.json"))
    }
    return {name: passport["alt"] for name, passport in found.items() if passport.get("alt")}


def outputs(cell, alts, live):
    """(figures, printed): the cell's pictures with what they say, and its text, as HTML."""
    names, drawn, printed = iter(NAME.findall(cell.source)), [], []
    for output in cell.get("outputs", ()):
        data = output.get("data", {})
        if output.output_type == "stream":
            printed.append(output.text)
        elif "text/markdown" in data:
            printed.append(Ready(prose(data["text/markdown"])))
        elif "image/png" in data and not data["text/plain"].startswith("<Figure"):
            drawn.append(live(data["text/plain"], data["image/png"]))
        elif "image/png" in data:
            alt = alts.get(next(names, None)) or "A figure; its numbers are in the text below it."
            drawn.append((picture(data["image/png"], alt), alt))
    return drawn, printed


def picture(png, alt):
    return f'<img src="data:image/png;base64,{png.strip()}" alt="{html.escape(alt)}">'


def figure(content, caption):
    return f"<figure>{content}<figcaption>{html.escape(caption.strip())}</figcaption></figure>"


def text_of(printed):
    """Printed text as it came; tables, which are HTML already, as they are."""
    start = '<pre class="printed" tabindex="0" aria-label="printed">'
    return "".join(
        part if isinstance(part, Ready) else f"{start}{html.escape(part.rstrip())}</pre>" for part in printed
    )


def shown(cells, alts, live):
    """Yield the figures, with captions, and the printed text of cells in a row without text between them.

    A figure's caption is what is printed after it, its finding; without that, what the figure shows in words.
    """
    waiting = []
    for cell in cells:
        drawn, printed = outputs(cell, alts, live)
        waiting += drawn
        says = [part for part in printed if not isinstance(part, Ready)]
        for content, alt in waiting[:-1] if says else ():
            yield figure(content, alt)
        if says and waiting:
            yield figure(waiting[-1][0], "".join(says))
            waiting, printed = [], [part for part in printed if isinstance(part, Ready)]
        if printed:
            yield text_of(printed)
    for content, alt in waiting:
        yield figure(content, alt)


def address(finding, runs):
    """(page, the part of its address behind #) that opens an explorer as a saved picture shows it."""
    from ..losses import RECIPES
    from ..widgets.score_explorer import SCORE_LABELS

    losses, parts = {recipe.label: name for name, recipe in RECIPES.items()}, {}
    scores = {shown: name for name, shown in SCORE_LABELS.items()}
    for k, line in enumerate(finding.splitlines()):
        before = f"{k}." if k else ""
        if match := re.match(r"(.+), (.+?): at threshold .* and [\d.]+ % of (.+?) are accepted", line):
            # One of several trainings carries its seed; one alone does not.
            same = (
                name
                for name in runs
                if name == match[1] or name.startswith(f"{match[1]}, seed") or match[1].startswith(f"{name}, seed")
            )
            run = next(same, "")
            parts |= {f"{before}run": run, f"{before}score": scores[match[2]], f"{before}ood": match[3]}
            page = "scores_pair" if k else "scores"
        elif match := re.match(r"(.+), norm ([\d.]+), (\d+)° from ", line):
            page = "norm"
            values = losses[match[1]], match[2], match[3]
            parts |= {f"{before}{name}": value for name, value in zip(("loss", "norm", "angle"), values)}
        elif match := re.match(r"(.+): at \((-?[\d.]+), (-?[\d.]+)\)", line):
            parts |= {f"{before}loss": losses[match[1]], f"{before}x": match[2], f"{before}y": match[3]}
            page = "playground"
        else:
            raise ValueError(f"no page is known for {line!r}")
    return page, urlencode(parts)


# Pages


def document(title, body, script="", kind="page"):
    style = (STATIC / "course.css").read_text(encoding="utf-8")
    ending = f"\n<script>{script}</script>" if script else ""
    return pages.document(title, body + ending, style, POLICY + pages.hashed(script), kind)


def groups(cells):
    """Code cells in a row as one list; Markdown, exercises and solutions each alone."""
    row = []
    for cell in cells:
        alone = cell.cell_type == "markdown" or {"exercise", "solution"} & set(tags(cell))
        if alone and row:
            yield row
            row = []
        if alone:
            yield [cell]
        else:
            row.append(cell)
    if row:
        yield row
