"""The measurement of the explorers' latency; how fast they are is tested by make test-long."""

import numpy as np
import pytest

from ood_helpers.bench import explorer_latency as latency


def test_every_control_is_measured_and_one_that_changes_nothing_is_an_error(chromium, tmp_path):
    page = chromium.new_page()
    page.goto(latency.example(50).to_html(tmp_path / "page.html").as_uri())
    page.wait_for_selector("[data-key=auroc]:not(:empty)")
    times = latency.compare(page, steps=2)
    assert list(times) == ["null", *latency.ALLOWED] and all((values > 0).all() for values in times.values())
    with pytest.raises(RuntimeError, match="1 of 1 key presses on temperature changed nothing"):
        latency.measure(page, "temperature", "canvas[data-key=null-canvas]", steps=1)  # which only "null" changes
    page.close()


def test_the_table_counts_frames_above_the_null_widget():
    times = {"null": np.array([10.0, 10.0]), "epoch": np.array([10.0, 10.0 + 4 * latency.FRAME])}
    rows = latency.table(times).splitlines()
    assert rows[1].split()[:2] == ["null", "10.0"] and rows[2].endswith("+2.0 frames")


def test_a_stroke_and_the_weight_of_the_sketchpads_page_are_measured(chromium, tmp_path, capsys):
    result = latency.bench_strokes(chromium, tmp_path)
    assert 0 < result["median_ms"] <= result["p95_ms"] and result["page_kb"] < 700
    assert "a stroke with 7 networks" in capsys.readouterr().out
