"""The papers' tables: which numbers stand beside ours, what is told of them, and what is kept of the runs."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from statistics import mean
from types import SimpleNamespace

import numpy as np
import pytest

from ood_helpers import data, loop, scores, training
from ood_helpers.__main__ import main
from ood_helpers.papers import tables as papers
from ood_helpers.papers.exported_runs import keep, kept

ROOT = Path(__file__).parents[2]
TINY = {"model": "cnn", "epochs": 1, "limit": 64, "ood": ("near", "noise"), "augment": "none"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def rows(folder):
    return papers.table(
        "openood", seeds=2, data="digits", runs=folder, device="cpu", loss_options=(("temperature", 0.5),), **TINY
    )


@pytest.fixture
def planned(monkeypatch):
    """The configurations that a table would train."""
    found = []
    monkeypatch.setattr(papers, "fit_all", lambda configs, *_: found.extend(configs) or configs)
    monkeypatch.setattr(papers, "choose_temperature", lambda *_, **__: pytest.fail("swept"))
    return found


# What was published


def test_every_published_value_is_a_percentage_with_its_source():
    for (source, id_set, model, method, score), values in papers.published().items():
        assert source in {paper.source for paper in papers.PAPERS.values()} and score in (
            *scores.SCORES,
            "odin",
            "knn",
            "mahalanobis",
            "gradnorm",
        )
        assert all(0 <= value <= 100 and (deviation or 0) >= 0 for value, deviation in values.values()), (id_set, model)
    knn = papers.published_row("openood_v1.5", "cifar100", "resnet18", "softmax", "knn")
    assert knn["far", "auroc"] == (82.4, 0.17)
    assert papers.published_row("dismax", "cifar10", "resnet34", "softmax")["-", "ece"] == pytest.approx((0.6, 0.13))


def test_a_row_that_was_not_published_is_refused_and_the_known_are_listed():
    with pytest.raises(ValueError, match="no published row for openood_v1.5 mnist cnn softmax msp; openood_v1.5 has: "):
        papers.published_row("openood_v1.5", "mnist", "cnn", "softmax")


def test_a_paper_is_quoted_for_its_own_network_and_a_stranger_by_name():
    dismax, openood = papers.PAPERS["dismax"], papers.PAPERS["openood"]
    exact = papers.beside(dismax, "cifar10", "wrn_28_10", "softmax", "msp", {})
    assert (
        exact["-", "accuracy"][2] == ""
        and exact["-", "accuracy"][:2]
        == papers.published_row("dismax", "cifar10", "wrn_28_10", "softmax")["-", "accuracy"]
    )
    # the paper's DenseNet was printed without FPR: its row is not filled with another network's
    assert papers.beside(dismax, "cifar10", "densenet_bc_100_12", "dismax_fpr", "mmles", {}) == {}
    own = {("-", "accuracy"): [80.0], ("tinyimagenet_resize", "auroc"): [75.0]}
    found = papers.beside(openood, "cifar10", "resnet18_w16", "softmax", "msp", own)
    assert found["-", "accuracy"] == (95.06, None, "resnet18") and found["near", "auroc"] == (88.03, None, "resnet18")
    assert found["tinyimagenet_resize", "auroc"] == (89.7, 2.8, "dismax, resnet34")  # resnet18_w16 begins like it
    assert ("lsun_resize", "auroc") not in found  # nothing of ours to stand beside


# What is trained


def test_every_system_is_trained_once_with_every_seed(rows, folder):
    systems = [row["system"] for row in rows]
    assert systems == [
        "Softmax (CE) [msp]",
        "Softmax (CE) [odin]",
        "Softmax (CE) [mahalanobis]",
        "Softmax (CE) [knn]",
        "Softmax (CE) [gradnorm]",
        "LogitNorm (τ 0.5) [msp]",
        "DisMax† [mmles]",
    ]
    assert {row["n"] for row in rows} == {2}
    assert sum(path.is_dir() for path in folder.glob("digits*")) == 6  # three losses, two seeds


def test_a_temperature_that_is_given_is_not_swept(planned):
    papers.systems("openood", 2, loss_options=(("temperature", 0.7),))
    assert {dict(c.loss_options).get("temperature") for c in planned} == {None, 0.7}
    assert {c.seed for c in planned} == {0, 1}


def test_the_paper_has_dismax_without_mixing_for_one_network(planned):
    papers.systems("dismax", 1)
    assert [(c.model, c.loss) for c in planned if c.loss.startswith("dismax")] == [
        ("densenet_bc_100_12", "dismax"),
        ("densenet_bc_100_12", "dismax_fpr"),
        ("resnet34", "dismax_fpr"),
        ("wrn_28_10", "dismax_fpr"),
    ]


def test_the_other_id_sets_of_a_paper_trade_places_with_its_own(planned):
    papers.systems("dismax", 1, data="cifar100", model="resnet34")
    assert {c.ood for c in planned} == {("cifar10", "tinyimagenet_resize", "lsun_resize", "svhn")}
    planned.clear()
    papers.systems("dismax", 1, data="digits", model="cnn")
    assert {c.ood for c in planned} == {data.ood_names("digits")}


def test_faithful_chooses_on_the_test_part_and_says_so(planned, folder):
    papers.systems("openood", 1, faithful=True)
    assert {c.select for c in planned} == {"test"}
    assert {dict(c.loss_options).get("temperature") for c in planned} == {None, 0.04}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["openood", "--loss", "meln"], "a paper's table has losses and seeds of its own; leave loss out"),
        (["openood", "--seed", "3"], "leave seed out"),
        (["openood", "--data", "digit"], "unknown image set 'digit'"),
        (["openood", "--model", "resnet19"], "unknown model 'resnet19'; known: cnn"),
    ],
)
def test_bad_input_is_one_sentence(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["table", *arguments, "--quick", "--seeds", "1", "--device", "cpu"])
    assert message in str(stopped.value) and "\n" not in str(stopped.value)


# What is measured


def test_scores_of_features_are_fitted_to_the_training_images_of_the_runs_network(rows, folder):
    run = training.fit(rows[0]["config"], folder, "cpu")
    images, labels = run.config.dataset().split("train")
    train, _ = loop.outputs(run.load_model(), images)
    for score, by_hand in (
        ("mahalanobis", lambda x: scores.mahalanobis(train, labels, x)),
        ("knn", lambda x: scores.knn(train, x, k=50)),
    ):
        found = papers.scores_of(run, score, "cpu")
        assert set(found) == {"test", "near", "noise"}
        for name, values in found.items():
            np.testing.assert_allclose(values, by_hand(run.features[name]), rtol=1e-5, atol=1e-6)
    network = run.load_model()
    np.testing.assert_allclose(
        papers.scores_of(run, "odin", "cpu")["near"], scores.odin(network, run.images("near")).detach(), rtol=1e-5
    )
    (row,) = (row for row in rows if row["system"].endswith("[knn]"))
    values = papers.measure(run, "knn", device="cpu")
    assert row["own"]["noise", "auroc"][0] == values["noise", "auroc"] and len(row["own"]["noise", "auroc"]) == 2


def test_a_group_is_a_mean_over_all_its_sets_or_blank(rows, folder):
    run = training.fit(rows[0]["config"], folder, "cpu")
    found = papers.measure(run, "msp", groups={"far": ("noise", "held-out classes"), "near": ("noise", "svhn")})
    assert found["far", "auroc"] == mean(found[name, "auroc"] for name in ("noise", "held-out classes"))
    assert ("near", "auroc") not in found


# What is written


def test_table_shows_ours_and_theirs_and_no_difference_to_other_images(rows):
    columns = papers.quantities(rows, "openood")
    assert columns == [
        ("-", "accuracy"),
        ("-", "ece"),
        ("near", "auroc"),
        ("far", "auroc"),
        ("held-out classes", "auroc"),
        ("noise", "auroc"),
    ]
    line = papers.cells(rows, columns)[1]
    assert line[2][:3] == ("", "82.9 ± 1.9 (resnet18)", "") and "±" in line[5][0] and line[5][1] == ""
    assert all(gap == "" for line in papers.cells(rows, columns) for _, _, gap, _ in line)
    text = papers.markdown(rows, "openood")
    assert "| cnn | Softmax (CE) [knn] | 2 | " in text
    assert "no difference to give" in text and "blank unless all" in text
    assert "At most 64 images" in text and text.count("\n| cnn ") == 7
    table = papers.latex(rows, "openood")
    assert table.startswith("\\begin{tabular}{ll" + "rrr" * 6 + "}") and "\\toprule" in table
    lines = list(csv.DictReader(papers.comma_separated(rows, "openood").splitlines()))
    assert len(lines) == 7 * 6
    (one,) = (each for each in lines if each["system"] == "LogitNorm (τ 0.5) [msp]" and each["set"] == "far")
    assert one["values"] == one["n"] == "" and float(one["published"]) == 96.74 and one["published_of"] == "resnet18"


def test_a_folder_called_like_a_set_is_that_set(tmp_path, capsys):
    data.write_folder(data.load("digits", known=10), tmp_path / "cifar10", [12] * 10)
    data.write_folder(data.load("digits", known=10), tmp_path / "imagenet_resize", [3] * 10)
    main(
        [
            "table",
            "openood",
            "--data",
            f"folder:{tmp_path}/cifar10",
            "--model",
            "cnn",
            "--epochs",
            "1",
            "--seeds",
            "1",
            "--batch-size",
            "16",
            "--loss-options",
            "temperature=0.04",
            "--ood",
            f"folder:{tmp_path}/imagenet_resize",
            "noise",
            "--augment",
            "none",
            "--device",
            "cpu",
            "--runs",
            str(tmp_path / "runs"),
            "--out",
            str(tmp_path / "out"),
        ]
    )
    printed = capsys.readouterr().out
    assert "Ours are cnn, trained for 1 epochs; the protocol's are resnet18, for 100" in printed
    written = [(tmp_path / f"out/table_openood{suffix}").read_text() for suffix in (".md", ".tex", ".csv")]
    assert not any(str(tmp_path) in text for text in written)
    lines = {(line["system"], line["set"], line["metric"]): line for line in csv.DictReader(written[2].splitlines())}
    line = lines["DisMax† [mmles]", "tinyimagenet_resize", "auroc"]
    assert line["published_of"].startswith("dismax, ") and float(line["mean"]) >= 0
    gap = f"{float(lines['Softmax (CE) [msp]', '-', 'accuracy']['mean']) - 95.06:+.1f}"
    assert f"| {gap} |" in written[0]


# What is kept


def test_kept_runs_say_the_same_without_weights_and_paths(rows, folder, tmp_path):
    runs = [training.fit(replace(rows[0]["config"], seed=seed), folder, "cpu") for seed in range(2)]
    keep(runs, tmp_path / "kept", processor="a laptop")
    again, facts = kept(tmp_path / "kept")
    assert facts == {"processor": "a laptop"} and [run.config for run in again] == [run.config for run in runs]
    for run, same in zip(runs, again):
        assert same.accuracy == pytest.approx(run.accuracy, abs=0.02) and same.classes == run.classes
        for name, found in run.detection().items():
            assert same.detection()[name]["auroc"] == pytest.approx(found["auroc"], abs=0.01)
        assert same.labels["test"].dtype == np.int64 and same.logits["near"].shape == run.logits["near"].shape
        np.testing.assert_allclose(same.history["loss"][1:], run.history["loss"][1:], rtol=1e-4)
        assert same.torch
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"logits.npz", "runs.json"}
    assert str(folder) not in (tmp_path / "kept/runs.json").read_text()


def test_kept_logits_may_be_long(rows, folder, tmp_path):
    run = training.fit(rows[0]["config"], folder, "cpu")
    same = {name: getattr(run, name) for name in ("labels", "path", "config", "classes", "shape", "history")}
    long = SimpleNamespace(**same, logits={name: 1e9 * z for name, z in run.logits.items()})
    keep([long], tmp_path)
    (again,), _ = kept(tmp_path)
    np.testing.assert_array_equal(again.logits["test"], 1e9 * run.logits["test"])


def test_the_committed_runs_are_whole_small_and_agree_with_the_committed_table():
    place = ROOT / "figures/cifar10_jpeg"
    runs, facts = kept(place)
    assert sum(path.stat().st_size for path in place.iterdir()) < 6.5e6
    assert {"processor", "cores", "side_by_side"} <= set(facts) and "/" not in json.dumps(facts)
    lines = list(csv.DictReader((place / "table_openood.csv").read_text().splitlines()))
    ten = [run for run in runs if run.config.known is None]
    seeds = sorted({run.config.seed for run in ten})
    assert len(seeds) > 1 and {(run.config.loss, run.config.seed) for run in ten} == {
        (loss, seed) for loss in ("softmax", "logitnorm", "dismax_fpr") for seed in seeds
    }
    for run in ten:
        told = {
            (line["set"], line["metric"]): float(line["values"].split()[run.config.seed])
            for line in lines
            if line["system"] == f"{run.label} [{run.config.recipe.score}]" and line["values"]
        }
        for quantity, value in papers.measure(run, run.config.recipe.score).items():
            if quantity in told:
                assert abs(told[quantity] - value) < 0.2, quantity
    for path in place.glob("*.json"):
        assert "/tmp" not in path.read_text() and "/root" not in path.read_text()
