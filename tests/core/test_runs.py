"""Configurations name runs; models have the papers' sizes; tables and the command line say what was measured."""

import html
import re
import subprocess
import sys
from dataclasses import fields, replace

import pytest

from ood_helpers import __main__ as command
from ood_helpers import tables
from ood_helpers.config import Config
from ood_helpers.course.html import markdown


def test_a_configurations_hash_depends_on_every_field():
    base = Config()
    other = {
        "data": "mnist",
        "loss": "meln",
        "seed": 1,
        "model": "resnet18",
        "epochs": 3,
        "batch_size": 7,
        "lr": 0.5,
        "momentum": 0.5,
        "nesterov": False,
        "weight_decay": 0.1,
        "schedule": "steps",
        "milestones": (1,),
        "augment": "crop_flip",
        "dropout": 0.5,
        "known": 5,
        "fold": 1,
        "ood": ("noise",),
        "loss_options": {"temperature": 2.0},
        "head_lr": 0.2,
        "select": "validation",
        "limit": 10,
        "precision": "float32",
    }
    hashes = {field.name: replace(base, **{field.name: other[field.name]}).hash for field in fields(Config)}
    assert len({*hashes.values(), base.hash}) == len(hashes) + 1


def test_defaults_written_out_are_the_same_configuration():
    base = Config()
    spelled = Config(**{field.name: getattr(base, field.name) for field in fields(Config)})
    assert spelled == base and spelled.hash == base.hash
    assert Config(loss="logitnorm", loss_options={"temperature": 0.3}) == Config(
        loss="logitnorm", loss_options=[("temperature", 0.3)]
    )


def test_a_hostile_data_name_stays_in_the_runs_folder(tmp_path):
    config = Config(data="folder:/etc/../<img src=x onerror=alert(1)>/../..")
    assert config.folder(tmp_path).parent == tmp_path
    assert re.fullmatch(r"[A-Za-z0-9_.+-]+", config.folder(tmp_path).name)


def test_table_has_mean_deviation_n_and_convention():
    found = {"Softmax": {"accuracy": [99.0, 98.0], "FPR95 near": [10.0, 30.0]}}
    text = tables.markdown(found, tables.note(2, "ood"))
    assert "| Softmax | 98.5 ± 0.7 | 20.0 ± 14.1 |" in text
    assert "n = 2" in text and "FPR95 with OOD as the positive class" in text
    assert tables.comma_separated(found).splitlines() == [
        "loss,column,seed,value",
        "Softmax,accuracy,0,99.0000",
        "Softmax,accuracy,1,98.0000",
        "Softmax,FPR95 near,0,10.0000",
        "Softmax,FPR95 near,1,30.0000",
    ]


def test_a_hostile_name_in_a_table_is_text():
    name = "folder:<img src=x onerror=alert(1)> | $x$ `a` *b* [c](d) \\"
    page = markdown(tables.markdown({f"{name}\n": {name: [1.0], "$y$": [2.0]}}, "n = 1"))
    cells = [html.unescape(cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", page)]
    assert cells == ["loss", name, "$y$", name, "1.0", "2.0"]


def test_help_is_complete(capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["train", "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert all(f"--{field.name.replace('_', '-')}" in text for field in fields(Config)) and "--runs" in text


def test_train_and_table_from_the_command_line(tmp_path, capsys):
    common = [
        "--data",
        "digits",
        "--epochs",
        "1",
        "--runs",
        str(tmp_path / "runs"),
        "--device",
        "cpu",
        "--ood",
        "near",
        "noise",
    ]
    command.main(["train", *common, "--loss", "meln", "--seed", "7", "--loss-options", "positive_temperature=true"])
    printed = capsys.readouterr().out
    assert "MELN" in printed and "seed 7" in printed and "FPR95 near" in printed
    assert [path.name.rsplit("-", 1)[0] for path in (tmp_path / "runs").glob("[!.]*")] == [
        "digits-cnn-meln-positive_temperatureTrue-seed7"
    ]
    command.main(["table", *common, "--seeds", "2", "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert len([line for line in printed.splitlines() if line.startswith("| ")]) == 8  # a header and seven recipes
    assert (tmp_path / "out" / "table.md").read_text().strip() in printed
    assert len((tmp_path / "out" / "table.csv").read_text().splitlines()) == 1 + 7 * 2 * (2 + 2 * 3)


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
