"""Configurations name runs."""

import re
from dataclasses import fields, replace

from ood_helpers.config import Config
from ood_helpers.training import fit


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
        "warmup": 0.5,
        "milestones": (1,),
        "augment": "crop_flip",
        "dropout": 0.5,
        "known": 5,
        "fold": 1,
        "ood": ("noise",),
        "loss_options": {"temperature": 2.0},
        "head_lr": 0.2,
        "norm_bias_lr": 0.3,
        "ema_decay": 0.9,
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


def test_a_runs_detector_is_fitted_on_its_validation_split(tmp_path):
    run = fit(Config("digits", epochs=3, ood=("noise",)), tmp_path, "cpu", progress=False)
    detector = run.detector()
    assert detector.n_samples_ == len(run.logits["validation"])
    assert detector.temperature_ == run.calibrated_temperature()
    share = detector.accepts(run.images("validation")).mean()
    assert 0.95 <= share <= 0.96 and detector.accepts(run.logits["validation"]).mean() == share
    assert "digits validation" in detector.report(run.logits["noise"])
