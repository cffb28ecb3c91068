"""Metrics: from scores to AUROC and FPR95, from probabilities to ECE. Numpy inside; torch tensors are
welcome.

All detection metrics come out of one sort and are exact under ties. FPR95 is two metrics: which class counts
as positive changes it (42.6 % and 89.4 % on one set of scores), so every result says which one it is.
"""

import numpy as np

_CHUNK = 1 << 18  # scores at a time: temporaries stay in the cache
POSITIVES = ("id", "ood")


def _array(values):
    """A numpy array of `values`, which may be a torch tensor on any device and of any precision."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if str(values.dtype) == "torch.bfloat16" else values
    return np.asarray(values)


def vector(scores, which):
    """Scores (N,) as numpy, checked; `which` names them in errors. Half and single precision stay as they
    are."""
    scores = _array(scores)
    if scores.ndim != 1 or scores.size == 0:
        raise ValueError(f"{which} scores must be a non-empty vector, got the shape {scores.shape}")
    if scores.dtype not in (np.float16, np.float32):
        scores = scores.astype(np.float64, copy=False)
    if np.isnan(scores).any():
        raise ValueError(f"{which} scores contain NaN")
    return scores


def _check_positive(positive):
    if positive not in POSITIVES:
        raise ValueError(f"unknown positive class {positive!r}; known: {', '.join(POSITIVES)}")


def _sorted_bits(scores):
    """The bits of float32 scores as uint32, turned so that they order like the numbers, highest first;
    sorted."""
    bits = (scores.astype(np.float32) + np.float32(0)).view(np.uint32)  # -0.0 becomes 0.0
    # The negative numbers' bits already grow downwards; the others' magnitude is flipped.
    np.bitwise_xor(bits, np.uint32(0x7FFFFFFF), out=bits, where=bits < 0x80000000)
    bits.sort()
    return bits


def _sorted_keys(id_scores, ood_scores):
    """One uint64 per score, from the highest score to the lowest: equal above bit 0 for equal scores, bit 0
    says ID.

    ID and OOD are sorted on their own, in half the bytes, then merged: a stable sort finds the two runs. The
    label fits beside 32 bits of score, so no argsort is needed; a float64 is replaced by its rank.
    """
    n = len(id_scores)
    if np.float64 in (id_scores.dtype, ood_scores.dtype):
        scores = np.concatenate([id_scores, ood_scores], dtype=np.float64)
        np.negative(scores, out=scores)
        scores[:n].sort()
        scores[n:].sort()
        order = np.argsort(scores, kind="stable")
        scores, is_id = scores[order], order < n
        keys = order.view(np.uint64)  # its memory is used again
        keys[0] = 0
        np.cumsum(scores[1:] != scores[:-1], out=keys[1:])
        np.left_shift(keys, 1, out=keys)
        keys |= is_id
        return keys
    keys = np.concatenate([_sorted_bits(id_scores), _sorted_bits(ood_scores)], dtype=np.uint64)
    np.left_shift(keys, 1, out=keys)
    keys[:n] |= np.uint64(1)
    keys.sort(kind="stable")
    return keys


def _operating_points(id_scores, ood_scores):
    """Yield, from the highest threshold to the lowest, (tp, fp): ID and OOD scores at or above each distinct
    score.

    A yield starts with the point that the one before ended with, the first with (0, 0).
    """
    keys = _sorted_keys(id_scores, ood_scores)
    seen, tp, fp = 0, np.zeros(1, np.int64), np.zeros(1, np.int64)
    for i in range(0, len(keys), _CHUNK):
        chunk = keys[i : i + _CHUNK]
        ids = seen + np.cumsum(chunk & np.uint64(1), dtype=np.int64)
        seen = ids[-1]
        values = keys[i : i + _CHUNK + 1] >> np.uint64(1)
        last = np.flatnonzero(values[1:] != values[:-1])  # a threshold cannot stand between equals
        if i + _CHUNK >= len(keys):
            last = np.append(last, len(chunk) - 1)
        tp = np.append(tp[-1:], ids[last])
        fp = np.append(fp[-1:], i + 1 + last - ids[last])
        yield tp, fp


def detection(id_scores, ood_scores, positive="id"):
    """How well scores (N,) and (M,), higher = more in-distribution, tell ID from OOD.

    Returns a dict of fractions in 0..1:

    - auroc: P(ID score > OOD score) + P(equal) / 2, the same for either positive class
    - aupr_in, aupr_out: average precision with ID, or OOD, as the class to find
    - fpr95: false positive rate at the first threshold whose true positive rate is at least 95 %; tnr95 = 1 -
      fpr95. positive="id": the OOD accepted while 95 % of ID is (LogitNorm, IsoMax, DisMax). positive="ood":
      the ID rejected while 95 % of OOD is (OpenOOD, pytorch-ood).
    - detection_accuracy: the best (TPR + TNR) / 2 over all thresholds
    - positive: the convention used

    Infinite scores are fine; NaN and no scores at all raise ValueError.

    >>> result = detection([3.0, 2.0, 2.0], [2.0, 1.0])
    >>> round(result["auroc"], 4), result["fpr95"], result["positive"]
    (0.8333, 0.5, 'id')
    """
    _check_positive(positive)
    id_scores, ood_scores = vector(id_scores, "ID"), vector(ood_scores, "OOD")
    n, m = len(id_scores), len(ood_scores)
    area = best = 0
    aupr_in = aupr_out = 0.0
    fpr_id = fpr_ood = None
    for tp, fp in _operating_points(id_scores, ood_scores):
        found_id, found_ood = np.diff(tp), np.diff(fp)
        area += int((found_ood * (tp[1:] + tp[:-1])).sum())
        best = max(best, int((tp * m - fp * n).max()))
        aupr_in += float((found_id * (tp[1:] / (tp[1:] + fp[1:]))).sum())
        # From below, the OOD are found first: what is not above the threshold before is at or below this one.
        rest_id, rest_ood = n - tp[:-1], m - fp[:-1]
        aupr_out += float((found_ood * (rest_ood / (rest_id + rest_ood))).sum())
        if fpr_id is None and 20 * tp[-1] >= 19 * n:  # in integers, 95 % is exact
            fpr_id = int(fp[np.argmax(20 * tp >= 19 * n)]) / m
        if 20 * rest_ood[0] >= 19 * m:
            fpr_ood = int(rest_id[20 * rest_ood >= 19 * m][-1]) / n
    fpr95 = fpr_id if positive == "id" else fpr_ood
    return {
        "auroc": area / (2 * n * m),
        "aupr_in": aupr_in / n,
        "aupr_out": aupr_out / m,
        "fpr95": fpr95,
        "tnr95": 1 - fpr95,
        "detection_accuracy": 0.5 + best / (2 * n * m),
        "positive": positive,
    }


def curves(id_scores, ood_scores, positive="id"):
    """The ROC and precision-recall curves behind `detection`, one point per distinct score, for plots.

    Returns a dict of arrays: fpr and tpr start at (0, 0) and end at (1, 1); recall and precision start at
    recall 0, where the precision is 1 by convention; and positive. Errors as in `detection`.

    >>> curves([2.0, 1.0], [1.0, 0.0])["tpr"].tolist()
    [0.0, 0.5, 1.0, 1.0]
    """
    _check_positive(positive)
    id_scores, ood_scores = vector(id_scores, "ID"), vector(ood_scores, "OOD")
    if positive == "ood":
        id_scores, ood_scores = -ood_scores, -id_scores
    chunks = list(_operating_points(id_scores, ood_scores))
    tp, fp = (np.concatenate([c[k][c is not chunks[0] :] for c in chunks]) for k in (0, 1))
    tpr = tp / len(id_scores)
    precision = np.append(1.0, tp[1:] / (tp[1:] + fp[1:]))
    return {"fpr": fp / len(ood_scores), "tpr": tpr, "recall": tpr, "precision": precision, "positive": positive}


def labelled(rows, labels, what):
    """Float64 rows (N, C) and their labels (N,), checked."""
    rows, labels = _array(rows).astype(np.float64), _array(labels)
    if rows.ndim != 2 or labels.shape != rows.shape[:1] or rows.size == 0:
        raise ValueError(f"{what} must be (N, C) and labels (N,), got {rows.shape} and {labels.shape}")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= rows.shape[1]:
        raise ValueError(f"labels must be integers in 0..{rows.shape[1] - 1}")
    if np.isnan(rows).any():
        raise ValueError(f"{what} contain NaN")
    return rows, labels


def reliability(probabilities, labels, bins=15):
    """Mean confidence and accuracy in equal bins of the top probability, for reliability diagrams and `ece`.

    Returns a dict of arrays (bins,): confidence, accuracy (NaN where a bin is empty) and count.
    Bins are open below and closed above, as in Guo et al., ICML 2017.

    >>> reliability([[0.9, 0.1], [0.8, 0.2]], [0, 1], bins=2)["accuracy"].tolist()
    [nan, 0.5]
    """
    probabilities, labels = labelled(probabilities, labels, "probabilities")
    if probabilities.min() < 0 or probabilities.max() > 1 + 1e-6:
        raise ValueError("probabilities must be in 0..1; pass softmax(logits)")
    top, right = probabilities.max(1), probabilities.argmax(1) == labels
    which = np.digitize(top, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    count, confidence, accuracy = (np.bincount(which, w, bins) for w in (None, top, right))
    empty = np.where(count, count, np.nan)
    return {"confidence": confidence / empty, "accuracy": accuracy / empty, "count": count}


def ece(probabilities, labels, bins=15):
    """Expected calibration error: sum over bins of count / N * |accuracy - confidence| (Naeini et al., AAAI
    2015).

    >>> round(ece([[0.9, 0.1], [0.8, 0.2]], [0, 1]), 4)
    0.45
    """
    r = reliability(probabilities, labels, bins)
    return float(np.nansum(r["count"] * np.abs(r["accuracy"] - r["confidence"])) / r["count"].sum())


def nll(logits, labels):
    """Mean negative log-likelihood of the labels, mean(logsumexp(z) - z_y), in nats.

    >>> round(nll([[0.0, 0.0]], [1]), 4)
    0.6931
    """
    logits, labels = labelled(logits, labels, "logits")
    logits -= logits.max(1, keepdims=True)
    return float((np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]).mean())


def accuracy(logits, labels):
    """The fraction of labels that the largest logit names.

    >>> accuracy([[2.0, 1.0], [2.0, 1.0]], [0, 1])
    0.5
    """
    logits, labels = labelled(logits, labels, "logits")
    return float((logits.argmax(1) == labels).mean())
