"""Runs without their weights: what is exported is what is loaded, and the committed ones agree with their table."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ood_helpers import training
from ood_helpers.config import Config
from ood_helpers.papers import export_runs, load_exported_runs, tables

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = Config(data="digits", epochs=1, limit=64, ood=("near", "noise"))
    return training.fit(config, tmp_path_factory.mktemp("runs"), "cpu")


def test_exported_runs_give_the_same_results_without_weights_and_paths(run, tmp_path):
    runs = [run, training.fit(replace(run.config, seed=1), run.path.parent, "cpu")]
    export_runs(runs, tmp_path / "exported", processor="a laptop")
    again, facts = load_exported_runs(tmp_path / "exported")
    assert facts == {"processor": "a laptop"} and [run.config for run in again] == [run.config for run in runs]
    for run, same in zip(runs, again):
        assert same.accuracy == pytest.approx(run.accuracy, abs=0.02) and same.classes == run.classes
        for name, values in run.detection().items():
            assert same.detection()[name]["auroc"] == pytest.approx(values["auroc"], abs=0.01)
        assert same.labels["test"].dtype == np.int64 and same.logits["near"].shape == run.logits["near"].shape
        np.testing.assert_allclose(same.history["loss"][1:], run.history["loss"][1:], rtol=1e-4)
        assert same.torch
    assert {path.name for path in (tmp_path / "exported").iterdir()} == {"logits.npz", "runs.json"}
    assert str(run.path.parent) not in (tmp_path / "exported/runs.json").read_text()


def test_exported_logits_may_be_too_large_for_float16(run, tmp_path):
    same = {name: getattr(run, name) for name in ("labels", "path", "config", "classes", "shape", "history")}
    long = SimpleNamespace(**same, logits={name: 1e9 * z for name, z in run.logits.items()})
    export_runs([long], tmp_path)
    (again,), _ = load_exported_runs(tmp_path)
    np.testing.assert_array_equal(again.logits["test"], 1e9 * run.logits["test"])


def test_the_committed_runs_are_complete_small_and_agree_with_the_committed_table():
    place = ROOT / "figures/cifar10_jpeg"
    runs, facts = load_exported_runs(place)
    assert sum(path.stat().st_size for path in place.iterdir()) < 6.5e6
    assert {"processor", "cores", "side_by_side"} <= set(facts) and "/" not in json.dumps(facts)
    lines = list(csv.DictReader((place / "table_openood.csv").read_text().splitlines()))
    ten = [run for run in runs if run.config.known is None]
    seeds = sorted({run.config.seed for run in ten})
    assert len(seeds) > 1 and {(run.config.loss, run.config.seed) for run in ten} == {
        (loss, seed) for loss in ("softmax", "logitnorm", "dismax_fpr") for seed in seeds
    }
    for run in ten:
        printed = {
            (line["set"], line["metric"]): float(line["values"].split()[run.config.seed])
            for line in lines
            if (line["loss"], line["score"]) == (run.config.loss, run.config.recipe.score)
        }
        assert len(printed) == 5
        for quantity, value in tables.measure(run, run.config.recipe.score).items():
            if quantity in printed:
                assert abs(printed[quantity] - value) < 0.2, quantity
    for path in place.glob("*.json"):
        assert "/tmp" not in path.read_text() and "/root" not in path.read_text()
