"""Cells as HTML: Markdown with formulas, outputs with captions, colours that can be read."""

import re

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from ood_helpers.course import html
from ood_helpers.widgets import NormExplorer, SideBySide
from ood_helpers.widgets.base import STATE_MIME


@pytest.mark.parametrize(
    "text, expected",
    [
        ("`$x$` and $y$", "<code>$x$</code>"),
        ("[next](02_growing.ipynb)", 'href="02_growing.html"'),
        ("| $a$ |\n|---|\n| $\\lVert b\\rVert$ |", "<table>"),
        ("<script>alert(1)</script>", "&lt;script&gt;"),
        ("above 90 % of `90 %`", "90\u00a0% of <code>90 %</code>"),
    ],
)
def test_markdown(text, expected):
    assert expected in html.markdown(text)


def test_the_title_of_a_table_is_its_caption_and_words_are_to_the_left():
    for names in (["loss", "seed"], ["loss"], ["", "loss"], [None]):
        index = pd.MultiIndex.from_tuples([("softmax", 0)[: len(names)]], names=names)
        frame = pd.DataFrame({"lower bound": [90.0], "reason": ["fewer epochs"]}, index=index)
        titled, plain = (html.table(each.to_html()) for each in (frame.rename_axis(columns="AUROC in %"), frame))
        assert "<caption>AUROC in %</caption>" in titled and "caption" not in plain
        (head,) = re.findall(r"<thead>(.*)</thead>", titled, re.DOTALL)
        assert re.findall("<th>(.*?)</th>", head) == [*(name or "" for name in names), "lower bound", "reason"]
        assert "<td>90.0</td>" in titled and '<td class="words">fewer epochs</td>' in titled
        short, levels = frame.rename_axis(columns="T"), pd.DataFrame({("AUROC in %", "noise"): [90.0]})
        for each in (short, levels.rename_axis(columns=["published", "ours and theirs"])):
            assert "<caption>" not in html.table(each.to_html())


def stream(text):
    return new_output("stream", name="stdout", text=text)


def picture(text="<Figure>", **more):
    return new_output("display_data", {"image/png": "AAAA", "text/plain": text} | more.pop("data", {}), **more)


def test_a_figure_has_its_own_alternative_text_and_what_is_printed_after_it_as_caption():
    first, second = (
        picture(metadata={"image/png": {"alt": f"{name} from 1 to 2"}, "ood": {"figure": name}})
        for name in ("norms", "losses")
    )
    draw, say = new_code_cell("draw()", outputs=[first, second]), new_code_cell("say()", outputs=[stream("3 of 4\n")])
    shown = list(html.with_captions([draw, new_code_cell("x = 1"), say, say]))
    assert [(output.alt, output.caption) for output in shown[:2]] == [
        ("norms from 1 to 2", "norms from 1 to 2"),
        ("losses from 1 to 2", "3 of 4"),
    ]
    assert [output.text for output in shown[2:]] == ["3 of 4"]


def test_a_saved_explorer_brings_its_state_and_its_sentence():
    row = SideBySide(NormExplorer(), NormExplorer(loss="logitnorm"))
    for widget, count in ((row, 2), (row.children[0], 1)):
        data = widget._repr_mimebundle_()
        data = data[0] if isinstance(data, tuple) else data
        saved = {name: data[name] for name in ("image/png", "text/plain", STATE_MIME)}
        cell = nbformat.from_dict(new_code_cell("show()", outputs=[new_output("display_data", saved)]))
        (output,) = html.outputs(cell)
        assert [state["state"]["loss"] for state in output.states] == ["softmax", "logitnorm"][:count]
        assert output.alt == output.caption and output.alt.startswith("Softmax (CE), norm")


def test_tables_and_results_are_shown_and_printed_text_is_text():
    data = [
        {"text/plain": "<Markdown object>", "text/markdown": "| $a$ |\n|---|\n| 1 |"},
        {"text/plain": "  a\n0 1", "text/html": "<table><tr><td>1</td></tr></table>"},
        {"text/plain": "42"},
    ]
    cell = new_code_cell("x", outputs=[new_output("execute_result", each, execution_count=1) for each in data])
    first, second, third = html.outputs(cell)
    assert "<math" in first.html and "<table><tr>" in second.html and 'class="wide"' in second.html
    assert third.text == "42"
    shown = html.template().show(html.Output(text="<img src=x>"), None, False)
    assert "<img" not in shown and "&lt;img" in shown


def test_code_cells_with_no_text_between_them_are_one_block_and_exercises_stand_alone():
    cells = [new_code_cell("a = 1"), new_code_cell("b = 2"), new_markdown_cell("# text"), new_code_cell("c = 3")]
    cells += [new_code_cell(tag, metadata={"tags": [tag]}) for tag in ("exercise", "solution")]
    found = [(block.kind, block.source) for block in html.blocks(cells)]
    assert found == [
        ("code", "a = 1\n\nb = 2"),
        ("markdown", "# text"),
        ("code", "c = 3"),
        ("exercise", "exercise"),
        ("solution", "solution"),
    ]


def luminance(color):
    channels = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return np.dot([0.2126, 0.7152, 0.0722], linear)


def test_every_colour_stands_out_from_its_paper_in_both_themes():
    style = (html.STATIC / "course.css").read_text()
    themes = [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", style, re.S)]
    assert len(themes) == 2
    for theme in themes:
        for ink in ("ink", "soft", "link", "keyword", "text", "number", "note"):
            for paper in ("paper", "panel"):
                low, high = sorted((luminance(theme[ink]), luminance(theme[paper])))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, paper)


def test_imports_are_a_folded_block_of_their_own_and_other_code_is_shown():
    cells = [new_code_cell("import numpy\nx = 1"), new_code_cell("x + 1"), new_code_cell("y = 2\n" * 20)]
    assert [(block.source[:6], block.folded) for block in html.blocks(cells)] == [
        ("import", "Imports and settings"),
        ("x + 1\n", ""),
    ]


def test_figures_and_tables_come_in_the_order_of_the_notebook():
    png, table = ({"image/png": "AA=="}, {"text/html": "<table></table>"})
    cells = [new_code_cell("x", outputs=[new_output("display_data", each)]) for each in (table, png, table, png)]
    assert [bool(output.png) for output in html.with_captions(cells)] == [False, True, False, True]
