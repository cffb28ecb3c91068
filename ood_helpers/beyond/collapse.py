"""Neural collapse: what the features of the training images do late in training."""

import torch
from torch import Tensor


def neural_collapse(features: Tensor, labels: Tensor, weight: Tensor) -> dict[str, float | None]:
    r"""Measure neural collapse, three numbers that fall to 0 (Papyan, Han and Donoho, PNAS 2020).

    With the class means :math:`\mu_c`, their centred matrix :math:`M = (\mu_c - \bar\mu)_c` and the covariances
    :math:`\Sigma_W` within and :math:`\Sigma_B = M^\top M / C` between classes:

    .. math::
        \mathrm{NC1} = \mathrm{tr}(\Sigma_W \Sigma_B^+) / C, \quad
        \mathrm{NC2} = \Big\lVert \frac{M M^\top}{\lVert M M^\top \rVert_F} - \frac{I - 11^\top / C}{\sqrt{C - 1}}
        \Big\rVert_F, \quad
        \mathrm{NC3} = \Big\lVert \frac{W}{\lVert W \rVert_F} - \frac{M}{\lVert M \rVert_F} \Big\rVert_F

    NC1: images of a class have the same features. NC2: the class means are as far apart as can be, at equal angles.
    NC3: each class weight points to its class mean. NC2 is in the form of Zhu et al., NeurIPS 2021.

    Parameters
    ----------
    features : tensor of shape (N, D)
        Of training images.
    labels : integer tensor of shape (N,)
        Classes without an image are left out.
    weight : tensor of shape (C, D)
        Of the classifier, or its prototypes.

    Returns
    -------
    dict
        ``nc1``, ``nc2``, ``nc3``; None where it is not defined, as when all class means are equal.

    Examples
    --------
    >>> corners = torch.tensor([[0.0, 2.0], [3**0.5, -1.0], [-(3**0.5), -1.0]])
    >>> {name: round(value, 6) for name, value in neural_collapse(corners, torch.arange(3), 7 * corners).items()}
    {'nc1': 0.0, 'nc2': 0.0, 'nc3': 0.0}
    """
    classes, labels = labels.unique(return_inverse=True)
    x, w = features.double(), weight.detach().double()[classes]
    count = len(classes)
    is_in = torch.nn.functional.one_hot(labels, count).T.double()
    means = is_in @ x / is_in.sum(1, keepdim=True)
    centred = means - means.mean(0)
    _, lengths, directions = torch.linalg.svd(centred, full_matrices=False)
    is_used = lengths > lengths[0] * count * torch.finfo(x.dtype).eps
    within = (x - means[labels]) @ directions[is_used].T / lengths[is_used]  # tr(A B^+) from the C - 1 directions of B
    gram, simplex = centred @ centred.T, torch.eye(count, dtype=x.dtype, device=x.device) - 1 / count
    values = {
        "nc1": within.square().sum() / len(x),
        "nc2": (gram / gram.norm() - simplex / (count - 1) ** 0.5).norm() if count > 1 else torch.tensor(torch.nan),
        "nc3": (w / w.norm() - centred / centred.norm()).norm(),
    }
    numbers = {name: value.item() for name, value in values.items()}
    return {name: value if value == value and bool(is_used.any()) else None for name, value in numbers.items()}
