"""Interactive widgets for notebooks and for pages without Python."""

from .base import SideBySide, link
from .norm_explorer import NormExplorer
from .playground import Playground
from .score_explorer import ScoreExplorer

__all__ = ["NormExplorer", "Playground", "ScoreExplorer", "SideBySide", "link"]
