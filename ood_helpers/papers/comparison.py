"""Our trainings beside published values of the same loss, score and OOD sets, with what differs."""

from collections.abc import Mapping, Sequence

import pandas as pd

from ..runs import Run
from ..sweeps import spread
from .protocols import PAPERS
from .published_values import known_as, published
from .tables import measure, spread_text

# Networks of other sources that are nearest to a small network for 32-pixel photographs, and how they were trained.
NETWORKS = {
    "openood_v1.5": ("resnet18", "ResNet-18, 100 epochs, 50,000 training images"),
    "dismax": ("resnet34", "ResNet-34, 300 epochs, 50,000 training images"),
    "isomaxplus": ("resnet110", "ResNet-110, 300 epochs, 50,000 training images"),
    "odin": ("densenet_bc_100_12", "DenseNet-BC-100, 300 epochs, 50,000 training images"),
}
# Quantities that do not depend on the number of OOD images, as AUPR does: their names, and how their images differ.
QUANTITIES = {
    ("-", "accuracy"): ("accuracy", ""),
    ("near", "auroc"): ("AUROC, near", "its own lists of images, another filter to resize Tiny ImageNet"),
    ("tinyimagenet_resize", "auroc"): ("AUROC, ImageNet resized", "10,000 other images, another filter to resize them"),
    ("tinyimagenet_crop", "auroc"): ("AUROC, ImageNet cropped", "10,000 other images"),
}


def beside_published(trained: Mapping[str, Sequence[Run]]) -> pd.DataFrame:
    """Our trainings beside published values of the same loss and score on sets of the same name.

    Parameters
    ----------
    trained : mapping of loss to runs
        Each loss with its authors' score; runs are on CIFAR-10.

    Returns
    -------
    DataFrame
        A row per quantity and loss for which there is a published value: ``ours`` (list, one value per training),
        ``published``, ``published_std`` (NaN if none is given), ``differs`` (what is not the same). Percent.

    Raises
    ------
    ValueError
        If nothing is published for any of them.
    """
    lines = []
    for loss, group in trained.items():
        score = group[0].config.recipe.score
        each = [measure(run, score, groups=PAPERS["openood"].groups) for run in group]
        for source, (model, training) in NETWORKS.items():
            values = published().get((source, known_as(group[0].config.data), model, loss, score), {})
            for quantity, (name, images) in QUANTITIES.items():
                if quantity in values and quantity in each[0]:
                    value, deviation = values[quantity]
                    lines.append(
                        {"quantity": name, "loss": group[0].config.recipe.label, "source": source}
                        | {"ours": [results[quantity] for results in each], "published": value}
                        | {"published_std": deviation, "differs": "; ".join(filter(None, (training, images)))}
                    )
    if not lines:
        raise ValueError(f"nothing is published for {', '.join(trained)} on these image sets")
    frame = pd.DataFrame(lines).astype({"published": float, "published_std": float})
    order = [name for name, _ in QUANTITIES.values()]
    return frame.sort_values("quantity", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)


def comparison_text(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame of :func:`beside_published` for display: mean ± standard deviation over ``n`` trainings as text."""
    cells = {
        "quantity": frame["quantity"],
        "loss": frame["loss"],
        "ours": [spread(values) for values in frame["ours"]],
        "n": [len(values) for values in frame["ours"]],
        "published": [spread_text(*row) for row in zip(frame["published"], frame["published_std"])],
        "difference": [f"{pd.Series(v).mean() - p:+.1f}" for v, p in zip(frame["ours"], frame["published"])],
        "what differs in the published": frame["differs"],
    }
    return pd.DataFrame(cells).set_index(["quantity", "loss"]).rename_axis(columns="%")
