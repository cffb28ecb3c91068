"""One training over two real processes, as torchrun starts them: the weights of one process with the same batches."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from ood_helpers import runs, training
from ood_helpers.config import Config
from ood_helpers.papers import distributed


def torchrun(arguments, processes=2):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        f"--nproc-per-node={processes}",
        "--standalone",
        "-m",
        "ood_helpers",
        "train",
        *arguments,
    ]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
    )


@pytest.mark.parametrize("loss", ["meln", "dismax_fpr", "elogitnorm"])
def test_two_processes_learn_what_one_does(tmp_path, loss):
    """MELN has parameters of its own, ELogitNorm uses the head's, and DisMax with FPR mixes images across the batch."""
    config = Config(loss=loss, epochs=2, limit=128, ood=("near",), batch_size=32)
    alone = training.fit(config, tmp_path / "alone", "cpu", progress=False)
    done = torchrun(
        [
            "--loss",
            loss,
            "--epochs",
            "2",
            "--limit",
            "128",
            "--ood",
            "near",
            "--device",
            "cpu",
            "--runs",
            str(tmp_path / "team"),
        ]
    )
    assert done.returncode == 0, done.stderr
    together = runs.find_run(config, tmp_path / "team")
    ours, theirs = alone.load_model().state_dict(), together.load_model().state_dict()
    for name, value in ours.items():
        torch.testing.assert_close(
            theirs[name], value, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )
    np.testing.assert_allclose(together.history["loss"][1:], alone.history["loss"][1:], rtol=1e-4)
    assert done.stdout.count("seed 0") == 1  # one writer
    assert "Warning" not in done.stderr


def test_a_batch_that_cannot_be_shared_is_refused_in_one_sentence(tmp_path):
    done = torchrun(
        [
            "--batch-size",
            "31",
            "--epochs",
            "1",
            "--limit",
            "64",
            "--ood",
            "near",
            "--device",
            "cpu",
            "--runs",
            str(tmp_path),
        ]
    )
    assert done.returncode != 0
    assert "batches of 31 cannot be shared evenly by 2 processes" in done.stderr


def test_more_processes_than_images_are_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
    config = Config(limit=2, ood=("near",)).resolved()
    with pytest.raises(ValueError, match="3 processes are more than there are training images, 2; start fewer"):
        distributed.DistributedTrainer(config, runs.load_dataset(config), torch.device("cpu"))


def test_more_processes_can_continue_than_were_interrupted():
    config = Config(limit=64, ood=("near",)).resolved()
    state = training.Trainer(config, runs.load_dataset(config), torch.device("cpu")).state_dict()

    class Second(training.Trainer):
        rank = staticmethod(lambda: 1)

    random = torch.get_rng_state()
    Second(config, runs.load_dataset(config), torch.device("cpu")).load_state_dict(state)
    assert torch.equal(torch.get_rng_state(), random)
