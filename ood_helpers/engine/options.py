"""Options of the command line, without importing torch: ``--help`` answers at once."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from ..presets import LAPTOP, PHOTOGRAPHS, STANDARD

PAPERS = ("dismax", "isomaxplus", "logitnorm", "openood", "meln")
DEVICE = "auto (the GPU where there is one), cpu or cuda"
# Every field of Config with its type and what it is; a test compares them.
OPTIONS: dict[str, tuple[Any, str]] = {
    "data": (str, "digits, cifar10, cifar100, svhn, mnist, fashion_mnist, kmnist, or folder:PATH (default: digits)"),
    "loss": (str, "softmax (default), logitnorm, meln, isomax, isomaxplus, dismax, dismax_fpr, ..."),
    "seed": (int, "of the weights and the batches (default: 0)"),
    "model": (str, "cnn, cnn5, airbench, resnet18, resnet34, wrn_40_2, ..."),
    "epochs": (int, "passes over the training images"),
    "batch_size": (int, "images per step"),
    "lr": (float, "learning rate of the network"),
    "momentum": (float, "of SGD (default: 0.9)"),
    "nesterov": (bool, "Nesterov's momentum (default: true)"),
    "weight_decay": (float, "of all weights"),
    "schedule": (str, "of the learning rate: cosine, triangular or steps"),
    "warmup": (float, "share of a triangular schedule in which the rate rises"),
    "milestones": (tuple, "epochs of --schedule steps"),
    "augment": (str, "none, crop_flip, shift_flip or resized_crop"),
    "dropout": (float, "share of features that are dropped (default: 0.0)"),
    "known": (int, "the first so many classes are in-distribution, the others near OOD (default: 6 of the digits)"),
    "fold": (int, "0 to 4, of five stratified folds (default: the set's own test split)"),
    "ood": (tuple, "names of the OOD sets (default: those of the image set)"),
    "loss_options": (
        Any,
        "temperature=0.3 for logitnorm, positive_temperature=true for meln, entropic_scale=7 for "
        "isomax, isomaxplus and dismax; an unknown name lists the loss's options",
    ),
    "head_lr": (float, "learning rate of the classifier (default: the network's; 0.05 for cifar10)"),
    "norm_bias_lr": (float, "learning rate of the batch norms' biases (default: the network's; 12.8 for cifar10)"),
    "ema_decay": (
        float,
        "of the average of the weights that is evaluated and saved; 0: no average (default: 0; 0.99 for cifar10)",
    ),
    "select": (str, "the epoch that is saved: last (default), validation (the most accurate) or test (a leak)"),
    "limit": (int, "at most so many images of each split and set (default: all)"),
    "precision": (str, "auto (default), float32 or bfloat16"),
}


def default_text(name: str) -> str:
    """Describe the default of a field that depends on the image set.

    >>> default_text("batch_size"), default_text("select")
    (' (default: 32; 512 for cifar10, 128 for other photographs)', '')
    """
    small, photographs, large = (settings.get(name) for settings in (LAPTOP, PHOTOGRAPHS, STANDARD))
    if "default" in OPTIONS[name][1] or small is None:
        return ""
    if photographs == large:
        return f" (default: {small}; {large} for photographs)" if small != large else f" (default: {small})"
    return f" (default: {small}; {photographs} for cifar10, {large} for other photographs)"


def parse_value(text: str) -> Any:
    """Read an option's value as int, float, bool or text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


def parse_option(text: str) -> tuple[str, Any]:
    """Parse ``name=value``, an argument of a loss's constructor."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name=value, such as temperature=0.3")
    return name, parse_value(value)


def parse_flag(text: str) -> bool:
    """Parse true or false."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def parse_count(text: str, smallest: int = 0) -> int:
    """Parse a whole number from ``smallest``."""
    if not text.isdecimal() or int(text) < smallest:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {smallest}")
    return int(text)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add an option for each field of Config; what is not given keeps Config's default."""
    kinds: dict[str, dict[str, Any]] = {
        "loss_options": {"nargs": "+", "type": parse_option, "metavar": "NAME=VALUE"},
        "milestones": {"nargs": "+", "type": int, "metavar": "EPOCH"},
        "ood": {"nargs": "+", "metavar": "SET"},
        "nesterov": {"type": parse_flag, "metavar": "true|false"},
        "seed": {"type": parse_count, "metavar": "N"},
    }
    metavars = {int: "N", float: "X", str: "NAME"}
    for name, (kind, text) in OPTIONS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            default=argparse.SUPPRESS,
            help=text.replace("%", "%%") + default_text(name),
            **kinds.get(name, {"type": kind, "metavar": metavars.get(kind)}),
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question about the most similar known name, or the first that contains this one, or nothing.

    >>> did_you_mean("logitnrom", ["softmax", "logitnorm"]), did_you_mean("x", ["softmax"])
    (' Did you mean logitnorm?', '')
    >>> did_you_mean("temp", ["initial_temperature"])
    ' Did you mean initial_temperature?'
    """
    known = list(known)
    similar = difflib.get_close_matches(name, known, 1) or [each for each in known if len(name) > 2 and name in each]
    return f" Did you mean {similar[0]}?" if similar else ""


def with_suggestion(message: str) -> str:
    """Add a suggestion to an error of the form "unknown ... 'name' ...; known: ..., ...".

    >>> with_suggestion("unknown loss 'softmx'; known: softmax, meln")
    "unknown loss 'softmx'; known: softmax, meln. Did you mean softmax?"
    """
    match = re.fullmatch(r"unknown .*?'([^']*)'.*?; known: (.*)", message, re.S)
    question = did_you_mean(match[1], re.split(r",\s*", match[2])) if match else ""
    return message + (f".{question}" if question else "")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, with a suggestion in place of the usage."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with code 2."""
        options = [option for parser in self._all() for option in parser._option_string_actions]
        if unknown := re.match(r"unrecognized arguments: (-\S*)", message):
            message += "." + did_you_mean(unknown[1].partition("=")[0], options)
        elif choice := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
            message += "." + did_you_mean(choice[1], re.findall(r"\w[\w-]*", choice[2]))
        self.exit(2, f"{self.prog}: {message.removesuffix('.')}{'' if message.endswith('?') else ';'} see --help\n")

    def _all(self) -> list[argparse.ArgumentParser]:
        """Return this parser and those of its commands."""
        groups = [action for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        return [self, *(parser for group in groups for parser in group.choices.values())]
