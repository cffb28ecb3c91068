"""Many trainings: side by side on the cores, on a cluster, a lesson's recipes and seeds, a temperature to choose."""

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from . import data, losses, metrics, models, scores
from .loop import outputs
from .training import fit, look_up, pick_device

OUTLIERS = 5_000  # made of so many validation images at most


def fit_all(configs, runs="runs", device=None, progress=True):
    """Fit several configurations; a list of runs in the same order.

    On a CPU, networks for small images are trained side by side, in a process and a thread per core. Inside
    ``with cluster("dask", address):`` all are sent to the cluster's workers, which must see the same ``runs`` folder;
    what a worker had in hand when it died is sent again.
    """
    from joblib import Parallel, cpu_count, delayed
    from tqdm.auto import tqdm

    configs, runs = list(configs), Path(runs).resolve()
    found = {config: look_up(config, runs) for config in dict.fromkeys(configs)}
    missing = [config for config, run in found.items() if run is None]
    if _CLUSTER:
        for attempts_left in (2, 1, 0):
            try:
                Parallel(-1)(delayed(fit)(config, runs, device, False) for config in missing)
            except (ValueError, FloatingPointError):
                raise  # the configuration's fault, not a worker's
            except Exception as error:
                if not attempts_left:
                    raise
                print(f"a worker was lost ({type(error).__name__}); what it had in hand is done again")
            missing = [config for config in missing if look_up(config, runs) is None]
            if not missing:
                break
    elif len(missing) > 1 and pick_device(device).type == "cpu" and not any(c.model in models.LARGE for c in missing):
        done = Parallel(min(cpu_count(), len(missing)), return_as="generator_unordered")(
            delayed(fit)(config, runs, "cpu", False) for config in missing
        )
        for _ in tqdm(done, desc="trainings", total=len(missing), disable=not progress, leave=False):
            pass
    return [
        found[config] or fit(config, runs, device, progress)
        for config in tqdm(configs, desc="trainings", disable=not progress or not missing, leave=False)
    ]


_CLUSTER = []  # names of the clusters that are in use, the innermost last


@contextmanager
def cluster(backend="local", scheduler=None):
    """Send the trainings of ``fit_all`` to a Dask or Ray cluster, at its scheduler's address or started here.

    >>> with cluster("slurm"):
    ...     pass
    Traceback (most recent call last):
    ValueError: unknown backend 'slurm'; known: local, dask, ray
    """
    import joblib

    if backend not in ("local", "dask", "ray"):
        raise ValueError(f"unknown backend {backend!r}; known: local, dask, ray")
    if backend == "local":
        yield
        return
    with ExitStack() as stack:
        try:
            if backend == "dask":
                from distributed import Client

                stack.enter_context(Client(scheduler))
            else:
                import ray
                from ray.util.joblib import register_ray

                register_ray()
                if not ray.is_initialized():
                    ray.init(scheduler, log_to_driver=False)
                    stack.callback(ray.shutdown)
        except ImportError:
            raise ValueError(
                f"the backend {backend} is not installed; pip install 'ood_helpers[cluster]' brings it"
            ) from None
        stack.enter_context(joblib.parallel_config(backend=backend))
        _CLUSTER.append(backend)
        stack.callback(_CLUSTER.pop)
        yield


def lesson(base, recipes=tuple(losses.RECIPES), seeds=3, runs="runs", device=None, progress=True):
    """Every recipe, trained with seeds 0 to seeds - 1 on what ``base`` says: {recipe: [run per seed]}.

    LogitNorm's temperature is chosen once, on the validation part of seed 0.
    """
    configs = {}
    for name in recipes:
        options = ()
        if name == "logitnorm":
            options = {"temperature": choose_temperature(base, runs=runs, device=device, progress=progress)[0]}
        configs[name] = [replace(base, loss=name, loss_options=options, seed=seed) for seed in range(seeds)]
    trained = iter(fit_all([config for group in configs.values() for config in group], runs, device, progress))
    return {name: [next(trained) for _ in group] for name, group in configs.items()}


def choose_temperature(config, temperatures=(0.04, 0.1, 0.2, 0.3, 0.5, 1.0), runs="runs", device=None, progress=True):
    """LogitNorm's temperature, chosen on the validation part alone.

    The validation images are told from outliers made of those same images (:func:`ood_helpers.data.outliers`), so
    neither a test image nor a test OOD set is looked at. Returns (the temperature with the highest AUROC,
    {temperature: AUROC}).
    """
    configs = [replace(config, loss="logitnorm", loss_options={"temperature": t}, seed=0) for t in temperatures]
    trained = fit_all(configs, runs, device, progress)
    table = {t: validation_auroc(run) for t, run in zip(temperatures, trained)}
    return max(table, key=table.get), table


def validation_auroc(run):
    """AUROC of a run's own score between its validation images and outliers made of them."""
    images = run.images("validation")
    images = images[:: 1 + (len(images) - 1) // OUTLIERS]
    _, logits = outputs(run.load_model(), data.outliers(images, seed=run.config.seed))
    function = scores.score(run.config.recipe.score)
    return metrics.detection(function(run.logits["validation"].astype(np.float64)), function(logits.double().numpy()))[
        "auroc"
    ]
