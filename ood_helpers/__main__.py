"""The command line: python -m ood_helpers train | table | bench."""

import argparse
import logging
import os
import sys
from dataclasses import fields
from pathlib import Path


def number_or_text(text):
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


def option(text):
    """name=value of a loss's constructor."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name=value, such as temperature=0.3")
    return name, number_or_text(value)


PAPERS = ("dismax", "isomaxplus", "logitnorm", "openood", "meln")
BENCHMARKS = ("train", "heads", "metrics", "explorer", "scaling")
HELP = {
    "data": "digits, cifar10, cifar100, svhn, mnist, fashion_mnist, kmnist, or folder:PATH",
    "loss": "softmax, logitnorm, meln, isomax, isomaxplus, dismax or dismax_fpr",
    "model": "cnn, resnet18, resnet34, wrn_40_2, ... (an unknown name lists them all)",
    "loss_options": "for the loss, name=value, e.g. temperature=0.3",
    "milestones": "epochs of --schedule steps",
    "schedule": "cosine or steps",
    "known": "the first so many classes are in-distribution, the others near OOD",
    "ood": "names of the OOD sets",
    "lr": "learning rate of the network",
    "augment": "none, crop_flip or resized_crop",
    "head_lr": "learning rate of the classifier; of the network by default",
    "select": "the epoch that is kept: last, or the most accurate on validation (or, a leak, on test)",
    "limit": "at most so many images of each part and set",
    "precision": "auto, float32 or bfloat16",
    "fold": "0 to 4, of five stratified folds",
}


def benchmark(text):
    if text not in BENCHMARKS:
        raise argparse.ArgumentTypeError(f"unknown benchmark {text!r}; known: {', '.join(BENCHMARKS)}")
    return text


def add_config(parser):
    """One option for each field of Config; what is not given keeps Config's default."""
    from .config import Config

    for field in fields(Config):
        kind = {tuple: {"nargs": "+", "type": str}}.get(field.type, {"type": field.type})
        if field.type is bool:
            kind = {"type": number_or_text, "metavar": "true|false"}
        if field.name == "loss_options":
            kind = {"nargs": "+", "type": option, "metavar": "NAME=VALUE"}
        if field.name == "milestones":
            kind = {"nargs": "+", "type": int}
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            default=argparse.SUPPRESS,
            help=HELP.get(field.name, f"default {field.default}"),
            **kind,
        )


def config_from(args):
    from .config import Config

    return Config(**given(args))


def given(args):
    """The fields of Config that were named on the command line."""
    from .config import Config

    return {field.name: getattr(args, field.name) for field in fields(Config) if field.name in args}


def train(args):
    from .tables import columns, spread
    from .training import fit

    run = fit(config_from(args), args.runs, args.device)
    if os.environ.get("RANK", "0") != "0":
        return  # of several processes one tells
    print(f"{run.label} on {run.config.data}, seed {run.config.seed}: {run.path}")
    for name, values in columns([run]).items():
        print(f"  {name:<16} {spread(values):>6} %")
    print("  FPR95 with ID as the positive class")


def table(args):
    from . import tables
    from .sweeps import cluster, lesson

    if args.paper:
        paper(args)
        return
    base = config_from(args)
    with cluster(args.backend, args.scheduler):
        trained = lesson(base, seeds=args.seeds, runs=args.runs, device=args.device)
    found = tables.summary(trained, args.positive)
    text = tables.markdown(found, tables.note(args.seeds, args.positive))
    print(text)
    folder = Path(args.out or figures_folder(base.data))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(text + "\n")
    (folder / "table.csv").write_text(tables.comma_separated(found))
    print(f"saved as {folder / 'table.md'} and {folder / 'table.csv'}")


def paper(args):
    from .papers import tables as papers
    from .sweeps import cluster

    changes = given(args)
    with cluster(args.backend, args.scheduler):
        rows = papers.table(
            args.paper, args.faithful, seeds=args.seeds, quick=args.quick, runs=args.runs, device=args.device, **changes
        )
    print(papers.markdown(rows, args.paper))
    stem = Path(args.out or figures_folder(rows[0]["config"].data)) / (
        "_".join(["table", args.paper] + ["faithful"] * args.faithful + ["quick"] * args.quick)
    )
    stem.parent.mkdir(parents=True, exist_ok=True)
    for suffix, content in (
        (".md", papers.markdown(rows, args.paper) + "\n"),
        (".tex", papers.latex(rows, args.paper) + "\n"),
        (".csv", papers.comma_separated(rows, args.paper)),
    ):
        stem.with_suffix(suffix).write_text(content)
    print(f"saved as {stem}.md, .tex and .csv")


def figures_folder(data):
    from .figures import folder

    return folder(data)


def bench(args):
    import json

    from .bench import scaling
    from .bench import speed as benchmarks
    from .training import pick_device

    device = pick_device(args.device).type
    record = {"machine": benchmarks.machine(device), "rows": []}
    print(json.dumps(record["machine"]))
    tasks = benchmarks.TASKS | {"scaling": scaling.measure}
    for name in args.tasks or tasks:
        options = {}
        if name == "train" and args.data:
            from .data.sets import load

            options = dict(zip(("images", "labels"), load(args.data).split("train")))
        found = tasks[name](device, **options)
        print(benchmarks.format_rows(found))
        record["rows"] += found
    if args.json:
        Path(args.json).write_text(json.dumps(record, indent=1) + "\n")


def parser():
    top = argparse.ArgumentParser(prog="python -m ood_helpers", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for function, text in (
        (train, "train one configuration and print its results"),
        (table, "train every loss with several seeds and print mean and deviation"),
        (bench, "measure speed against what people do today"),
    ):
        command = commands.add_parser(
            function.__name__, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        command.set_defaults(run=function)
        command.add_argument("--device", default="auto", help="cpu, cuda, or the GPU where there is one")
        if function is bench:
            command.add_argument(
                "tasks",
                nargs="*",
                type=benchmark,
                metavar="TASK",
                help=f"{', '.join(BENCHMARKS)}; all of them by default",
            )
            command.add_argument("--json", metavar="FILE", help="save the numbers")
            command.add_argument("--data", help=HELP["data"] + "; photographs that come with scikit-learn by default")
            continue
        command.add_argument("--runs", default="runs", metavar="DIR", help="where trained runs are kept")
        add_config(command)
        if function is table:
            command.add_argument(
                "paper",
                nargs="?",
                choices=PAPERS,
                help="a paper's table beside what it published, by "
                "its protocol; without one, all seven losses by the lesson's",
            )
            command.add_argument("--quick", action="store_true", help="two epochs, few images: does it run?")
            command.add_argument("--faithful", action="store_true", help="choose on the test part as the authors do")
            command.add_argument("--seeds", type=int, default=5, help="trainings of each loss")
            command.add_argument(
                "--backend", choices=("local", "dask", "ray"), default="local", help="where the trainings run"
            )
            command.add_argument(
                "--scheduler", metavar="ADDRESS", help="of the Dask or Ray cluster; started here without one"
            )
            command.add_argument("--positive", choices=("id", "ood"), default="id", help="positive class of FPR95")
            command.add_argument("--out", metavar="DIR", help="where the table goes; figures/<data> by default")
    return top


def main(arguments=None):
    args = parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("ood_helpers").setLevel(logging.INFO)  # how images are converted
    try:
        args.run(args)
    except (ValueError, OSError, FloatingPointError) as error:
        sys.exit(f"ood_helpers: {error}")


if __name__ == "__main__":
    main()
