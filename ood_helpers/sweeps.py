"""Many trainings: run them side by side, put their results into tables, compare two of them."""

import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import joblib
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from . import data, losses, metrics, scores
from .config import Config
from .engine import backbones
from .engine.device import pick_device
from .engine.history import outputs
from .runs import Run, load_if_intact
from .training import fit

KEPT = "ID accepted"
PER_NAME = ("labels", "test images")  # of a table's attrs; the others are the convention of all of its numbers
MAX_OUTLIERS = 5_000  # made from at most this many validation images


def fit_all(
    configs: Iterable[Config], runs: str | Path = "runs", device: str | None = None, progress: bool = True
) -> list[Run]:
    """Fit several configurations; those that have a saved run are not trained again.

    Small networks on a CPU are trained in parallel, one process with one thread per core. Inside
    ``joblib.parallel_config`` with ``n_jobs``, or :func:`ood_helpers.papers.cluster.cluster`, every training goes to
    that backend, whose workers must see the folder ``runs``.

    Parameters
    ----------
    configs : iterable of Config
    runs : str or Path
        Folder of all runs.
    device : str, optional
        As in :func:`ood_helpers.fit`.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    list of Run
        In the order of ``configs``.

    Raises
    ------
    ValueError, FloatingPointError, OSError
        As :func:`ood_helpers.fit`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     (run,) = fit_all([Config(epochs=1, limit=32, ood=("noise",))], folder, "cpu", progress=False)
    >>> run.label, len(run.history["epoch"])
    ('Softmax (CE)', 2)
    """
    configs, runs = list(configs), Path(runs).resolve()
    saved = {config: load_if_intact(config, runs) for config in dict.fromkeys(configs)}
    missing = [config for config, run in saved.items() if run is None]
    large = any(config.resolved().model in backbones.LARGE for config in missing)
    small = pick_device(device).type == "cpu" and not large
    backend_jobs = joblib.parallel.get_active_backend()[1]  # None outside of parallel_config
    if missing and (backend_jobs or (small and len(missing) > 1)):
        parallel = joblib.Parallel(
            backend_jobs or min(joblib.cpu_count(), len(missing)),
            return_as="list" if backend_jobs else "generator_unordered",  # Ray returns nothing but lists
        )
        device = device if backend_jobs else "cpu"
        jobs = parallel(joblib.delayed(fit)(config, runs, device, False) for config in missing)
        for _ in tqdm(jobs, desc="trainings", total=len(missing), disable=not progress, leave=False):
            pass
    bar = tqdm(configs, desc="trainings", disable=not progress or not missing, leave=False)
    return [saved[config] or fit(config, runs, device, progress) for config in bar]


def compare_losses(
    base: Config,
    recipes: Sequence[str] = tuple(losses.RECIPES),
    seeds: int = 5,
    runs: str | Path = "runs",
    device: str | None = None,
    progress: bool = True,
) -> dict[str, list[Run]]:
    """Train ``base`` with every recipe and the seeds 0 to ``seeds - 1``: ``{recipe: [run per seed]}``.

    LogitNorm's temperature is chosen once, on the validation split of seed 0.

    Parameters
    ----------
    base : Config
        Its loss, loss options and seed are replaced.
    recipes : sequence of str
        Names of losses; by default those of the six papers.
    seeds : int
        Trainings of each loss.
    runs, device, progress
        As in :func:`fit_all`.

    Returns
    -------
    dict of str to list of Run

    Raises
    ------
    ValueError, FloatingPointError, OSError
        As :func:`ood_helpers.fit`.

    Examples
    --------
    >>> import tempfile
    >>> base = Config(epochs=1, limit=32, ood=("noise",))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     trained = compare_losses(base, ["dismax"], seeds=1, runs=folder, device="cpu", progress=False)
    >>> [(run.label, run.config.seed) for run in trained["dismax"]]
    [('DisMax', 0)]
    """
    configs = {}
    for name in recipes:
        options: dict[str, float] = {}
        if name == "logitnorm":
            options = {"temperature": choose_temperature(base, runs=runs, device=device, progress=progress)[0]}
        configs[name] = [
            replace(base, loss=name, loss_options=tuple(options.items()), seed=seed) for seed in range(seeds)
        ]
    trained = iter(fit_all([config for group in configs.values() for config in group], runs, device, progress))
    return {name: [next(trained) for _ in group] for name, group in configs.items()}


def choose_temperature(
    config: Config,
    temperatures: Sequence[float] = (0.04, 0.1, 0.2, 0.3, 0.5, 1.0),
    runs: str | Path = "runs",
    device: str | None = None,
    progress: bool = True,
) -> tuple[float, dict[float, float]]:
    """Choose LogitNorm's temperature by :func:`validation_auroc`, without a test image or a test OOD set.

    Parameters
    ----------
    config : Config
        Its loss, loss options and seed are replaced: each temperature is trained once, with seed 0.
    temperatures : sequence of float
    runs, device, progress
        As in :func:`fit_all`.

    Returns
    -------
    best : float
        The temperature with the highest AUROC.
    aurocs : dict
        ``{temperature: AUROC}``.

    Raises
    ------
    ValueError, FloatingPointError, OSError
        As :func:`ood_helpers.fit`.
    """
    configs = [replace(config, loss="logitnorm", loss_options=(("temperature", t),), seed=0) for t in temperatures]
    trained = fit_all(configs, runs, device, progress)
    aurocs = {t: validation_auroc(run) for t, run in zip(temperatures, trained)}
    return max(aurocs, key=aurocs.__getitem__), aurocs


def validation_auroc(run: Run) -> float:
    """AUROC of a run's own score between its validation images and synthetic outliers made from them."""
    images = run.images("validation")
    images = images[:: 1 + (len(images) - 1) // MAX_OUTLIERS]
    _, logits = outputs(run.load_model(), data.outliers(images, seed=run.config.seed))
    score = scores.score(run.config.recipe.score)
    id_scores = score(run.logits["validation"].astype(np.float64))
    return metrics.detection(id_scores, score(logits.double().numpy()))["auroc"]


def table(
    trained: Mapping[str, Sequence[Run]], metric: str | None = None, positive: str = "id", score: str | None = None
) -> pd.DataFrame:
    """Results of trainings in percent: a row per training, indexed by name and seed (fold, if there are folds).

    Parameters
    ----------
    trained : mapping
        ``{name: [run, ...]}``, as from :func:`compare_losses`.
    metric : str, optional
        A metric of :func:`ood_helpers.metrics.detection`, such as ``"fpr95"``; the columns are then the OOD sets and
        their ``mean``. By default accuracy, ECE, and AUROC and FPR95 for each OOD set.
    positive : {"id", "ood"}
        Positive class of FPR95.
    score : str, optional
        A key of ``scores.SCORES`` for all runs; by default each loss is judged by its authors' score.

    Returns
    -------
    DataFrame
        ``columns.name`` is the metric and its convention; ``attrs`` holds them too, and in ``"labels"`` a text for each
        name.

    Raises
    ------
    ValueError
        If the runs are of different data sets, or the metric is unknown.
    """
    everything = [run for group in trained.values() for run in group]
    id_sets = sorted({f"{run.config.data} with known={run.config.known}" for run in everything})
    if len(id_sets) != 1:
        raise ValueError(f"a table needs trainings on one data set, not on {' and '.join(id_sets) or 'none'}")
    known = [name for name in metrics.detection([1.0], [0.0]) if name != "positive"]  # that is the convention
    if metric not in (None, *known):
        raise ValueError(f"unknown metric {metric!r}; known: {', '.join(known)}")
    level = "seed" if all(run.config.fold is None for run in everything) else "fold"
    keys = [(name, getattr(run.config, level)) for name, group in trained.items() for run in group]
    frame = pd.DataFrame(
        [_results(run, metric, positive, score) for run in everything],
        index=pd.MultiIndex.from_tuples(keys, names=("loss", level)),
    )
    labels = {name: group[0].label if name == group[0].config.loss else name for name, group in trained.items()}
    frame.attrs = {"data": id_sets[0], "metric": metric, "positive": positive, "score": score, "labels": labels}
    frame.attrs["test images"] = dict(zip(keys, map(_test_images, everything)))
    convention = f" ({positive.upper()} positive)" if metric in ("fpr95", "tnr95") else ""
    return frame.rename_axis(columns=f"{metric.upper().replace('_', ' ')}{convention} in %" if metric else "%")


def _test_images(run):
    """What tells other test images from these: a checksum of the labels, and the sizes of all sets."""
    return zlib.crc32(run.labels["test"].tobytes()), *(len(run.logits[name]) for name in ("test", *run.config.ood))


def _results(run, metric, positive, score):
    """One row of :func:`table`."""
    row, titles = {}, {metric: ""}
    if metric is None:
        row = {"accuracy": 100 * run.accuracy, "ECE": 100 * run.ece()}
        titles = {"auroc": "AUROC ", "fpr95": f"FPR95 ({positive.upper()} positive) "}
    detected = run.detection(score, positive=positive)
    row |= {f"{title}{ood}": 100 * values[key] for ood, values in detected.items() for key, title in titles.items()}
    return row | {
        f"{title}mean": mean(100 * values[key] for values in detected.values()) for key, title in titles.items()
    }


def summary(frame: pd.DataFrame, digits: int = 1) -> pd.DataFrame:
    """A :func:`table` for display: mean ± standard deviation as text, a row per name; ``columns.name`` says so."""
    groups = frame.groupby(level=0, sort=False)
    cells = groups.agg(lambda values: spread(values.tolist(), digits)).rename(index=frame.attrs["labels"])
    n = " or ".join(map(str, sorted(set(groups.size()))))
    return cells.rename_axis(columns=f"{frame.columns.name}, mean ± sd, n = {n}")


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean and sample standard deviation as text; a single value has no deviation.

    >>> spread([1.0, 2.0, 3.0]), spread([1.0])
    ('2.0 ± 1.0', '1.0')
    """
    text = f"{mean(values):.{digits}f}"
    return f"{text} ± {stdev(values):.{digits}f}" if len(values) > 1 else text


def compare(results: pd.DataFrame | Mapping[str, Any], a: str, b: str, paired: bool = True) -> pd.DataFrame:
    r"""Is ``b`` clearly different from ``a``? The difference of means and its 95 % confidence interval.

    With differences :math:`d_i = b_i - a_i` of the same seed, the interval is
    :math:`\bar d \pm t_{0.975, n-1} \, s_d / \sqrt n` (Student's t, as for a paired t-test); unpaired, it is Welch's.
    A difference is ``clear`` where the interval excludes 0. Of k such questions, 0.05 k come out clear by chance. The
    interval covers the luck of trainings, not that of drawing the test images.

    Parameters
    ----------
    results : DataFrame or mapping
        A :func:`table`, or ``{name: values}`` with a value per training, or with one frame per name. A column
        ``"ID accepted"`` (in percent) gives the operating point of the others, which must be the same.
    a, b : str
        Names in ``results``.
    paired : bool
        Compare trainings of the same seed (or fold).

    Returns
    -------
    DataFrame
        A row per column of ``results``: means, standard deviations, ``difference`` (b - a), the interval from ``low``
        to ``high``, ``n`` (trainings of each; the smaller number), ``clear``.

    Raises
    ------
    ValueError
        If the two were not measured alike: other seeds, another convention, other OOD sets, other test images, or
        shares of accepted OOD where different shares of ID are accepted.

    Examples
    --------
    >>> compare({"old": [10.0, 14.0, 12.0], "new": [7.0, 10.0, 10.0]}, "old", "new").round(2).T
               value
    old mean    12.0
    old std      2.0
    new mean     9.0
    new std     1.73
    difference  -3.0
    low        -5.48
    high       -0.52
    n              3
    clear       True
    """
    x, y = _trainings(results, a), _trainings(results, b)
    convention, other = ({k: v for k, v in each.attrs.items() if k not in PER_NAME} for each in (x, y))
    if convention != other:
        raise ValueError(f"{a} and {b} were not measured alike: {convention} and {other}")
    if not x.columns.equals(y.columns):
        raise ValueError(f"{a} and {b} have different OOD sets: {', '.join(x)} and {', '.join(y)}")
    if paired and not x.index.equals(y.index):
        raise ValueError(
            f"{a} and {b} cannot be paired by {x.index.name}: {list(x.index)} and {list(y.index)}; "
            "independent trainings are compared with paired=False"
        )
    images = [
        [frame.attrs.get("test images", {}).get((name, key)) for key in frame.index] for name, frame in ((a, x), (b, y))
    ]
    if paired and images[0] != images[1]:
        raise ValueError(f"{a} and {b} were tested on different images, whose difference theirs would be too")
    if KEPT in x and not np.allclose(*(each[KEPT] if paired else each[KEPT].mean() for each in (x, y))):
        raise ValueError(
            f"{a} accepts {x[KEPT].mean():.1f} % of ID images and {b} {y[KEPT].mean():.1f} %: compare the accepted OOD "
            "images where both accept the same share of ID images, as FPR95 does, or compare AUROC"
        )
    if min(len(x), len(y)) < 2:
        raise ValueError(f"a comparison needs at least two trainings each, not {len(x)} of {a} and {len(y)} of {b}")
    from scipy.stats import ttest_ind, ttest_rel

    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of equal differences
        test = ttest_rel(y, x) if paired else ttest_ind(y, x, equal_var=False)
        low, high = test.confidence_interval(0.95)
    columns = {f"{a} mean": x.mean(), f"{a} std": x.std(), f"{b} mean": y.mean(), f"{b} std": y.std()}
    columns |= {"difference": y.mean() - x.mean(), "low": low, "high": high, "n": min(len(x), len(y))}
    return pd.DataFrame(columns, index=x.columns).assign(clear=lambda frame: (frame.low > 0) | (frame.high < 0))


def _trainings(results, name):
    """The trainings of one name, indexed by seed."""
    known = results.index.unique(0) if isinstance(results, pd.DataFrame) else results
    if name not in known:
        raise ValueError(f"no results of {name!r}; there are: {', '.join(map(str, known))}")
    values = results.loc[name] if isinstance(results, pd.DataFrame) else results[name]
    if not isinstance(values, pd.DataFrame):
        values = pd.DataFrame({"value": values}, dtype=float).rename_axis("seed")
    return values.dropna(axis=1, how="all").sort_index()
