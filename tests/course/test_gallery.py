"""The page of all figures."""

import json
import re
from pathlib import Path

import nbformat
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from ood_helpers import figures
from ood_helpers.course.gallery import write_gallery

ROOT = Path(__file__).parents[2]


def draw(name, data, label="norm"):
    fig = Figure()
    fig.subplots().plot([1, 2], label=label)
    return figures.save_figure(fig, name, data)


def test_every_figure_is_shown_with_its_finding_its_command_and_its_files(tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("OOD_NOTEBOOK", "02_norms")
    draw("growth", "digits")
    draw("silent", "digits", label="[x](http://x) <b>")
    draw("photographs", "cifar10")  # by a notebook on digits, with a network that comes with the repository
    monkeypatch.delenv("OOD_NOTEBOOK")
    draw("mine", "cifar10")
    (tmp_path / "notebooks").mkdir()
    cells = [
        new_code_cell('save_figure(fig, "growth", width="text")'),
        new_markdown_cell("Some text.\n\n**Finding.** Norms\ngrow.\n\nMore."),
        new_code_cell('save_figure(fig, "silent")'),
        new_markdown_cell("Text.\n\n## Another section\n\n**Finding.** Of something else."),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks/02_norms.ipynb")
    page = write_gallery(tmp_path / "figures", tmp_path / "notebooks")
    text = page.read_text()
    assert "**Finding.** Norms grow. (" in text and text.count("Finding") == 1
    assert text.count("Drawn by `make figures` from [02_norms](../notebooks/02_norms.ipynb).") == 2
    assert "Drawn by `make figures DATA=cifar10`." in text
    assert r"\[x\](http://x) \<b\>" in text  # a name is no link and no tag
    links = re.findall(r"\]\(((?:digits|cifar10)/[^)]+)\)", text)
    assert len(links) == 4 * 4 and all((page.parent / link).exists() for link in links)


def test_every_committed_figure_is_drawn_by_its_notebook():
    sources = {
        path.stem: "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text())["cells"])
        for path in (ROOT / "notebooks").glob("*.ipynb")
    }
    for path in sorted((ROOT / "figures").glob("*/*.json")):
        metadata = json.loads(path.read_text())
        if metadata.get("notebook"):
            drawn = any(f'"{metadata["figure"]}"' in source for source in sources.values())
            assert drawn, f"no notebook draws {path.relative_to(ROOT)} any more: remove its three files"
