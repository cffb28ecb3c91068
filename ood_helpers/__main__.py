"""The command line: python -m ood_helpers train | table | export | bench."""

import argparse
import functools
import inspect
import io
import json
import logging
import os
import shutil
import sys
from pathlib import Path

from . import __version__
from .engine.options import DEVICE, OPTIONS, PAPERS, Parser, add_config, parse_count, with_suggestion

at_least_one = functools.partial(parse_count, smallest=1)


def config_fields(args):
    """The fields of Config that were given on the command line."""
    return {name: getattr(args, name) for name in OPTIONS if name in args}


def config_from(args):
    """The configuration given on the command line, with options that its loss takes."""
    from .config import Config

    config = Config(**config_fields(args))
    check_loss_options(config)
    return config


def check_loss_options(config):
    """Raise ValueError, in one sentence, if the loss does not take ``config.loss_options``."""
    criterion = type(config.recipe.criterion(config.recipe.head(2, 2)))
    known = {p.name: p.default for p in inspect.signature(criterion).parameters.values() if p.default is not p.empty}
    for name, value in config.loss_options:
        if name not in known:
            raise ValueError(f"unknown option {name!r} of the loss {config.loss}; known: {', '.join(known) or 'none'}")
        if isinstance(known[name], bool) and not isinstance(value, bool):
            raise ValueError(f"the loss's option {name} must be true or false, not {value!r}")
        if isinstance(known[name], float) and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ValueError(f"the loss's option {name} must be a number, not {value!r}")
    try:
        config.recipe.criterion(config.recipe.head(2, 2), **dict(config.loss_options))
    except TypeError as error:
        raise ValueError(f"the loss {config.loss} does not accept {dict(config.loss_options)}: {error}") from None


def train(args):
    """Run the command ``train``."""
    from .engine.device import raise_malloc_thresholds
    from .sweeps import spread, table

    if int(os.environ.get("WORLD_SIZE", 1)) > 1:  # started by torchrun
        from .papers.distributed import fit
    else:
        from .training import fit
    raise_malloc_thresholds()
    run = fit(config_from(args), args.runs, args.device)
    if os.environ.get("RANK", "0") != "0":
        return  # one of several processes prints
    warn_of_collapse([run])
    print(f"{run.label} on {run.config.data}, seed {run.config.seed}: {run.path}")
    for name, values in table({run.config.loss: [run]}).items():
        print(f"  {name:<28} {spread(list(values)):>6} %")


def warn_of_collapse(trained):
    """Warn of trainings of a loss that can collapse, such as MELN as its code has it, that ended near guessing."""
    collapsed = [run for run in trained if run.config.recipe.remedy and run.accuracy < 2 / len(run.classes)]
    for label in dict.fromkeys(run.label for run in collapsed):
        runs = [run for run in collapsed if run.label == label]
        ended = ", ".join(f"{100 * run.accuracy:.1f} % (seed {run.config.seed})" for run in runs)
        logging.getLogger("ood_helpers").warning(
            f"warning: {label} collapsed: it ended with an accuracy of {ended}, and guessing has "
            f"{100 / len(runs[0].classes):.0f} %. Try --loss-options {runs[0].config.recipe.remedy.lower()}; "
            "notebook 04 explains why."
        )


def for_terminal(cells):
    """Blocks of a table of text that fit a terminal; columns are named "quantity set" or (quantity, part)."""
    pairs = [column if isinstance(column, tuple) else column.rpartition(" ")[::2] for column in cells]
    width, blocks = shutil.get_terminal_size().columns, []
    for quantity in dict.fromkeys(quantity for quantity, _ in pairs):
        block = cells.iloc[:, [k for k, pair in enumerate(pairs) if pair[0] == quantity]]
        block = block.set_axis([part for first, part in pairs if first == quantity], axis=1).fillna("")
        blocks.append(f"{quantity or 'all images'}, %\n{block.to_string(line_width=width)}")
    return "\n\n".join(blocks)


def table(args):
    """Run the command ``table``."""
    from .engine.device import raise_malloc_thresholds
    from .engine.files import atomic_write
    from .figures import folder
    from .papers.cluster import cluster

    raise_malloc_thresholds()
    with cluster(args.backend, args.scheduler):
        data, name, cells, written = paper_table(args) if args.paper else losses_table(args)
    stem = Path(args.out or folder(data)) / name
    for suffix, text in written.items():
        atomic_write(stem.with_suffix(suffix), text)
    # Afterwards, because printing can fail: the reader of a pipe may have closed it.
    print(f"{for_terminal(cells)}\n" if sys.stdout.isatty() else written[".md"], end="")
    print("saved as", *(stem.with_suffix(suffix) for suffix in written))


def losses_table(args):
    """The table of every loss: (data, file name, cells, {suffix: text})."""
    from . import sweeps
    from .papers.tables import to_markdown

    base = config_from(args)
    if given := [f"--{name.replace('_', '-')}" for name in ("loss", "loss_options", "seed") if name in args]:
        raise ValueError(f"the table of all losses takes no {' and no '.join(given)}; train does")
    if args.faithful:
        raise ValueError("--faithful is for a paper's table; leave it out or name a paper")
    base = base.quick() if args.quick else base
    trained = sweeps.compare_losses(base, seeds=args.seeds, runs=args.runs, device=args.device)
    warn_of_collapse([run for group in trained.values() for run in group])
    frame = sweeps.table(trained, positive=args.positive)
    cells = sweeps.summary(frame)
    positive, other = ("ID", "OOD") if args.positive == "id" else ("OOD", "ID")
    note = f"{cells.columns.name}. FPR95: the {other} images taken for {positive} when 95 % of {positive} is accepted."
    rows = frame.rename(index=frame.attrs["labels"]).round(4)
    return (
        trained["softmax"][0].config.data,
        "table_quick" if args.quick else "table",
        cells,
        {".md": f"{to_markdown(cells)}\n\n{note}\n", ".csv": rows.to_csv()},
    )


def paper_table(args):
    """A paper's table: (data, file name, cells, {suffix: text})."""
    from .papers import tables

    if args.positive != "id":
        raise ValueError("a paper's table has ID as the positive class; leave --positive out")
    options = {name: getattr(args, name) for name in ("faithful", "seeds", "quick", "runs", "device")}
    rows = tables.table(args.paper, **options, **config_fields(args))
    name = "_".join(["table", args.paper] + ["faithful"] * args.faithful + ["quick"] * args.quick)
    written = {".md": tables.markdown(rows), ".tex": tables.latex(rows), ".csv": tables.to_csv(rows)}
    return rows.attrs["data"], name, tables.wide(rows)[0], written


def export(args):
    """Run the command ``export``."""
    from .papers.export import export_runs, find_runs

    facts = {"note": args.note} if args.note else {}
    found = find_runs(args.from_runs, args.data)
    size = export_runs(found, args.folder, args.rows, True, args.networks, **facts)
    for run in found:
        print(f"{run.path.name}: accuracy {100 * run.accuracy:.2f} %")
    print(f"{len(found)} runs, {size / 1e6:.1f} MB in {args.folder}; its README.md says how to load them")


def bench(args):
    """Run the command ``bench``."""
    from .bench import scaling, speed
    from .engine.device import pick_device

    device = pick_device(args.device).type
    tasks = speed.TASKS | {"scaling": scaling.measure}
    if unknown := [name for name in args.tasks if name not in tasks]:
        raise ValueError(f"unknown benchmark {unknown[0]!r}; known: {', '.join(tasks)}")
    record = {"machine": speed.machine(device), "rows": []}
    print(json.dumps(record["machine"]))
    for name in args.tasks or tasks:
        options = {}
        if name == "train" and args.data:
            from .data.sets import load

            options = dict(zip(("images", "labels"), load(args.data).split("train")))
        try:
            rows = tasks[name](device, **options)
        except (ImportError, FileNotFoundError) as error:
            if name in args.tasks:
                raise
            print(f"{name} is left out: {error}")
            continue
        print(speed.format_rows(rows))
        record["rows"] += rows
        if args.json:  # after every task: a later one may fail
            Path(args.json).write_text(json.dumps(record, indent=1) + "\n")


def add_training(parser):
    """Add the options of every training."""
    parser.add_argument("--device", default="auto", metavar="NAME", help=DEVICE)
    parser.add_argument("--runs", default="runs", metavar="DIR", help="folder of trained runs (default: runs)")
    add_config(parser)


def add_table(parser):
    """Add the options of ``table``."""
    text = "a paper's table beside what it published, by its protocol; without one, the six papers' losses (seven with "
    text += "DisMax-dagger) by the lesson's"
    parser.add_argument("paper", nargs="?", choices=PAPERS, help=text)
    add_training(parser)
    parser.add_argument("--quick", action="store_true", help="two epochs, few images: does it run?")
    parser.add_argument("--faithful", action="store_true", help="choose on the test split as the authors do")
    parser.add_argument(
        "--seeds", type=at_least_one, default=5, metavar="N", help="trainings of each loss (default: 5)"
    )
    parser.add_argument(
        "--backend", default="local", metavar="NAME", help="where the trainings run: local (default), dask or ray"
    )
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of the Dask or Ray cluster; started here without one")
    parser.add_argument("--positive", choices=("id", "ood"), default="id", help="positive class of FPR95 (default: id)")
    parser.add_argument("--out", metavar="DIR", help="where the table goes (default: figures/<data>)")


def add_export(parser):
    """Add the options of ``export``."""
    parser.add_argument(
        "from_runs", metavar="RUNS", help="folder of trained runs, all of whose finished runs on DATA are taken"
    )
    parser.add_argument("folder", metavar="FOLDER", help="where they go, such as figures/cifar10")
    parser.add_argument("--data", default="cifar10", help="the ID set")
    text = "images of each set but the test split (default: 2000)"
    parser.add_argument("--rows", type=at_least_one, default=2000, metavar="N", help=text)
    parser.add_argument("--networks", nargs="+", metavar="LOSS", help="losses whose network is added; by default all")
    parser.add_argument("--note", help="a sentence for the README, such as what else the machine did")


def add_bench(parser):
    """Add the options of ``bench``."""
    text = "train, heads, metrics, explorer or scaling; by default all"
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=text)
    parser.add_argument("--device", default="auto", metavar="NAME", help=DEVICE)
    parser.add_argument("--json", metavar="FILE", help="save the numbers")
    parser.add_argument("--data", metavar="NAME", help="images to train on (default: photographs of scikit-learn)")


EXAMPLES = """
examples:
  python -m ood_helpers train --loss logitnorm --loss-options temperature=0.3
  python -m ood_helpers table --seeds 3
  python -m ood_helpers table dismax --quick --seeds 2

A training is saved in --runs and found there the next time; one that was interrupted goes on where it stopped.
"""


def make_parser():
    """Make the parser of all commands."""
    options = {"formatter_class": argparse.RawDescriptionHelpFormatter, "epilog": EXAMPLES}
    top = Parser(prog="python -m ood_helpers", description=__doc__, **options)
    top.add_argument("--version", action="version", version=f"ood_helpers {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND", dest="command", parser_class=Parser)
    for function, add_options, arguments, text in (
        (train, add_training, "", "train one configuration and print its results"),
        (table, add_table, "[PAPER] ", "train every loss with several seeds and print mean and deviation"),
        (export, add_export, "RUNS FOLDER ", "write trained runs into a folder small enough to commit"),
        (bench, add_bench, "[TASK ...] ", "measure speed against what people do today"),
    ):
        usage = f"python -m ood_helpers {function.__name__} {arguments}[options]"
        command = commands.add_parser(function.__name__, help=text, description=text, usage=usage, **options)
        command.set_defaults(run=function)
        add_options(command)
    return top


def main(arguments=None):
    """Run the command line; an expected error is one sentence."""
    args = make_parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("ood_helpers").setLevel(logging.INFO)  # how images are converted
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # Windows' encodings lack τ; stderr does so by default
    try:
        args.run(args)
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        sys.exit(f"ood_helpers: {with_suggestion(str(error))}")
    except KeyboardInterrupt:
        sys.exit("ood_helpers: interrupted; the same command resumes from the last checkpoint")


if __name__ == "__main__":
    main()
