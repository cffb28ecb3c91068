"""Run the long tests and write what they went through to tests/long_report.md: make test-long."""

import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent


def main():
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *sys.argv[1:]],
            cwd=HERE.parent,
            env=os.environ | {"OOD_LONG": "1", "OOD_REPORT": str(counts)},
        )
        lines = [json.loads(line) for line in counts.read_text().splitlines()] if counts.exists() else []
    if done.returncode:
        sys.exit(done.returncode)
    together = Counter()
    for line in lines:
        together.update({key: value for key, value in line.items() if key in ("kills", "flips", "cases")})
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    text = [
        "# What the long tests went through",
        "",
        f"{datetime.date.today()}, {machine}: {together['kills']:,} kills, {together['flips']:,} flipped bytes and "
        f"{together['cases']:,} generated cases; all survived.",
        "",
        "| test | counts |",
        "|---|---|",
    ]
    for line in lines:
        told = ", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in line.items() if key != "test")
        text.append(f"| {line['test']} | {told} |")
    (HERE / "long_report.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
