"""A sweep on a real Dask or Ray cluster, one of whose workers is killed while it trains.

Each backend starts two worker processes on this machine. The first worker to receive one of the configurations kills
itself with SIGKILL, which no ``except`` sees, as when a machine of a cluster goes down; the sweep must still finish.
"""

import os
import signal

import numpy as np
import pytest

from ood_helpers import sweeps, training
from ood_helpers.config import Config
from ood_helpers.papers.cluster import cluster

CONFIGS = [
    Config(loss=loss, epochs=3, limit=64, ood=("near",), seed=seed)
    for loss in ("softmax", "logitnorm")
    for seed in range(2)
]


def killed_once(config, folder, *arguments):
    """Stand-in for fit on a worker: the first to take this configuration dies of it."""
    marker = folder.parent / "killed"
    if config == CONFIGS[2] and not marker.exists():
        marker.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return fit_there(config, folder, *arguments)


fit_there = training.fit


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_a_sweep_on_a_real_cluster_survives_a_killed_worker(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(sweeps, "fit", killed_once)
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__))  # where the workers find killed_once
    folder = tmp_path / "runs"
    if backend == "dask":
        distributed = pytest.importorskip("distributed")
        workers = distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None)
        with workers, cluster("dask", workers.scheduler_address):
            trained = sweeps.fit_all(CONFIGS, folder, "cpu", progress=False)
    else:
        ray = pytest.importorskip("ray")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        try:
            with cluster("ray"):
                trained = sweeps.fit_all(CONFIGS, folder, "cpu", progress=False)
        finally:
            ray.shutdown()
    assert (tmp_path / "killed").exists()
    assert [run.config for run in trained] == CONFIGS
    alone = fit_there(CONFIGS[2], tmp_path / "alone", "cpu", False)
    np.testing.assert_array_equal(trained[2].logits["test"], alone.logits["test"])
