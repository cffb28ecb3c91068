"""Runs -> a table of means and standard deviations over seeds."""

import csv
import io
import re
from statistics import mean, stdev


def summary(trained, positive="id"):
    """What the papers' tables hold, from {loss: [run per seed]}, see :func:`ood_helpers.sweeps.lesson`.

    Returns {label: {column: [value per seed]}}, in percent; the columns are accuracy, ECE, and AUROC and FPR95 per OOD
    set. Every loss is judged by its authors' score; ``positive`` is the positive class of FPR95.
    """
    return {group[0].label: columns(group, positive) for group in trained.values()}


def columns(runs, positive="id"):
    """{column: [value per run]} of runs that differ in their seed alone, in percent."""
    table = {"accuracy": [100 * run.accuracy for run in runs], "ECE": [100 * run.ece() for run in runs]}
    for name in runs[0].config.ood:
        found = [run.detection(positive=positive)[name] for run in runs]
        for metric, title in (("auroc", "AUROC"), ("fpr95", "FPR95")):
            table[f"{title} {name}"] = [100 * values[metric] for values in found]
    for title in ("AUROC", "FPR95"):
        parts = [values for column, values in table.items() if column.startswith(title)]
        table[f"{title} mean"] = [mean(values) for values in zip(*parts)]
    return table


def spread(values, digits=1):
    """Mean and standard deviation as text; no deviation from a single value.

    >>> spread([1.0, 2.0, 3.0]), spread([1.0])
    ('2.0 ± 1.0', '1.0')
    """
    text = f"{mean(values):.{digits}f}"
    return f"{text} ± {stdev(values):.{digits}f}" if len(values) > 1 else text


def latex_text(text):
    r"""Any text, a class's or a file's name among it, as LaTeX that prints it.

    >>> print(latex_text("50 % of $5_a"))
    50 \% of \$5\_a
    """
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "τ": r"$\tau$",
        "†": r"$\dagger$",
    } | {character: f"\\{character}" for character in "&%$#_{}"}
    return "".join(special.get(character, character) for character in text)


def markdown_text(text):
    r"""Any text as Markdown that shows it, in a table too.

    >>> print(markdown_text("<b>|$5"))
    \<b>\|\$5
    """
    return re.sub(r"[\\`*\[<|$]", r"\\\g<0>", " ".join(text.split()))


def markdown(table, note):
    """A Markdown table with the note, which names n and the FPR95 convention, under it.

    >>> print(markdown({"Softmax": {"accuracy": [99.0, 100.0]}}, "n = 2"))
    | loss | accuracy |
    |---|---|
    | Softmax | 99.5 ± 0.7 |
    <BLANKLINE>
    n = 2
    """
    names = list(next(iter(table.values())))
    lines = [["loss", *map(markdown_text, names)], ["---"] * (len(names) + 1)]
    lines += [[markdown_text(label), *(spread(row[name]) for name in names)] for label, row in table.items()]
    text = "\n".join(
        "| " + " | ".join(line) + " |" if "---" not in line else "|" + "|".join(line) + "|" for line in lines
    )
    return f"{text}\n\n{note}"


def comma_separated(table):
    """The same as CSV, one line per loss, column and seed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["loss", "column", "seed", "value"])
    for label, row in table.items():
        for column, values in row.items():
            writer.writerows([label, column, seed, f"{value:.4f}"] for seed, value in enumerate(values))
    return text.getvalue()


def note(seeds, positive):
    """What a reader must know of the numbers."""
    other = "OOD" if positive == "id" else "ID"
    return (
        f"Percent, mean ± standard deviation over n = {seeds} trainings; FPR95 with {positive.upper()} as the "
        f"positive class (the share of {other} images accepted as {positive.upper()} when 95 % of "
        f"{positive.upper()} is)."
    )
