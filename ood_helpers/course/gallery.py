"""One page with all figures, ``figures/README.md``: pictures, captions, files and the commands that draw them."""

import json
import re
from pathlib import Path
from typing import Any

from ..figures import root, write_if_changed

HEAD = """# Figures

Each figure as PDF for papers and as PNG, with a JSON file of the settings, seeds, versions and the command that drew
it. `make figures` writes this page too.
"""


def write_gallery(figures: str | Path | None = None, notebooks: str | Path | None = None) -> Path:
    """Write ``README.md`` into the folder of all figures, by default that of the repository, and return its path.

    A figure's caption is the *Finding* that follows it in its notebook; every figure has its description in words.
    """
    figures = Path(figures or root() / "figures")
    findings = _findings(Path(notebooks or root() / "notebooks"))
    lines, sources = [HEAD], {}
    for path in sorted(figures.glob("*/*.json")):
        metadata = json.loads(path.read_text(encoding="utf-8"))
        if path.with_suffix(".png").exists() and "figure" in metadata:
            sources.setdefault((path.parent.name, metadata["notebook"] or ""), []).append((path, metadata))
    for (data, notebook), entries in sorted(sources.items()):
        where = f"{data}, notebook {notebook[:2]}" if notebook else data
        made_by = f" from [{notebook}](../notebooks/{notebook}.ipynb)" if notebook else ""
        commands = " and ".join(f"`{command}`" for command in dict.fromkeys(each["command"] for _, each in entries))
        lines.append(f"## {where}\n\nDrawn by {commands}{made_by}.\n")
        lines += [_entry(path, metadata, findings.get(metadata["figure"], "")) for path, metadata in entries]
    target = figures / "README.md"
    write_if_changed(target, "\n".join(lines).encode())
    return target


def _entry(path: Path, metadata: dict[str, Any], finding: str) -> str:
    name, alt = f"{path.parent.name}/{path.stem}", _as_text(metadata.get("alt", ""))
    files = ", ".join(f"[{kind.upper()}]({name}.{kind})" for kind in ("pdf", "png", "json"))
    return f"### {path.stem}\n\n![{alt}]({name}.png)\n\n{finding} ({files})\n"


def _as_text(text: str) -> str:
    """Escape what Markdown or HTML would read as markup; names of classes and sets are text."""
    return re.sub(r"([\\`*_{}\[\]<>|$!#])", r"\\\1", " ".join(text.split()))


def _findings(notebooks: Path) -> dict[str, str]:
    """Return for each figure the first paragraph that begins with **Finding**, after it and in its part of the section.

    A part ends at the next figure, the next heading and the next bet: what is found after them is about other things.
    """
    found: dict[str, str] = {}
    for path in sorted(notebooks.glob("*.ipynb")):
        saved: list[str] = []
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "code":
                saved = re.findall(r'save_figure\(\s*\w+,\s*"(\w+)"', source) or saved
            else:
                for paragraph in source.split("\n\n"):
                    if paragraph.startswith(("## ", "**Bet.")):
                        saved = []
                    if paragraph.startswith("**Finding"):
                        found |= {name: " ".join(paragraph.split()) for name in saved if name not in found}
    return found
