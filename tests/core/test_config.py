"""Configurations from anywhere: read back as they were, or refused in one sentence."""

import json
import string
from dataclasses import asdict, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import anything

from ood_helpers import data
from ood_helpers.config import PRESETS, Config
from ood_helpers.losses import RECIPES

configs = st.builds(
    Config,
    loss=st.sampled_from(sorted(RECIPES)),
    seed=st.integers(0, 10**6),
    epochs=st.integers(1, 500),
    lr=st.floats(1e-6, 10),
    schedule=st.sampled_from(["cosine", "steps"]),
    known=st.none() | st.integers(2, 9),
    milestones=st.lists(st.integers(1, 300), max_size=4).map(tuple),
    loss_options=st.dictionaries(st.text(string.ascii_letters, min_size=1), st.floats(0.01, 10), max_size=2),
)


@given(configs)
def test_a_configuration_comes_back_from_json_as_it_was(config):
    again = Config.from_dict(json.loads(json.dumps(asdict(config))))
    assert again == config and again.hash == config.hash and hash(again) == hash(config)


@given(
    st.dictionaries(
        st.sampled_from([field.name for field in fields(Config)]) | st.text(max_size=8), anything, max_size=4
    )
)
def test_any_json_is_a_configuration_or_refused(record):
    try:
        config = Config.from_dict(record)
    except ValueError as error:
        assert str(error)
    else:
        assert config.folder("runs").parent.name == "runs"


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_whole_and_every_field_can_be_changed(name):
    config = Config.preset(name, seed=3)
    assert config.seed == 3 and config.epochs == PRESETS[name]["epochs"] and config.model == PRESETS[name]["model"]
    quick = config.quick()
    assert quick.epochs == 2 and quick.limit <= 128 and quick.hash != config.hash
    assert dict(Config.preset(name, loss="softmax").loss_options) == {}


def test_an_unknown_preset_lists_the_known():
    with pytest.raises(ValueError, match="unknown preset 'lognorm'; known: logitnorm, openood, isomax, dismax"):
        Config.preset("lognorm")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_train_and_score_on_what_is_at_hand(name, tmp_path, monkeypatch):
    """Every protocol, shortened, on the digits in the size it asks for; pretrained weights are not fetched."""
    from ood_helpers import models, training

    monkeypatch.setattr(models, "PRETRAINED", {})
    changes = {"data": "digits", "ood": ("near",), "fold": None}
    config = replace(Config.preset(name, **changes).quick(), limit=16, batch_size=8, epochs=1, milestones=())
    run = training.fit(config, tmp_path, "cpu", progress=False)
    assert run.config.recipe.score and 0 <= run.detection()["near"]["auroc"] <= 1
    assert run.logits["test"].shape == (16, 6)


def test_replacing_the_data_takes_the_defaults_of_the_new_data():
    changed = replace(Config("digits", lr=0.05), data="cifar10")
    assert changed == Config("cifar10", lr=0.05) and changed.hash == Config("cifar10", lr=0.05).hash
    config = changed.resolved()
    assert (config.model, config.epochs, config.batch_size, config.lr) == ("airbench", 16, 512, 0.05)
    assert config.augment == "shift_flip" and config.ood == ("cifar100", "svhn", "textures", "noise")
    assert replace(Config(), known=10).resolved().ood == ("letters", "patches", "noise")


def test_a_resolved_configuration_is_the_same_training():
    config = Config(loss="meln", seed=2)
    assert config.resolved() == config and hash(config.resolved()) == hash(config)
    assert config.resolved().folder("runs") == config.folder("runs") and config.epochs is None
    assert None not in [getattr(config.resolved(), name) for name in ("model", "epochs", "batch_size", "lr", "ood")]


# Names of runs that exist: a folder that is called otherwise would be trained again.
@pytest.mark.parametrize(
    "config, folder",
    [
        (Config(), "digits-cnn-softmax-seed0-9e5723e102"),
        (
            Config(loss="logitnorm", loss_options={"temperature": 0.3}, seed=7),
            "digits-cnn-logitnorm-temperature0.3-seed7-7922f459ce",
        ),
        (Config("cifar10", model="resnet18"), "cifar10-resnet18-softmax-seed0-0acb3ddfb3"),
        (Config("mnist", model="cnn", loss="meln"), "mnist-cnn-meln-seed0-f057ebf8a3"),
        (Config("folder:some/where", model="cnn", fold=2), "folder_some_where-cnn-softmax-fold2-seed0-6e97dd12da"),
        (Config("digits", known=10), "digits-cnn-softmax-seed0-b7c300a1e3"),
        (Config().quick(), "digits-cnn-softmax-seed0-b8eaca5871"),
        (Config.preset("logitnorm"), "cifar10-wrn_40_2-logitnorm-temperature0.04-seed0-6c527f5b9b"),
        (Config.preset("meln").quick(), "folder_images-resnet50_pretrained-meln-fold0-seed0-4c2b91f267"),
    ],
)
def test_existing_runs_keep_their_folders(config, folder):
    assert config.folder("runs").name == folder


def test_photographs_have_settings_of_their_own():
    config = Config("cifar10").resolved()
    assert (config.model, config.schedule, config.augment) == ("airbench", "triangular", "shift_flip")
    steps = config.epochs * (48_000 // config.batch_size)
    assert 0.2 < config.lr * config.weight_decay * steps / 2 < 1  # the sum of rate x decay: it acts
    other = Config("cifar10", model="resnet18").resolved()
    assert (other.schedule, other.warmup, other.ema_decay) == ("cosine", 0, None)
    assert (other.head_lr, other.norm_bias_lr) == (None, None)


def test_whole_numbers_and_floats_are_the_same_configuration():
    whole = Config(loss="isomax", lr=1, dropout=0, weight_decay=0, loss_options={"entropic_scale": 7})
    same = Config(loss="isomax", lr=1.0, dropout=0.0, weight_decay=0.0, loss_options={"entropic_scale": 7.0})
    assert whole == same and whole.folder("runs") == same.folder("runs")
    assert json.dumps(asdict(whole)) == json.dumps(asdict(same)) and whole.label == "IsoMax (entropic scale 7)"
    assert Config.from_dict(asdict(whole)).hash == same.hash
    option = {"positive_temperature": True}
    assert Config(loss="meln", loss_options=option).loss_options == (("positive_temperature", True),)
    with pytest.raises(ValueError, match="lr must be a finite number, not 1000"):
        Config(lr=10**400)


@pytest.mark.parametrize("decay", [1.0, -0.5])
def test_a_decay_of_the_weights_average_is_from_0_to_below_1(decay):
    with pytest.raises(ValueError, match=f"ema_decay must be from 0 to below 1, not {decay}"):
        Config(ema_decay=decay)


def test_the_average_of_the_weights_can_be_switched_off_where_it_is_the_default():
    assert Config("cifar10").resolved().ema_decay == 0.99 and Config("cifar10", ema_decay=0.0).resolved().ema_decay == 0


def test_a_set_that_is_split_otherwise_has_runs_of_its_own(monkeypatch):
    """A saved run has no indices: one of an earlier split would be tested on images that this one trains on."""
    before, fold = Config().hash, Config(fold=1).hash
    monkeypatch.setitem(data.SETS, "digits", data.SETS["digits"]._replace(parts=(3, 1, 1)))
    assert Config().hash != before and Config(fold=1).hash == fold  # the folds stay as they are


def test_the_small_network_is_chosen_by_the_size_of_the_images():
    assert [Config(name).resolved().model for name in ("digits", "mnist", "kmnist")] == ["cnn", "cnn5", "cnn5"]
    assert Config("folder:images").resolved().model == "cnn_auto"


@pytest.mark.parametrize("name", ["lr", "head_lr", "norm_bias_lr", "weight_decay"])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_rates_are_finite(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a finite number, not {value}"):
        Config(**{name: value})


@pytest.mark.parametrize("name", ["lr", "head_lr", "norm_bias_lr"])
@pytest.mark.parametrize("value", [0.0, -0.1])
def test_rates_are_positive(name, value):
    with pytest.raises(ValueError, match=f"{name} must be positive, not {value}"):
        Config("cifar10", **{name: value})


@pytest.mark.parametrize("warmup", [-0.1, 1.0])
def test_a_warmup_is_a_share_of_the_training(warmup):
    with pytest.raises(ValueError, match="warmup must be a share of the training"):
        Config(warmup=warmup)
