"""Exported runs: what is exported is what is loaded, damage is named, and the committed ones are complete."""

import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import ood_helpers
from ood_helpers import __main__ as command
from ood_helpers import training
from ood_helpers.beyond import tables
from ood_helpers.config import Config
from ood_helpers.engine.history import outputs
from ood_helpers.papers import export_runs, load_exported_runs, trained
from ood_helpers.papers.export import PICTURES, find_runs
from ood_helpers.runs import DamagedRun
from ood_helpers.widgets import ScoreExplorer

ROOT = Path(__file__).parents[2]
ROWS = 40


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two losses, one with two seeds, on a few digits."""
    folder = tmp_path_factory.mktemp("runs")
    base = Config(data="digits", epochs=1, limit=64, ood=("near", "noise"))
    configs = [base, replace(base, seed=1), replace(base, loss="dismax_fpr")]
    return [training.fit(config, folder, "cpu") for config in configs]


@pytest.fixture(scope="module")
def exported(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PICTURES, "test", 30)
        patch.setitem(PICTURES, "ood", 20)
        export_runs(runs, folder, rows=ROWS, complete=True, note="In a test.")
    return folder


@pytest.fixture
def copy(exported, tmp_path):
    for file in exported.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_exported_runs_give_the_same_results_without_weights_and_paths(runs, tmp_path):
    export_runs(runs, tmp_path / "exported", processor="a laptop")
    again, facts = load_exported_runs(tmp_path / "exported")
    assert facts["processor"] == "a laptop" and [run.config for run in again] == [run.config for run in runs]
    for run, same in zip(runs, again):
        assert same.accuracy == pytest.approx(run.accuracy, abs=0.02) and same.classes == run.classes
        for name, values in run.detection().items():
            assert same.detection()[name]["auroc"] == pytest.approx(values["auroc"], abs=0.01)
        assert same.labels["test"].dtype == np.int64 and same.logits["near"].shape == run.logits["near"].shape
        np.testing.assert_allclose(same.history["loss"][1:], run.history["loss"][1:], rtol=1e-4)
        assert same.torch and same.aurocs == {}
        with pytest.raises(ValueError, match=r"there are no pictures of 'test' in .*; sets with pictures: noise$"):
            same.images("test")
    names = {path.name for path in (tmp_path / "exported").iterdir()}
    assert names == {"softmax-seed0.npz", "softmax-seed1.npz", "dismax_fpr-seed0.npz", "runs.json"}
    assert str(runs[0].path.parent) not in (tmp_path / "exported/runs.json").read_text()


def test_exported_logits_may_be_too_large_for_float16(runs, tmp_path):
    names = ("labels", "path", "config", "classes", "shape", "history", "snapshots", "accuracy")
    same = {name: getattr(runs[0], name) for name in names}
    long = SimpleNamespace(**same, logits={name: 1e9 * z for name, z in runs[0].logits.items()})
    export_runs([long], tmp_path)
    (again,), _ = load_exported_runs(tmp_path)
    np.testing.assert_array_equal(again.logits["test"], 1e9 * runs[0].logits["test"])


def test_a_complete_export_has_pictures_network_and_snapshots(runs, exported):
    (run, second, other), facts = load_exported_runs(exported)
    assert facts["note"] == "In a test." and facts["cores"] >= 1
    for own, original in ((run, runs[0]), (other, runs[2])):
        assert len(own.logits["test"]) == 64 and len(own.logits["near"]) == len(own.logits["validation"]) == ROWS
        for name, z in own.logits.items():
            np.testing.assert_allclose(z, original.logits[name][own.rows(name)], rtol=1e-3, atol=1e-4)
            if name in own.labels:
                np.testing.assert_array_equal(own.labels[name], original.labels[name][own.rows(name)])
            # A snapshot is of the first rows of the logits; the last one is of the final network.
            last = own.snapshots[name][-1]
            np.testing.assert_allclose(last, z[: len(last)], rtol=2e-3, atol=2e-3)
        for name, count in (("test", 30), ("near", 20), ("noise", ROWS)):
            pictures, exact = own.images(name), original.images(name)[own.rows(name)[:count]]
            assert pictures.shape == exact.shape and pictures.dtype == torch.uint8 and own.image_counts[name] == count
            assert (pictures.float() - exact.float()).abs().mean() < (0.1 if name == "noise" else 8)
        network = own.load_model()
        assert not network.training
        logits = outputs(network, original.images("test"))[1].numpy()
        np.testing.assert_allclose(logits, own.logits["test"], rtol=1e-2, atol=1e-2)
        assert abs((logits.argmax(1) == own.labels["test"]).mean() - original.accuracy) <= 1 / 64
        assert own.features["test"].shape == (30, 64)
    assert not second.snapshots and "weights" not in second.record
    for own, original in zip((run, second, other), runs):  # also without a network
        expected = tables.aurocs_by_set(original)
        assert own.aurocs.keys() == expected.keys()
        for score, by_set in expected.items():
            assert own.aurocs[score] == pytest.approx(by_set, rel=1e-4)
    with pytest.raises(ValueError, match=r"softmax-seed1 has no network in .*: softmax-seed0, dismax_fpr-seed0$"):
        second.load_model()


def test_large_weights_are_in_half_precision_and_statistics_are_exact(runs, exported):
    from safetensors.torch import load_file

    state, own = load_file(exported / "softmax-seed0.safetensors"), runs[0].load_model().state_dict()
    assert state.keys() == own.keys()
    assert {str(x.dtype) for x in state.values() if x.numel() > 4096} == {"torch.float16"}
    for name, value in state.items():
        if value.numel() <= 4096:
            assert torch.equal(value, own[name])


def test_weights_stay_exact_where_rounding_moves_answers(runs, tmp_path, monkeypatch):
    from safetensors.torch import load_file

    monkeypatch.setattr("ood_helpers.papers.export.outputs", lambda network, images: (None, torch.zeros(64, 6)))
    export_runs(runs[:1], tmp_path, complete=True)
    state, own = load_file(tmp_path / "softmax-seed0.safetensors"), runs[0].load_model().state_dict()
    assert all(torch.equal(state[name], own[name]) for name in own)


def test_every_damaged_file_is_named(copy):
    for file in sorted(copy.iterdir()):
        if file.name == "README.md":
            continue
        content = file.read_bytes()
        middle = len(content) // 2
        for damaged in (content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :], content[:-9], None):
            file.unlink() if damaged is None else file.write_bytes(damaged)
            with pytest.raises(
                DamagedRun, match=rf"{re.escape(file.name)} is missing.* damaged.*; restore it, for example"
            ):
                load_exported_runs(copy)
            file.write_bytes(content)
    assert len(load_exported_runs(copy)[0]) == 3


def test_a_new_export_replaces_the_earlier_one_and_leaves_figures(runs, copy):
    (copy / "roc.png").write_bytes(b"figure")
    export_runs(runs[2:], copy)
    assert {path.name for path in copy.iterdir()} == {"dismax_fpr-seed0.npz", "runs.json", "roc.png"}


def test_an_export_leaves_files_that_no_export_wrote(runs, copy, tmp_path_factory):
    (copy / "detector.safetensors").write_bytes(b"mine")
    export_runs(runs[2:], copy)
    assert (copy / "detector.safetensors").read_bytes() == b"mine"
    project = tmp_path_factory.mktemp("project")
    own = {name: project / name for name in ("README.md", "images.jpg", "softmax-seed0.npz", "other.npz")}
    for file in own.values():
        file.write_bytes(b"mine")
    for name in ("images.jpg", "softmax-seed0.npz", "README.md"):
        with pytest.raises(ValueError, match=rf"{name} is not of a finished export: move it away or choose another"):
            export_runs(runs, project, complete=True)
        assert all(file.read_bytes() == b"mine" for file in project.iterdir())
        own[name].unlink()
    export_runs(runs, project, complete=True)
    assert own["other.npz"].read_bytes() == b"mine"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": {"../mine": ""}}', '{"files": {"..": ""}}'])
def test_an_index_that_is_not_of_an_export_is_left_as_it_is(runs, tmp_path, content):
    (tmp_path / "exports").mkdir()
    (tmp_path / "mine").touch()
    index = tmp_path / "exports/runs.json"
    index.write_text(content)
    with pytest.raises(ValueError, match=r"runs\.json does not list the files of an earlier export: move it away or"):
        export_runs(runs, tmp_path / "exports")
    assert index.read_text() == content and (tmp_path / "mine").exists()


def test_pictures_need_shared_images(runs, tmp_path):
    other = replace(runs[1], config=replace(runs[1].config, ood=("noise",)).resolved())
    with pytest.raises(ValueError, match="must share data, known classes, fold and OOD sets"):
        export_runs([runs[0], other], tmp_path, complete=True)
    with pytest.raises(ValueError, match="networks names 'softmax,logitnorm', but the runs are of "):
        export_runs(runs, tmp_path, complete=True, networks=["softmax,logitnorm"])
    assert not any(tmp_path.iterdir())


def test_trained_networks_are_found_from_the_notebooks_and_missing_ones_listed(exported, tmp_path, monkeypatch):
    repository = tmp_path / "repository"
    for folder in ("notebooks", "figures/digits", "elsewhere"):
        (repository / folder).mkdir(parents=True)
    (repository / "pyproject.toml").touch()
    for file in exported.iterdir():
        (repository / "figures/digits" / file.name).write_bytes(file.read_bytes())
    monkeypatch.chdir(repository / "notebooks")
    run = ood_helpers.trained("digits", "softmax", seed=1)
    assert run.config.seed == 1 and run.path == (repository / "figures/digits").resolve()
    assert trained("digits", "dismax_fpr").config.loss == "dismax_fpr"
    with pytest.raises(
        ValueError, match=r"'meln' and seed 0 comes with it; those that do: softmax \(seed 0 1\), dismax_fpr"
    ):
        trained("digits", "meln")
    with pytest.raises(
        ValueError, match=r"no trained networks of 'mnist' come with the repository; those that do: .*digits"
    ):
        trained("mnist")
    with pytest.raises(
        FileNotFoundError, match=r"there is no .*: the trained networks come with the repository, so work"
    ):
        trained("digits", folder=tmp_path)


def test_an_explorer_shows_the_pictures_that_there_are(exported, tmp_path):
    run = trained("digits", "softmax", folder=exported)
    explorer = ScoreExplorer(run, ood="near")
    assert set(explorer.meta["tiles"]) == {"test", "near"} and len(explorer.meta["tiles"]["test"]) == 30
    assert explorer.summary["sizes"] == [64, ROWS]
    np.testing.assert_array_equal(explorer.data.tiles("test", [29])[0, :, :, 0], run.images("test")[29, 0])
    places = explorer.for_page()["constants"]["meta"]["tiles"]
    assert max(places["test"]) < 30 and max(places["near"]) < 20 and max(places["noise"]) < ROWS


def test_the_commands_of_the_card_train_and_export_what_it_describes(runs, exported):
    card = (exported / "README.md").read_text()
    commands = [shlex.split(line)[3:] for line in card.splitlines() if line.startswith("python -m ood_helpers ")]
    *trainings, again = [command.make_parser().parse_args(words) for words in commands]
    assert [command.config_from(args) for args in trainings] == [runs[0].config, runs[2].config]  # one seed of each
    assert all(args.runs == "RUNS" for args in trainings) and "`--seed`" in card
    assert (again.from_runs, again.data, again.networks) == ("RUNS", "digits", ["softmax", "dismax_fpr"])


def test_all_finished_runs_of_a_data_set_are_found_in_order(runs, tmp_path):
    for run in runs:
        shutil.copytree(run.path, tmp_path / run.path.name)
    shutil.copytree(runs[0].path, tmp_path / f".{runs[0].path.name}.part")  # of a process that was killed
    found = find_runs(tmp_path, "digits")
    assert [(run.config.loss, run.config.seed) for run in found] == [("softmax", 0), ("softmax", 1), ("dismax_fpr", 0)]
    with pytest.raises(ValueError, match="holds no finished run on cifar10"):
        find_runs(tmp_path, "cifar10")


def test_the_networks_of_photographs_fit_their_budget_and_open_without_their_images(tmp_path, monkeypatch):
    place = ROOT / "figures/cifar10"
    assert sum(path.stat().st_size for path in place.iterdir()) <= 30e6
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OOD_DATA", str(tmp_path))  # nothing is there
    run = trained("cifar10", "softmax")
    assert len(run.logits["test"]) == 10_000 and run.shape == (3, 32, 32)
    assert all(len(run.logits[name]) <= 2000 for name in run.config.ood)
    answers = outputs(run.load_model(), run.images("test")[:100])[1].numpy().argmax(1)
    assert (answers == run.logits["test"][:100].argmax(1)).mean() > 0.85  # of small JPEGs
    for path in place.glob("*.json"):
        assert "/tmp" not in path.read_text() and "/work" not in path.read_text()
