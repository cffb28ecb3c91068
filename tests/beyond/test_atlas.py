"""The atlas's 48 cells: what is predicted holds for generated networks, in float64."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ood_helpers import Config, fit
from ood_helpers.beyond import atlas
from ood_helpers.runs import DamagedRun

THRESHOLD = 1.5  # LogitClip's
AMOUNTS = {"logits plus a": st.floats(0.3, 30)}


@pytest.mark.parametrize("change", atlas.CHANGES)
@pytest.mark.parametrize("loss", atlas.LOSSES)
@settings(max_examples=15)
@given(st.data())
def test_a_cell_holds_for_generated_networks(loss, change, data):
    seed = data.draw(st.integers(0, 2**31))
    classes, width = data.draw(st.integers(3, 9)), data.draw(st.integers(9, 20))
    amount = data.draw(AMOUNTS.get(change, st.floats(0.1, 0.7) | st.floats(1.4, 10)))
    head, x, y = atlas.random_network(loss, seed, classes, width)
    cell = atlas.predicted().loc[atlas.losses.recipe(loss).label, change]
    if loss != "logitclip":
        assert atlas.sees(loss, head, x, y, change, amount) == (cell == "yes")
        return
    z = head(x)
    shifted = change == "logits plus a"
    for side in ("above t", "below t"):
        norm = 20.0 if side == "above t" else 0.1  # whose multiples, or shifts, stay on that side
        if shifted and side == "below t":
            amount = min(amount, 0.1)
        elif change != "logits plus a" and side == "above t":
            norm = 20 / min(amount, 1)
        same = (norm * x_i / z_i.norm() for x_i, z_i in zip(x, z))
        assert atlas.sees(loss, head, torch.stack(list(same)), y, change, amount) == (cell == side), side


def test_random_networks_agree_with_the_prediction():
    expected = atlas.predicted().replace({"above t": "yes", "below t": "no"})  # its logits are above the threshold
    assert atlas.measured().equals(expected) and expected.shape == (12, 4)


def test_a_head_is_not_modified_and_an_unknown_change_is_refused():
    head, x, y = atlas.random_network("softmax", 0)
    before = head.weight.clone()
    atlas.changed_loss("softmax", head, x, y, "classifier times a", 2.0)
    assert head.weight.equal(before)
    with pytest.raises(ValueError, match="unknown change 'bias'; known: features times a"):
        atlas.changed_loss("softmax", head, x, y, "bias", 2.0)


def test_norms_of_a_training_and_of_one_that_comes_without_its_network(tmp_path):
    def load_model():
        raise ValueError("no network")

    run = fit(Config(epochs=1, limit=64, ood=("noise",)), tmp_path, "cpu", progress=False)
    bare = SimpleNamespace(label="without", logits=run.logits, load_model=load_model)
    table = atlas.norms([run, bare], images=21)
    expected = np.median(np.linalg.norm(run.features["test"][:21], axis=1))
    assert table["features"].iloc[0] == pytest.approx(expected, rel=1e-4)
    assert table["classifier"].iloc[0] == pytest.approx(run.load_model().classifier.weight.norm().item())
    assert table.loc["without", ["features", "classifier"]].isna().all()
    assert table.loc["without", "logits"] == pytest.approx(table["logits"].iloc[0])


def test_norms_of_a_damaged_run_are_refused():
    def load_model():
        raise DamagedRun("softmax-seed0.safetensors is missing or damaged")

    run = SimpleNamespace(label="damaged", logits={"test": np.ones((3, 2))}, load_model=load_model)
    with pytest.raises(DamagedRun):
        atlas.norms([run])


@pytest.mark.parametrize("loss", ["logitnorm", "meln"])
def test_ratios_of_losses_with_a_given_and_a_learned_temperature(loss, tmp_path):
    run = fit(Config(loss=loss, epochs=1, limit=64, ood=("noise",)), tmp_path, "cpu", progress=False)
    row = atlas.ratios([run]).loc[run.label]
    assert row["logits times a"] == pytest.approx(1, abs=1e-4) and abs(row["logits plus a"] - 1) > 1e-3
