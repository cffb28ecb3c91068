"""The command line: options, what it prints and writes, and wrong input in one sentence."""

import subprocess
import sys
from dataclasses import fields

import pandas as pd
import pytest

import ood_helpers
from ood_helpers import __main__ as command
from ood_helpers.bench import speed
from ood_helpers.config import Config
from ood_helpers.papers import PAPERS

QUICK = ["--epochs", "1", "--device", "cpu", "--ood", "near", "noise"]


def test_help_needs_no_torch():
    code = "import sys; from ood_helpers.__main__ import main\n"
    code += "try: main(['--help'])\nfinally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("False\n") and "train" in done.stdout


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        command.main(["--version"])
    assert capsys.readouterr().out == f"ood_helpers {ood_helpers.__version__}\n"


def test_names_in_the_help_agree_with_the_tables():
    assert set(command.PAPERS) == set(PAPERS)
    assert set(command.HELP) <= {field.name for field in fields(Config)}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("bench trian", f"unknown benchmark 'trian'; known: {', '.join(speed.TASKS)}, scaling"),
        ("table --backend slurm", "unknown backend 'slurm'; known: local, dask, ray"),
        ("train --device gpu", "unknown device 'gpu'; use auto, cpu, cuda or cuda:1"),
    ],
)
def test_a_wrong_choice_is_one_sentence(arguments, message):
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments.split())
    assert stopped.value.code == f"ood_helpers: {message}"


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
        "ood_helpers: unknown loss 'softmx'; known: softmax, logitnorm, meln, isomax, isomaxplus, dismax, dismax_fpr\n"
    )
