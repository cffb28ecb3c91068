"""What a network answers, once for whole sets of images and after every epoch for a few of them."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ..models import Network
from ..scores import compact_float_dtype

N_SNAPSHOTS = 6  # epochs at which more logits are stored, for scrubbing through training


@torch.inference_mode()
def outputs(network: Network, images: Tensor, batch_size: int = 250) -> tuple[Tensor, Tensor]:
    """Features and logits of a network in evaluation mode.

    Parameters
    ----------
    network : ``models.Network``
    images : uint8 tensor (N, C, H, W)
    batch_size : number of images that are on the network's device at a time

    Returns
    -------
    features (N, D) and logits (N, C), float32, on the network's device
    """
    network.eval()
    device = next(network.parameters()).device
    features, logits = [], []
    for batch in images.split(batch_size):
        features.append(network.features(batch.to(device)).float())
        logits.append(network.classifier(features[-1]).float())
    return torch.cat(features), torch.cat(logits)


class History:
    """Follows the first images of every set through training.

    An epoch only stores logits, and all statistics are computed once, at the end, so that following costs at most a
    twentieth of an epoch. After ``N_SNAPSHOTS`` epochs the logits of more images are stored as they are.

    Parameters
    ----------
    network, criterion : modules that are trained
    sets : images (N, C, H, W) by the name of their set; "train" must be one of them
    labels : labels (N,) by the name of their set, of those that have labels
    epochs : number of epochs
    """

    def __init__(
        self,
        network: Network,
        criterion: nn.Module,
        sets: Mapping[str, Tensor],
        labels: Mapping[str, Tensor],
        epochs: int,
    ):
        self.network, self.criterion, self.labels = network, criterion, labels
        self.snapshot_epochs = {int(epoch) for epoch in np.geomspace(1, epochs, N_SNAPSHOTS - 1).round()} | {0}
        most_tracked = min(max(len(sets["train"]) // 50, 24), 1000)
        most_in_snapshot = max(most_tracked, min(5 * most_tracked, 1000))
        self.n_snapshot = {name: min(len(images), most_in_snapshot) for name, images in sets.items()}
        self.n_tracked = {name: min(count, most_tracked) for name, count in self.n_snapshot.items()}
        device = next(network.parameters()).device
        self.images = torch.cat([images[: self.n_snapshot[name]] for name, images in sets.items()]).to(device)
        starts = np.cumsum([0, *self.n_snapshot.values()])
        tracked = [torch.arange(start, start + count) for start, count in zip(starts, self.n_tracked.values())]
        self.tracked_index = torch.cat(tracked).to(device)
        self.tracked_images = self.images[self.tracked_index]
        self.logits: list[Tensor] = []
        self.snapshots: list[Tensor] = []
        self.records: dict[str, list] = {"epoch": [], "loss": [], "seconds": []}

    def record(self, epoch: int, loss: float | None, seconds: float) -> None:
        """Store the logits, the mean training loss, the duration and the learned scalars of an epoch."""
        if epoch in self.snapshot_epochs:
            self.snapshots.append(outputs(self.network, self.images)[1])
            self.logits.append(self.snapshots[-1][self.tracked_index])
        else:
            self.logits.append(outputs(self.network, self.tracked_images)[1])
        values = {"epoch": epoch, "loss": loss, "seconds": round(seconds, 4)}
        for name, module, attribute in (
            ("temperature", self.criterion, "temperature"),
            ("margin", self.criterion, "margin"),
            ("scale", self.network.classifier, "distance_scale"),
        ):
            if hasattr(module, attribute):
                values[name] = torch.as_tensor(getattr(module, attribute)).item()
        for name, value in values.items():
            self.records.setdefault(name, []).append(value)

    def state_dict(self) -> dict:
        """What has been stored so far, for a checkpoint."""
        return {"logits": self.logits, "snapshots": self.snapshots, "records": self.records}

    def load_state_dict(self, state: dict) -> None:
        """Continue from the ``state_dict`` of another history."""
        for name in ("logits", "snapshots"):
            setattr(self, name, [z.to(self.images.device) for z in state[name]])
        self.records = state["records"]

    def summary(self) -> tuple[dict, dict[str, np.ndarray]]:
        """Statistics per epoch, as lists for JSON, and snapshots.

        Returns
        -------
        ``history`` and ``snapshots`` as documented in ``runs.Run``
        """
        history: dict = self.records | {"norm": {}, "confidence": {}, "accuracy": {}}
        quantiles = torch.tensor([0.1, 0.5, 0.9])
        logits = torch.stack(self.logits).cpu().split(list(self.n_tracked.values()), 1)
        for name, z in zip(self.n_tracked, logits):  # (epochs, images, classes)
            history["norm"][name] = z.norm(dim=2).quantile(quantiles, dim=1).T.tolist()
            history["confidence"][name] = z.softmax(2).amax(2).mean(1).tolist()
            if name in self.labels:
                correct = z.argmax(2) == self.labels[name][: self.n_tracked[name]]
                history["accuracy"][name] = correct.float().mean(1).tolist()
        stored = torch.stack(self.snapshots).cpu().numpy()
        stored = stored.astype(compact_float_dtype(stored))
        sets = np.split(stored, np.cumsum(list(self.n_snapshot.values()))[:-1], 1)
        return history, {"epochs": np.array(sorted(self.snapshot_epochs))} | dict(zip(self.n_snapshot, sets))
