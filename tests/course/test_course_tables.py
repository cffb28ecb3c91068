"""The tables of the notebooks say what the metrics say."""

from dataclasses import replace

import numpy as np
import pytest

from ood_helpers import metrics, scores, sweeps
from ood_helpers.config import Config
from ood_helpers.course import tables


def test_the_parts_of_a_logit_vector_are_told_apart(tmp_path):
    trained = sweeps.fit_all(
        [Config(epochs=2, seed=seed, ood=("near", "noise")) for seed in (0, 1)], tmp_path, "cpu", False
    )
    run = trained[0]
    through = tables.through_training([run])
    assert list(through.index) == run.snapshots["epochs"].tolist()
    norm = np.linalg.norm(run.snapshots["test"][-1].astype(float), axis=1)
    assert through["norm, ID"].iloc[-1] == pytest.approx(np.median(norm))
    np.testing.assert_allclose(tables.through_training(trained), (through + tables.through_training(trained[1:])) / 2)
    parts = tables.parts([run])
    expected = metrics.detection(
        np.linalg.norm(run.logits["test"], axis=1), np.linalg.norm(run.logits["noise"], axis=1)
    )
    assert parts.loc["noise", "norm alone"] == f"{100 * expected['auroc']:.1f}"
    assert parts.loc["near", "both (MSP)"] == f"{100 * run.detection('msp')['near']['auroc']:.1f}"
    assert tables.ends(trained)["n"] == 2 and tables.ends([run])["accuracy (%)"] == f"{100 * run.accuracy:.1f}"
    shares = tables.confidences(trained, sure=0.5)
    assert shares.loc["near (OOD)", "images"] == len(run.logits["near"])
    assert shares.loc["near (OOD)", "above 50 %"].count("±") == 1
    z, y = run.snapshots["test"][-1].astype(float), run.labels["test"][: run.snapshots["test"].shape[1]]
    order = np.argsort(-scores.log_odds(z))
    errors = np.cumsum((z.argmax(1) != y)[order])
    assert through["AURC, ID (%)"].iloc[-1] == pytest.approx(100 * np.mean(errors / np.arange(1, len(y) + 1)))
    assert through["AUGRC, ID (%)"].iloc[-1] == pytest.approx(100 * np.mean(errors / len(y)))


def test_the_energy_without_the_mean_is_that_of_logits_whose_mean_is_zero(tmp_path):
    run = sweeps.fit_all([Config(epochs=2, ood=("near", "letters"))], tmp_path, "cpu", False)[0]
    moved = replace(run)
    # as if each image's logits had got a mean of its own
    vars(moved)["logits"] = {
        name: z - z.mean(1, keepdims=True) + np.arange(len(z))[:, None] % 7 for name, z in run.logits.items()
    }
    rows = [tables.energy_and_mean([each], ("near", "letters")).iloc[0] for each in (run, moved)]
    fpr95 = [100 * run.detection("msp")[name]["fpr95"] for name in ("near", "letters")]
    assert rows[0]["MSP"] == pytest.approx(np.mean(fpr95)) and rows[1]["MSP"] == pytest.approx(rows[0]["MSP"])
    assert rows[1]["energy without the mean"] == pytest.approx(rows[0]["energy without the mean"])
    assert rows[1]["energy"] > rows[0]["energy"] + 10
    assert rows[1]["mean logit"] == pytest.approx(np.mean(np.arange(len(run.logits["test"])) % 7))


def test_of_a_gradient_at_a_right_angle_to_the_logits_nothing_lies_along_them():
    class Single:
        classes = ("a", "b", "c")
        dataset = staticmethod(lambda: Single)
        split = staticmethod(lambda name: (None, np.array([0])))
        snapshots = {"train": np.array([[[1.0, 1.0, 1.0]], [[2.0, -1.0, -1.0]]])}  # noqa: RUF012

    row = tables.gradient_along_logits({"one": [Single]}).loc["one"]
    assert row.tolist() == pytest.approx([0, 100, 50])


def test_temperatures_and_calibration_in_rows(tmp_path):
    options = [{"temperature": tau} for tau in (0.1, 1.0)]
    trained = sweeps.fit_all(
        [Config(loss="logitnorm", loss_options=o, epochs=2, ood=("noise",)) for o in options], tmp_path, "cpu", False
    )
    rows = tables.temperatures(trained)
    assert list(rows.index) == [0.1, 1.0]
    assert (rows["training loss"] > rows["lower bound"]).all()
    np.testing.assert_allclose(rows["tau * norm"], rows.index * rows["norm, ID"])
    table = tables.calibration({"any": trained[:1]})
    assert table["fitted T"].tolist() == [f"{trained[0].calibrated_temperature():.2f}"]
    assert table["ECE, raw (%)"].tolist() == [f"{100 * trained[0].ece():.1f}"]
