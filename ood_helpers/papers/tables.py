"""The papers' tables: our results and the published ones, as a DataFrame, Markdown, LaTeX and CSV."""

import re
from functools import partial
from statistics import mean, stdev

import numpy as np
import pandas as pd
import torch

from .. import metrics, scores
from ..beyond.feature_scores import FEATURE_SCORES
from ..config import PRESETS
from ..engine.device import pick_device
from ..engine.history import outputs
from ..sweeps import spread
from .protocols import PAPERS, systems
from .published_values import known_as, published

METRICS = {
    "accuracy": "accuracy",
    "ece": "ECE, calibrated",
    "auroc": "AUROC",
    "aupr": "AUPR (ID positive)",
    "tnr_at_tpr95": "TNR at 95 % TPR",
    "fpr95": "FPR95 (ID positive)",
}
DETECTION = {"auroc": "auroc", "aupr": "aupr_in", "tnr_at_tpr95": "tnr95", "fpr95": "fpr95"}  # keys of detection
LOWER_IS_BETTER = ("ece", "fpr95")
OF_IMAGES = ("odin", "gradnorm")  # scores that need the network and the images
CSV = ["model", "system", "loss", "score", "set", "metric", "n", "mean", "values", "published", "published_std"]


# Measured


def scores_of(run, score, device=None):
    """Scores of the test and OOD sets, ``{set: (N,)}``, also by scores that need the network or training features."""
    of_logits = scores.SCORES | scores.BEYOND
    if score not in (known := (*of_logits, *OF_IMAGES, *FEATURE_SCORES)):
        raise ValueError(f"unknown score {score!r}; known: {', '.join(known)}")
    if score in of_logits:
        return run.scores(score)
    names, device = ("test", *run.config.ood), pick_device(device)
    network = run.load_model().to(device)
    if score in OF_IMAGES:
        of_images = getattr(scores, score)
        return {name: of_images(network, run.images(name)).detach().cpu().numpy() for name in names}
    images, labels = run.dataset().split("train")
    train = outputs(network, images)[0].to(device)  # a run saves no training features: they are many, and quickly made
    of_features = partial(FEATURE_SCORES[score], train, labels.to(device), network.classifier)
    return {name: of_features(torch.from_numpy(run.features[name]).to(device)).cpu().numpy() for name in names}


def measure(run, score, faithful=False, groups=None, device=None):
    """One run's results in percent, ``{(OOD set or "-", metric): value}``.

    ECE is measured after the temperature is fitted on the validation split (``faithful``: on the test split, a leak).
    ``groups``, ``{name: OOD sets}``, have the mean of their sets if all of them were measured.
    """
    temperature = run.calibrated_temperature("test" if faithful else "validation")
    results = {("-", "accuracy"): 100 * run.accuracy, ("-", "ece"): 100 * run.ece(temperature)}
    values = scores_of(run, score, device)
    for ood in run.config.ood:
        detected = metrics.detection(values["test"], values[ood])
        name = "held-out classes" if ood == "near" else known_as(ood)  # "near" is a group's name in a paper
        results |= {(name, metric): 100 * detected[key] for metric, key in DETECTION.items()}
    for group, members in (groups or {}).items():
        for metric in DETECTION:
            if all((ood, metric) in results for ood in members):
                results[group, metric] = mean(results[ood, metric] for ood in members)
    return results


# Tables


def table(name, faithful=False, device=None, **options):
    """A paper's table as a DataFrame, see :func:`rows`; trains what is missing, see :func:`systems`."""
    return rows(name, systems(name, faithful=faithful, device=device, **options), faithful, device)


def rows(name, trained, faithful=False, device=None):
    """Our results beside the published ones, in percent: a row per system, OOD set and metric.

    A value is taken as published only for the same network, loss, score and ID set (the paper's own ID set, and no
    ``difference``, if ours was not published).

    Parameters
    ----------
    name : str
        A key of ``PAPERS``.
    trained : list of (model, loss, score, [run per seed])
        From :func:`systems`.

    Returns
    -------
    DataFrame
        Columns model, system, loss, score, set, metric, n, mean, std, values (one per seed), published, published_std,
        difference, best (of its model). ``attrs["note"]`` says how the numbers were obtained.
    """
    paper, config = PAPERS[name], trained[0][-1][0].config
    data = known_as(config.data)
    id_set = data if any(key[:2] == (paper.source, data) for key in published()) else paper.data
    same_images = data == id_set and config.known is None and config.limit is None
    measured, references = [], []
    for model, loss, score, group in trained:
        each = [measure(run, score, faithful, paper.groups, device) for run in group]
        measured.append({key: tuple(results[key] for results in each) for key in each[0]})
        references.append(published().get((paper.source, id_set, model, loss, score), {}))
    lines = []
    for (model, loss, score, group), own, reference in zip(trained, measured, references):
        system = {"model": model, "system": f"{group[0].label} [{score}]", "loss": loss, "score": score}
        for key in quantities(paper, [*references, *measured]):
            values, (value, deviation) = own.get(key, ()), reference.get(key, (None, None))
            lines.append(system | {"set": key[0], "metric": key[1], "n": len(values), "values": values})
            lines[-1] |= {"mean": mean(values) if values else None, "std": stdev(values) if len(values) > 1 else None}
            lines[-1] |= {"published": value, "published_std": deviation}
    frame = pd.DataFrame(lines).astype(dict.fromkeys(("mean", "std", "published", "published_std"), float))
    frame["difference"] = frame["mean"] - frame["published"] if same_images else np.nan
    sign = frame["metric"].isin(LOWER_IS_BETTER).map({True: -1, False: 1})
    highest = (sign * frame["mean"]).groupby([frame["model"], frame["set"], frame["metric"]]).transform("max")
    frame["best"] = sign * frame["mean"] == highest
    frame.attrs = {"data": config.data, "note": note(name, frame, config, same_images)}
    return frame


def quantities(paper, results):
    """(OOD set, metric) of every column: accuracy, ECE, the paper's groups, and the sets of no complete group."""
    present = dict.fromkeys(ood for result in results for ood, _ in result)
    complete = [members for members in paper.groups.values() if all(ood in present for ood in members)]
    grouped = {"-", *(ood for members in complete for ood in members)}
    sets = [ood for ood in paper.groups if ood in present]
    sets += [ood for ood in present if ood not in grouped and ood not in sets]
    detected = [(ood, metric) for ood in sets for metric in paper.metrics.get(ood, paper.metrics[None])]
    return [("-", "accuracy"), ("-", "ece"), *detected]


def heading(key):
    """Title of an (OOD set, metric) column."""
    ood, metric = key
    return METRICS[metric] if ood == "-" else f"{' '.join(ood.split())} {METRICS[metric]}"


def wide(frame):
    """The table as it is printed, text in every cell: a row per system, three columns per quantity.

    Columns without any content are left out.

    Returns
    -------
    cells : DataFrame
        Rows (model, system, n); columns (heading, "ours", "published" or "difference").
    best : DataFrame of bool
        The cells to print in bold.
    """
    cells, best = {}, {}
    for row in frame.itertuples():
        title = heading((row.set, row.metric))
        system = (row.model, row.system)
        published = spread_text(row.published, row.published_std)
        difference = "" if np.isnan(row.difference) else f"{row.difference:+.1f}"
        texts = {"ours": spread(row.values) if row.n else "", "published": published, "difference": difference}
        cells.setdefault(system, {}).update({(title, part): text for part, text in texts.items()})
        best.setdefault(system, {})[title, "ours"] = row.best
    n = frame.groupby(["model", "system"])["n"].max()
    index = pd.MultiIndex.from_tuples([(*system, str(n[system])) for system in cells], names=("model", "system", "n"))
    text = pd.DataFrame(list(cells.values()))
    text.index, text.columns = index, pd.MultiIndex.from_tuples(text.columns)
    text = text.loc[:, (text != "").any()]
    bold = pd.DataFrame([[row.get(key, False) for key in text] for row in best.values()], text.index, text.columns)
    return text, bold


def spread_text(value, deviation):
    """A published value as text.

    >>> spread_text(92.33, 0.08), spread_text(95.06, float("nan")), spread_text(float("nan"), float("nan"))
    ('92.3 ± 0.1', '95.1', '')
    """
    text = "" if np.isnan(value) else f"{value:.1f}"
    return text if np.isnan(deviation) else f"{text} ± {deviation:.1f}"


def to_markdown(frame, bold=None):
    r"""Markdown of a frame of text; all of it is escaped, because names come from data. ``bold`` marks cells.

    >>> print(to_markdown(pd.DataFrame({"$x$": ["1.0"]}, index=pd.Index(["a|b"], name="loss"))))
    | loss   | \$x\$   |
    |:-------|:--------|
    | a\|b   | 1.0     |
    """

    def escape(text):
        return re.sub(r"[\\`*\[<|$]", r"\\\g<0>", " ".join(str(text).split()))

    cells = frame.map(escape)
    if bold is not None:
        cells = cells.mask(bold, "**" + cells + "**")
    cells = cells.rename(index=escape, columns=escape).reset_index()
    return cells.to_markdown(index=False, disable_numparse=True)


def markdown(frame):
    """The table of :func:`rows` in Markdown with its note; the best of each model in bold."""
    cells, best = wide(frame)
    cells.columns = best.columns = [title if part == "ours" else f"{title} ({part})" for title, part in cells.columns]
    return f"{to_markdown(cells, best)}\n\n{frame.attrs['note']}\n"


def latex(frame):
    r"""The table of :func:`rows` in LaTeX, for ``\usepackage{booktabs}``; the note is a comment."""
    cells, best = wide(frame)
    cells.index = best.index = cells.index.droplevel("n")
    style = cells.style.format(escape="latex").apply(
        lambda _: best.map({True: "font-weight: bold;", False: ""}.get), axis=None
    )
    for axis in (0, 1):
        style = style.format_index(escape="latex", axis=axis)
    columns = "ll" + "r" * cells.shape[1]
    text = style.to_latex(
        hrules=True, convert_css=True, column_format=columns, multicol_align="c", multirow_align="naive"
    )
    text = text.translate({ord("±"): r"$\pm$", ord("τ"): r"$\tau$", ord("†"): r"$\dagger$"})
    return f"{text}% {' '.join(frame.attrs['note'].split())}\n"


def to_csv(frame):
    """The table of :func:`rows` as CSV: a line per system and quantity, ``values`` in the order of the seeds."""
    values = [" ".join(f"{value:.4f}" for value in values) for values in frame["values"]]
    n = frame["n"].where(frame["n"] > 0).astype("Int64")
    return frame.assign(values=values, n=n).round(4)[CSV].to_csv(index=False, lineterminator="\n")


def note(name, frame, config, same_images):
    """What a reader must know about the numbers."""
    paper, models = PAPERS[name], list(frame["model"].unique())
    protocol, sentences = PRESETS[paper.preset], []
    if config.limit is not None:
        sentences.append(
            f"At most {config.limit} images of each split and {config.epochs} epochs, a test that everything runs: the "
            "numbers mean nothing."
        )
    elif config.epochs != protocol["epochs"] or set(models) - set(paper.models):
        sentences.append(
            f"Ours are {', '.join(models)}, trained for {config.epochs} epochs; the protocol's are "
            f"{', '.join(paper.models)}, for {protocol['epochs']}."
        )
    if missing := [model for model in models if frame[frame["model"] == model]["published"].isna().all()]:
        sentences.append(f"No values are published for {', '.join(missing)}.")
    elif not same_images:
        sentences.append(
            f"Published values are for {paper.data}, ours for {config.data}; there is no difference to give."
        )
    for group, members in paper.groups.items():
        if group in set(frame["set"]):
            sentences.append(f"{group} is the mean over {', '.join(members)}; blank unless all were measured.")
    sentences.append(
        f"Percent, mean ± standard deviation over n = {frame['n'].max()} independently seeded trainings; ID is the "
        "positive class of AUPR, FPR95 and TNR."
    )
    sentences.append(
        "Faithful: epoch and temperature chosen on the test split, as the authors do, which is a leak."
        if config.select == "test"
        else "Every choice is made on a validation split."
    )
    return " ".join(sentences)
