"""Send the trainings of ``fit_all`` to a Dask or Ray cluster."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from ..engine.extras import needs

BACKENDS = ("local", "dask", "ray")


@contextmanager
def cluster(backend: str = "local", scheduler: str | None = None) -> Iterator[None]:
    """Inside ``with cluster("dask", address):`` :func:`ood_helpers.fit_all` trains on the cluster's workers.

    Both backends run the jobs of a lost worker again.

    Parameters
    ----------
    backend : {"local", "dask", "ray"}
        ``"local"`` changes nothing.
    scheduler : str, optional
        Address of the cluster; by default one is started on this machine.

    Examples
    --------
    >>> with cluster("slurm"):
    ...     pass
    Traceback (most recent call last):
    ValueError: unknown backend 'slurm'; known: local, dask, ray
    """
    import joblib

    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; known: {', '.join(BACKENDS)}")
    with ExitStack() as stack:
        with needs("cluster"):
            if backend == "dask":
                from distributed import Client

                stack.enter_context(Client(scheduler))
                stack.enter_context(joblib.parallel_config("dask", n_jobs=-1))
            elif backend == "ray":
                import ray
                from ray.util.joblib import register_ray

                register_ray()
                if not ray.is_initialized():
                    ray.init(scheduler, log_to_driver=False)
                    stack.callback(ray.shutdown)
                lost = {"max_restarts": 3, "max_task_retries": 3}
                stack.enter_context(joblib.parallel_config("ray", n_jobs=-1, ray_remote_args=lost))
        yield
