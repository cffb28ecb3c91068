"""The rows of the benchmark; the times in them depend on the machine."""

import pytest

from ood_helpers.bench import speed


@pytest.fixture(autouse=True)
def known_peaks(monkeypatch):
    """Measuring the machine's peaks takes seconds and changes no row's name."""
    monkeypatch.setattr(speed, "peaks", lambda device: {"float32": 1e9, "bfloat16": 1e9, "copy": 1e9})


def test_alternatives_take_turns_after_a_warm_up_round():
    calls = []
    times = speed.interleave({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=2)
    assert calls == ["a", "b"] * 3
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 2, "b": 2}


def test_a_ratio_is_the_speed_relative_to_the_first_alternative():
    times = {"plain": [2.0, 4.0, 8.0], "fast": [1.0, 1.0, 1.0]}
    plain, fast = speed.make_rows("task", times, n_units=2, work=10, peak=5)
    assert (plain["ms"], plain["ratio"], plain["peak"]) == (2000, 1, 0.5)
    assert (fast["ms"], fast["ratio"], fast["peak"]) == (500, 4, 2)


def test_training_is_compared_with_a_plain_loop():
    rows = speed.train("cpu", names=("resnet18_w16",), batch_size=4, steps=1, rounds=1)
    assert [row["alternative"] for row in rows] == ["plain loop (PIL, float32)", "ood_helpers"]
    assert {row["task"] for row in rows} == {"train resnet18_w16, ms per image"}


def test_the_recipe_for_photographs_is_compared_with_the_usual_one():
    plain, ours = speed.recipe("cpu", rounds=1, steps=1, images=600, batch_size=4, model="cnn", epochs=3)
    assert plain["alternative"] == "plain loop, resnet18, 100 epochs" and plain["ratio"] == 1
    assert ours["alternative"] == "ood_helpers, cnn, 3 epochs" and ours["task"] == "train to 93 % on CIFAR-10"
    assert ours["ratio"] == pytest.approx(plain["ms"] / ours["ms"]) and ours["ratio"] > 100 / 3


def test_long_times_are_in_minutes():
    rows = speed.make_rows("train", {"plain": [1800.0], "fast": [90.0], "step": [0.5]})
    assert [line.split()[1:3] for line in speed.format_rows(rows).splitlines()[1:]] == [
        ["30.0", "min"],
        ["1.5", "min"],
        ["500.000", "ms"],
    ]


def test_heads_and_metrics_are_compared_with_named_alternatives():
    assert [row["alternative"] for row in speed.heads("cpu", sizes=((4, 8, 3),), rounds=1)] == [
        "torch.cdist, softmax, log",
        "ood_helpers",
        "nn.Linear and cross-entropy",
    ]
    rows = speed.detection("cpu", sizes=(50,), rounds=1)
    assert [row["alternative"] for row in rows][:2] == ["scikit-learn's four calls", "ood_helpers"]
    assert float(rows[0]["task"].partition("differs by ")[2].rstrip(")")) < 1e-12
