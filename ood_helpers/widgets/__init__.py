"""Interactive widgets for notebooks and for pages without Python."""

from .base import SideBySide, link
from .norm_explorer import NormExplorer
from .picker import Picker
from .playground import Playground
from .score_explorer import ScoreExplorer
from .sketchpad import Sketchpad

__all__ = ["NormExplorer", "Picker", "Playground", "ScoreExplorer", "SideBySide", "Sketchpad", "link"]
