"""The papers' tables: every system trained by its protocol, its numbers beside the published ones."""

import csv
import io
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from os.path import commonprefix
from pathlib import Path
from statistics import mean

import torch

from .. import metrics, scores
from ..config import PRESETS, Config
from ..data.sets import SETS
from ..loop import outputs
from ..sweeps import choose_temperature, fit_all
from ..tables import latex_text, markdown_text, spread
from ..training import pick_device

MODELS = {"densenet_bc_100_12": "densenetbc100", "wrn_28_10": "wideresnet2810", "resnet18_224": "resnet18"}
SCORES = {"mps": "msp", "mds": "min_distance", "es": "entropy"}  # the papers' names to ours
ARCHIVES = {"imagenet_resize": "tinyimagenet_resize", "imagenet_crop": "tinyimagenet_crop"}  # as ODIN's unpack
METRICS = {
    "accuracy": "accuracy",
    "ece": "ECE, calibrated",
    "auroc": "AUROC",
    "aupr": "AUPR (ID positive)",
    "tnr_at_tpr95": "TNR at 95 % TPR",
    "fpr95": "FPR95 (ID positive)",
}
LOWER_IS_BETTER = ("ece", "fpr95")


@dataclass(frozen=True)
class Paper:
    """Which systems a paper's table compares, and what of each OOD set it prints."""

    source: str  # in published.csv
    preset: str
    models: tuple
    systems: tuple  # (loss, score)
    metrics: dict  # {OOD set: metrics}; None stands for every set that is not named
    groups: dict = None  # {name: OOD sets} whose mean is printed
    only: dict = field(default_factory=dict)  # {loss: models} where a system is not printed for all of them

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
    # four scores read the one softmax network; DisMax† is not on the leaderboard and stands beside it
    "openood": Paper(
        "openood_v1.5",
        "openood",
        ("resnet18",),
        (
            _SOFTMAX,
            ("softmax", "odin"),
            ("softmax", "mahalanobis"),
            ("softmax", "knn"),
            ("softmax", "gradnorm"),
            _LOGITNORM,
            _DISMAX,
        ),
        {None: ("auroc",)},
        {"near": ("cifar100", "tiny_imagenet"), "far": ("mnist", "svhn", "textures", "places365")},
    ),
    "meln": Paper(
        "meln", "meln", ("resnet50_pretrained",), (_SOFTMAX, _LOGITNORM, ("meln", "msp")), {None: ("fpr95", "auroc")}
    ),
}


@lru_cache
def published():
    """{(source, ID set, model, method, score): {(OOD set, metric): (mean, deviation or None)}}, in percent."""
    found = {}
    with open(Path(__file__).with_name("published.csv"), newline="") as file:
        for row in csv.DictReader(file):
            unit, score = 100 if row["metric"] == "ece" else 1, SCORES.get(row["score"], row["score"])
            values = found.setdefault((*(row[name] for name in ("source", "id_dataset", "model", "method")), score), {})
            values[row["ood_dataset"], row["metric"]] = (
                unit * float(row["mean"]),
                unit * float(row["std"]) if row["std"] else None,
            )
    return found


def published_row(source, id_set, model, method, score="msp"):
    """One system's published values; ValueError where there is no such row.

    >>> published_row("openood_v1.5", "cifar10", "resnet18", "logitnorm")["near", "auroc"]
    (92.33, 0.08)
    """
    key = (source, id_set, MODELS.get(model, model), method, score)
    if key not in published():
        known = sorted({" ".join(k[1:]) for k in published() if k[0] == source})
        raise ValueError(f"no published row for {' '.join(key)}; {source} has: {', '.join(known) or 'none'}")
    return published()[key]


def known_as(name):
    """The name under which a set is published: a folder called like a known set holds it in another encoding.

    >>> known_as("folder:images/cifar10"), known_as("folder:images/imagenet_resize"), known_as("folder:cats")
    ('cifar10', 'tinyimagenet_resize', 'folder:cats')
    """
    stem = Path(name.removeprefix("folder:")).name if name.startswith("folder:") else name
    stem = ARCHIVES.get(stem, stem)
    return stem if stem in SETS else name


def beside(paper, id_set, model, loss, score, own):
    """What to print beside our own values: {(OOD set, metric): (mean, deviation or None, of which network)}.

    The paper's own row first, then what only another paper says of ``own``'s quantities. Where the paper did not use
    this model, the one whose name begins most alike stands in; "of which network" names it then, else is empty.
    """
    model = MODELS.get(model, model)
    exact = any(key[:3] == (paper.source, id_set, model) for key in published())
    rows = [
        (key[0], key[2], values)
        for key, values in published().items()
        if key[1] == id_set and key[3:] == (loss, score) and (key[2] == model or not exact)
    ]
    rows.sort(key=lambda row: (row[0] != paper.source, -len(commonprefix([row[1], model]))))
    found = {}
    for source, other, values in rows:
        where = ", ".join([source] * (source != paper.source) + [other] * (other != model))
        found |= {
            key: (*value, where)
            for key, value in values.items()
            if key not in found and (source == paper.source or key in own)
        }
    return found


def systems(name, seeds=5, quick=False, faithful=False, runs="runs", device=None, **changes):
    """Train what is missing of a paper's systems: [(model, loss, score, [run per seed])].

    LogitNorm's temperature is swept on the validation part, unless ``loss_options`` gives it; ``faithful`` takes the
    authors' value, and chooses the epoch on the test part as they do, a leak.
    """
    if name not in PAPERS:
        raise ValueError(f"unknown table {name!r}; known: {', '.join(PAPERS)}")
    for own in ("loss", "seed"):
        if own in changes:
            raise ValueError(f"a paper's table has losses and seeds of its own; leave {own} out")
    paper, planned = PAPERS[name], []
    protocol = PRESETS[paper.preset]
    data = known_as(changes.get("data", paper.data))
    if data in protocol["ood"]:  # the paper's other ID sets are its own's OOD sets, and the other way round
        changes.setdefault("ood", tuple(paper.data if ood == data else ood for ood in protocol["ood"]))
    elif data != paper.data:
        changes.setdefault("ood", None)  # the protocol's sets belong to its own data
    given = dict(changes.pop("loss_options", {}))
    models = (changes.pop("model"),) if "model" in changes else paper.models
    for model in models:
        for loss, score in paper.systems:
            if model not in paper.only.get(loss, (model,)):
                continue
            config = Config.preset(paper.preset, **changes, model=model, loss=loss)
            config = config.quick() if quick else config
            if faithful:
                config = replace(config, select="test")
            if loss == "logitnorm":
                usual = dict(protocol.get("loss_options", ())).get("temperature", 0.04)
                best = given.get("temperature") or (
                    usual if faithful or quick else choose_temperature(config, runs=runs, device=device)[0]
                )
                config = replace(config, loss_options={"temperature": best})
            planned.append((model, loss, score, [replace(config, seed=seed) for seed in range(seeds)]))
    configs = list(dict.fromkeys(config for *_, group in planned for config in group))
    trained = dict(zip(configs, fit_all(configs, runs, device)))
    return [(model, loss, score, [trained[config] for config in group]) for model, loss, score, group in planned]


def scores_of(run, score, device=None):
    """{set: scores} of a run, also of those scores that need its network or the features of its training images."""
    if score in scores.SCORES:
        return run.scores(score)
    names = ("test", *run.config.ood)
    device = pick_device(device)
    network = run.load_model().to(device)
    if score in ("odin", "gradnorm"):
        of_images = getattr(scores, score)
        return {name: of_images(network, run.images(name)).detach().cpu().numpy() for name in names}
    images, labels = run.config.dataset().split("train")
    if "train" not in run.features:  # a run leaves them out, as they are many and quickly made again
        run.features["train"] = outputs(network, images)[0].cpu().numpy()
    train = torch.from_numpy(run.features["train"])
    of_features = (
        partial(scores.mahalanobis, train.to(device), labels.to(device))
        if score == "mahalanobis"
        else partial(scores.knn, train.to(device), k=min(50, len(train)))
    )
    return {name: of_features(torch.from_numpy(run.features[name]).to(device)).cpu().numpy() for name in names}


def measure(run, score, faithful=False, groups=None, device=None):
    """{(OOD set or "-", metric): value in percent} of one run; the temperature is fitted on the validation part.

    A group has a value where all its sets were measured.
    """
    temperature = run.calibrated_temperature("test" if faithful else "validation")
    found = {("-", "accuracy"): 100 * run.accuracy, ("-", "ece"): 100 * run.ece(temperature)}
    values = scores_of(run, score, device)
    for ood in run.config.ood:
        told = metrics.detection(values["test"], values[ood])
        name = "held-out classes" if ood == "near" else known_as(ood)  # "near" is a group's name in a paper
        for metric, key in (("auroc", "auroc"), ("aupr", "aupr_in"), ("tnr_at_tpr95", "tnr95"), ("fpr95", "fpr95")):
            found[name, metric] = 100 * told[key]
    for group, members in (groups or {}).items():
        for metric in ("auroc", "aupr", "tnr_at_tpr95", "fpr95"):
            parts = [found[ood, metric] for ood in members if (ood, metric) in found]
            if len(parts) == len(members):
                found[group, metric] = mean(parts)
    return found


def table(name, faithful=False, device=None, **options):
    """A paper's table, trained where it is missing; see :func:`rows`."""
    return rows(name, systems(name, faithful=faithful, device=device, **options), faithful, device)


def rows(name, trained, faithful=False, device=None):
    """[{"config", "system", "n", "own": {quantity: [values]}, "published": {...}, "same": of the same images}]."""
    paper, found = PAPERS[name], []
    for model, loss, score, group in trained:
        values, config = [measure(run, score, faithful, paper.groups, device) for run in group], group[0].config
        data = known_as(config.data)
        id_set = data if any(key[:2] == (paper.source, data) for key in published()) else paper.data
        own = {key: [v[key] for v in values] for key in values[0]}
        found.append(
            {
                "config": config,
                "system": f"{config.label} [{score}]",
                "n": len(group),
                "own": own,
                "published": beside(paper, id_set, model, loss, score, own),
                "same": data == id_set and config.known is None and config.limit is None,
            }
        )
    return found


def quantities(rows, name):
    """The columns: accuracy, ECE, then what the paper prints of each group and of each OOD set that is in none."""
    paper = PAPERS[name]
    grouped = {ood for members in (paper.groups or {}).values() for ood in members}
    sets = dict.fromkeys(
        [
            *(paper.groups or ()),
            *(ood for row in rows for ood, _ in [*row["published"], *row["own"]] if ood != "-" and ood not in grouped),
        ]
    )
    return [("-", "accuracy"), ("-", "ece")] + [
        (ood, metric) for ood in sets for metric in paper.metrics.get(ood, paper.metrics[None])
    ]


def cells(rows, columns):
    """For every row and column: (ours as text, published as text, difference as text, ours is the model's best)."""
    found = []
    for row in rows:
        line = []
        for key in columns:
            own, told = row["own"].get(key), row["published"].get(key)
            rivals = [
                mean(other["own"][key])
                for other in rows
                if other["config"].model == row["config"].model and key in other["own"]
            ]
            best = own is not None and mean(own) == (min if key[1] in LOWER_IS_BETTER else max)(rivals)
            theirs = gap = ""
            if told:
                value, deviation, where = told
                theirs = f"{value:.1f}" + (f" ± {deviation:.1f}" if deviation is not None else "")
                theirs += f" ({where})" if where else ""
                gap = f"{mean(own) - value:+.1f}" if own and row["same"] else ""
            line.append((spread(own) if own else "", theirs, gap, best))
        found.append(line)
    return found


def heading(key):
    ood, metric = key
    return METRICS[metric] if ood == "-" else f"{ood} {METRICS[metric]}"


def markdown(rows, name):
    """Ours, the published value and the difference in columns of their own; the best of each model in bold."""
    columns = quantities(rows, name)
    titles = [
        f"{title}{part}"
        for title in (markdown_text(heading(key)) for key in columns)
        for part in ("", " (published)", " (difference)")
    ]
    lines = [f"| model | system | n | {' | '.join(titles)} |", "|---" * (3 + len(titles)) + "|"]
    for row, line in zip(rows, cells(rows, columns)):
        parts = [text for own, told, gap, best in line for text in (f"**{own}**" if best else own, told, gap)]
        lines.append(f"| {row['config'].model} | {row['system']} | {row['n']} | {' | '.join(parts)} |")
    return "\n".join(lines) + f"\n\n{note(rows, name)}"


def latex(rows, name):
    r"""The same for a paper, with booktabs: ``\usepackage{booktabs}``."""
    columns = quantities(rows, name)
    lines = [
        r"\begin{tabular}{ll" + "rrr" * len(columns) + "}",
        r"\toprule",
        "model & system & "
        + " & ".join(rf"\multicolumn{{3}}{{c}}{{{latex_text(heading(key))}}}" for key in columns)
        + r" \\",
        "& & " + " & ".join(["ours & published & diff."] * len(columns)) + r" \\",
        r"\midrule",
    ]
    for i, (row, line) in enumerate(zip(rows, cells(rows, columns))):
        if i and row["config"].model != rows[i - 1]["config"].model:
            lines.append(r"\midrule")
        parts = [
            latex_text(text) if not (best and text is own) else rf"\textbf{{{latex_text(text)}}}"
            for own, told, gap, best in line
            for text in (own, told, gap)
        ]
        lines.append(" & ".join([latex_text(row["config"].model), latex_text(row["system"]), *parts]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", f"% {note(rows, name)}"])


def comma_separated(rows, name):
    """One line per system and quantity; empty where there is no run or no published value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["model", "system", "set", "metric", "n", "mean", "values", "published", "published_std", "published_of"]
    )
    for row in rows:
        for key in quantities(rows, name):
            own, (value, deviation, where) = row["own"].get(key), row["published"].get(key, (None, None, ""))
            writer.writerow(
                [
                    row["config"].model,
                    row["system"],
                    *key,
                    row["n"] if own else "",
                    f"{mean(own):.4f}" if own else "",
                    " ".join(f"{v:.4f}" for v in own or []),
                    *("" if v is None else f"{v:g}" for v in (value, deviation)),
                    where,
                ]
            )
    return text.getvalue()


def note(rows, name):
    """What a reader must know of the numbers."""
    paper, config, n = PAPERS[name], rows[0]["config"], rows[0]["n"]
    protocol, models = PRESETS[paper.preset], sorted({row["config"].model for row in rows})
    told = []
    if config.limit is not None:
        told.append(
            f"At most {config.limit} images of each part and {config.epochs} epochs, a test that everything "
            "runs; these numbers mean nothing."
        )
    elif config.epochs != protocol["epochs"] or set(models) - set(paper.models):
        told.append(
            f"Ours are {', '.join(models)}, trained for {config.epochs} epochs; the protocol's are "
            f"{', '.join(paper.models)}, for {protocol['epochs']}. A difference tells of that too."
        )
    if not rows[0]["same"]:
        told.append(f"Published values are for {paper.data}, ours for {config.data}; there is no difference to give.")
    if any(where for row in rows for *_, where in row["published"].values()):
        told.append("Brackets behind a published value: of another network or paper than the row's.")
    for group, members in (paper.groups or {}).items():
        told.append(f"{group} is the mean over {', '.join(members)}; blank unless all were measured.")
    told.append(
        f"Percent, mean ± standard deviation over n = {n} independently seeded trainings; ID is the positive "
        "class of AUPR, FPR95 and TNR."
    )
    told.append(
        "Faithful: epoch and temperature chosen on the test part, as the authors do, which is a leak."
        if config.select == "test"
        else "Every choice is made on a validation part."
    )
    return " ".join(told)
