"""The score explorer in Python: its state, its images, its errors."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import traitlets
from explorers import make_explorer

from ood_helpers import Config, fit, metrics
from ood_helpers.widgets import ScoreExplorer, Sketchpad, link, score_explorer


def test_state_set_in_python_changes_the_summary():
    explorer = make_explorer()
    before = explorer.summary
    changes = [("score", "energy"), ("temperature", 5.0), ("ood", "far"), ("positive", "ood"), ("target", 0.7)]
    for name, value in [*changes, ("bin", 3)]:
        setattr(explorer, name, value)
        after = explorer.summary
        assert after != before, name
        before = after
    explorer.threshold = after["high"] + 1
    assert explorer.summary["accepted"] == [0, 0]
    explorer.temperature = 1.0
    assert set(explorer.finding().split()) >= {"Energy:", "far", "(OOD"}


def test_a_threshold_ends_with_its_score_and_is_not_rounded_up_to_certainty():
    explorer = ScoreExplorer.from_logits([[19.0, 0.5], [0.0, 3.0]], [[1.0, 0.5]], threshold=0.99983)
    assert explorer.threshold == 0.99983
    assert ", MSP (top probability): at threshold 0.9998, 50.0 % of" in explorer.finding()
    explorer.score = "energy"
    assert explorer.threshold is None
    other = ScoreExplorer.from_logits([[9.0, 0.5]], [[1.0, 0.5]], threshold=0.9)
    link(explorer, other, "score")
    explorer.score = "entropy"
    assert other.score == "entropy" and other.threshold is None


def test_above_the_budget_every_kth_image_is_taken_and_a_note_says_so(monkeypatch):
    rng = np.random.default_rng(0)
    logits, ood = rng.normal(0, 3, (600, 5)), rng.normal(0, 1, (500, 5))
    complete = ScoreExplorer.from_logits(logits, ood)
    assert len(complete.logits) == 11000 and "note" not in complete.meta
    monkeypatch.setattr(score_explorer, "BUDGET", 4000)
    thinned = ScoreExplorer.from_logits(logits, ood)
    assert "One image in 3" in thinned.meta["note"] and len(thinned.logits) <= 4000
    assert thinned.summary == ScoreExplorer.from_logits(logits[::3], ood[::3]).summary
    page = thinned.for_page()["constants"]["meta"]
    assert page["note"] == thinned.meta["note"] and page["runs"][0]["sets"]["ID"] == [[0, 200]]


def test_bad_input_gets_one_clear_sentence():
    good = np.zeros((3, 2))
    for call, words in (
        (lambda: ScoreExplorer.from_logits(np.zeros((0, 2)), good), "ID logits must be .N, C. with at least one"),
        (lambda: ScoreExplorer.from_logits(good, [[np.nan, 0]]), "OOD logits must be finite"),
        (lambda: ScoreExplorer.from_logits(good, [[np.inf, 0]]), "OOD logits must be finite"),
        (lambda: ScoreExplorer.from_logits(good, np.zeros((3, 4))), "as many classes"),
        (lambda: ScoreExplorer.from_logits(good, good, classes=["a"]), "need 2 class names"),
        (lambda: ScoreExplorer.from_logits(good, good, labels=[1]), "and 3 labels"),
        (lambda: ScoreExplorer.from_logits(good, good, images={}), "must be 3 images"),
        (
            lambda: ScoreExplorer.from_logits(good, {"ID": good}),
            "at least one OOD set, and none named as the ID set, 'ID'",
        ),
        (lambda: ScoreExplorer.from_logits(good, {}), "ood_logits needs at least one OOD set"),
        (lambda: ScoreExplorer.from_logits(good, good, score="mps"), "unknown score 'mps'; known: msp, max_logit"),
    ):
        with pytest.raises((ValueError, traitlets.TraitError), match=words):
            call()


@pytest.mark.parametrize("arguments", [(np.eye(3),), (np.eye(3), np.zeros((2, 3))), ([np.eye(3)],), (Config(),), ([],)])
def test_logits_instead_of_runs_get_the_way_to_from_logits(arguments):
    with pytest.raises(TypeError, match=r"takes a trained run.*call ScoreExplorer\.from_logits\(id_logits, ood_log"):
        ScoreExplorer(*arguments)


def test_images_are_sent_in_the_requested_order():
    images = {"ID": np.arange(3 * 4, dtype=np.uint8).reshape(3, 1, 2, 2), "OOD": np.zeros((4, 3, 2, 2), np.uint8)}
    explorer, sent = ScoreExplorer.from_logits(np.eye(3), np.zeros((4, 3)), images=images), []
    explorer.send = lambda content, buffers: sent.append((content, buffers))
    explorer._handle_custom_msg({"kind": "images", "sets": [["ID", [2, 0]], ["no such set", [0]]]}, [])
    ((content, buffers),) = sent
    assert content == {"kind": "images", "sets": [["ID", [2, 0], [2, 2]]]}
    pixels = np.frombuffer(buffers[0], np.uint8).reshape(2, 2, 2, 4)
    assert pixels[0].tolist() == [[[v, v, v, 255] for v in row] for row in ((8, 9), (10, 11))]


def test_names_and_limits_are_sent_to_the_script():
    meta = json.loads(json.dumps(make_explorer().meta))
    assert meta["state"] == list(ScoreExplorer.state) and meta["allowed"]["ood"] == {"among": ["near", "far"]}
    assert meta["allowed"]["bin"] == {"between": [0, meta["bins"] - 1], "none": True}
    assert meta["allowed"]["positive"]["among"] == ["id", "ood"] and set(meta["scores"]) >= {"msp", "energy"}


def test_runs_open_as_they_are(tmp_path):
    options = {"epochs": 2, "ood": ("near", "noise")}
    runs = [fit(Config(seed=seed, **options), runs=tmp_path, device="cpu", progress=False) for seed in (0, 1)]
    explorer = ScoreExplorer(runs)
    assert explorer.choices["run"] == ["Softmax (CE), seed 0", "Softmax (CE), seed 1"]
    assert explorer.choices["ood"] == ["near", "noise"] and explorer.epoch == 2
    explorer.run, explorer.ood = "Softmax (CE), seed 1", "noise"
    expected, view = runs[1].detection()["noise"], explorer.summary
    assert view["metrics"]["auroc"] == pytest.approx(expected["auroc"], abs=1e-3)
    assert view["accuracy"] == pytest.approx(runs[1].accuracy, abs=0.01)
    assert view["sizes"] == [len(runs[1].logits[name]) for name in ("test", "noise")]
    assert (explorer.data.tiles("test", [3])[0, :, :, 0] == runs[1].images("test")[3, 0].numpy()).all()
    with pytest.raises(ValueError, match="must share data"):
        ScoreExplorer([runs[0], fit(Config(known=5, **options), runs=tmp_path, device="cpu", progress=False)])


def test_runs_with_one_label_and_seed_are_told_apart_by_their_configurations(tmp_path):
    base = Config(epochs=1, ood=("noise",), limit=40)
    configs = [base, replace(base, epochs=2), replace(base, loss="meln")]
    first, second, other = (fit(config, tmp_path, "cpu", progress=False) for config in configs)
    names = [f"Softmax (CE), seed 0, {run.config.hash}" for run in (first, second)]
    explorer = ScoreExplorer([first, second, other])
    assert explorer.choices["run"] == [*names, "MELN"]
    assert [(run["loss"], run["seed"]) for run in explorer.meta["runs"]] == [
        ("Softmax (CE)", f"seed 0, {first.config.hash}"),
        ("Softmax (CE)", f"seed 0, {second.config.hash}"),
        ("MELN", "seed 0"),
    ]
    explorer.run, explorer.epoch = names[1], 2
    assert explorer.summary["metrics"]["auroc"] == pytest.approx(second.detection()["noise"]["auroc"], abs=1e-3)
    pad = Sketchpad([first, second])
    assert list(pad.logits) == names == [row["name"] for row in pad.summary]
    for run, row in zip((first, second), pad.summary):
        assert row["threshold"] == pytest.approx(metrics.threshold(run.scores()["validation"]), abs=1e-6)
    with pytest.raises(ValueError, match=rf"two of the runs have the same configuration: {re.escape(names[0])}"):
        ScoreExplorer([first, first])
