"""torchvision's networks for images of 224 pixels."""

import pickle

import torch
from torch import nn

from . import import_torchvision


class Centre(nn.Module):
    """The centre of larger images, as a set keeps 256 pixels for random crops; grey becomes colour."""

    def forward(self, x):
        top, left = (max(side - 224, 0) // 2 for side in x.shape[2:])
        return x[:, :, top : top + 224, left : left + 224].expand(-1, 3, -1, -1)


def large(channels, dropout=0.0, *, name):
    """torchvision's network of that name without its classifier, and the number of its features."""
    network = import_torchvision().models.get_model(name)
    inputs, network.fc = network.fc.in_features, nn.Dropout(dropout)
    return nn.Sequential(Centre(), network), inputs


def load_weights(backbone, name):
    """Load torchvision's weights of that name into what ``large`` made.

    They are downloaded once; FileNotFoundError says which file to put where when that fails.
    """
    weights = import_torchvision().models.get_weight(name)
    try:
        state = weights.get_state_dict(check_hash=True, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())
        raise FileNotFoundError(
            f"the weights {name} could not be loaded ({reason}); without a network, fetch {weights.url} "
            f"elsewhere and put it into {torch.hub.get_dir()}/checkpoints"
        ) from error
    backbone[1].load_state_dict({key: value for key, value in state.items() if not key.startswith("fc.")})
