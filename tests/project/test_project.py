"""The frame around the package: one environment, three commands, imports that cost nothing until they are used."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

import ood_helpers

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"torch": "pytorch", "playwright": "playwright-python"}
NOTEBOOKS = (
    "01_softmax_overconfidence",
    "02_growing_logit_norms",
    "03_logitnorm",
    "04_meln",
    "05_isomax_and_dismax",
    "06_scores_and_thresholds",
    "07_your_own_images",
    "08_paper_tables",
    "09_atlas",
    "10_museum_of_bugs",
)
FILES = sorted((ROOT / "ood_helpers").rglob("*.py"))
# Module name below the package -> file; a package goes by its folder's name.
MODULES = {
    ".".join(path.relative_to(ROOT / "ood_helpers").with_suffix("").parts).removesuffix(".__init__"): path
    for path in FILES
}


def python(code, **environment):
    """What a fresh Python prints for `code`; its last line of complaint where it fails."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment, cwd=ROOT
    )
    return done.stdout if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


# The environment


def test_version_is_written_once_and_agrees():
    assert ood_helpers.__version__ == PROJECT["version"]


def test_conda_environment_is_the_same_as_pyproject():
    extras = PROJECT["optional-dependencies"]
    wanted = PROJECT["dependencies"] + extras["notebooks"] + extras["test"]
    names = {re.sub(r"^[\w-]+", lambda m: CONDA_NAMES.get(m[0], m[0]), line) for line in wanted}
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    assert sorted(conda) == sorted(names | {"pip", f"python{PROJECT['requires-python']}"})
    assert environment["dependencies"][-1] == {"pip": ["-e ."]}
    assert environment["channels"] == ["conda-forge"]


def test_citation_agrees_with_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = (ROOT / "pyproject.toml").read_text()
    assert citation["cff-version"] == "1.2.0" and f'version = "{citation["version"]}"' in project
    assert citation["license"] == "MIT" and citation["title"] and citation["authors"] and citation["message"]
    assert all(each["url"].startswith("https://arxiv.org/abs/") for each in citation["references"])


def test_ci_script_is_executable_bash():
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


# Imports


@pytest.mark.parametrize(
    "modules",
    [(), ("metrics", "scores", "losses", "data", "models", "engine.kernels", "runs", "training", "plots", "figures")],
)
def test_import_loads_nothing_that_is_not_used_yet(modules):
    heavy = ["torchvision", "seaborn", "matplotlib", "sklearn", "IPython", "pandas", "nbclient"]
    heavy += [] if modules else ["torch", "numpy"]
    names = ", ".join(["ood_helpers", *(f"ood_helpers.{module}" for module in modules)])
    assert python(f"import sys, {names}; print([m for m in {heavy} if m in sys.modules])") == "[]\n"


def test_losses_scores_metrics_and_training_need_no_extra():
    extras = ["jupyterlab", "anywidget", "ipywidgets", "traitlets", "IPython", "nbconvert", "latex2mathml", "mistune"]
    extras += ["distributed", "ray", "timm", "pytorch_ood", "transformers", "onnx", "onnxruntime", "playwright"]
    core = [f"ood_helpers.{name}" for name in MODULES if name.split(".")[0] not in ("__init__", "widgets", "course")]
    core = [name for name in core if not name.startswith("ood_helpers.bench.explorer")]
    code = f"import sys, importlib\nsys.modules |= dict.fromkeys({extras})\n"
    code += f"for name in {core}: importlib.import_module(name)\n"
    code += "try: import ood_helpers.widgets\nexcept ImportError as error: print(error)"
    assert python(code) == "anywidget is not installed; pip install 'ood_helpers[notebooks]' brings it\n"


def test_every_public_name_is_reached_through_the_package():
    code = "import ood_helpers\nfor n in ood_helpers.__all__: getattr(ood_helpers, n)\nprint('all')"
    assert python(code) == "all\n"
    assert set(ood_helpers.__all__) <= set(dir(ood_helpers))


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        ood_helpers.nonsense


def imports(path):
    """The package's own modules that a file imports, wherever in it, as dotted names below ``ood_helpers``."""
    package = path.relative_to(ROOT / "ood_helpers").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
        base = ".".join(filter(None, base))
        for name in (alias.name for alias in node.names):
            yield next(filter(MODULES.__contains__, (f"{base}.{name}".strip("."), base)), None)


def test_imports_form_no_circle_and_point_one_way():
    graph = {name: set(imports(path)) - {None, name} for name, path in MODULES.items()}
    list(TopologicalSorter(graph).static_order())  # raises on a circle
    wings = ("bridges", "widgets", "papers", "course", "bench")
    for name, imported in graph.items():
        if name.split(".")[0] not in (*wings, "__init__", "__main__", "figures"):
            assert not [other for other in imported if other.split(".")[0] in wings], name
    for name, above in {
        "metrics": {"losses"},
        "data": {"losses", "training", "runs"},
        "runs": {"training", "plots"},
        "training": {"plots", "figures"},
        "plots": {"runs", "training", "figures"},
    }.items():
        assert not graph[name] & above


MIXED = """
import ood_helpers.losses, ood_helpers.training  # do no harm
for use in (ood_helpers.import_torchvision, lambda: ood_helpers.data.load("mnist"),
            lambda: ood_helpers.models.build("resnet18", 2, (3, 32, 32), None)):
    try:
        use()
    except ImportError as error:
        print(error)
"""


def test_mixed_torch_and_torchvision_are_explained_when_torchvision_is_needed(tmp_path):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision/__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    answers = python(MIXED, PYTHONPATH=str(tmp_path)).splitlines()
    assert len(answers) == 3, answers
    for answer in answers:
        assert answer.startswith("torchvision does not fit the installed torch: a CPU-only torch")
        assert "operator torchvision::nms does not exist" in answer


# make


class Make:
    """The Makefile in an empty project, with a stand-in for Python that writes down how it was called."""

    def __init__(self, folder, version_ok=True, has_venv=True):
        self.folder = folder
        shutil.copy(ROOT / "Makefile", folder)
        for name in ("pyproject.toml", "README.md", "environment.yml"):
            (folder / name).write_text("")
        (folder / "notebooks").mkdir()
        (folder / "tests").mkdir()
        (folder / "tests/test_a.py").write_text("")
        log = folder.parent / "calls"
        self.log = log
        self.python = folder.parent / "python3.x"
        self.python.write_text(f"""#!/bin/sh
case "$*" in
  -V) echo "Python 3.10.4" ;;
  *version_info*) exit {int(not version_ok)} ;;
  *ensurepip*) exit {int(not has_venv)} ;;
  "-m venv"*) echo "$*" >> {log}
    case "$*" in *clear*) rm -rf .venv ;; esac
    mkdir -p .venv/bin; [ -h .venv/bin/python ] || cp "$0" .venv/bin/python ;;
  "-c "*) ;;
  *) echo "$* DATA=$DATA DEVICE=$DEVICE" >> {log}; [ ! -e fail ] ;;
esac
""")
        self.python.chmod(0o755)

    def __call__(self, *arguments):
        environment = {key: value for key, value in os.environ.items() if key not in ("DATA", "DEVICE", "PYTHON")}
        self.log.write_text("")
        done = subprocess.run(
            ["make", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            env=environment | {"PYTHON": str(self.python)},
        )
        return done, self.log.read_text().splitlines()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a clone").mkdir()
    return tmp_path / "a clone"


def test_setup_makes_one_environment_with_one_install_and_then_nothing(folder):
    make = Make(folder)
    assert [call.split(" DATA")[0] for call in make("setup")[1]] == [
        "-m venv .venv",
        "-m pip install --disable-pip-version-check -e .[notebooks]",
    ]
    done, calls = make("setup")
    assert done.returncode == 0 and calls == []


def test_lab_installs_what_the_notebooks_need_and_the_tests_more(folder):
    make = Make(folder)
    assert [call.split(" DATA")[0] for call in make("lab")[1]][1] == (
        "-m pip install --disable-pip-version-check -e .[notebooks]"
    )
    _, calls = make("setup-test")
    assert [call.split(" DATA")[0] for call in calls] == [
        "-m pip install --disable-pip-version-check -e .[notebooks,bridges,cluster,test]"
    ]
    assert len(make("lab")[1]) == 1  # it has all that the notebooks need


def test_setup_installs_again_when_pyproject_changes_or_an_install_failed(folder):
    make = Make(folder)
    (folder / "fail").touch()
    assert make("setup")[0].returncode != 0
    (folder / "fail").unlink()
    assert len(make("setup")[1]) == 1  # the environment stands, the install is repeated
    later = (folder / ".venv/installed").stat().st_mtime + 5
    os.utime(folder / "pyproject.toml", (later, later))
    assert len(make("setup")[1]) == 1


def test_setup_builds_an_environment_anew_only_when_its_python_does_not_start(folder):
    make = Make(folder)
    make("setup")
    (folder / ".venv/installed").unlink()
    assert len(make("setup")[1]) == 1
    (folder / ".venv/installed").unlink()
    (folder / ".venv/bin/python").unlink()
    (folder / ".venv/bin/python").symlink_to("python")
    done, calls = make("setup")
    assert done.returncode == 0 and calls[:2] == ["-m venv .venv", "-m venv --clear .venv"]


def test_figures_hands_on_data_and_device(folder):
    make = Make(folder)
    assert (
        make("figures", "DATA=cifar10", "DEVICE=cuda")[1][-1]
        == "-m ood_helpers.course figures DATA=cifar10 DEVICE=cuda"
    )
    assert make("figures")[1] == ["-m ood_helpers.course figures DATA=digits DEVICE=auto"]


def test_lab_listens_on_this_machine_only_and_keeps_its_token(folder):
    (folder / "course").mkdir()  # which the commands before would have written
    call = next(call for call in Make(folder)("lab")[1] if "jupyterlab" in call)
    assert call.startswith("-m jupyterlab --ip=127.0.0.1 ")
    assert "token" not in call and "password" not in call
    settings = json.loads((folder / ".venv/share/jupyter/lab/settings/overrides.json").read_text())
    assert (
        settings["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"
    )  # nothing is asked or fetched


def test_tests_run_again_only_when_something_changed_or_failed(folder):
    make = Make(folder)
    (folder / "notebooks/with a space.ipynb").write_text("")
    assert make("test")[1][-1].startswith("-m pytest")
    done, calls = make("test")
    assert calls == [] and "make -B test runs them again" in done.stdout
    later = (folder / ".venv/tested").stat().st_mtime + 5
    os.utime(folder / "tests/test_a.py", (later, later))
    (folder / "fail").touch()
    done, calls = make("test")
    assert done.returncode != 0 and len(calls) == 1
    (folder / "fail").unlink()
    assert len(make("test")[1]) == 2  # the browser tests run alone


@pytest.mark.parametrize(
    "stand_in, sentence",
    [
        ({"version_ok": False}, "Python 3.10.4 is too old: use Python 3.11 or newer"),
        ({"has_venv": False}, "comes without venv: install it (on Debian"),
        (None, "There is no "),
    ],
)
def test_a_python_that_cannot_serve_is_one_sentence(folder, stand_in, sentence):
    make = Make(folder, **stand_in or {})
    if stand_in is None:
        make.python.unlink()
    done, calls = make("setup")
    assert done.returncode != 0 and calls == []
    complaint = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert len(complaint) == 1 and sentence in complaint[0]
    assert not (folder / ".venv").exists()


# The README and the notebooks


READMES = sorted(
    path for path in ROOT.rglob("README.md") if ".venv" not in path.parts and path.parts[-2] != ".pytest_cache"
)


@pytest.mark.parametrize("path", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_readme_lead_to_files_that_exist(path):
    targets = re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_commands_of_the_readmes_exist():
    text = "\n".join(path.read_text(encoding="utf-8") for path in READMES)
    targets = set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)`", text, re.M))
    made = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {"lab", "figures", "test"} <= {name for pair in targets for name in pair if name} <= made
    commands = set(re.findall(r"-m ood_helpers ([a-z]+)", text))
    assert commands == {"train", "table", "export", "bench"}


def test_the_readmes_of_the_package_name_every_file():
    package = ROOT / "ood_helpers"
    readmes = {path.parent: path.read_text(encoding="utf-8") for path in package.rglob("README.md")}
    files = [path for kind in ("*.py", "*.csv") for path in package.rglob(kind)]
    for path in files:
        if path.name not in ("__init__.py", "__main__.py") and path.parent.name != "exercises":
            assert f"`{path.name}`" in readmes[package] + readmes.get(path.parent, ""), path


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_exists_and_is_in_the_readme(name):
    assert (ROOT / f"notebooks/{name}.ipynb").is_file()
    assert f"(notebooks/{name}.ipynb)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_is_committed_executed_small_and_without_widget_state(path):
    book = json.loads(path.read_text())
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code" and cell["source"]]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert path.stat().st_size < 500_000
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert "widgets" not in book["metadata"] and "widget-view" not in path.read_text()
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_asserts_what_it_claims(path):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    source = "\n".join("".join(cell["source"]) for cell in cells if not cell["metadata"].get("tags"))
    nodes = list(ast.walk(ast.parse(re.sub(r"^[%!].*$", "", source, flags=re.M))))
    called = [node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    assert "claim" in called or any(isinstance(node, ast.Assert) for node in nodes)


@pytest.mark.parametrize("path", sorted((ROOT / "figures").glob("*/*.pdf")), ids=lambda path: path.stem)
def test_committed_figure_has_its_picture_and_its_passport(path):
    assert path.with_suffix(".png").is_file()
    passport = json.loads(path.with_suffix(".json").read_text())
    assert passport["figure"] == path.stem and passport["data"] and passport["versions"]["torch"]
    assert passport["command"].startswith(("make figures", "python -m ood_helpers bench "))
