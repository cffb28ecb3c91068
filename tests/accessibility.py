"""An audit of pages by axe-core: WCAG 2.1, levels A and AA."""

import os
from pathlib import Path

import pytest

AXE = Path(__file__).parents[1] / ".venv/node_modules/axe-core/axe.min.js"
AUDITED = AXE.is_file() or bool(os.environ.get("CI"))
needs_axe = pytest.mark.skipif(not AUDITED, reason="make test installs axe-core")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
COLORS = {"type": "rule", "values": ["color-contrast"]}  # all that another color scheme can change
RUN = """([rules, inside]) => axe.run(inside ?? document, { iframes: false, runOnly: rules }).then((result) =>
    [result.passes.length, result.violations.map(({ id, nodes }) => [id, nodes[0].html.slice(0, 200)])])"""


def audit(page, inside=None, rules=RULES):
    """Violations in a page and its frames, or in the elements of one selector, as [rule, the first element]."""
    script = AXE.read_text(encoding="utf-8") + "; 0"  # evaluated from outside, where the page's policy does not reach
    found = []
    for frame in page.frames:
        frame.evaluate(script)
        passed, violations = frame.evaluate(RUN, [rules, inside])
        assert passed > (3 if rules is RULES else 0)  # it has looked at something
        found += violations
    return found
