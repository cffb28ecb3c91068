"""Which systems each paper's table compares, and how they are trained."""

from dataclasses import dataclass, field, replace

from ..config import PRESETS, Config
from ..sweeps import choose_temperature, fit_all
from .published_values import known_as


@dataclass(frozen=True)
class Paper:
    """The systems of a paper's table, and what it prints about each OOD set."""

    source: str  # in published.csv
    preset: str
    models: tuple
    systems: tuple  # (loss, score)
    metrics: dict  # {OOD set: metrics}; None stands for every set that is not named
    groups: dict = field(default_factory=dict)  # {name: OOD sets} whose mean is printed
    only: dict = field(default_factory=dict)  # {loss: models} where a system is not printed for all models

    @property
    def data(self):
        return PRESETS[self.preset]["data"]


_SOFTMAX, _LOGITNORM, _DISMAX = ("softmax", "msp"), ("logitnorm", "msp"), ("dismax_fpr", "mmles")
PAPERS = {
    "dismax": Paper(
        "dismax",
        "dismax",
        ("densenet_bc_100_12", "resnet34", "wrn_28_10"),
        (_SOFTMAX, ("isomaxplus", "min_distance"), ("dismax", "mmles"), _DISMAX),
        {"cifar100": ("aupr",), "cifar10": ("aupr",), "svhn": ("aupr",), None: ("auroc", "fpr95")},
        only={"dismax": ("densenet_bc_100_12",)},
    ),
    "isomaxplus": Paper(
        "isomaxplus",
        "isomax",
        ("densenet_bc_100_12", "resnet110"),
        (("softmax", "entropy"), ("isomax", "entropy"), ("isomaxplus", "min_distance")),
        {None: ("tnr_at_tpr95", "auroc")},
    ),
    "logitnorm": Paper("logitnorm", "logitnorm", ("wrn_40_2",), (_SOFTMAX, _LOGITNORM), {None: ("fpr95", "auroc")}),
    # Four scores share the one softmax network; DisMax† is not on the leaderboard and is added for comparison.
    "openood": Paper(
        "openood_v1.5",
        "openood",
        ("resnet18",),
        (_SOFTMAX, *(("softmax", s) for s in ("odin", "mahalanobis", "knn", "gradnorm")), _LOGITNORM, _DISMAX),
        {None: ("auroc",)},
        {"near": ("cifar100", "tiny_imagenet"), "far": ("mnist", "svhn", "textures", "places365")},
    ),
    "meln": Paper(
        "meln", "meln", ("resnet50_pretrained",), (_SOFTMAX, _LOGITNORM, ("meln", "msp")), {None: ("fpr95", "auroc")}
    ),
}


def systems(name, seeds=5, quick=False, faithful=False, runs="runs", device=None, **changes):
    """Train what is missing of a paper's systems.

    Parameters
    ----------
    name : str
        A key of ``PAPERS``.
    seeds : int
        Trainings of each system.
    quick : bool
        Two epochs of a few images.
    faithful : bool
        Choose the epoch on the test split, and take the authors' temperature, as they do: a leak. By default,
        LogitNorm's temperature is chosen on the validation split unless ``loss_options`` gives one.
    **changes
        Fields of :class:`ood_helpers.Config` that differ from the paper's protocol.

    Returns
    -------
    list of (model, loss, score, [run per seed])

    Raises
    ------
    ValueError
        If the table is unknown, or a change is not one that its protocol takes, such as a loss or a seed.
    FloatingPointError, OSError
        As :func:`ood_helpers.fit`.
    """
    if name not in PAPERS:
        raise ValueError(f"unknown table {name!r}; known: {', '.join(PAPERS)}")
    for own in ("loss", "seed"):
        if own in changes:
            raise ValueError(f"a paper's table has losses and seeds of its own; leave {own} out")
    paper = PAPERS[name]
    temperature = _given_temperature(changes.pop("loss_options", ()))
    changes = _with_ood_sets(paper, changes)
    models = (changes.pop("model"),) if "model" in changes else paper.models
    planned = []
    for model, (loss, score) in [(m, s) for m in models for s in paper.systems if m in paper.only.get(s[0], (m,))]:
        config = Config.preset(paper.preset, **changes, model=model, loss=loss)
        config = (config.quick() if quick else config).resolved()
        config = replace(config, select="test") if faithful else config
        if loss == "logitnorm":
            if temperature is None and (faithful or quick):
                temperature = dict(PRESETS[paper.preset].get("loss_options", ())).get("temperature", 0.04)
            best = temperature or choose_temperature(config, runs=runs, device=device)[0]
            config = replace(config, loss_options=(("temperature", best),))
        planned.append((model, loss, score, [replace(config, seed=seed) for seed in range(seeds)]))
    configs = list(dict.fromkeys(config for *_, group in planned for config in group))
    trained = dict(zip(configs, fit_all(configs, runs, device)))
    return [(model, loss, score, [trained[config] for config in group]) for model, loss, score, group in planned]


def systems_of(runs):
    """Trained runs as :func:`systems` returns them: grouped by network, loss and options, with each loss's own score.

    >>> from ood_helpers import trained
    >>> [(model, loss, score, len(group)) for model, loss, score, group in systems_of([trained("cifar10")])]
    [('airbench', 'softmax', 'msp', 1)]
    """
    groups = {}
    for run in runs:
        groups.setdefault((run.config.model, run.config.loss, run.config.loss_options), []).append(run)
    return [(model, loss, group[0].config.recipe.score, group) for (model, loss, _), group in groups.items()]


def _given_temperature(loss_options):
    """LogitNorm's temperature, the only loss option that a paper's table takes, or None."""
    options = dict(loss_options)
    temperature = options.pop("temperature", None)
    if options:
        raise ValueError(f"unknown option {next(iter(options))!r}; a paper's table takes temperature, for LogitNorm")
    if temperature is not None and not (isinstance(temperature, (int, float)) and temperature > 0):
        raise ValueError(f"the temperature must be a positive number, not {temperature!r}")
    return temperature


def _with_ood_sets(paper, changes):
    """``changes``, with the OOD sets that belong to its data.

    The other ID sets of a paper are OOD sets of its first one: they change places. Foreign data get their own sets.
    """
    sets, data = PRESETS[paper.preset]["ood"], known_as(changes.get("data", paper.data))
    if data in sets:
        return {"ood": tuple(paper.data if ood == data else ood for ood in sets)} | changes
    return changes if data == paper.data else {"ood": None} | changes
