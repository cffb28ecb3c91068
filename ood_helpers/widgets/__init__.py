"""Interactive widgets for notebooks and for pages without Python."""

from .base import link
from .explorers import NormExplorer, Playground, ScoreExplorer
from .side_by_side import Beside

__all__ = ["Beside", "NormExplorer", "Playground", "ScoreExplorer", "link"]
