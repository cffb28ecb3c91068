"""Our trainings beside published values: like is compared with like, and what differs is said."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from ood_helpers import Config, papers, sweeps

ROOT = Path(__file__).parents[2]
OOD = ("cifar100", "tiny_imagenet", "mnist", "imagenet_resize")
RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Trained(papers.ExportedRun):
    """A run with random logits."""

    @property
    def _arrays(self):
        rng = np.random.default_rng(self.config.seed)
        arrays = {f"logits/{name}": rng.normal(size=(40, 10)) for name in ("validation", "test", *self.config.ood)}
        return arrays | {f"labels/{name}": rng.integers(10, size=40) for name in ("validation", "test")}


def runs(loss, seeds=2, **changes):
    configs = [Config("cifar10", loss, seed=seed, ood=OOD, **changes).resolved() for seed in range(seeds)]
    return [Trained(config, None, ("c",) * 10, (3, 32, 32), {}, "", {}, {}, {}) for config in configs]


def test_each_row_is_of_one_loss_score_and_quantity_and_has_what_differs():
    frame = papers.beside_published({"softmax": runs("softmax"), "logitnorm": runs("logitnorm", 1)})
    published = frame.set_index(["quantity", "loss", "source"])["published"]
    assert published["AUROC, near", "Softmax (CE)", "openood_v1.5"] == 88.03
    assert published["AUROC, near", "LogitNorm", "openood_v1.5"] == 92.33
    assert published["AUROC, ImageNet resized", "Softmax (CE)", "dismax"] == 89.7
    assert not frame["quantity"].str.contains("MNIST|far|AUPR|cropped").any()  # not published, or of other images
    assert frame["differs"].str.contains("epochs").all()
    assert frame[frame["quantity"] == "AUROC, near"]["differs"].str.contains("filter").all()


def test_near_is_the_mean_of_its_sets_in_each_training():
    group = runs("softmax", 3)
    frame = papers.beside_published({"softmax": group}).set_index("quantity")
    aurocs = [100 * np.mean([run.detection()[name]["auroc"] for name in OOD[:2]]) for run in group]
    assert frame.loc["AUROC, near", "ours"] == pytest.approx(aurocs)


def test_the_table_for_display_has_n_and_spread():
    text = papers.comparison_text(papers.beside_published({"softmax": runs("softmax", 3)}))
    row = text.loc[("AUROC, near", "Softmax (CE)")]
    assert row["n"] == 3 and "±" in row["ours"] and row["published"] == "88.0 ± 0.2"


def test_trainings_on_other_images_have_no_published_values():
    group = [replace(run, config=replace(run.config, data="mnist")) for run in runs("softmax")]
    with pytest.raises(ValueError, match="nothing is published"):
        papers.beside_published({"softmax": group})


def test_the_results_in_the_readme_are_those_of_the_networks_that_come_with_the_repository():
    rows = re.findall(r"^\| (\w+), (\w+) \| (\d+) \| (.+) \|[^|]*\|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    shipped = papers.shipped("cifar10")
    systems = [(loss, group[0].config.recipe.score) for loss, group in shipped.items()]
    systems.insert(1, ("softmax", "energy"))
    assert [(loss, score.lower()) for loss, score, *_ in rows] == systems
    for loss, score, n, cells in rows:
        measured = []
        for run in shipped[loss]:
            auroc = {name: 100 * result["auroc"] for name, result in run.detection(score.lower()).items()}
            near = (auroc["cifar100"] + auroc["tiny_imagenet"]) / 2
            measured.append((100 * run.accuracy, near, auroc["mnist"], auroc["imagenet_resize"]))
        assert cells.split(" | ") == [sweeps.spread(values) for values in zip(*measured)], loss
        assert int(n) == len(measured), loss
