"""What colours, lines, markers and names stand for, in every figure and widget; nothing by colour alone."""

from itertools import cycle

import numpy as np

from . import losses

ID, OOD = "#0072B2", "#D55E00"
ID_SETS = ("ID", "train", "validation", "test")
ID_LOOK = {"color": ID, "linestyle": "-", "marker": "o"}
# Several OOD sets share the hue; lightness, line and marker tell them apart.
OOD_LOOKS = (
    {"color": OOD, "linestyle": "--", "marker": "s"},
    {"color": "#7A3500", "linestyle": ":", "marker": "^"},
    {"color": "#F39A55", "linestyle": "-.", "marker": "D"},
    {"color": "#3F1B00", "linestyle": (0, (6, 1, 1, 1, 1, 1)), "marker": "v"},
)
# From Okabe & Ito's and Tol's palettes, distinct for colour-blind readers; blue and vermillion are taken.
LOSS_LOOKS = {
    "softmax": {"color": "#000000", "linestyle": "-", "marker": "o"},
    "logitnorm": {"color": "#009E73", "linestyle": "--", "marker": "s"},
    "meln": {"color": "#E69F00", "linestyle": "-.", "marker": "^"},
    "isomax": {"color": "#56B4E9", "linestyle": ":", "marker": "D"},
    "isomaxplus": {"color": "#332288", "linestyle": (0, (5, 1)), "marker": "v"},
    "dismax": {"color": "#CC79A7", "linestyle": (0, (3, 1, 1, 1)), "marker": "P"},
    "dismax_fpr": {"color": "#882255", "linestyle": (0, (1, 1)), "marker": "X"},
}


def text(name, width=28):
    r"""A class's or a file's name as plain text: `$` starts no formula, one line, and not without end.

    >>> print(text("$cash$\nonly"))
    \$cash\$ only
    """
    name = " ".join(str(name).split())
    return (name if len(name) <= width else name[: width - 1] + "…").replace("$", r"\$")


def looks(names):
    """{name: colour, line, marker, label} of sets, of losses (keys of losses.RECIPES) or of runs' labels.

    Several labels of one loss get darker shades of its colour, and other lines.

    >>> looks(["test", "near"])["test"]["label"], looks(["meln"])["meln"]["label"]
    ('test (ID)', 'MELN')
    """
    from matplotlib.colors import to_hex, to_rgb

    labels, styles = {losses.RECIPES[loss].label: loss for loss in LOSS_LOOKS}, list(LOSS_LOOKS.values())
    ood, found, used = cycle(OOD_LOOKS), {}, []
    for name in names:
        label = losses.RECIPES[name].label if name in LOSS_LOOKS else str(name)
        known = max((known for known in labels if label.startswith(known)), key=len, default=None)
        if known:
            loss, before = labels[known], used.count(labels[known])
            color = to_hex(np.array(to_rgb(LOSS_LOOKS[loss]["color"])) * 0.55**before)
            style = styles[(list(LOSS_LOOKS).index(loss) + 2 * before) % len(styles)]
            found[name] = style | {"color": color, "label": text(label, 60)}
            used.append(loss)
        elif name in ID_SETS:
            found[name] = ID_LOOK | {"label": name if name == "ID" else f"{name} (ID)"}
        else:
            found[name] = next(ood) | {"label": name if name == "OOD" else f"{text(name)} (OOD)"}
    return found
