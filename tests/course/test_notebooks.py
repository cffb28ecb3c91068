"""Notebooks executed from top to bottom by a real kernel."""

import base64
import io
import json
import subprocess
import sys
import urllib.error

import joblib
import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

from ood_helpers import figures
from ood_helpers.course import notebooks


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project, without environment variables."""
    for name in ("notebooks", "package"):
        (tmp_path / name).mkdir()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "package/losses.py").touch()
    monkeypatch.setattr(notebooks, "PACKAGE", tmp_path / "package")  # what is edited meanwhile is no change here
    for name in ("DATA", "DEVICE", "RUNS", "OOD_FIGURES", "OOD_NOTEBOOK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path


def write(path, *sources):
    cells = [new_code_cell(source, id=f"cell{k}") for k, source in enumerate(sources)]
    nbformat.write(new_notebook(cells=[new_markdown_cell("# A question", id="title"), *cells]), path)
    return path


DRAW = """import os
from matplotlib.figure import Figure
from ood_helpers import figures
fig = Figure(); fig.subplots().plot([1, 2])
figures.save_figure(fig, "{name}")
print(os.environ["DATA"], os.environ["DEVICE"], os.getcwd() == os.environ["RUNS"][:-4] + "notebooks")"""


def outputs(path):
    return [output for cell in nbformat.read(path, 4).cells for output in cell.get("outputs", [])]


def picture(data):
    return Image.open(io.BytesIO(base64.b64decode(data["image/png"])))


def snapshot(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("*.*")}


def test_regenerate_runs_each_notebook_once_until_something_changes(project, capsys):
    first = write(project / "notebooks/01_first.ipynb", DRAW.format(name="one"))
    second = write(project / "notebooks/02_second.ipynb", DRAW.format(name="two"), "1 + 1")
    notebooks.regenerate("digits", "cpu")
    assert outputs(first)[0].text == "digits cpu True\n"
    assert outputs(second)[1].data["text/plain"] == "2"
    assert "2 of 2 notebooks run" in capsys.readouterr().out
    books, drawn = snapshot(project / "notebooks"), snapshot(project / "figures/digits")
    assert sorted(drawn) == sorted(f"{name}.{kind}" for name in ("one", "two") for kind in ("pdf", "png", "json"))

    notebooks.regenerate("digits", "cpu")  # nothing changed: nothing is run
    assert "0 of 2 notebooks run" in capsys.readouterr().out

    (project / "figures/digits/two.png").unlink()  # a figure is missing: its notebook alone draws it again
    notebooks.regenerate("digits", "cpu")
    printed = capsys.readouterr().out
    assert "1 of 2 notebooks run" in printed and "2 figures in " in printed
    assert snapshot(project / "notebooks") == books  # byte for byte, and not touched
    assert {name: content for name, (content, _) in snapshot(project / "figures/digits").items()} == {
        name: content for name, (content, _) in drawn.items()
    }

    write(first, DRAW.format(name="one") + "\nprint('changed')")
    notebooks.regenerate("digits", "cpu")
    assert "1 of 2 notebooks run" in capsys.readouterr().out and "changed" in outputs(first)[0].text

    (project / "package/losses.py").write_text("# changed")
    notebooks.regenerate("digits", "cpu", [second])
    assert "1 of 1 notebooks run" in capsys.readouterr().out


def test_code_that_is_edited_while_a_notebook_runs_makes_its_figures_outdated(project, capsys):
    edited = project / "package/losses.py"
    write(project / "notebooks/01_first.ipynb", f"open({str(edited)!r}, 'w').write('# edited')")
    for expected in (1, 1, 0):  # the second run is of the edited code
        notebooks.regenerate("digits", "cpu")
        assert f"{expected} of 1 notebooks run" in capsys.readouterr().out


def test_notebooks_that_run_side_by_side_share_the_cores(project, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    paths = [
        write(
            project / f"notebooks/0{k}.ipynb",
            "import joblib, os; print(os.environ['OMP_NUM_THREADS'])",
            "print(joblib.cpu_count())",
        )
        for k in (1, 2)
    ]
    notebooks.regenerate("digits", "cpu")
    share = f"{max(1, joblib.cpu_count() // 2)}\n"
    assert [output.text for path in paths for output in outputs(path)] == [share] * 4


PAGE = """from ood_helpers import figures
from ood_helpers.widgets import NormExplorer, link
left, right = NormExplorer(), NormExplorer(loss="logitnorm")
link(left, right, "norm")
figures.save_page("explorer", left, right, title="Two losses")"""


def test_a_page_is_an_output_like_a_figure(project, capsys):
    write(project / "notebooks/01_first.ipynb", PAGE)
    notebooks.regenerate("digits", "cpu")
    written = snapshot(project / "figures/digits")
    assert sorted(written) == ["explorer.html", "explorer.json"]
    assert b"<title>Two losses</title>" in written["explorer.html"][0]
    assert json.loads(written["explorer.json"][0])["notebook"] == "01_first"
    (project / "figures/digits/explorer.html").unlink()
    notebooks.regenerate("digits", "cpu")
    assert "1 of 1 notebooks run" in capsys.readouterr().out.splitlines()[-1]
    assert snapshot(project / "figures/digits")["explorer.html"][0] == written["explorer.html"][0]
    with pytest.raises(ValueError, match="lower-case letters"):
        figures.save_page("../explorer", None)


def test_regenerate_on_other_data_leaves_the_committed_notebook_alone(project, capsys):
    path = write(project / "notebooks/01_first.ipynb", DRAW.format(name="one"))
    before = path.read_bytes()
    (project / "notebooks/my images").mkdir()
    notebooks.regenerate("folder:my images", "cpu")
    target = project / "figures/folder_my_images"
    assert path.read_bytes() == before
    assert outputs(target / "01_first.ipynb")[0].text.startswith(f"folder:{project}/notebooks/my images cpu")
    assert (target / "one.pdf").exists() and not (project / "figures/digits").exists()


def test_a_failing_cell_is_one_sentence_and_changes_nothing(project):
    good = write(project / "notebooks/01_good.ipynb", "print('good')")
    bad = write(project / "notebooks/02_bad.ipynb", "", "x = 1", "# divide\nx / 0", "print('never')")
    before = bad.read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "ood_helpers.course", "figures"], capture_output=True, text=True, cwd=project
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last == "02_bad.ipynb, cell [2] (# divide): ZeroDivisionError: division by zero"
    assert "Traceback" not in done.stderr
    assert bad.read_bytes() == before and outputs(good)[0].text == "good\n"
    assert not [path for path in project.rglob("*") if path.name.startswith(".")]  # no half-written file


def test_a_kernel_that_dies_is_named(project):
    path = write(project / "notebooks/01_dies.ipynb", "import os; os._exit(1)")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"01_dies.ipynb, cell \[1\].*its Python process died"):
        notebooks.regenerate()
    assert path.read_bytes() == before


def test_no_notebooks_is_one_sentence(project):
    with pytest.raises(ValueError, match="there is no notebook in"):
        notebooks.regenerate()


def test_what_notebooks_share_is_trained_first_and_their_metadata_say_so(project, monkeypatch):
    trained = []
    monkeypatch.setattr(notebooks, "_train_lesson", lambda *settings: trained.append(settings))
    paths = [write(project / f"notebooks/0{k}.ipynb", "# compare_losses(...)") for k in (1, 2)]
    notebooks.regenerate("digits", "cpu")
    assert trained == []
    for path in paths:
        book = nbformat.read(path, 4)
        book.metadata["ood"] = {"trains": "lesson"}
        nbformat.write(book, path)
    notebooks.regenerate("digits", "cpu")
    assert trained == [("digits", "cpu", project / "runs")]
    assert all(nbformat.read(path, 4).metadata["ood"] == {"trains": "lesson"} for path in paths)


def test_without_a_network_other_data_are_one_sentence_before_anything_is_trained(project, monkeypatch, tmp_path):
    def no_network(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("OOD_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    monkeypatch.setattr(notebooks, "_execute_all", None)
    write(project / "notebooks/01_first.ipynb", "1 + 1")
    with pytest.raises(OSError, match=r"^cifar10 could not be downloaded .*no network.*; without a network, fetch"):
        notebooks.regenerate("cifar10", "cpu")


def test_saved_outputs_keep_what_can_be_read_and_nothing_else(project):
    path = write(
        project / "notebooks/01_bars.ipynb",
        """
import sys, ipywidgets
from tqdm import tqdm
from tqdm.notebook import tqdm as bars
for _ in tqdm(range(3)): pass
for _ in tqdm(iter(range(3)), desc="no end"): pass
for _ in bars(range(3)): pass
print("read me"); sys.stderr.write("a warning\\n")
display(ipywidgets.IntSlider())
import base64, io
from PIL import Image
for mode in ("RGB", "RGBA"):
    Image.radial_gradient("L").convert(mode).save(buffer := io.BytesIO(), "PNG")
    display({"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "Explorer()",
             "image/png": base64.b64encode(buffer.getvalue()).decode()}, raw=True)
Image.new("RGBA", (2, 2), (255, 0, 0, 9)).save(buffer := io.BytesIO(), "PNG")
display({"text/plain": "", "image/png": base64.b64encode(buffer.getvalue()).decode()}, raw=True)""",
        "import matplotlib.pyplot as plt; plt.plot([1, 2]);",
    )
    notebooks.regenerate()
    book = nbformat.read(path, 4)
    assert set(book.metadata) == {"kernelspec", "language_info"}
    assert book.metadata.language_info == {"name": "python"}
    assert all(not cell.metadata for cell in book.cells)
    streams = {output.name: output.text for output in outputs(path) if output.output_type == "stream"}
    assert streams == {"stdout": "read me\n", "stderr": "a warning\n"}
    explorer, same, glass, plot = [output.data for output in outputs(path) if output.output_type != "stream"]
    assert explorer == same and set(explorer) == {"image/png", "text/plain"}  # the widget's picture stays
    assert picture(glass).mode == "RGBA" and picture(glass).getpixel((0, 0)) == (255, 0, 0, 9)
    assert picture(plot).mode == picture(same).mode == "P"
    gradient = np.asarray(picture(same).convert("L"), int)
    assert np.abs(gradient - np.asarray(Image.radial_gradient("L"), int)).max() <= 2


def test_solutions_are_folded(project):
    path = write(project / "notebooks/01_first.ipynb", "answer = ...", "answer = 1")
    book = nbformat.read(path, 4)
    book.cells[2].metadata["tags"] = ["solution"]
    nbformat.write(book, path)
    notebooks.regenerate()
    exercise, solution = nbformat.read(path, 4).cells[1:]
    assert solution.metadata == {"tags": ["solution"], "jupyter": {"source_hidden": True}}
    assert not exercise.metadata


def test_the_output_of_a_saved_figure_says_which_figure_it_is(project):
    path = write(
        project / "notebooks/01_first.ipynb",
        """
import matplotlib.pyplot as plt
from ood_helpers import figures
for name in ("one", "two"):
    fig, ax = plt.subplots(); ax.plot([1, 2, 3], label=name)
    figures.save_figure(fig, name)
plt.figure().gca().plot([1, 2]);""",
    )
    notebooks.regenerate()
    one, two, unsaved = outputs(path)
    assert [output.metadata["ood"]["figure"] for output in (one, two)] == ["one", "two"]
    for output in (one, two):
        saved = json.loads((project / f"figures/digits/{output.metadata['ood']['figure']}.json").read_text())
        assert output.metadata["image/png"]["alt"] == saved["alt"]
    assert "image/png" in unsaved.data and not unsaved.metadata
