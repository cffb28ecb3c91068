"""The papers' tables: every system trained by its protocol, its numbers beside the published ones."""
import csv
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from statistics import mean

from .config import PRESETS, Config
from .tables import latex_text, spread
from .training import choose_temperature, fit_all

MODELS = {"densenet_bc_100_12": "densenetbc100", "wrn_28_10": "wideresnet2810", "resnet18_224": "resnet18"}
SCORES = {"msp": "mps", "min_distance": "mds", "entropy": "es"}  # ours to the papers' names
METRICS = {"accuracy": "accuracy", "ece": "ECE, calibrated", "auroc": "AUROC", "aupr": "AUPR (ID positive)",
           "tnr_at_tpr95": "TNR at 95 % TPR", "fpr95": "FPR95 (ID positive)"}
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


_SOFTMAX, _LOGITNORM = ("softmax", "msp"), ("logitnorm", "msp")
PAPERS = {
    "dismax": Paper("dismax", "dismax", ("densenet_bc_100_12", "resnet34", "wrn_28_10"),
                    (_SOFTMAX, ("isomaxplus", "min_distance"), ("dismax_fpr", "mmles")),
                    {"cifar100": ("aupr",), "cifar10": ("aupr",), "svhn": ("aupr",), None: ("auroc", "fpr95")}),
    "isomaxplus": Paper("isomaxplus", "isomax", ("densenet_bc_100_12", "resnet110"),
                        (("softmax", "entropy"), ("isomax", "entropy"), ("isomaxplus", "min_distance")),
                        {None: ("tnr_at_tpr95", "auroc")}),
    "logitnorm": Paper("logitnorm", "logitnorm", ("wrn_40_2",), (_SOFTMAX, _LOGITNORM), {None: ("fpr95", "auroc")}),
    "openood": Paper("openood_v1.5", "openood", ("resnet18",), (_SOFTMAX, _LOGITNORM), {None: ("auroc",)},
                     {"near": ("near", "cifar100", "tiny_imagenet"),
                      "far": ("mnist", "svhn", "textures", "places365", "letters", "patches", "noise")}),
    "meln": Paper("meln", "meln", ("resnet50_pretrained",), (_SOFTMAX, _LOGITNORM, ("meln", "msp")),
                  {None: ("fpr95", "auroc")}),
}


@lru_cache
def published():
    """{(source, ID set, model, method): {(OOD set, metric): (mean, deviation or None)}}, in percent."""
    found = {}
    with open(Path(__file__).with_name("published.csv"), newline="") as file:
        for row in csv.DictReader(file):
            unit = 100 if row["metric"] == "ece" else 1
            values = found.setdefault((row["source"], row["id_dataset"], row["model"], row["method"]), {})
            values[row["ood_dataset"], row["metric"]] = (unit * float(row["mean"]),
                                                         unit * float(row["std"]) if row["std"] else None)
    return found


def published_row(source, id_set, model, method):
    """One system's published values; ValueError where there is no such row.

    >>> published_row("openood_v1.5", "cifar10", "resnet18", "logitnorm")["near", "auroc"]
    (92.33, 0.08)
    """
    key = (source, id_set, MODELS.get(model, model), method)
    if key not in published():
        known = sorted({" ".join(k[1:]) for k in published() if k[0] == source})
        raise ValueError(f"no published row for {' '.join(key)}; {source} has: {', '.join(known) or 'none'}")
    return published()[key]


def systems(name, seeds=5, quick=False, faithful=False, runs="runs", device=None, **changes):
    """Train what is missing of a paper's systems: [(model, loss, score, [run per seed])].

    LogitNorm's temperature is swept on the validation part; ``faithful`` takes the authors' value, and chooses the
    epoch on the test part as they do, a leak.
    """
    if name not in PAPERS:
        raise ValueError(f"unknown table {name!r}; known: {', '.join(PAPERS)}")
    paper, planned = PAPERS[name], []
    if "data" in changes and changes["data"] != PRESETS[paper.preset]["data"]:
        changes.setdefault("ood", None)  # the protocol's sets belong to its own data
    models = (changes.pop("model"),) if "model" in changes else paper.models
    for model in models:
        for loss, score in paper.systems:
            config = Config.preset(paper.preset, **changes, model=model, loss=loss)
            config = config.quick() if quick else config
            if faithful:
                config = replace(config, select="test")
            if loss == "logitnorm":
                preset = dict(PRESETS[paper.preset].get("loss_options", {"temperature": 0.04}))
                best = preset["temperature"] if faithful or quick else \
                    choose_temperature(config, runs=runs, device=device)[0]
                config = replace(config, loss_options={"temperature": best})
            planned.append((model, loss, score, [replace(config, seed=seed) for seed in range(seeds)]))
    trained = iter(fit_all([config for *_, group in planned for config in group], runs, device))
    return [(model, loss, score, [next(trained) for _ in group]) for model, loss, score, group in planned]


def measure(run, score, faithful=False, groups=None):
    """{(OOD set or "-", metric): value in percent} of one run; the temperature is fitted on the validation part."""
    temperature = run.calibrated_temperature("test" if faithful else "validation")
    found = {("-", "accuracy"): 100 * run.accuracy, ("-", "ece"): 100 * run.ece(temperature)}
    for ood, values in run.detection(score).items():
        for metric, key in (("auroc", "auroc"), ("aupr", "aupr_in"), ("tnr_at_tpr95", "tnr95"), ("fpr95", "fpr95")):
            found[ood, metric] = 100 * values[key]
    for group, members in (groups or {}).items():
        for metric in ("auroc", "aupr", "tnr_at_tpr95", "fpr95"):
            parts = [found[ood, metric] for ood in members if (ood, metric) in found]
            if parts:
                found[group, metric] = mean(parts)
    return found


def table(name, faithful=False, **options):
    """A paper's table: a list of rows {"model", "system", "n", "own": {quantity: [values]}, "published": {...}}."""
    paper, rows = PAPERS.get(name), []
    for model, loss, score, group in systems(name, faithful=faithful, **options):
        values = [measure(run, score, faithful, paper.groups) for run in group]
        data = PRESETS[paper.preset]["data"]
        try:
            told = published_row(paper.source, data, model, loss)
        except ValueError:
            told = {}
        rows.append({"model": model, "system": f"{group[0].label} [{score}]", "n": len(group),
                     "same": group[0].config.data == data,
                     "own": {key: [v[key] for v in values] for key in values[0]}, "published": told})
    return rows


def quantities(rows, name):
    """The columns: accuracy, ECE, then what the paper prints of each OOD set, ours or theirs."""
    paper = PAPERS[name]
    sets = list(paper.groups) if paper.groups else list(dict.fromkeys(
        ood for row in rows for ood, _ in [*row["published"], *row["own"]] if ood != "-"))
    return [("-", "accuracy"), ("-", "ece")] + [
        (ood, metric) for ood in sets for metric in paper.metrics.get(ood, paper.metrics[None])]


def cells(rows, columns):
    """For every row and column: (ours as text, published as text, difference as text, ours is the model's best)."""
    found = []
    for row in rows:
        line = []
        for key in columns:
            own, told = row["own"].get(key), row["published"].get(key)
            rivals = [mean(other["own"][key]) for other in rows if other["model"] == row["model"] and key in other["own"]]
            best = own is not None and mean(own) == (min if key[1] in LOWER_IS_BETTER else max)(rivals)
            theirs = "" if told is None else f"{told[0]:.1f}" + (f" ± {told[1]:.1f}" if told[1] is not None else "")
            gap = f"{mean(own) - told[0]:+.1f}" if own and told and row["same"] else ""
            line.append((spread(own) if own else "", theirs, gap, best))
        found.append(line)
    return found


def heading(key):
    ood, metric = key
    return METRICS[metric] if ood == "-" else f"{ood} {METRICS[metric]}"


def markdown(rows, name, note):
    """Ours, the published value and the difference in columns of their own; the best of each model in bold."""
    columns = quantities(rows, name)
    titles = [f"{heading(key)}{part}" for key in columns for part in ("", " (published)", " (difference)")]
    lines = [f"| model | system | n | {' | '.join(titles)} |", "|---" * (3 + len(titles)) + "|"]
    for row, line in zip(rows, cells(rows, columns)):
        parts = [text for own, told, gap, best in line for text in (f"**{own}**" if best else own, told, gap)]
        lines.append(f"| {row['model']} | {row['system']} | {row['n']} | {' | '.join(parts)} |")
    return "\n".join(lines) + f"\n\n{note}"


def latex(rows, name, note):
    r"""The same for a paper, with booktabs: ``\usepackage{booktabs}``."""
    columns = quantities(rows, name)
    lines = [r"\begin{tabular}{ll" + "rrr" * len(columns) + "}", r"\toprule",
             "model & system & " + " & ".join(rf"\multicolumn{{3}}{{c}}{{{latex_text(heading(key))}}}"
                                              for key in columns) + r" \\",
             "& & " + " & ".join(["ours & published & diff."] * len(columns)) + r" \\", r"\midrule"]
    for i, (row, line) in enumerate(zip(rows, cells(rows, columns))):
        if i and row["model"] != rows[i - 1]["model"]:
            lines.append(r"\midrule")
        parts = [latex_text(text) if not (best and text is own) else rf"\textbf{{{latex_text(text)}}}"
                 for own, told, gap, best in line for text in (own, told, gap)]
        lines.append(" & ".join([latex_text(row["model"]), latex_text(row["system"]), *parts]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", f"% {note}"])


def comma_separated(rows, name):
    """One line per system and quantity; empty where there is no run or no published value."""
    lines = ["model,system,set,metric,n,mean,values,published,published_std"]
    for row in rows:
        for key in quantities(rows, name):
            own, told = row["own"].get(key), row["published"].get(key)
            lines.append(",".join([row["model"], f'"{row["system"]}"', *key, str(row["n"]) if own else "",
                                   f"{mean(own):.4f}" if own else "", " ".join(f"{v:.4f}" for v in own or []),
                                   *(("" if v is None else f"{v:g}") for v in told or (None, None))]))
    return "\n".join(lines) + "\n"


def note(name, data, seeds, quick, faithful):
    """What a reader must know of the numbers."""
    paper = PAPERS[name]
    own = PRESETS[paper.preset]["data"]
    return (("Quick: two epochs on at most 128 images, a test that everything runs; these numbers mean nothing. "
             if quick else "") +
            (f"Published values are for {own}, ours for {data}, so there is no difference to give. " if data != own else
             "") + f"Percent, mean ± standard deviation over n = {seeds} independently seeded trainings; ID is the "
            "positive class of AUPR, FPR95 and TNR. " +
            ("Faithful: epoch and temperature chosen on the test part, as the authors do, which is a leak."
             if faithful else "Every choice is made on a validation part."))
