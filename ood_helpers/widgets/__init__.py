"""Interactive widgets for notebooks and for pages without Python."""

from .base import SideBySide, link
from .norm_explorer import NormExplorer
from .playground import Playground
from .score_explorer import ScoreExplorer
from .sketchpad import Sketchpad

__all__ = ["NormExplorer", "Playground", "ScoreExplorer", "SideBySide", "Sketchpad", "link"]
