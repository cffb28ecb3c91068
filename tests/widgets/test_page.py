"""Pages and the bundling of their scripts."""

import json
import re
import subprocess

import numpy as np
import pytest
from javascript import needs_node

from ood_helpers.widgets import ScoreExplorer, page

MODULES = sorted(path.stem for path in page.STATIC.glob("*.js"))


@needs_node
def test_all_modules_fit_into_one_scope(tmp_path):
    """Two equal top-level names or an import that is not resolved would be an error in the reader's browser."""
    bundle = tmp_path / "bundle.mjs"
    bundle.write_text(page.bundle(*MODULES))
    done = subprocess.run(["node", "--check", bundle], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not re.search(r"^(import|export)\b", bundle.read_text(), re.M)


@needs_node
def test_modules_import_only_what_others_export(tmp_path):
    """Node links them as the modules that they are."""
    (tmp_path / "package.json").write_text('{"type": "module"}')
    for path in page.STATIC.glob("*.js"):
        (tmp_path / path.name).write_text(path.read_text())
    script = "".join(f"import './{name}.js';\n" for name in MODULES)
    (tmp_path / "main.js").write_text(script)
    done = subprocess.run(["node", tmp_path / "main.js"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_module_comes_after_those_it_imports_and_once(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "STATIC", tmp_path)
    (tmp_path / "a.js").write_text("export const a = 1;\n")
    (tmp_path / "b.js").write_text('import { a } from "./a.js";\nexport const b = a;\n')
    (tmp_path / "c.js").write_text(
        '// c\nimport {\n  a,\n} from "./a.js";\nimport { b } from "./b.js";\nconst c = a + b;\n'
    )
    code = [line for line in page.bundle("c", "a").splitlines() if line]
    assert code == ["const a = 1;", "const b = a;", "// c", "const c = a + b;"]


def test_a_page_is_small_and_contains_as_many_images_as_fit(tmp_path):
    rng = np.random.default_rng(0)
    images = {
        name: rng.integers(0, 256, (10000, 3, 4, 4), dtype=np.uint8).repeat(8, 2).repeat(8, 3) for name in ("ID", "OOD")
    }
    id_logits, ood_logits = rng.normal(0, 3, (10000, 10)), rng.normal(0, 1, (10000, 10))
    explorer = ScoreExplorer.from_logits(id_logits, ood_logits, images=images)
    content = explorer.to_html(tmp_path / "new" / "page.html").read_text()
    (entry,) = json.loads(re.search(r'json" id="ood-data">(.*?)</script>', content)[1])
    assert len(content) < 2_000_000 and set(entry["sprites"]) == {"ID", "OOD"}
    assert 100 < len(entry["constants"]["meta"]["tiles"]["ID"]) < 10000
    assert "default-src 'none'; script-src 'sha256-" in content and "unsafe" not in content


@pytest.mark.parametrize("renderers", [1, 2])
def test_a_page_contains_each_script_once(renderers, tmp_path):
    explorers = [ScoreExplorer.from_logits(np.eye(3), np.zeros((4, 3))) for _ in range(renderers)]
    content = explorers[0].to_html(tmp_path / "page.html", *explorers[1:]).read_text()
    assert content.count("function renderScoreExplorer(") == content.count("function openPage(") == 1


def test_widgets_of_the_same_data_share_it_in_a_page(tmp_path):
    logits, images = np.random.default_rng(0).normal(size=(500, 4)), np.zeros((500, 1, 8, 8), np.uint8)
    pair = [
        ScoreExplorer.from_logits(logits, logits / 2, images={"ID": images, "OOD": images}, name=name)
        for name in ("a", "a", "b")
    ]
    sizes = [pair[0].to_html(tmp_path / "page.html", *others).stat().st_size for others in ([], pair[1:2], pair[2:])]
    assert sizes[1] < sizes[0] + 1000 < sizes[2] < sizes[0] + 20_000  # another name, but the same logits and images
