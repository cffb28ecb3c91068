"""Models and libraries that you already use: timm, torchvision, Hugging Face, pytorch-ood, OpenOOD, ONNX.

``wrap`` splits any image classifier into features and classifier, and ``collect`` runs it over folders and loaders;
they need no other library. ``pip install 'ood_helpers[bridges]'`` brings the libraries.
"""

from .collect import collect
from .files import load_network, save_network, save_onnx
from .openood import OpenOODNet, openood_postprocessor
from .pytorchood import PytorchOOD, pytorch_ood
from .wrap import Wrapped, wrap

__all__ = [
    "OpenOODNet",
    "PytorchOOD",
    "Wrapped",
    "collect",
    "load_network",
    "openood_postprocessor",
    "pytorch_ood",
    "save_network",
    "save_onnx",
    "wrap",
]
