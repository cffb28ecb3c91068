"""Colors, lines, markers and labels of all figures and widgets.

In-distribution (ID) data is blue, solid and filled, out-of-distribution (OOD) data vermillion, dashed and hatched;
nothing is distinguished by color alone, and neither color has another meaning. Sets are named as in a run: "train",
"validation" and "test" are ID, all others are OOD.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import cycle
from typing import Any

from ..beyond.styles import BEYOND_SCORE_LABELS, BEYOND_STYLES

Style = dict[str, Any]  # keywords of Matplotlib's functions

ID, OOD = "#0072B2", "#D55E00"
ID_SETS = ("ID", "train", "validation", "test")
ID_STYLE: Style = {"color": ID, "linestyle": "-", "marker": "o"}
# Several OOD sets share the hue and differ in lightness, line and marker.
OOD_STYLES: tuple[Style, ...] = (
    {"color": OOD, "linestyle": "--", "marker": "s"},
    {"color": "#7A3500", "linestyle": ":", "marker": "^"},
    {"color": "#F39A55", "linestyle": "-.", "marker": "D"},
    {"color": "#3F1B00", "linestyle": (0, (6, 1, 1, 1, 1, 1)), "marker": "v"},
    {"color": "#B3591E", "linestyle": (0, (1, 2)), "marker": "P"},
    {"color": "#FFC48C", "linestyle": (0, (8, 2)), "marker": "X"},
)
# From the palettes of Okabe & Ito and of Tol, distinct for color-blind readers, without the ID blue and OOD vermillion.
LOSS_STYLES: dict[str, Style] = {
    "softmax": {"color": "#000000", "linestyle": "-", "marker": "o", "label": "Softmax (CE)"},
    "logitnorm": {"color": "#009E73", "linestyle": "--", "marker": "s", "label": "LogitNorm"},
    "meln": {"color": "#E69F00", "linestyle": "-.", "marker": "^", "label": "MELN"},
    "isomax": {"color": "#56B4E9", "linestyle": ":", "marker": "D", "label": "IsoMax"},
    "isomaxplus": {"color": "#332288", "linestyle": (0, (5, 1)), "marker": "v", "label": "IsoMax+"},
    "dismax": {"color": "#CC79A7", "linestyle": (0, (3, 1, 1, 1)), "marker": "P", "label": "DisMax"},
    "dismax_fpr": {"color": "#882255", "linestyle": (0, (1, 1)), "marker": "X", "label": "DisMax†"},
}


SCORE_LABELS = {
    "msp": "MSP",
    "max_logit": "largest logit",
    "energy": "energy",
    "entropy": "negative entropy",
    "min_distance": "minimum distance",
    "mmls": "max-mean logit",
    "mmles": "MMLES",
    "mmleps": "MMLEPS",
    "odin": "ODIN",
    "gradnorm": "GradNorm",
    "mahalanobis": "Mahalanobis",
    "knn": "k nearest neighbors",
} | BEYOND_SCORE_LABELS


def plain_text(name: object, width: int = 28) -> str:
    r"""Format the name of a class or file as a label: on one line, shortened to ``width``, and without formulas.

    >>> print(plain_text("$cash$\nonly"))
    \$cash\$ only
    """
    text = " ".join(str(name).split())
    return (text if len(text) <= width else text[: width - 1] + "…").replace("$", r"\$")


def styles(names: Iterable[str]) -> dict[str, Style]:
    """Return color, line style, marker and label of each name, as keywords for ``ax.plot``.

    Parameters
    ----------
    names : iterable of str
        Sets, losses, or labels of runs, which begin with the label of their loss.
        Variants of one loss get darker shades of its color and other lines; seeds of one variant ("MELN, seed 1")
        share their color and differ in line and marker.

    >>> styles(["test", "near"])["test"]["label"], styles(["meln"])["meln"]["label"]
    ('test (ID)', 'MELN')
    """
    from matplotlib.colors import to_hex, to_rgb

    ood_styles, papers, known = cycle(OOD_STYLES), list(LOSS_STYLES), LOSS_STYLES | BEYOND_STYLES
    result: dict[str, Style] = {}
    variants: dict[str, list[str]] = {}  # of each loss, a name per line that is drawn
    for name in names:
        label = known[name]["label"] if name in known else str(name)
        matches = [loss for loss in known if label.startswith(known[loss]["label"])]
        if matches:
            loss = max(matches, key=lambda match: len(known[match]["label"]))
            drawn = variants.setdefault(loss, [])
            n_before = len(drawn)
            drawn.append(re.sub(r", seed \d+$", "", label))
            n_darker = list(dict.fromkeys(drawn)).index(drawn[-1])
            shade: Any = [channel * 0.55**n_darker for channel in to_rgb(known[loss]["color"])]
            style = known[papers[(list(known).index(loss) + 2 * n_before) % len(papers)] if n_before else loss]
            result[name] = style | {"color": to_hex(shade), "label": plain_text(label, 60)}
        elif name in ID_SETS:
            result[name] = ID_STYLE | {"label": name if name == "ID" else f"{name} (ID)"}
        else:
            result[name] = next(ood_styles) | {"label": name if name == "OOD" else f"{plain_text(name)} (OOD)"}
    return result
