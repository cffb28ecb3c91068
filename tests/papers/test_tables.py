"""The papers' tables: which published values are printed, what is trained and measured, and what is written."""

import csv
import html
import io
import re
from statistics import mean

import numpy as np
import pandas as pd
import pytest
import torch

from ood_helpers import data, papers, scores, training
from ood_helpers.__main__ import main
from ood_helpers.beyond.feature_scores import FEATURE_SCORES
from ood_helpers.config import Config
from ood_helpers.course.html import markdown as render
from ood_helpers.engine import history
from ood_helpers.papers import protocols, tables

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
def run(rows, folder):
    """The softmax network of the table, seed 0."""
    return training.fit(Config.preset("openood", data="digits", loss="softmax", seed=0, **TINY), folder, "cpu")


@pytest.fixture
def planned(monkeypatch):
    """The configurations that a table would train."""
    configs = []
    monkeypatch.setattr(protocols, "fit_all", lambda new, *_: configs.extend(new) or new)
    monkeypatch.setattr(protocols, "choose_temperature", lambda *_, **__: pytest.fail("swept"))
    return configs


# What was published


def test_every_published_value_is_a_percentage_with_its_source():
    for (source, id_set, model, _, score), values in papers.published().items():
        assert source in {"odin", *(paper.source for paper in papers.PAPERS.values())} and score in (
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
    with pytest.raises(
        ValueError, match=r"no published row for openood_v1.5 mnist cnn softmax msp; openood_v1.5 has: "
    ):
        papers.published_row("openood_v1.5", "mnist", "cnn", "softmax")


def test_no_value_of_another_network_is_published_for_ours(rows):
    """Not even one whose name begins like it: resnet18_w16 is not resnet18, and this paper's cnn does not exist."""
    assert set(rows["model"]) == {"cnn"} and rows["published"].isna().all() and rows["difference"].isna().all()
    assert "No values are published for cnn." in papers.markdown(rows)


def test_values_are_published_for_the_papers_own_networks(run):
    groups = [("wrn_28_10", "softmax", "msp", [run]), ("densenet_bc_100_12", "dismax_fpr", "mmles", [run])]
    frame = tables.rows("dismax", groups).set_index(["model", "set", "metric"])
    reference = papers.published_row("dismax", "cifar10", "wrn_28_10", "softmax")
    line = frame.loc["wrn_28_10", "-", "accuracy"]
    assert (line["published"], line["published_std"]) == reference["-", "accuracy"]
    assert np.isnan(line["difference"])  # the digits are not the images of the paper
    # The paper's DenseNet was printed without FPR; the row has no other network's values.
    assert frame.loc["densenet_bc_100_12"]["published"].isna().all()


# What is trained


def test_every_system_is_trained_once_with_every_seed(rows, folder):
    assert list(rows["system"].unique()) == [
        "Softmax (CE) [msp]",
        "Softmax (CE) [odin]",
        "Softmax (CE) [mahalanobis]",
        "Softmax (CE) [knn]",
        "Softmax (CE) [gradnorm]",
        "LogitNorm (τ 0.5) [msp]",
        "DisMax† [mmles]",
    ]
    assert set(rows["n"]) == {2}
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


def test_faithful_chooses_on_the_test_split(planned):
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
        (["openood", "--loss-options", "temp=3"], "unknown option 'temp'; a paper's table takes temperature"),
        (["openood", "--loss-options", "temperature=abc"], "temperature must be a positive number, not 'abc'"),
    ],
)
def test_bad_input_is_one_sentence(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["table", *arguments, "--quick", "--seeds", "1", "--device", "cpu"])
    assert message in str(stopped.value) and "\n" not in str(stopped.value)


# What is measured


def test_scores_of_features_are_fitted_to_the_training_images_of_the_runs_network(rows, run):
    images, labels = run.dataset().split("train")
    train, _ = history.outputs(run.load_model(), images)
    for score, by_hand in (
        ("mahalanobis", lambda x: scores.mahalanobis(train, labels, x)),
        ("knn", lambda x: scores.knn(train, x, k=50)),
        ("vim", lambda x: FEATURE_SCORES["vim"](train.numpy(), labels, run.load_model().classifier, x)),
    ):
        result = tables.scores_of(run, score, "cpu")
        assert set(result) == {"test", "near", "noise"}
        for name, values in result.items():
            np.testing.assert_allclose(values, by_hand(run.features[name]), rtol=1e-5, atol=1e-6)
    network = run.load_model()
    np.testing.assert_allclose(
        tables.scores_of(run, "odin", "cpu")["near"], scores.odin(network, run.images("near")).detach(), rtol=1e-5
    )
    knn = rows[rows["score"] == "knn"].set_index(["set", "metric"])
    values = tables.measure(run, "knn", device="cpu")
    assert knn.loc[("noise", "auroc"), "values"][0] == values["noise", "auroc"]


def test_scores_have_the_numbers_of_their_names_and_others_are_refused(run):
    network = run.load_model()
    images, labels = run.dataset().split("train")
    train, _ = history.outputs(network, images)
    x = torch.from_numpy(run.features["noise"])
    expected = {name: run.scores(name)["noise"] for name in (*scores.SCORES, *scores.BEYOND)}
    expected["mahalanobis"] = scores.mahalanobis(train, labels, x)
    expected["knn"] = scores.knn(train, x, k=min(50, len(train)))
    for name in ("odin", "gradnorm"):
        expected[name] = getattr(scores, name)(network, run.images("noise")).detach()
    for name, values in expected.items():
        np.testing.assert_array_equal(tables.scores_of(run, name, "cpu")["noise"], values)
    with pytest.raises(ValueError, match=r"unknown score 'mps'; known: msp, .*, odin, gradnorm, mahalanobis"):
        tables.scores_of(run, "mps", "cpu")


def test_measuring_does_not_change_the_run(run):
    names = set(run.features)
    before = {name: values.copy() for name, values in run.features.items()}
    for score in ("knn", "mahalanobis"):
        tables.scores_of(run, score, "cpu")
    assert set(run.features) == names
    for name, values in before.items():
        np.testing.assert_array_equal(run.features[name], values)


def test_a_group_is_a_mean_over_all_its_sets_or_blank(run):
    results = tables.measure(run, "msp", groups={"far": ("noise", "held-out classes"), "near": ("noise", "svhn")})
    assert results["far", "auroc"] == mean(results[name, "auroc"] for name in ("noise", "held-out classes"))
    assert ("near", "auroc") not in results


# What is written


def test_a_set_is_a_column_of_its_own_unless_its_group_is_complete():
    measured = {(ood, "auroc"): 90.0 for ood in ("cifar100", "tiny_imagenet", "near", "mnist", "noise")}
    columns = tables.quantities(papers.PAPERS["openood"], [measured, {("far", "auroc"): 90.73}])
    assert [ood for ood, _ in columns] == ["-", "-", "near", "far", "mnist", "noise"]


def test_a_table_has_a_row_per_system_and_quantity(rows):
    keys = [("-", "accuracy"), ("-", "ece"), ("held-out classes", "auroc"), ("noise", "auroc")]
    assert len(rows) == 7 * len(keys)
    for _, lines in rows.groupby("system"):
        assert list(zip(lines["set"], lines["metric"])) == keys
    assert (rows["mean"] == [mean(values) for values in rows["values"]]).all() and rows["std"].notna().all()
    best = rows[rows["best"]].groupby(["set", "metric"])["mean"].first()
    assert best["noise", "auroc"] == rows[rows["set"] == "noise"]["mean"].max()
    assert best["-", "ece"] == rows[rows["metric"] == "ece"]["mean"].min()


def test_markdown_latex_and_csv_hold_the_same_numbers(rows):
    text, latex = papers.markdown(rows), papers.latex(rows)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert lines[0] == ["model", "system", "n", "accuracy", "ECE, calibrated", "held-out classes AUROC", "noise AUROC"]
    assert len(lines) == 2 + 7 and "(published)" not in text  # a column with nothing in it is left out
    assert "At most 64 images" in text and "n = 2" in text and text.count("**") >= 8
    assert latex.startswith("\\begin{tabular}{llrrrr}\n\\toprule") and "\\bfseries" in latex
    frame = pd.read_csv(io.StringIO(papers.to_csv(rows)))
    assert len(frame) == len(rows) and frame["published"].isna().all() and set(frame["loss"]) == set(rows["loss"])
    for line, system, values in zip(lines[2:], frame["system"].unique(), latex.split("\\midrule")[1].splitlines()[1:]):
        numbers = frame[frame["system"] == system]["mean"]
        shown = [float(cell.strip("*").split(" ±")[0]) for cell in line[3:]]
        assert np.allclose(shown, numbers, atol=0.051)
        assert [float(cell.replace("\\bfseries", "").split("$")[0]) for cell in values.split("&")[2:]] == shown


def test_published_values_and_differences_have_columns_of_their_own(rows):
    line = rows.iloc[:1].assign(published=95.06, published_std=float("nan"), difference=-12.34)
    both = pd.concat([line, rows.iloc[1:4]])
    both.attrs = rows.attrs
    text = papers.markdown(both)
    assert "| accuracy (published) | accuracy (difference) |" in " ".join(text.split())
    assert "| 95.1 | -12.3 |" in " ".join(text.split()) and "noise AUROC (published)" not in text
    assert "\\multicolumn{3}{c}{accuracy}" in papers.latex(both)


def test_a_hostile_name_in_a_table_is_text():
    name = "folder:<img src=x onerror=alert(1)> | $x$ `a` *b* [c](d) \\"
    frame = pd.DataFrame({name: ["1.0"], "$y$": ["2.0"]}, index=pd.Index([f"{name}\n"], name="loss"))
    page = render(tables.to_markdown(frame))
    cells = [html.unescape(cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", page)]
    assert cells == ["loss", name, "$y$", name, "1.0", "2.0"]


def test_a_set_with_a_hostile_name_is_text_in_latex_and_markdown(rows):
    name = "folder:50 %_$x\n\\input{x}|<b>"
    hostile = rows.assign(set=rows["set"].replace("noise", name))
    hostile.attrs = {"note": f"on {name}"}
    latex = papers.latex(hostile)
    assert r"folder:50 \%\_\$x \textbackslash input\{x\}" in latex
    assert latex.splitlines()[-1].startswith("% on folder") and len(latex.split("end{tabular}")[1].splitlines()) == 2
    assert r"folder:50 %_\$x \\input{x}\|\<b>" in papers.markdown(hostile)


def test_a_folder_named_like_a_set_is_that_set(tmp_path, capsys):
    data.write_folder(data.load("digits", known=10), tmp_path / "cifar10", [12] * 10)
    data.write_folder(data.load("digits", known=10), tmp_path / "imagenet_resize", [3] * 10)
    images = f"folder:{tmp_path}/cifar10"
    quick = (
        "--model cnn --epochs 1 --seeds 1 --batch-size 16 --augment none --device cpu --loss-options temperature=0.04"
    )
    ood = ["--ood", f"folder:{tmp_path}/imagenet_resize", "noise"]
    folders = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    main(["table", "openood", "--data", images, *quick.split(), *ood, *folders])
    printed = capsys.readouterr().out
    assert "Ours are cnn, trained for 1 epochs; the protocol's are resnet18, for 100" in printed
    written = [(tmp_path / f"out/table_openood{suffix}").read_text() for suffix in (".md", ".tex", ".csv")]
    assert not any(str(tmp_path) in text for text in written)
    sets = {line["set"] for line in csv.DictReader(written[2].splitlines())}
    assert sets == {"-", "tinyimagenet_resize", "noise"}
