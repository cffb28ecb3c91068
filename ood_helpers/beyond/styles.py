"""Colors, lines, markers and labels of the losses in ``losses.BEYOND``; ``plots.styles`` uses them."""

from typing import Any

BEYOND_STYLES: dict[str, dict[str, Any]] = {
    "elogitnorm": {"color": "#117733", "linestyle": (0, (8, 2)), "marker": "<", "label": "ELogitNorm"},
    "t2fnorm": {"color": "#44AA99", "linestyle": (0, (8, 2, 2, 2)), "marker": ">", "label": "T2FNorm"},
    "logitclip": {"color": "#999933", "linestyle": (0, (4, 2)), "marker": "p", "label": "LogitClip"},
    "mbls": {"color": "#AA4499", "linestyle": (0, (4, 2, 1, 2)), "marker": "h", "label": "MbLS"},
    "label_smoothing": {"color": "#777777", "linestyle": (0, (2, 2)), "marker": "*", "label": "Label smoothing"},
    "focal": {"color": "#CC6677", "linestyle": (0, (6, 1, 2, 1)), "marker": "d", "label": "Focal loss"},
    "outlier_exposure": {"color": "#B8A000", "linestyle": (0, (1, 2)), "marker": "8", "label": "Outlier exposure"},
}
BEYOND_SCORE_LABELS = {
    "gen": "GEN",
    "p_norm": "largest logit / norm",
    "react": "ReAct",
    "scale": "SCALE",
    "ash_s": "ASH-S",
    "fdbd": "fDBD",
    "nci": "NCI",
    "vim": "ViM",
    "neco": "NECO",
    "max_cosine": "largest cosine",
    "feature_norm": "norm of the features",
    "mahalanobis_pp": "Mahalanobis++",
    "relative_mahalanobis": "relative Mahalanobis",
}
