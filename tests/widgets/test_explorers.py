"""The widgets' numbers: numpy against scikit-learn, JavaScript against numpy, traits against both. No browser here."""

import base64
import json
import os
import shutil
import subprocess

import numpy as np
import pytest
import traitlets
from matplotlib.colors import to_hex
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from ood_helpers import metrics, scores
from ood_helpers.widgets import NormExplorer, Playground, ScoreExplorer, SideBySide, link
from ood_helpers.widgets import explorer_state as summary
from ood_helpers.widgets import page as pages
from ood_helpers.widgets import score_explorer as widgets

NODE = pytest.mark.skipif(not shutil.which("node") and not os.environ.get("CI"), reason="needs node")


def node(modules, expression, cases):
    """The value of a JavaScript expression of `c` for each case, computed by the modules the browser gets."""
    script = pages.bundle(*modules) + (
        "import { readFileSync } from 'node:fs';\n"
        f"const out = JSON.parse(readFileSync(0, 'utf8')).map((c) => ({expression}));\n"
        "process.stdout.write(JSON.stringify(out));"
    )
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script],
        input=json.dumps(cases),
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def generated(seed=0, count=160):
    """(explorer, state): ties, one element, equal scores, huge and tiny logits, early epochs with fewer images."""
    random = np.random.default_rng(seed)
    for k in range(count):
        classes = int(random.choice([2, 3, 6, 10]))
        n, m = (int(random.choice([1, 2, 20, 73, 300])) for _ in range(2))
        scale = random.choice([0.01, 1, 8, 300])
        make = [
            lambda n: random.normal(0, scale, (n, classes)),
            lambda n: random.integers(-2, 3, (n, classes)),  # ties, also between permuted rows
            lambda n: np.full((n, classes), 1.5),
            lambda n: random.permuted(np.tile(np.arange(classes) * 0.7, (n, 1)), axis=1),
        ][k % 4]
        id_logits, ood_logits = make(n), make(m)
        snapshots = None
        if k % 3 == 0:
            snapshots = {
                "epochs": [0, 4, 9],
                "ID": [make(min(n, 15)) for _ in range(3)],
                "far": [make(min(m, 15)) for _ in range(3)],
            }
        explorer = ScoreExplorer.from_logits(
            id_logits, {"far": ood_logits}, snapshots=snapshots, labels=random.integers(0, classes, n)
        )
        explorer.score = list(scores.SCORES)[k // 4 % 8]
        explorer.temperature = float(random.choice([0.1, 0.5, 1, 3.7, 100]))
        explorer.positive = metrics.POSITIVES[k % 2]
        explorer.target = float(random.choice([0.5, 0.9, 0.95, 1]))
        explorer.epoch = int(random.choice([0, 2, 9]))
        explorer.bin = int(random.integers(0, summary.BINS))
        if k % 5 == 0:
            view = explorer.summary
            explorer.threshold = float(random.uniform(view["low"], view["high"]))
        yield explorer


def same(ours, theirs, where=""):
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            same(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs), where
        for k, pair in enumerate(zip(ours, theirs)):
            same(*pair, f"{where}[{k}]")
    elif isinstance(ours, float):
        assert theirs == pytest.approx(ours, rel=1e-9, abs=1e-9), where
    else:
        assert ours == theirs, where


@NODE
def test_javascript_says_what_python_says():
    explorers = list(generated())
    cases = [{"meta": e.meta, "logits": pages.text(e.logits), "state": e.current()} for e in explorers]
    bytes_of = "Uint8Array.from(Buffer.from(c.logits, 'base64')).buffer"
    found = node(["core"], f"compute(c.state, openData(c.meta, {bytes_of}))", cases)
    for k, (explorer, theirs) in enumerate(zip(explorers, found, strict=True)):
        same(json.loads(json.dumps(explorer.summary)), theirs, f"case {k}, {explorer.current()}: ")


def test_numbers_are_those_of_scikit_learn():
    for explorer in generated(1, 60):
        track, epoch, ready = summary.prepare(explorer.current(), explorer.data)
        id_scores, ood_scores = ready["ranks"]
        truth, values = np.r_[np.ones(len(id_scores)), np.zeros(len(ood_scores))], np.r_[id_scores, ood_scores]
        view = explorer.summary
        assert view["metrics"]["auroc"] == pytest.approx(roc_auc_score(truth, values), abs=1e-12)
        assert view["metrics"]["aupr_in"] == pytest.approx(average_precision_score(truth, values), abs=1e-12)
        if explorer.positive == "ood":
            truth, values = 1 - truth, -values
        fpr, tpr, _ = roc_curve(truth, values, drop_intermediate=False)
        assert view["metrics"]["fpr95"] == pytest.approx(fpr[np.argmax(tpr >= 0.95)], abs=1e-12)
        if explorer.threshold is None:  # the target is reached, and no threshold reaches it with fewer accepted
            shares = np.array(view["accepted"]) / view["sizes"]
            here = shares if explorer.positive == "id" else 1 - shares[::-1]
            assert here[1] == pytest.approx(fpr[np.argmax(tpr >= explorer.target)], abs=1e-12)
        assert [sum(view["counts"][k]) for k in ("id", "ood")] == view["sizes"]


def test_msp_is_ranked_where_float32_saturates():
    logits = np.array([[60.0, 0, 0], [50, 0, 0], [40, 0, 0]])
    explorer = ScoreExplorer.from_logits(logits[:2], logits[2:], temperature=0.5)
    assert len(set(scores.msp(logits.astype(np.float32) / 0.5))) == 1
    assert explorer.summary["metrics"]["auroc"] == 1.0
    tied = ScoreExplorer.from_logits([[0.3, 1.7, 0.9, 2.2]] * 3, [[2.2, 0.9, 1.7, 0.3]] * 3)  # one set of numbers
    assert tied.summary["metrics"]["auroc"] == 0.5


def test_state_set_in_python_changes_the_summary():
    random = np.random.default_rng(0)
    explorer = ScoreExplorer.from_logits(
        random.normal(0, 3, (50, 4)), {"a": random.normal(0, 1, (40, 4)), "b": random.normal(0, 2, (30, 4))}
    )
    before = explorer.summary
    for change in (
        {"score": "energy"},
        {"temperature": 5.0},
        {"ood": "b"},
        {"positive": "ood"},
        {"target": 0.7},
        {"bin": 3},
    ):
        for name, value in change.items():
            setattr(explorer, name, value)
        after = explorer.summary
        assert after != before, change
        before = after
    explorer.threshold = after["high"] + 1
    assert explorer.summary["accepted"] == [0, 0]
    explorer.temperature = 1.0
    assert set(explorer.finding().split()) >= {"Energy:", "b", "(OOD"}


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


def test_early_epochs_are_the_first_images_and_axes_stay():
    random = np.random.default_rng(0)
    final = random.normal(0, 4, (30, 3)), random.normal(0, 2, (20, 3))
    snapshots = {"epochs": [0, 5], "ID": np.stack([final[0][:10] / 50] * 2), "OOD": np.stack([final[1][:10] / 50] * 2)}
    explorer = ScoreExplorer.from_logits(*final, snapshots=snapshots, score="energy")
    assert explorer.epoch == 5 and explorer.summary["sizes"] == [30, 20]
    late = explorer.summary
    explorer.epoch = 1  # the nearest there is
    early = explorer.summary
    assert early["sizes"] == [10, 10]
    assert [early[k] for k in ("low", "high", "peak")] == [late[k] for k in ("low", "high", "peak")]
    assert early["norms"]["high"] == late["norms"]["high"] and early["norms"]["id"] != late["norms"]["id"]


def test_above_the_budget_the_kernel_sends_summaries(monkeypatch):
    random = np.random.default_rng(0)
    logits, ood = random.normal(0, 3, (600, 5)), random.normal(0, 1, (500, 5))
    small = ScoreExplorer.from_logits(logits, ood)
    monkeypatch.setattr(widgets, "BUDGET", 4000)
    large = ScoreExplorer.from_logits(logits, ood)
    assert small.picture == {} and len(small.logits) == 11000
    assert large.logits == b"" and large.meta["in_kernel"] and large.picture == small.summary
    json.dumps(large.picture)  # it must reach the browser
    large.temperature = small.temperature = 2.0
    assert large.picture == small.summary
    page = large.for_page()["constants"]["meta"]
    assert "one image in 3" in page["note"] and page["runs"][0]["sets"]["ID"] == [[0, 200]]


def test_linked_widgets_follow_each_other_in_python():
    random = np.random.default_rng(0)
    a, b = (ScoreExplorer.from_logits(random.normal(0, 3, (9, 3)), random.normal(0, 1, (9, 3))) for _ in range(2))
    link(a, b, "target", "score")
    a.target, b.score = 0.8, "energy"
    assert (b.target, a.score) == (0.8, "energy")
    with pytest.raises(ValueError, match="cannot share 'tau'; known: run, score"):
        link(a, b, "tau")


def test_logits_that_outgrow_float16_keep_their_direction():
    z = np.random.default_rng(0).normal(size=(50, 6)) * np.geomspace(1, 1e9, 50)[:, None]
    explorer = ScoreExplorer.from_logits(z, z / 2)
    shown = explorer.data.tracks[0].logits["ID"][0].astype(float)
    np.testing.assert_allclose(
        shown / np.abs(shown).max(1, keepdims=True), z / np.abs(z).max(1, keepdims=True), atol=1e-3
    )
    fits = np.abs(z).max(1) < 65504
    np.testing.assert_array_equal(shown[fits], z[fits].astype(np.float16))


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
        (lambda: ScoreExplorer.from_logits(good, good, score="mps"), "unknown score 'mps'; known: msp, max_logit"),
    ):
        with pytest.raises((ValueError, traitlets.TraitError), match=words):
            call()


def test_a_saved_notebook_shows_a_picture_and_no_html():
    explorer = ScoreExplorer.from_logits(np.eye(3), np.zeros((4, 3)))
    content = explorer._repr_mimebundle_()
    data = content[0] if isinstance(content, tuple) else content
    assert "application/vnd.jupyter.widget-view+json" in data and "text/html" not in data
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG") and len(data["image/png"]) < 100_000
    assert "AUROC 1.000" in data["text/plain"]


def test_a_saved_notebook_carries_the_state_for_machines():
    score = ScoreExplorer.from_logits(np.eye(3), {"near": np.zeros((4, 3))}, score="energy", temperature=2.0, bin=4)
    for widget, page in ((score, "scores"), (NormExplorer(loss="meln"), "norm"), (Playground(x=-3.0), "playground")):
        content = widget._repr_mimebundle_()
        data = content[0] if isinstance(content, tuple) else content
        saved = data["application/vnd.ood.state+json"]
        assert saved["page"] == page and saved["state"] == pytest.approx(widget.current())
        assert json.loads(json.dumps(saved)) == saved
    row = SideBySide(score, NormExplorer())._repr_mimebundle_()["application/vnd.ood.state+json"]
    assert [each["page"] for each in row] == ["scores", "norm"] and row[0]["state"]["score"] == "energy"


def test_the_playgrounds_still_has_the_colours_and_names_of_the_live_one():
    script, playground = (pages.STATIC / "playground.js").read_text(), Playground()
    for show, told in (("confidence", "top probability"), ("norm", "norm of the logits")):
        playground.show = show
        ax, bar = playground.static().axes
        assert [entry.get_text() for entry in ax.get_legend().get_texts()] == playground.meta["classes"]
        assert bar.get_ylabel() == told and ax.collections[0].get_cmap().name == "cividis"
        faces = [to_hex(line.get_markerfacecolor()) for line in ax.lines[:3]]
        assert f"FILLS = {json.dumps(faces)}" in script


def test_images_are_answered_in_the_order_asked_for():
    images = {"ID": np.arange(3 * 4, dtype=np.uint8).reshape(3, 1, 2, 2), "OOD": np.zeros((4, 3, 2, 2), np.uint8)}
    explorer, sent = ScoreExplorer.from_logits(np.eye(3), np.zeros((4, 3)), images=images), []
    explorer.send = lambda content, buffers: sent.append((content, buffers))
    explorer._answer(None, {"kind": "images", "sets": [["ID", [2, 0]], ["no such set", [0]]]}, [])
    ((content, buffers),) = sent
    assert content == {"kind": "images", "sets": [["ID", [2, 0], [2, 2]]]}
    assert np.frombuffer(buffers[0], np.uint8).reshape(2, 2, 2, 4)[0].tolist() == [
        [[v, v, v, 255] for v in row] for row in ((8, 9), (10, 11))
    ]


def test_runs_open_as_they_are(tmp_path):
    from ood_helpers import Config, fit

    options = {"epochs": 2, "ood": ("near", "noise")}
    runs = [fit(Config(seed=seed, **options), runs=tmp_path, device="cpu", progress=False) for seed in (0, 1)]
    explorer = ScoreExplorer(runs)
    assert explorer.choices["run"] == ["Softmax (CE), seed 0", "Softmax (CE), seed 1"]
    assert explorer.choices["ood"] == ["near", "noise"] and explorer.epoch == 2
    explorer.run, explorer.ood = "Softmax (CE), seed 1", "noise"
    expected, found = runs[1].detection()["noise"], explorer.summary
    assert found["metrics"]["auroc"] == pytest.approx(expected["auroc"], abs=1e-3)
    assert found["accuracy"] == pytest.approx(runs[1].accuracy, abs=0.01)
    assert found["sizes"] == [len(runs[1].logits[name]) for name in ("test", "noise")]
    assert (explorer.data.tiles("test", [3])[0, :, :, 0] == runs[1].images("test")[3, 0].numpy()).all()
    with pytest.raises(ValueError, match="must share data"):
        ScoreExplorer([runs[0], fit(Config(known=5, **options), runs=tmp_path, device="cpu", progress=False)])
