"""The papers' protocols and tables, exported runs, and training on a cluster or over several processes."""

from .comparison import beside_published, comparison_text
from .export import export_runs
from .exported_runs import ExportedRun, load_exported_runs, shipped, trained
from .protocols import PAPERS, systems, systems_of
from .published_values import known_as, published, published_row
from .tables import heading, latex, markdown, rows, table, to_csv

__all__ = [
    "PAPERS",
    "ExportedRun",
    "beside_published",
    "comparison_text",
    "export_runs",
    "heading",
    "known_as",
    "latex",
    "load_exported_runs",
    "markdown",
    "published",
    "published_row",
    "rows",
    "shipped",
    "systems",
    "systems_of",
    "table",
    "to_csv",
    "trained",
]
