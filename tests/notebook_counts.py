"""Count what a reader of the notebooks' code meets: python tests/notebook_counts.py prints a table.

Lines of code are those that are neither blank nor comments nor imports. Solutions, which are folded, count for the
length of a cell and of a line only.
"""

import ast
import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
MOST_LINES = {"06": 120, "08": 120}  # per notebook; 90 for all others
MEDIAN, LONGEST, COLUMNS = 6, 15, 100


@dataclass
class Counts:
    """Counts of one notebook; ``too_wide`` and ``glued`` are the lines at fault."""

    name: str
    cells: list[int]
    solutions: list[int]
    too_wide: list[str]
    glued: list[str]
    faults: list[str] = field(init=False)

    def __post_init__(self) -> None:
        """Compare the counts with their limits."""
        most = MOST_LINES.get(self.name[:2], 90)
        longest = max(self.cells + self.solutions, default=0)
        self.faults = [
            text
            for fault, text in (
                (self.lines > most, f"{self.lines} lines of code, at most {most}"),
                (self.median > MEDIAN, f"median cell of {self.median:g} lines, at most {MEDIAN}"),
                (longest > LONGEST, f"a cell of {longest} lines, at most {LONGEST}"),
                (self.too_wide, f"{len(self.too_wide)} lines of more than {COLUMNS} columns: {self.too_wide[:1]}"),
                (self.glued, f"{len(self.glued)} printed sentences glued from values: {self.glued[:1]}"),
            )
            if fault
        ]

    @property
    def lines(self) -> int:
        """Lines of code without solutions."""
        return sum(self.cells)

    @property
    def median(self) -> float:
        """Lines of the median cell without solutions."""
        return statistics.median(self.cells or [0])


def code_lines(source: str) -> int:
    """Count the lines that are neither blank nor comments nor imports.

    >>> code_lines("import numpy as np\\n\\n# why\\nx = [1,\\n     2]")
    2
    """
    imports = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = enumerate(source.splitlines(), 1)
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") and k not in imports for k, line in lines)


def glued_sentences(source: str) -> list[str]:
    """Return the first line of each ``print`` that puts values into text.

    >>> glued_sentences("print(f'AUROC {auroc:.1f} %')\\nprint('here: no')\\nprint(table)")
    ["print(f'AUROC {auroc:.1f} %')"]
    """
    calls = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "Markdown")
    ]
    formatted = (ast.FormattedValue, ast.BinOp, ast.Mod)
    glued = [
        call
        for call in calls
        if len(call.args) > 1
        or any(isinstance(node, formatted) for argument in call.args for node in ast.walk(argument))
    ]
    return [source.splitlines()[call.lineno - 1].strip() for call in glued]


def count(path: Path) -> Counts:
    """Count one notebook."""
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    solutions, lesson, too_wide, glued = [], [], [], []
    for cell in cells:
        source = "".join(cell["source"])
        is_solution = "solution" in cell["metadata"].get("tags", ())
        if n_lines := code_lines(source):
            (solutions if is_solution else lesson).append(n_lines)
        too_wide += [line.strip() for line in source.splitlines() if len(line) > COLUMNS]
        glued += glued_sentences(source)
    return Counts(path.stem, lesson, solutions, too_wide, glued)


if __name__ == "__main__":
    print(f"{'notebook':32}{'lines':>7}{'cells':>7}{'median':>8}{'longest':>9}{'wide':>6}{'glued':>7}")
    for counts in map(count, sorted(NOTEBOOKS.glob("*.ipynb"))):
        longest = max(counts.cells + counts.solutions, default=0)
        row = f"{counts.lines:7}{len(counts.cells):7}{counts.median:8g}{longest:9}"
        print(f"{counts.name:32}{row}{len(counts.too_wide):6}{len(counts.glued):7}" + "  *" * bool(counts.faults))
    print("* is over a limit of tests/course/test_notebook_style.py")
