"""Pages in Chromium: an exported one without a network, and JupyterLab."""

import json
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from waiting import wait_for

ROOT = Path(__file__).parents[2]


@pytest.fixture
def visit(chromium, tmp_path):
    """Open an exported page with the network off; anything it asks for, and any error in it, fails the test."""
    contexts, problems = [], []

    def open_page(widget, *others, address="", ready="dd:not(:empty)", **options):
        path = widget.to_html(tmp_path / f"page{len(contexts)}.html", *others, title=options.pop("title", None))
        contexts.append(chromium.new_context(offline=True, **{"viewport": {"width": 1100, "height": 900}} | options))
        page = contexts[-1].new_page()
        page.on("request", lambda r: r.url.startswith(("file:", "data:")) or problems.append(f"asked for {r.url}"))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda message: (
                message.type in ("error", "warning")
                and "willReadFrequently" not in message.text
                and problems.append(message.text)
            ),
        )  # the clock's reading of pixels is slow on purpose
        page.goto(path.as_uri() + address)
        page.wait_for_selector(ready, state="attached")  # a covered widget's numbers are not visible
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


NOTEBOOK = """
import json
from pathlib import Path
import numpy as np
from ipywidgets import HBox
from ood_helpers.widgets import score_explorer
from ood_helpers.bench import explorer_latency as latency
from ood_helpers.widgets import ScoreExplorer, link

a, b = latency.example(10_000), latency.example(500)
link(a, b, "temperature", "target")
def write_state(change):
    Path("state.json").write_text(json.dumps([a.current(), b.current(), c.summary["metrics"]["auroc"]]))
score_explorer.BUDGET = 2000  # c has twice as many bytes of logits
rng = np.random.default_rng(0)
images = {name: np.zeros((n, 1, 8, 8), np.uint8) for name, n in (("ID", 300), ("OOD", 200))}
c = ScoreExplorer.from_logits(rng.normal(0, 3, (300, 4)), rng.normal(0, 2, (200, 4)), bin=12, images=images)
for widget in (a, b, c):
    widget.observe(write_state)
write_state(None)
display(HBox([a, b]), c)
"""


DRAWING = """
import json
from pathlib import Path
from ood_helpers import Config, fit
from ood_helpers.papers.exported_runs import trained
from ood_helpers.widgets import Picker, Sketchpad

pad = Sketchpad(fit(Config(epochs=1, limit=40, ood=("noise",)), progress=False))
picker = Picker(trained("cifar10", "softmax"))
def write_state(_):
    state = [[w.image.tolist(), w.logits["Softmax (CE)"].tolist(), w.finding()] for w in (pad, picker)]
    Path("drawing.tmp").write_text(json.dumps(state))
    Path("drawing.tmp").rename("drawing.json")
for widget in (pad, picker):
    widget.observe(write_state)
write_state(None)
display(pad, picker)
"""


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab as make lab starts it, with an empty home and a free port: (its folder, its address and token)."""
    home = tmp_path_factory.mktemp("lab")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for name, source in (("demo", NOTEBOOK), ("drawing", DRAWING)):
        cells = [nbformat.v4.new_code_cell(source)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), home / f"{name}.ipynb")
    places = {f"JUPYTER_{name}_DIR": str(home / f"{name.lower()}") for name in ("CONFIG", "DATA", "RUNTIME")}
    paths = {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(home / "ipython"), "HOME": str(home)}
    recipe = subprocess.run(["make", "-n", "lab"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    options = shlex.split(recipe.replace("\\\n", " ").rpartition(" -m jupyterlab ")[2])
    with open(home / "lab.log", "w") as log:
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jupyterlab",
                *options,
                "--no-browser",
                "--expose-app-in-browser",
                "--ServerApp.port=0",
                f"--ServerApp.root_dir={home}",
                "--LabApp.news_url=",
                "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            ],
            cwd=home,
            env=os.environ | places | paths,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:

        def info_file():
            return next(iter((home / "runtime").glob("jpserver-*.json")), None)

        wait_for(info_file, 120, lambda: (home / "lab.log").read_text()[-2000:])
        wait_for(lambda: info_file().read_text().rstrip().endswith("}"))
        info = json.loads(info_file().read_text())
        wait_for(lambda: listens(info["port"]), 120)
        yield home, info
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture
def open_notebook(chromium, lab):
    """Open a notebook of the lab, run it, and wait until ``ready`` is there; an error in the page fails the test."""
    _, info = lab
    page = chromium.new_page(viewport={"width": 1500, "height": 1000})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))

    def open_page(name, ready):
        page.goto(f"{info['url']}lab/tree/{name}.ipynb?reset&token={info['token']}")
        page.wait_for_function(
            "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
            timeout=60_000,
        )
        page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait_for_selector(ready, timeout=120_000)
        return page

    yield open_page
    page.close()
    assert not errors


@pytest.fixture
def lab_page(open_notebook):
    """The page of the notebook with three explorers, run."""
    return open_notebook("demo", ready="dd[data-key=auroc]:not(:empty) >> nth=2")
