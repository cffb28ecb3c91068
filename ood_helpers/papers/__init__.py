"""The papers' protocols and tables, runs without their weights, and training over several processes."""

from .exported_runs import keep, kept
from .tables import PAPERS, published, rows, systems, table

__all__ = ["PAPERS", "keep", "kept", "published", "rows", "systems", "table"]
