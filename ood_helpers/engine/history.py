"""Features and logits of a network, for whole sets and per epoch for a few images."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ..beyond.collapse import neural_collapse
from ..beyond.risk import risk_coverage
from ..models import Network
from ..scores import compact_float_dtype

N_SNAPSHOTS = 6  # epochs at which more logits are stored, for scrubbing through training
PER_CLASS = 10  # at least so many training images per class are followed, for class means
QUANTILES = (0.1, 0.5, 0.9)


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

    An epoch only stores logits and a few numbers, and most statistics are computed once, at the end, so that following
    costs at most a twentieth of an epoch. After ``N_SNAPSHOTS`` epochs the logits of more images are stored.

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
        if "train" in labels:
            wanted = max(most_tracked, PER_CLASS * (int(labels["train"].max()) + 1))
            self.n_tracked["train"] = min(self.n_snapshot["train"], wanted)
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
        """Store the logits, norms and neural collapse, the mean training loss, the duration and learned scalars."""
        in_snapshot = epoch in self.snapshot_epochs
        features, logits = outputs(self.network, self.images if in_snapshot else self.tracked_images)
        if in_snapshot:
            self.snapshots.append(logits)
            features, logits = features[self.tracked_index], logits[self.tracked_index]
        self.logits.append(logits)
        values = {"epoch": epoch, "loss": loss, "seconds": round(seconds, 4)} | self._of_features(features)
        for name, module, attribute in (
            ("temperature", self.criterion, "temperature"),
            ("margin", self.criterion, "margin"),
            ("scale", self.network.classifier, "distance_scale"),
        ):
            if hasattr(module, attribute):
                values[name] = torch.as_tensor(getattr(module, attribute)).item()
        done = len(self.records["epoch"])
        for name, value in values.items():  # a checkpoint of an older version lacks some names
            self.records.setdefault(name, [None] * done).append(value)

    def _of_features(self, features: Tensor) -> dict:
        """Norms of the features and of the classifier, and neural collapse on the training images."""
        weight = next(p for p in self.network.classifier.parameters() if p.dim() == 2)
        sets = dict(zip(self.n_tracked, features.norm(dim=1).cpu().split(list(self.n_tracked.values()))))
        norms = {name: values.quantile(torch.tensor(QUANTILES)).tolist() for name, values in sets.items()}
        values: dict = {"feature_norm": norms, "classifier_norm": weight.norm().item()}
        if "train" in self.labels:
            of_train = features.split(list(self.n_tracked.values()))[list(self.n_tracked).index("train")]
            labels = self.labels["train"][: self.n_tracked["train"]].to(features.device)
            values |= neural_collapse(of_train, labels, weight)
        return values

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
        history: dict = self.records | {"norm": {}, "confidence": {}, "accuracy": {}, "aurc": {}, "augrc": {}}
        per_epoch = self.records["feature_norm"]
        history["feature_norm"] = {name: [norms and norms[name] for norms in per_epoch] for name in self.n_tracked}
        quantiles = torch.tensor(QUANTILES)
        logits = torch.stack(self.logits).cpu().split(list(self.n_tracked.values()), 1)
        for name, z in zip(self.n_tracked, logits):  # (epochs, images, classes)
            history["norm"][name] = z.norm(dim=2).quantile(quantiles, dim=1).T.tolist()
            history["confidence"][name] = z.softmax(2).amax(2).mean(1).tolist()
            if name in self.labels:
                correct = z.argmax(2) == self.labels[name][: self.n_tracked[name]]
                history["accuracy"][name] = correct.float().mean(1).tolist()
                areas = [risk_coverage(p, right) for p, right in zip(z.softmax(2).amax(2), correct)]
                for area in ("aurc", "augrc"):
                    history[area][name] = [result[area] for result in areas]
        stored = torch.stack(self.snapshots).cpu().numpy()
        stored = stored.astype(compact_float_dtype(stored))
        sets = np.split(stored, np.cumsum(list(self.n_snapshot.values()))[:-1], 1)
        return history, {"epochs": np.array(sorted(self.snapshot_epochs))} | dict(zip(self.n_snapshot, sets))
