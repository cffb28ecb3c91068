"""The course made of the notebooks: exercises, students' and teachers' versions, slides and the site."""

from .claims import claim
from .exercises import check

__all__ = ["check", "claim"]
