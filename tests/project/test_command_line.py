"""The command line: options, what it prints and writes, and wrong input in one sentence."""

import io
import json
import subprocess
import sys
from dataclasses import fields
from types import SimpleNamespace

import pandas as pd
import pytest

import ood_helpers
from ood_helpers import __main__ as command
from ood_helpers.bench import speed
from ood_helpers.config import FIELD_TYPES, Config
from ood_helpers.engine import options
from ood_helpers.losses import BEYOND, RECIPES
from ood_helpers.papers import PAPERS

QUICK = ["--epochs", "1", "--device", "cpu", "--ood", "near", "noise"]


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["table", "--help"]])
def test_help_needs_no_torch_and_has_an_example(arguments):
    code = "import sys; from ood_helpers.__main__ import main\n"
    code += f"try: main({arguments})\nfinally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("False\n") and "python -m ood_helpers train --loss logitnorm" in done.stdout


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        command.main(["--version"])
    assert capsys.readouterr().out == f"ood_helpers {ood_helpers.__version__}\n"


def test_names_in_the_help_agree_with_the_tables():
    assert set(command.PAPERS) == set(PAPERS)
    kinds = {name: kind for name, (kind, _) in options.OPTIONS.items()}
    assert kinds == FIELD_TYPES


@pytest.mark.parametrize("data", ["digits", "cifar10", "cifar100"])
def test_defaults_in_the_help_are_those_of_a_training(data):
    config = Config(data=data, known=6 if data == "digits" else None).resolved()
    for field in fields(Config):
        text = options.OPTIONS[field.name][1] + options.default_text(field.name)
        value = getattr(config, field.name)
        if isinstance(value, (int, float)) and "(default:" in text and field.name not in ("seed", "known"):
            assert f"{value}".lower() in text, field.name


def test_every_loss_option_in_the_help_is_taken():
    for loss, option in (
        ("logitnorm", {"temperature": 0.3}),
        ("meln", {"positive_temperature": True}),
        *((loss, {"entropic_scale": 7}) for loss in ("isomax", "isomaxplus", "dismax")),
    ):
        assert next(iter(option)) in options.OPTIONS["loss_options"][1]
        command.check_loss_options(Config(loss=loss, loss_options=option))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("bench trian", f"unknown benchmark 'trian'; known: {', '.join(speed.TASKS)}, scaling. Did you mean train?"),
        ("table --backend slurm", "unknown backend 'slurm'; known: local, dask, ray"),
        ("train --device gpu", "unknown device 'gpu'; use auto, cpu, cuda or cuda:1"),
    ],
)
def test_a_wrong_choice_is_one_sentence(arguments, message):
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments.split())
    assert stopped.value.code == f"ood_helpers: {message}"


def test_a_table_has_at_least_one_training(capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["table", "--seeds", "0"])
    assert stopped.value.code == 2 and "'0' is not a whole number from 1" in capsys.readouterr().err


@pytest.mark.parametrize("rows", ["0", "-5"])
def test_an_export_has_at_least_one_image_of_each_set(rows, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["export", "runs", "folder", f"--rows={rows}"])
    assert stopped.value.code == 2 and f"'{rows}' is not a whole number from 1" in capsys.readouterr().err


class ClosedPipe(io.StringIO):
    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("stdout", [io.TextIOWrapper(io.BytesIO(), "cp1252"), ClosedPipe()], ids=["cp1252", "pipe"])
def test_a_table_is_saved_in_utf_8_wherever_it_is_printed(stdout, tmp_path, monkeypatch):
    written = {".md": "| LogitNorm (τ 0.3) |\n", ".csv": "τ\n"}
    monkeypatch.setattr(command, "losses_table", lambda args: ("digits", "table", None, written))
    monkeypatch.setattr(sys, "stdout", stdout)
    try:
        command.main(["table", "--out", str(tmp_path)])
    except SystemExit as stopped:
        assert stopped.code == "ood_helpers: [Errno 32] Broken pipe"
    else:
        stdout.flush()
        assert rb"| LogitNorm (\u03c4 0.3) |" in stdout.buffer.getvalue()
    assert {path.suffix: path.read_bytes().decode("utf-8") for path in tmp_path.iterdir()} == written


@pytest.mark.parametrize("name", ["train", "table"])
def test_help_is_complete(name, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main([name, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert all(f"--{field.name.replace('_', '-')}" in text for field in fields(Config)) and "--runs" in text


def test_train_and_table_from_the_command_line(tmp_path, capsys):
    common = ["--data", "digits", *QUICK, "--runs", str(tmp_path / "runs")]
    command.main(["train", *common, "--loss", "meln", "--seed", "7", "--loss-options", "positive_temperature=true"])
    printed = capsys.readouterr().out
    assert "MELN" in printed and "seed 7" in printed and "FPR95 (ID positive) near" in printed
    assert [path.name.rsplit("-", 1)[0] for path in (tmp_path / "runs").glob("[!.]*")] == [
        "digits-cnn-meln-positive_temperatureTrue-seed7"
    ]
    command.main(["table", *common, "--seeds", "2", "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert len([line for line in printed.splitlines() if line.startswith("| ")]) == 8  # a header and seven recipes
    assert (tmp_path / "out" / "table.md").read_text() in printed
    assert "n = 2" in printed and "OOD images taken for ID when 95 % of ID is accepted" in printed
    frame = pd.read_csv(tmp_path / "out" / "table.csv")
    assert len(frame) == 7 * 2 and set(frame["seed"]) == {0, 1} and frame["AUROC noise"].between(0, 100).all()


def test_a_quick_table_of_all_losses_trains_quick_configurations(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("ood_helpers.sweeps.fit_all", lambda configs, *_: asked.extend(configs) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command.main(["table", "--data", "cifar10", "--quick", "--runs", str(tmp_path)])
    assert asked and {(config.epochs, config.limit) for config in asked} == {(2, 128)}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--seed 3", "the table of all losses takes no --seed; train does"),
        (
            "--loss-options temperature=0.3 --loss logitnorm",
            "the table of all losses takes no --loss and no --loss-options; train does",
        ),
        ("--faithful", "--faithful is for a paper's table; leave it out or name a paper"),
        ("openood --positive ood", "a paper's table has ID as the positive class; leave --positive out"),
    ],
)
def test_an_option_that_a_table_does_not_have_is_refused(arguments, message, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        command.main(["table", *arguments.split(), "--quick", "--device", "cpu", "--runs", str(tmp_path)])
    assert stopped.value.code == f"ood_helpers: {message}" and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--loss softmx", "unknown loss 'softmx'; known: softmax, logitnorm, meln, "),
        ("--data digit", "unknown image set 'digit'"),
        ("--model resnet19", "unknown model 'resnet19'; known: cnn"),
        ("--ood leters", "leters"),
        ("--loss logitnorm --loss-options temp=3", "unknown option 'temp' of the loss logitnorm; known: temperature"),
        ("--loss logitnorm --loss-options temperature=abc", "temperature must be a number, not 'abc'"),
        ("--loss meln --loss-options margin_on=nothing", "nothing"),
        ("--loss meln --loss-options positive_temperature=no", "positive_temperature must be true or false, not 'no'"),
        ("--loss meln --loss-options positive_temperature=0", "positive_temperature must be true or false, not 0"),
        ("--loss-options temperature=3", "unknown option 'temperature' of the loss softmax; known: none"),
        ("--schedule foo", "unknown schedule 'foo'; known: cosine, steps"),
    ],
)
def test_a_typo_is_one_sentence(arguments, message, tmp_path):
    for name in ("train", "table"):
        with pytest.raises(SystemExit) as stopped:
            command.main([name, *arguments.split(), "--epochs", "1", "--device", "cpu", "--runs", str(tmp_path)])
        assert message in str(stopped.value) and "\n" not in str(stopped.value)


def test_a_wrong_name_is_one_line_and_no_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "ood_helpers", "train", "--loss", "softmx", "--runs", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and not done.stdout
    assert done.stderr == (
        f"ood_helpers: unknown loss 'softmx'; known: {', '.join([*RECIPES, *BEYOND])}. Did you mean softmax?\n"
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("trian", "Did you mean train?"),
        ("train --epohcs 2", "unrecognized arguments: --epohcs 2. Did you mean --epochs?"),
        ("train --epochs 2.5", "argument --epochs: invalid int value: '2.5'; see --help"),
        ("train --seed -1", "argument --seed: '-1' is not a whole number from 0; see --help"),
        ("train --nesterov maybe", "'maybe' is neither true nor false"),
        ("train --loss-options temperature", "is not of the form name=value"),
        ("table logitnrm", "Did you mean logitnorm?"),
        ("table --positive odd", "Did you mean ood?"),
    ],
)
def test_a_wrong_option_is_one_line_without_the_usage(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(arguments.split())
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1 and "usage" not in printed


@pytest.mark.parametrize("missing", ["playwright", "chromium"])
def test_a_benchmark_without_a_browser_leaves_the_explorer_out(missing, tmp_path, monkeypatch, capsys):
    def row(device):
        return [{"task": "task", "alternative": "ours", "ms": 1.0, "ratio": 1.0, "peak": None}]

    def fail(device):
        raise FloatingPointError("the last one fails")

    tasks = dict.fromkeys(("train", "heads", "metrics"), row) | {"explorer": speed.TASKS["explorer"]}
    monkeypatch.setattr(speed, "TASKS", tasks)
    monkeypatch.setattr(speed, "machine", lambda device: {})
    monkeypatch.setattr("ood_helpers.bench.scaling.measure", fail)
    if missing == "playwright":
        monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.delenv("CHROMIUM", raising=False)
    with pytest.raises(SystemExit, match="the last one fails"):
        command.main(["bench", "--device", "cpu", "--json", str(tmp_path / "rows.json")])
    printed = capsys.readouterr().out
    assert f"explorer is left out: the measurement needs {missing.title()}: " in printed
    assert len(json.loads((tmp_path / "rows.json").read_text())["rows"]) == 3
    with pytest.raises(SystemExit, match=f"^ood_helpers: the measurement needs {missing.title()}: "):
        command.main(["bench", "explorer", "--device", "cpu"])


def test_a_collapsed_training_is_warned_of(caplog):
    run = SimpleNamespace(config=Config(loss="meln", seed=7), accuracy=0.166, classes=range(6), label="MELN")
    fine = SimpleNamespace(config=Config(loss="meln", seed=3), accuracy=0.977, classes=range(6), label="MELN")
    softmax = SimpleNamespace(config=Config(), accuracy=0.166, classes=range(6), label="Softmax (CE)")
    command.warn_of_collapse([fine, softmax])
    assert not caplog.records
    command.warn_of_collapse([run, fine])
    (record,) = caplog.records
    assert "16.6 % (seed 7)" in record.message and "positive_temperature=true" in record.message


def test_tables_fit_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    sets = ("near", "letters", "patches", "noise", "mean")
    columns = ["accuracy", "ECE", *(f"{q} {name}" for q in ("AUROC", "FPR95 (ID positive)") for name in sets)]
    cells = pd.DataFrame([["100.0 ± 10.0"] * len(columns)] * 7, list("abcdefg"), columns)
    text = command.for_terminal(cells)
    assert max(map(len, text.splitlines())) <= 80
    assert all(text.count(f"{quantity}, %") == 1 for quantity in ("all images", "AUROC", "FPR95 (ID positive)"))
    paper = cells.iloc[:, :3].set_axis([("near AUROC", part) for part in ("ours", "published", "difference")], axis=1)
    assert command.for_terminal(paper).startswith("near AUROC, %\n")
