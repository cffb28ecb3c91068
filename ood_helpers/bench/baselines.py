"""The alternatives that the benchmarks compare with: what papers' repositories and other libraries do."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engine.device import raise_malloc_thresholds


class BaselineTrainer:
    """An epoch as in the papers' repositories: transforms of single PIL images, float32, ``item()`` at each step."""

    def __init__(
        self, network: nn.Module, criterion: nn.Module, images: Tensor, labels: Tensor, batch_size: int, device: str
    ) -> None:
        from PIL import Image
        from torchvision import transforms

        transform = transforms.Compose(
            [transforms.RandomCrop(images.shape[-1], 4), transforms.RandomHorizontalFlip(), transforms.PILToTensor()]
        )
        arrays = images.permute(0, 2, 3, 1).numpy()
        pairs: Any = [(array, int(label)) for array, label in zip(arrays, labels)]
        collate = torch.utils.data.default_collate
        self.loader: Any = torch.utils.data.DataLoader(
            pairs,
            batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=4 if device != "cpu" else 0,
            collate_fn=lambda batch: collate([(transform(Image.fromarray(a)).float(), label) for a, label in batch]),
        )
        self.network, self.criterion, self.device = network.to(device), criterion, device
        self.optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)

    def __call__(self) -> None:
        raise_malloc_thresholds(2**26)  # as much as the C library comes to keep by itself
        self.network.train()
        for batch, targets in self.loader:
            loss = self.criterion(self.network(batch.to(self.device)), targets.to(self.device))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            loss.item()


def published_dismax_loss(features: Tensor, prototypes: Tensor, scale: Tensor, targets: Tensor) -> Tensor:
    """Compute DisMax as published: pairwise differences, then the softmax and its logarithm in two steps."""
    features, prototypes = F.normalize(features), F.normalize(prototypes)
    distances = torch.cdist(features, prototypes, compute_mode="donot_use_mm_for_euclid_dist") / 2**0.5
    distances = scale.abs() * distances
    probabilities = (-10 * (distances + distances.mean(1, keepdim=True))).softmax(1)
    return -probabilities[range(len(targets)), targets].log().mean()


def scikit_learn(id_scores: np.ndarray, ood_scores: np.ndarray) -> dict[str, float]:
    """Compute the detection metrics by four calls of scikit-learn."""
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    scores, labels = np.concatenate([id_scores, ood_scores]), np.repeat([1, 0], [len(id_scores), len(ood_scores)])
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    return {
        "auroc": roc_auc_score(labels, scores),
        "fpr95": fpr[np.argmax(tpr >= 0.95)],
        "aupr_in": average_precision_score(labels, scores),
        "aupr_out": average_precision_score(1 - labels, -scores),
    }


def pytorch_ood(id_scores: np.ndarray, ood_scores: np.ndarray) -> dict[str, float]:
    """Compute the detection metrics by pytorch-ood, where a higher score means more OOD."""
    from pytorch_ood.metrics import OODMetrics

    ood_metrics = OODMetrics()
    scores = torch.from_numpy(np.concatenate([-id_scores, -ood_scores]))
    ood_metrics.update(scores, torch.cat([torch.ones(len(id_scores)), -torch.ones(len(ood_scores))]))
    return ood_metrics.compute()
