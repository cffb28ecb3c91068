"""Configurations from anywhere: read back as they were, or refused in one sentence."""

import json
import string
from dataclasses import asdict, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import anything

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


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_train_and_score_on_what_is_at_hand(name, tmp_path, monkeypatch):
    """Every protocol, shortened, on the digits in the size it asks for; pretrained weights are not fetched."""
    from dataclasses import replace

    from ood_helpers import models, training

    monkeypatch.setattr(models, "PRETRAINED", {})
    changes = {"data": "digits", "ood": ("near",), "fold": None}
    config = replace(Config.preset(name, **changes).quick(), limit=16, batch_size=8, epochs=1, milestones=())
    run = training.fit(config, tmp_path, "cpu", progress=False)
    assert run.config.recipe.score and 0 <= run.detection()["near"]["auroc"] <= 1
    assert run.logits["test"].shape == (16, 6)
