"""Public leaderboards of OpenOOD v1.5 (July 2025): AUROC of entries with a ResNet and without outlier data."""

from importlib.resources import files

import pandas as pd


def leaderboard(which: str = "near") -> pd.DataFrame:
    """AUROC in percent: a row per method, a column per ID set; NaN where a method has no entry.

    A method is a score, and its training where that is not cross-entropy. Entries come from the benchmark's authors
    and, since March 2025, from the methods'; ``leaderboard.csv`` is a copy of the boards' files.

    Parameters
    ----------
    which : {"near", "far"}
        The mean over near or far OOD sets.

    Examples
    --------
    >>> leaderboard().loc["MSP", "CIFAR-10"]
    np.float64(88.03)
    """
    if which not in ("near", "far"):
        raise ValueError(f"unknown OOD sets {which!r}; known: near, far")
    rows = pd.read_csv(str(files(__package__) / "leaderboard.csv"))
    training = rows["training"].where(rows["training"] != "CrossEntropy", "")
    rows["method"] = (training + " + " + rows["score"]).str.removeprefix(" + ")
    table = rows.pivot(index="method", columns="benchmark", values=f"{which}_auroc")
    return table[rows["benchmark"].unique()]


def ranks(which: str = "near") -> pd.DataFrame:
    """Ranks by :func:`leaderboard`, 1 is the best; of equal entries both have the better rank.

    >>> ranks().loc["SCALE"].astype(int).tolist()
    [46, 9, 4, 8]
    """
    return leaderboard(which).rank(ascending=False, method="min")
