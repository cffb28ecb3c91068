"""Each figure of the notebooks is drawn of small runs, and shows what it is said to show."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs

from ood_helpers import sweeps
from ood_helpers.config import Config
from ood_helpers.course import panels, score_panels, tables
from ood_helpers.widgets.points2d import fit_points


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two losses with one training each."""
    base = Config(epochs=2, ood=("near", "noise"))
    options = {"softmax": {}, "logitnorm": {"temperature": 0.3}}
    configs = [Config(base.data, loss, loss_options=o, epochs=2, ood=base.ood) for loss, o in options.items()]
    return dict(zip(options, [[run] for run in sweeps.fit_all(configs, tmp_path_factory.mktemp("runs"), "cpu", False)]))


def texts(fig):
    """All text of a figure that is in its picture."""
    fig.canvas.draw()
    return " ".join(text.get_text() for text in fig.findobj(lambda artist: hasattr(artist, "get_text")))


def test_answers_show_confidence_and_class(trained):
    run = trained["softmax"][0]
    fig = panels.answers(run, ("test", "near"), n=4)
    first = int(0.75 * len(run.images("near")) / 4)
    confidence = run.scores("msp")["near"][first]
    assert f"{100 * confidence:.0f} %: {run.classes[run.logits['near'][first].argmax()]}" in texts(fig)
    assert [len(ax.lines) for ax in fig.axes] == [0, 4]  # frames of OOD images


def test_one_row_per_network_and_one_column_per_set(trained):
    rows = {loss: group[0] for loss, group in trained.items()}
    fig = panels.confidence_histograms(rows, ("near", "noise"))
    assert len(fig.axes) == 4 and "99" in texts(fig) and len(fig.legends) == 1


def test_training_is_drawn_from_its_table(trained):
    table = tables.through_training(trained["softmax"])
    fig = panels.through_training({"digits": table, "again": table})
    shown = fig.axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(shown, table["norm, ID"][table.index > 0])
    assert len(panels.frozen(trained["softmax"][0], ("test", "near")).axes) == 2
    fig = panels.collapse({"digits": trained["softmax"]}, {"again": table})
    nc1 = np.mean([run.history["nc1"] for run in trained["softmax"]], axis=0)
    np.testing.assert_allclose(fig.axes[0].lines[0].get_ydata(), nc1)
    np.testing.assert_allclose(fig.axes[1].lines[0].get_ydata(), table["AURC, ID (%)"][table.index > 0])
    assert [text.get_text() for text in fig.legends[0].get_texts()][-2:] == ["AURC", "AUGRC"]


def test_far_away_the_network_is_drawn_certain():
    points, labels = make_blobs(60, centers=[(0, 1), (-1, 0), (1, 0)], cluster_std=0.1, random_state=0)
    network = fit_points(points, labels, steps=50).double().requires_grad_(False)
    median = panels.far_away(network, points, labels).axes[2].lines[0].get_ydata()
    assert median[-1] > max(median[0], 0.9)
    assert torch.allclose(panels.directions(8).norm(dim=1), torch.ones(8).double())


def test_the_push_falls_with_the_norm():
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)).double()
    median = panels.push(logits, logits.argmax(1)).axes[0].lines[0].get_ydata()
    assert (np.diff(median) < 0).all() and (median > 0).all()


def test_scores_thresholds_and_calibration(trained):
    run = trained["softmax"][0]
    assert "largest logit" in texts(score_panels.score_heatmap({"digits": tables.by_score(trained)}))
    assert len(score_panels.roc_curves({loss: g[0] for loss, g in trained.items()}, ("near",)).axes) == 1
    fpr95 = [100 * run.detection("msp", positive)["near"]["fpr95"] for positive in ("id", "ood")]
    shown = texts(score_panels.conventions(run, "near"))
    assert f"{fpr95[0]:.1f} % of OOD accepted" in shown and f"{fpr95[1]:.1f} % of ID rejected" in shown
    assert len(score_panels.asked_and_given(run).axes[0].lines) == 4
    assert len(score_panels.calibration(trained).axes) == 4
