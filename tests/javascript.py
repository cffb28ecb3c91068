"""The widgets' JavaScript in Node, for tests that compare it with Python."""

import json
import os
import shutil
import subprocess

import pytest

from ood_helpers.widgets import page

needs_node = pytest.mark.skipif(not shutil.which("node") and not os.environ.get("CI"), reason="needs node")


def evaluate(modules, expression, cases):
    """The value of a JavaScript expression of ``c`` for each case, computed by the modules that the browser gets."""
    script = page.bundle(*modules) + (
        "import { readFileSync } from 'node:fs';\n"
        f"const out = JSON.parse(readFileSync(0, 'utf8')).map((c) => ({expression}));\n"
        "process.stdout.write(JSON.stringify(out));"
    )
    command = ["node", "--input-type=module", "-e", script]
    done = subprocess.run(command, input=json.dumps(cases), text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
