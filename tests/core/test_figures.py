"""Figures and their metadata: where they are written, and that their bytes repeat."""

import json
import os
import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from ood_helpers import figures

CONFIGS = [SimpleNamespace(name=f"digits-seed{seed}", hash=f"{seed}abc", seed=seed, data="digits") for seed in (3, 1)]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project, without environment variables."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    for name in ("DATA", "DEVICE", "RUNS", "OOD_FIGURES", "OOD_NOTEBOOK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path


def simple():
    fig = Figure()
    fig.subplots().plot([1, 2], label="LogitNorm τ")
    return fig


# Settings and folders


def test_settings_come_from_the_environment_or_are_the_lesson(project, monkeypatch):
    assert figures.settings() == (
        "digits",
        "cuda" if __import__("torch").cuda.is_available() else "cpu",
        project / "runs",
    )
    for name, value in {"DATA": "cifar10", "DEVICE": "cpu", "RUNS": "elsewhere"}.items():
        monkeypatch.setenv(name, value)
    data, device, runs = figures.settings()
    assert (data, device, str(runs)) == ("cifar10", "cpu", "elsewhere")


def test_unknown_and_absent_devices_are_refused(monkeypatch):
    monkeypatch.setenv("DEVICE", "gpu")
    with pytest.raises(ValueError, match=r"unknown device 'gpu'; .* auto, cpu, cuda"):
        figures.settings()
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("DEVICE", "cuda:1")
    with pytest.raises(ValueError, match=r"torch (finds|sees) (no GPU|none) here"):
        figures.settings()


def test_root_is_found_from_the_notebooks_folder(project, monkeypatch, tmp_path_factory):
    assert figures.root() == project
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    assert figures.root() == elsewhere


@pytest.mark.parametrize(
    "data, name",
    [
        ("digits", "digits"),
        ("folder:/a/my cats", "folder_my_cats"),
        ("folder:../../x/", "folder_x"),
        ("a/../../b", "a_.._.._b"),
    ],
)
def test_a_data_set_has_one_folder_below_figures(project, data, name):
    assert figures.folder(data) == project / "figures" / name


# save_figure


def test_save_figure_writes_three_files_with_metadata(project, monkeypatch):
    monkeypatch.setenv("OOD_NOTEBOOK", "02_growing_logit_norms")
    path = figures.save_figure(
        simple(), "norm_growth", "digits", configs=CONFIGS, best=np.float32(0.5), values=np.arange(2)
    )
    assert path == project / "figures/digits/norm_growth.pdf"
    assert path.read_bytes().startswith(b"%PDF") and path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    metadata = json.loads(path.with_suffix(".json").read_text())
    assert metadata["configs"] == [{"name": "digits-seed3", "hash": "3abc"}, {"name": "digits-seed1", "hash": "1abc"}]
    assert metadata["seeds"] == [1, 3] and metadata["best"] == 0.5 and metadata["values"] == [0, 1]
    assert (metadata["command"], metadata["notebook"]) == ("make figures", "02_growing_logit_norms")
    assert {"python", "torch", "matplotlib", "ood_helpers"} <= set(metadata["versions"])
    assert sorted(p.name for p in path.parent.iterdir()) == ["norm_growth.json", "norm_growth.pdf", "norm_growth.png"]


def test_a_figure_is_saved_at_the_width_of_a_column(project):
    from PIL import Image

    path = figures.save_figure(simple(), "roc", width="column")
    with Image.open(path.with_suffix(".png")) as image:
        assert image.width == int(3.25 * 150)


def test_a_cell_run_again_in_jupyterlab_changes_no_file_of_its_figure(project, monkeypatch):
    monkeypatch.setenv("OOD_NOTEBOOK", "03_logitnorm")
    path = figures.save_figure(simple(), "norms", configs=CONFIGS)
    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    monkeypatch.delenv("OOD_NOTEBOOK")
    other = simple()
    other.set_facecolor("gray")
    draft = figures.save_figure(other, "norms", configs=CONFIGS, seen=1)
    assert draft == path.parent / "drafts/norms.pdf" and draft.exists()
    assert {each.name: each.read_bytes() for each in path.parent.glob("*.*")} == before


def test_a_figure_of_ones_own_is_written_over(project):
    figures.save_figure(simple(), "mine", caption="first")
    path = figures.save_figure(simple(), "mine", caption="second")
    assert path == project / "figures/digits/mine.pdf"
    assert json.loads(path.with_suffix(".json").read_text())["caption"] == "second"


def test_save_figure_without_configs_goes_to_the_data_of_the_environment(project, monkeypatch):
    monkeypatch.setenv("DATA", "my set")
    path = figures.save_figure(simple(), "a")
    metadata = json.loads(path.with_suffix(".json").read_text())
    assert path.parent.name == "my_set" and metadata["command"] == "make figures DATA='my set'"


def test_save_figure_goes_to_the_data_of_its_configs_or_runs_whatever_the_environment_says(project, monkeypatch):
    monkeypatch.setenv("DATA", "cifar10")
    run = SimpleNamespace(config=CONFIGS[0])
    path = figures.save_figure(simple(), "a", configs=iter([run, CONFIGS[1]]))
    metadata = json.loads(path.with_suffix(".json").read_text())
    assert path.parent == project / "figures/digits"
    assert (metadata["data"], metadata["command"]) == ("digits", "make figures")
    assert [config["hash"] for config in metadata["configs"]] == ["3abc", "1abc"]
    assert figures.save_figure(simple(), "a", "mnist", configs=CONFIGS).parent.name == "mnist"


def test_configs_of_several_datasets_need_a_named_folder(project):
    configs = [CONFIGS[0], SimpleNamespace(name="m", hash="m", seed=0, data="mnist")]
    with pytest.raises(ValueError, match=r"several datasets \(digits, mnist\).*data="):
        figures.save_figure(simple(), "a", configs=configs)
    assert figures.save_figure(simple(), "a", "both", configs=configs).parent.name == "both"


def test_a_page_goes_to_the_data_of_its_configs(project, monkeypatch):
    monkeypatch.setenv("DATA", "cifar10")
    widget = SimpleNamespace(to_html=lambda path, *others, title: path.write_text("<p>") and path)
    assert figures.save_page("page", widget, configs=CONFIGS).parent == project / "figures/digits"


def test_a_displayed_figure_carries_its_name_and_alt_text(project):
    from IPython.core.formatters import DisplayFormatter

    fig = simple()
    figures.save_figure(fig, "growth", "digits")
    formatter = DisplayFormatter()
    formatter.active_types = ["text/plain", "image/png"]
    formatter.formatters["image/png"].for_type(Figure, lambda fig: b"PNG")
    data, metadata = formatter.format(fig)
    assert data["image/png"] == b"PNG" and set(data) == {"image/png", "text/plain"}
    alt = json.loads((project / "figures/digits/growth.json").read_text())["alt"]
    assert metadata == {"ood": {"figure": "growth"}, "image/png": {"alt": alt}}
    pickle.loads(pickle.dumps(fig))


@pytest.mark.parametrize("name", ["", "../up", "Two Words", "a.pdf", "/a"])
def test_save_figure_refuses_what_is_no_name(project, name):
    with pytest.raises(ValueError, match="lower-case letters"):
        figures.save_figure(simple(), name)
    assert not (project / "figures").exists()


@pytest.mark.slow
def test_a_figure_drawn_again_by_another_process_has_the_same_bytes(project):
    code = (
        "import matplotlib.pyplot as plt; from ood_helpers import figures; figures.style();"
        "fig, ax = plt.subplots(); ax.hist([1, 2, 2], hatch='//', label='τ ≥ 0'); ax.legend();"
        "ax.imshow([[1, 2], [3, 4]]); figures.save_figure(fig, 'twice', 'digits', b=1, a={'z': 1, 'y': 2})"
    )
    found = []
    for seed, hour in (("1", "1000000000"), ("2", "1700000000")):
        environment = os.environ | {"PYTHONHASHSEED": seed, "SOURCE_DATE_EPOCH": hour}
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        files = sorted((project / "figures/digits").iterdir())
        found.append([(file.name, file.read_bytes(), file.stat().st_mtime_ns) for file in files])
    assert len(found[0]) == 3 and found[0] == found[1]  # and equal files were not even touched


def test_fonts_are_embedded_as_text(project):
    import matplotlib

    with matplotlib.rc_context():
        figures.style()
        content = figures.save_figure(simple(), "fonts").read_bytes()
    assert b"/Type42" in content or b"/CIDFontType2" in content
    assert b"/Type3" not in content
