"""Many trainings: which are trained, what a table says of them, and when a difference is clear."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ood_helpers import sweeps
from ood_helpers.config import Config

QUICK = Config(epochs=1, limit=64, ood=("near", "noise"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return sweeps.compare_losses(QUICK, ("softmax", "dismax"), 3, folder, "cpu", progress=False)


# Tables


def test_a_table_has_a_row_per_training_and_says_its_convention(trained):
    frame = sweeps.table(trained, positive="ood")
    assert list(frame.index) == [(name, seed) for name in ("softmax", "dismax") for seed in range(3)]
    assert list(frame.columns) == [
        *("accuracy", "ECE", "AUROC near", "FPR95 (OOD positive) near", "AUROC noise", "FPR95 (OOD positive) noise"),
        *("AUROC mean", "FPR95 (OOD positive) mean"),
    ]
    run = trained["dismax"][1]
    row = frame.loc["dismax", 1]
    assert row["accuracy"] == 100 * run.accuracy and row["ECE"] == 100 * run.ece()
    fpr95 = [100 * values["fpr95"] for values in run.detection(positive="ood").values()]
    assert row["FPR95 (OOD positive) noise"] == fpr95[1]
    assert row["FPR95 (OOD positive) mean"] == pytest.approx(np.mean(fpr95))


def test_a_table_of_one_metric_has_a_column_per_ood_set(trained):
    frame = sweeps.table(trained, "auroc", score="energy")
    assert list(frame.columns) == ["near", "noise", "mean"]
    assert frame.loc[("softmax", 2), "near"] == 100 * trained["softmax"][2].detection("energy")["near"]["auroc"]


def test_a_summary_has_mean_deviation_n_and_convention(trained):
    frame = sweeps.table(trained, "fpr95")
    cells = sweeps.summary(frame)
    assert list(cells.index) == ["Softmax (CE)", "DisMax"]
    assert cells.loc["DisMax", "near"] == sweeps.spread(frame.loc["dismax", "near"].tolist())
    assert cells.columns.name == "FPR95 (ID positive) in %, mean ± sd, n = 3"
    assert sweeps.summary(sweeps.table(trained, "auroc")).columns.name == "AUROC in %, mean ± sd, n = 3"


def test_folds_are_named_as_such(trained):
    run = trained["softmax"][0]
    folds = [replace(run, config=replace(run.config, fold=fold)) for fold in range(2)]
    frame = sweeps.table({"of folds": folds}, "auroc")
    assert frame.index.names == ["loss", "fold"] and list(frame.index) == [("of folds", 0), ("of folds", 1)]
    assert list(sweeps.summary(frame).index) == ["of folds"]


def test_a_table_of_different_data_or_of_an_unknown_metric_is_refused(trained):
    run = trained["softmax"][0]
    other = replace(run, config=replace(run.config, data="mnist"))
    with pytest.raises(ValueError, match=r"needs trainings on one data set, not on digits .* and mnist"):
        sweeps.table({"softmax": [run], "other": [other]})
    for metric in ("fpr", "positive"):  # the second is an entry of the result, but no number
        with pytest.raises(ValueError, match=f"unknown metric '{metric}'; known: auroc"):
            sweeps.table(trained, metric)


# Comparisons


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_the_paired_interval_is_students(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(10, 2, n), rng.normal(11, 2, n)
    row = sweeps.compare({"a": a, "b": b}, "a", "b").loc["value"]
    half = stats.t.ppf(0.975, n - 1) * (b - a).std(ddof=1) / n**0.5
    assert row["difference"] == pytest.approx((b - a).mean())
    assert (row["low"], row["high"]) == pytest.approx(((b - a).mean() - half, (b - a).mean() + half))
    assert (row["a mean"], row["b std"], row["n"]) == pytest.approx((a.mean(), b.std(ddof=1), n))
    assert row["clear"] == (stats.ttest_rel(a, b).pvalue < 0.05)


def test_the_unpaired_interval_is_welchs():
    rng = np.random.default_rng(0)
    a, b = rng.normal(10, 1, 4), rng.normal(15, 3, 7)
    row = sweeps.compare({"a": a, "b": b}, "a", "b", paired=False).loc["value"]
    error_a, error_b = a.var(ddof=1) / 4, b.var(ddof=1) / 7
    freedom = (error_a + error_b) ** 2 / (error_a**2 / 3 + error_b**2 / 6)
    half = stats.t.ppf(0.975, freedom) * (error_a + error_b) ** 0.5
    assert (row["low"], row["high"]) == pytest.approx((b.mean() - a.mean() - half, b.mean() - a.mean() + half))
    assert row["clear"] == (stats.ttest_ind(a, b, equal_var=False).pvalue < 0.05)


def test_three_seeds_settle_less_than_two_standard_errors_suggest():
    """4.3 standard errors are needed at n = 3, where a rule of thumb says 2."""
    row = sweeps.compare({"a": [0.0, 0.0, 0.0], "b": [1.0, 2.0, 4.0]}, "a", "b").loc["value"]
    error = np.std([1, 2, 4], ddof=1) / 3**0.5
    assert 2 < row["difference"] / error < 4.3 and not row["clear"]


def test_equal_differences_are_clear_unless_they_are_zero():
    compared = sweeps.compare({"a": [1.0, 2.0], "b": [1.0, 2.0], "c": [1.5, 2.5]}, "a", "b").loc["value"]
    assert compared["difference"] == 0 and not compared["clear"]
    assert sweeps.compare({"a": [1.0, 2.0], "c": [1.5, 2.5]}, "a", "c").loc["value", "clear"]


def test_a_table_is_compared_set_by_set_and_paired_by_seed(trained):
    frame = sweeps.table(trained, "fpr95")
    compared = sweeps.compare(frame, "softmax", "dismax")
    assert list(compared.index) == ["near", "noise", "mean"] and set(compared["n"]) == {3}
    shuffled = frame.iloc[[2, 0, 1, 3, 5, 4]]
    pd.testing.assert_frame_equal(sweeps.compare(shuffled, "softmax", "dismax"), compared)


def test_trainings_with_other_test_images_are_not_compared(trained):
    frame = sweeps.table(trained, "fpr95")
    images = frame.attrs["test images"]
    assert images["softmax", 0] == images["dismax", 0]
    run = trained["dismax"][0]
    other = SimpleNamespace(labels={"test": run.labels["test"][::-1].copy()}, logits=run.logits, config=run.config)
    images["dismax", 0] = sweeps._test_images(other)
    with pytest.raises(ValueError, match="softmax and dismax were tested on different images"):
        sweeps.compare(frame, "softmax", "dismax")


def test_shares_of_accepted_strangers_are_compared_at_equal_shares_of_accepted_id():
    """Five folds whose thresholds were fitted on validation images: one network is only more cautious."""
    softmax = {"ID accepted": [94.0, 96.7, 97.7, 95.7, 94.4], "OOD accepted": [14.0, 13.5, 13.5, 33.0, 6.0]}
    logitnorm = {"ID accepted": [94.7, 94.0, 93.0, 93.7, 93.0], "OOD accepted": [8.0, 10.0, 6.0, 17.0, 5.0]}
    folds = {name: pd.DataFrame(each) for name, each in (("softmax", softmax), ("logitnorm", logitnorm))}
    with pytest.raises(
        ValueError, match=r"softmax accepts 95\.7 % of ID images and logitnorm 93\.7 %: compare"
    ) as refused:
        sweeps.compare(folds, "softmax", "logitnorm")
    assert "\n" not in str(refused.value)
    for each in folds.values():
        each["ID accepted"] = 95.0
    assert sweeps.compare(folds, "softmax", "logitnorm").loc["OOD accepted", "difference"] < 0
    # The FPR95 of the same trainings, all of which accept 95 % of ID images: 2 lower, 1 equal, 2 higher.
    equal = {"softmax": [16.5, 10.5, 7.5, 31.0, 6.5], "logitnorm": [8.0, 16.0, 7.5, 13.0, 7.0]}
    row = sweeps.compare(equal, "softmax", "logitnorm").loc["value"]
    assert row["difference"] == pytest.approx(-4.1) and row["low"] < 0 < row["high"] and not row["clear"]


def test_unequal_comparisons_are_refused_in_one_sentence(trained):
    frame = sweeps.table(trained, "fpr95")
    softmax, dismax = frame.loc["softmax"], frame.loc["dismax"]
    other = sweeps.table(trained, "fpr95", positive="ood").loc["dismax"]
    for results, message in (
        ({"softmax": softmax, "dismax": dismax[:2]}, r"cannot be paired by seed: \[0, 1, 2\] and \[0, 1\]"),
        ({"softmax": softmax, "dismax": other}, "not measured alike"),
        (
            {"softmax": softmax, "dismax": dismax[["near", "mean"]]},
            "different OOD sets: near, noise, mean and near, mean",
        ),
        ({"softmax": [1.0], "dismax": [2.0]}, "at least two trainings"),
        ({"softmax": [1.0, 2.0]}, "no results of 'dismax'; there are: softmax"),
    ):
        with pytest.raises(ValueError, match=message) as refused:
            sweeps.compare(results, "softmax", "dismax")
        assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match="no results of 'meln'"):
        sweeps.compare(frame, "softmax", "meln")
