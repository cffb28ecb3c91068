"""The live explorers of the site, and which of their pages shows a widget that a notebook has saved."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from .. import figures

SHARED = ("ood", "epoch", "target", "positive")  # traits that two explorers side by side share

Live = dict[str, tuple[str, list[Any]]]  # page name -> title, widgets


class Explorer(NamedTuple):
    """Where a live explorer is: the title of its page and its address, with the state after #."""

    title: str
    address: str


def page_for(states: list[dict[str, Any]], live: Live) -> str | None:
    """Return the page that shows saved widgets: of the same kinds, with all OOD sets that they and their steps have.

    Parameters
    ----------
    states : list of dict
        What ``Widget.saved_state`` gave, for one widget or for several side by side.
    live : dict
        What ``live_explorers`` gives.

    Returns
    -------
    str or None
        None where there is no such page: a widget of other data is shown as its picture.
    """

    def sets_of(saved: dict[str, Any]) -> set[str]:
        steps = [step["state"] for step in saved.get("steps", ())]
        return {*saved.get("sets", ()), *(state["ood"] for state in [saved["state"], *steps] if "ood" in state)}

    for name, (_, widgets) in live.items():
        same_kinds = [widget.page for widget in widgets] == [saved["page"] for saved in states]
        if same_kinds and all(sets_of(saved) <= {*w.choices.get("ood", ())} for saved, w in zip(states, widgets)):
            return name
    return None


def address(states: list[dict[str, Any]], runs: list[str]) -> str:
    """Return the part of a page's address after # that opens it in the state of saved widgets.

    Parameters
    ----------
    states : list of dict
        What ``Widget.saved_state`` gave, for one widget or for several side by side.
    runs : list of str
        Names of the runs on the page. There, one of several trainings of a loss is named with its seed; in the
        notebook a single one is not.

    Examples
    --------
    >>> address([{"state": {"run": "IsoMax", "score": "msp"}}], ["Softmax (CE)", "IsoMax, seed 0"])
    'run=IsoMax%2C+seed+0&score=msp'
    """
    fragment = {}
    for k, saved in enumerate(states):
        for name, value in names_on_page(saved["state"], runs).items():
            if value is not None:
                fragment[f"{k}.{name}" if k else name] = str(value).lower() if isinstance(value, bool) else value
    return urlencode(fragment)


def names_on_page(state: dict[str, Any], runs: list[str]) -> dict[str, Any]:
    """A saved state with the name that its run has on the page, or without it if the run is not there."""
    found = [run for run in runs if _same_run(run, state.get("run", ""))]
    return {name: found[0] if name == "run" else value for name, value in state.items() if name != "run" or found}


def _same_run(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}, seed") or other.startswith(f"{one}, seed")


def live_explorers(runs: str | Path | None = None) -> Live:
    """Return the explorers of the site, from saved runs; missing ones are trained."""
    from .. import papers
    from ..config import Config
    from ..sweeps import compare_losses, fit_all
    from ..widgets import NormExplorer, Playground, ScoreExplorer, Sketchpad, link

    runs = runs or figures.settings().runs
    groups = compare_losses(Config(), ("softmax", "logitnorm"), 3, runs)
    # MELN is drawn on as the variant that learns; as written, its answers are those of a failed training.
    others = [Config(loss="meln", loss_options={"positive_temperature": True})]
    others += [Config(loss=loss) for loss in ("isomax", "isomaxplus", "dismax", "dismax_fpr", "meln")]
    # DisMax's twin: IsoMax+ at the scale that DisMax has at its start
    others.append(Config(loss="isomaxplus", loss_options={"entropic_scale": 10 / math.sqrt(2)}))
    trained = fit_all(others, runs)
    everything = [*groups["softmax"], *groups["logitnorm"], *trained]
    one_each = [groups["softmax"][0], groups["logitnorm"][0], *trained[:5]]
    shipped = papers.shipped("cifar10")
    photographs = [group[0] for group in shipped.values()]  # further seeds have no snapshots, and would double the page

    def pair(runs: list, second: int) -> list:
        """Two explorers, the second with the first LogitNorm."""
        left, right = ScoreExplorer(runs), ScoreExplorer(runs)
        right.run = right.choices["run"][second]
        link(left, right, *SHARED)
        return [left, right]

    return {
        "sketchpad": ("Draw a stranger", [Sketchpad(one_each)]),
        "photographs": ("Scores on photographs", [ScoreExplorer(photographs)]),
        "photographs_pair": ("Two losses on photographs", pair(photographs, 1)),
        "scores": ("Scores of every loss on digits", [ScoreExplorer(everything)]),
        "scores_pair": ("Two losses on digits", pair(everything, len(groups["softmax"]))),
        "norm": ("Norm and direction of one logit vector", [NormExplorer()]),
        "playground": ("A network in the plane", [Playground()]),
    }
