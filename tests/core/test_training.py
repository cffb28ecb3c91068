"""Training from the outside: a configuration goes in, a run comes out, and comes out the same again."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from ood_helpers import data, losses, metrics, models, runs, sweeps, training
from ood_helpers.config import Config
from ood_helpers.data import augmentation, imageset
from ood_helpers.data.augmentation import crop_flip
from ood_helpers.engine import device, optimization
from ood_helpers.engine.history import History, outputs
from ood_helpers.training import fit
from ood_helpers.widgets.points2d import fit_points


def leftovers(folder):
    """All files but locks, which are empty and cannot be taken away from under who may be waiting for them."""
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]


QUICK = Config(epochs=2, ood=("near", "noise"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module", params=list(losses.RECIPES))
def run(request, folder):
    return fit(replace(QUICK, loss=request.param), folder, "cpu", progress=False)


def test_every_recipe_gives_a_whole_run(run):
    config, classes = run.config, 6
    assert set(run.logits) == {"validation", "test", "near", "noise"}
    for name, logits in run.logits.items():
        assert logits.shape == (len(run.images(name)), classes) and np.isfinite(logits).all()
        assert run.features[name].shape == (len(logits), 64)
    assert len(run.labels["test"]) == len(run.logits["test"])
    assert run.history["epoch"] == [0, 1, 2]
    assert set(run.history["norm"]) == {"train", "validation", "test", "near", "noise"}
    assert np.shape(run.history["norm"]["near"]) == (3, 3)
    assert (np.diff(run.history["norm"]["near"], axis=1) >= 0).all()  # 10 %, 50 %, 90 %
    assert run.snapshots["epochs"].tolist() == [0, 1, 2]
    assert run.snapshots["test"].shape[0] == 3 and run.snapshots["test"].dtype == np.float16
    own = {"meln": {"temperature", "margin"}, "logitnorm": {"temperature"}, "softmax": set(), "isomax": set()}
    learned = {"temperature", "margin", "scale"} & set(run.history)
    assert learned == own.get(config.loss, {"scale"})


def test_the_saved_network_gives_the_saved_logits(run):
    features, logits = outputs(run.load_model(), run.images("test"))
    np.testing.assert_array_equal(logits.numpy(), run.logits["test"])
    np.testing.assert_array_equal(features.numpy(), run.features["test"])


def test_snapshots_hold_logits_of_any_length():
    network = torch.nn.Module()
    network.features, network.classifier = lambda images: images.flatten(1).float(), torch.nn.Linear(4, 3)
    torch.nn.init.constant_(network.classifier.weight, 1e5)
    history = History(network, losses.LogitNormLoss(0.04), {"train": torch.ones(30, 1, 2, 2)}, {}, 1)
    history.record(0, None, 0.0), history.record(1, 0.5, 0.0)
    snapshots = history.summary()[1]
    assert snapshots["train"].dtype == np.float32 and (snapshots["train"] > 3e5).all()


def test_the_history_agrees_with_the_network_at_the_end(run):
    logits = torch.from_numpy(run.logits["near"][:24])
    np.testing.assert_allclose(run.history["confidence"]["near"][-1], logits.softmax(1).amax(1).mean(), rtol=1e-5)
    np.testing.assert_allclose(run.history["norm"]["near"][-1][1], logits.norm(dim=1).quantile(0.5), rtol=1e-5)


def test_detection_uses_the_recipes_score(run):
    scores = run.scores()
    by_hand = metrics.detection(run.scores(run.config.recipe.score)["test"], scores["near"], "ood")
    assert run.detection(positive="ood")["near"] == by_hand


def test_the_same_configuration_gives_the_same_bits(tmp_path):
    torch.manual_seed(1)  # the caller's random state must not matter ...
    first = fit(replace(QUICK, loss="dismax_fpr", augment="crop_flip", dropout=0.1), tmp_path / "a", "cpu", False)
    torch.manual_seed(2)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    again = fit(first.config, tmp_path / "b", "cpu", False)
    for name, logits in first.logits.items():
        np.testing.assert_array_equal(logits, again.logits[name])
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads  # ... nor be changed
    other = fit(replace(first.config, seed=1), tmp_path / "a", "cpu", False)
    assert not np.array_equal(other.logits["test"], first.logits["test"])


def test_a_run_is_found_and_not_trained_again(run, folder, monkeypatch):
    monkeypatch.setattr(training.Trainer, "train_epoch", lambda _: pytest.fail("trained again"))
    again = fit(run.config, folder, "cpu")
    np.testing.assert_array_equal(again.logits["test"], run.logits["test"])
    assert again.history == run.history
    with pytest.raises(pytest.fail.Exception):
        fit(replace(run.config, weight_decay=0.1), folder, "cpu")


@pytest.mark.parametrize("where", ["data", "ood"])
def test_a_run_whose_folder_has_changed_is_not_taken_for_one_of_the_new_images(where, tmp_path):
    images = data.load("digits", known=10)
    data.write_folder(images, tmp_path / "images", [12] * 10)
    name = f"folder:{tmp_path}/images"
    changes = {"data": name, "ood": ("noise",)} if where == "data" else {"ood": (name,)}
    config = replace(QUICK, known=3, epochs=1, limit=20, **changes)
    run = fit(config, tmp_path / "runs", "cpu", progress=False)
    assert fit(config, tmp_path / "runs", "cpu", progress=False) == run
    (tmp_path / "images/1/0004.png").replace(tmp_path / "images/1/0000.png")
    message = rf"the images of folder:\S*images have changed since \S*{run.path.name} was trained; delete it or choose"
    for again in (lambda: fit(config, tmp_path / "runs"), lambda: sweeps.fit_all([config], tmp_path / "runs")):
        with pytest.raises(ValueError, match=message):
            again()
    (tmp_path / "images").rename(tmp_path / "elsewhere")  # a run can be used without its images
    assert fit(config, tmp_path / "runs", "cpu", progress=False) == run


def test_the_images_of_a_set_that_cannot_change_are_not_loaded_for_a_saved_run(run, folder, monkeypatch):
    monkeypatch.setattr(data, "load", lambda *arguments, **options: 1 / 0)
    assert run.digest is None and fit(run.config, folder, "cpu", progress=False) == run


def test_training_learns_the_digits_and_tells_noise_from_them(tmp_path):
    run = fit(Config(epochs=8, ood=("noise",)), tmp_path, "cpu", False)
    assert run.accuracy > 0.97
    assert run.detection()["noise"]["auroc"] > 0.8
    assert run.history["norm"]["test"][-1][1] > 2 * run.history["norm"]["test"][0][1]  # the norms grow


def test_a_loss_that_becomes_nan_is_named_and_leaves_nothing(tmp_path):
    with pytest.raises(FloatingPointError, match=r"became nan in epoch 1 .* smaller lr than 1e\+30"):
        fit(replace(QUICK, lr=1e30), tmp_path, "cpu", False)
    assert not leftovers(tmp_path)


def test_an_interrupted_save_leaves_nothing(tmp_path, monkeypatch):
    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="No space"):
        fit(replace(QUICK, epochs=1), tmp_path, "cpu", False)
    assert not leftovers(tmp_path) and runs.find_run(replace(QUICK, epochs=1), tmp_path) is None


def test_crops_and_flips_are_crops_and_flips():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(1, 256, (64, 3, 6, 5), generator=generator, dtype=torch.uint8)
    out = crop_flip(images, generator, padding=2)
    padded = torch.nn.functional.pad(images, (2,) * 4)
    seen = set()
    for image, result in zip(padded, out):
        candidates = {
            (y, x, flip): (image.flip(2) if flip else image)[:, y : y + 6, x : x + 5]
            for y in range(5)
            for x in range(5)
            for flip in (False, True)
        }
        matches = [key for key, value in candidates.items() if torch.equal(value, result)]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) > 25 and {flip for *_, flip in seen} == {False, True}  # of 50
    assert out.shape == images.shape


def test_shifts_continue_the_image_by_reflection():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(1, 256, (64, 3, 6, 5), generator=generator, dtype=torch.uint8)
    flip = torch.arange(64) % 2 == 0
    out = augmentation.shift_flip(images, generator, flip)
    padded = torch.nn.functional.pad(images.float(), (2,) * 4, mode="reflect").byte()
    seen = set()
    for image, result, flipped in zip(padded, out, flip):
        image = image.flip(2) if flipped else image
        matches = [(y, x) for y in range(5) for x in range(5) if image[:, y : y + 6, x : x + 5].equal(result)]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) > 15  # of 25


def test_flips_alternate_by_epoch(tmp_path, monkeypatch):
    seen = []

    def record(images, generator, flip):
        seen.append((images, flip))
        return images

    monkeypatch.setitem(augmentation.AUGMENTATIONS, "shift_flip", record)
    fit(replace(QUICK, augment="shift_flip", limit=40, batch_size=40, epochs=2), tmp_path, "cpu", False)
    (images, first), (again, second) = seen
    same = (images.flatten(1)[:, None] == again.flatten(1)).all(2).float().argmax(1)  # the order differs
    assert first.any() and not first.all() and second[same].equal(~first)


def test_a_triangular_schedule_rises_and_falls_to_zero():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    config = Config(data="cifar10", epochs=10, warmup=0.2, lr=2.0).resolved()
    scheduler, rates = optimization.schedule(optimizer, config, steps=10), []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step(), scheduler.step()
    assert np.argmax(rates) == 20 and rates[20] == 2.0 and 0 < rates[0] < 0.2 and 0 < rates[-1] < 0.1
    assert np.ptp(np.diff(rates[:21])) < 1e-9 and np.ptp(np.diff(rates[20:])) < 1e-9


def test_groups_with_rates_of_their_own_have_the_same_decay_per_step():
    network = models.build("cnn", 3, (1, 8, 8), torch.nn.Linear)
    config = Config(lr=0.1, weight_decay=0.01, head_lr=0.02, norm_bias_lr=1.0).resolved()
    rest, head, biases = optimization.parameter_groups(network, losses.SoftmaxLoss(), config)
    assert [p.shape for p in head["params"]] == [(3, 64), (3,)] and head["lr"] == 0.02
    assert [len(p) for p in biases["params"]] == [16, 32, 64] and biases["lr"] == 1.0
    assert len(rest["params"]) == 6  # three convolutions, three norms' weights
    for group in (head, biases):
        assert group["lr"] * group["weight_decay"] == pytest.approx(0.1 * 0.01)


def test_the_losses_own_parameters_have_their_own_rate():
    network = torch.nn.Linear(2, 3)
    for name, expected in (("meln", 0.01), ("dismax", None), ("softmax", None)):
        recipe = losses.recipe(name)
        groups = optimization.parameter_groups(network, recipe.criterion(network), Config(loss=name).resolved())
        assert [group.get("lr") for group in groups[1:]] == ([expected] if expected else [])
        assert len(groups[0]["params"]) == 2


def test_temperature_is_chosen_on_the_validation_part_alone(tmp_path, monkeypatch):
    temperatures = (0.1, 1.0)
    configs = [replace(QUICK, loss="logitnorm", loss_options={"temperature": t}) for t in temperatures]
    sweeps.fit_all(configs, tmp_path, "cpu", False)
    asked = []
    original = runs.Run.images
    monkeypatch.setattr(runs.Run, "images", lambda run, name: asked.append(name) or original(run, name))
    monkeypatch.setattr(data, "load_ood", lambda *_: pytest.fail("looked at an OOD set"))
    best, table = sweeps.choose_temperature(QUICK, temperatures, tmp_path, "cpu", False)
    assert set(asked) == {"validation"} and set(table) == set(temperatures)
    assert best == max(table, key=table.get) and all(0 <= value <= 1 for value in table.values())


def test_every_seed_of_every_recipe_is_trained(tmp_path):
    trained = sweeps.compare_losses(QUICK, ("softmax", "dismax"), 2, tmp_path, "cpu", False)
    assert {name: [run.config.seed for run in group] for name, group in trained.items()} == {
        "softmax": [0, 1],
        "dismax": [0, 1],
    }
    assert all(run.config.loss == name for name, group in trained.items() for run in group)


@pytest.mark.parametrize("loss", [n for n in (*losses.RECIPES, *losses.BEYOND) if n not in losses.NEED_IMAGES])
def test_every_loss_separates_points(loss):
    angle = torch.linspace(0, 2 * torch.pi, 61)[:-1]
    points, labels = torch.stack([angle.cos(), angle.sin()], 1), torch.arange(60) // 20
    network = fit_points(points, labels, loss, steps=150)
    assert metrics.accuracy(network(points).detach(), labels) > 0.95


def test_bad_names_and_values_are_refused_in_one_sentence(tmp_path):
    for change, message in (
        ({"loss": "sofmax"}, "unknown loss 'sofmax'; known: softmax"),
        ({"model": "resnet"}, "unknown model 'resnet'; known: cnn"),
        ({"schedule": "step"}, "unknown schedule"),
        ({"epochs": 0}, "epochs must be positive"),
        ({"lr": -1.0}, "lr must be positive"),
        ({"limit": 0}, "limit must be at least one image"),
        ({"fold": 5}, "fold must be 0 to 4, not 5"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(QUICK, **change)
    with pytest.raises(ValueError, match="unknown image set 'digit'"):
        fit(Config(data="digit", epochs=1), tmp_path, "cpu", False)
    with pytest.raises(ValueError, match="images"):
        fit_points([[0.0, 0.0]], [0], "dismax_fpr")
    with pytest.raises(ValueError, match="unknown device 'gpu'; use auto, cpu, cuda"):
        fit(QUICK, tmp_path, "gpu", False)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="a GPU was asked for"):
            fit(QUICK, tmp_path, "cuda", False)
    assert not leftovers(tmp_path)


@pytest.mark.slow
def test_the_fast_loop_learns_what_the_plain_loop_learns():
    """Three seeds each, on digits drawn as colour images of 16 pixels: the same accuracy within a seed's deviation."""
    from ood_helpers.bench.baselines import BaselineTrainer
    from ood_helpers.bench.speed import FitTrainer

    digits = data.load("digits")
    (images, labels), (test, test_labels) = (
        (x.repeat_interleave(2, 2).repeat_interleave(2, 3).expand(-1, 3, -1, -1).contiguous(), y)
        for x, y in (digits.split("train"), digits.split("test"))
    )
    criterion, accuracy = losses.SoftmaxLoss(), {"plain": [], "fast": []}
    for seed in range(3):
        for kind, found in accuracy.items():
            torch.manual_seed(seed)
            network = models.build("resnet18_w16", 6, (3, 16, 16), torch.nn.Linear).standardise_by(images)
            trainer = {"plain": BaselineTrainer, "fast": FitTrainer}[kind]
            train_epoch = trainer(network, criterion, images, labels, 32, "cpu")
            train_epoch.optimizer.param_groups[0]["lr"] = 0.02
            for _ in range(14):
                train_epoch()
            found.append(metrics.accuracy(outputs(network, test)[1], test_labels))
    plain, fast = accuracy.values()
    assert np.mean(plain) > 0.7, accuracy
    assert abs(np.mean(plain) - np.mean(fast)) <= max(np.std(plain, ddof=1), np.std(fast, ddof=1), 0.02), accuracy


def test_a_set_larger_than_memory_is_read_in_pieces_and_learned_the_same(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    pixels = np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=(9_000, 1, 8, 8))
    pixels[:] = random.integers(0, 256, pixels.shape)
    parts = torch.from_numpy(random.permutation(9_000)).split([7_000, 1_000, 1_000])
    large = data.ImageSet(
        "large",
        torch.from_numpy(pixels),
        torch.arange(9_000) % 3,
        ("a", "b", "c"),
        dict(zip(("train", "validation", "test"), parts)),
    )
    monkeypatch.setattr(training, "load_dataset", lambda config: large)
    monkeypatch.setattr(runs, "load_dataset", lambda config: large)
    config = Config(epochs=1, ood=("noise",), batch_size=100, augment="crop_flip", select="validation")
    whole = fit(config, tmp_path / "whole", "cpu", False)

    monkeypatch.setattr(imageset, "IN_MEMORY", 10_000)  # bytes
    read, get = [], data.LazySubset.__getitem__

    def counted(self, key):
        found = get(self, key)
        read.append(found.shape[0])
        return found

    monkeypatch.setattr(data.LazySubset, "__getitem__", counted)
    pieces = fit(config, tmp_path / "pieces", "cpu", False)
    for name, logits in whole.logits.items():
        np.testing.assert_array_equal(pieces.logits[name], logits)
    assert max(read) == 4096 and read.count(100) == 70  # for the mean and deviation, once; then batches
    assert sweeps.validation_auroc(pieces) == sweeps.validation_auroc(whole)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()], ids=lambda e: type(e).__name__
)
def test_out_of_memory_says_the_batch_size_to_try(error, tmp_path, monkeypatch):
    def full(*_):
        raise error

    monkeypatch.setattr(training.Trainer, "train_epoch", full)
    with pytest.raises(ValueError, match="not fit in the device's memory with batches of 32; try batch_size=16"):
        fit(QUICK, tmp_path, "cpu", False)


def test_images_too_small_for_a_model_are_told_so(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    pixels = torch.from_numpy(random.integers(0, 256, (60, 1, 2, 2), np.uint8))
    parts = dict.fromkeys(("train", "validation", "test"), torch.arange(60))
    tiny = data.ImageSet("tiny", pixels, torch.arange(60) % 2, ("a", "b"), parts)
    monkeypatch.setattr(training, "load_dataset", lambda config: tiny)
    with pytest.raises(ValueError, match="images of 2x2 pixels are too small for densenet_bc_100_12"):
        fit(replace(QUICK, model="densenet_bc_100_12", ood=("noise",)), tmp_path, "cpu", False)


def test_fit_leaves_threads_random_state_and_allocator_as_they_were(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "raise_malloc_thresholds", lambda *_: pytest.fail("a library call changed malloc"))
    environment, threads, state = dict(os.environ), torch.get_num_threads(), torch.get_rng_state()
    fit(replace(QUICK, epochs=1), tmp_path, "cpu", False)
    assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), state)
    assert dict(os.environ) == environment
    with pytest.raises(FloatingPointError, match="positive_temperature=True"):
        fit(replace(QUICK, loss="meln", lr=1e30), tmp_path, "cpu", False)
    assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), state)


def test_a_checkpoint_of_an_earlier_version_is_continued():
    config = replace(QUICK, limit=64).resolved()
    trainer, again = (training.Trainer(config, runs.load_dataset(config), torch.device("cpu")) for _ in range(2))
    trainer.epoch = 1
    trainer.train_epoch()
    state = trainer.state_dict()
    state["optimiser"] = state.pop("optimizer")
    again.load_state_dict(state)
    ours, theirs = (each.optimizer.state_dict()["state"] for each in (trainer, again))
    assert ours and all(theirs[k]["momentum_buffer"].equal(ours[k]["momentum_buffer"]) for k in ours)


def test_a_training_on_the_cpu_leaves_gpus_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)  # torch warns where it has to save the state of several
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("a GPU was seeded"))
    drawn = []
    for _ in range(2):
        with device.repeatable(0, device=torch.device("cpu")):
            drawn.append(torch.rand(3))
    assert drawn[0].equal(drawn[1])


def test_the_saved_network_is_the_moving_average_of_the_weights(tmp_path):
    config = replace(QUICK, epochs=3, limit=64, batch_size=64, ema_decay=0.75).resolved()
    trainer = training.Trainer(config, runs.load_dataset(config), torch.device("cpu"))
    expected: dict = {}
    for epoch in range(3):  # of one step each
        trainer.epoch = epoch + 1
        trainer.train_epoch()
        state = trainer.network.state_dict()
        weights = {name: value.double() for name, value in state.items() if value.is_floating_point()}
        expected = {name: 0.75 * expected.get(name, w) + 0.25 * w for name, w in weights.items()}
    run = fit(config, tmp_path, "cpu", False)
    saved = run.load_model().state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(saved[name].double(), value, rtol=1e-5, atol=1e-6)
    assert not torch.equal(saved["classifier.weight"], trainer.network.state_dict()["classifier.weight"])
