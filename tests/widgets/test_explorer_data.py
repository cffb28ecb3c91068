"""The explorer's data: logits in float16 that fit the browser."""

import numpy as np
import pytest
from explorers import make_explorer

from ood_helpers.widgets import ScoreExplorer


def test_logits_that_exceed_float16_keep_their_direction():
    z = np.random.default_rng(0).normal(size=(50, 6)) * np.geomspace(1, 1e9, 50)[:, None]
    explorer = ScoreExplorer.from_logits(z, z / 2)
    shown = explorer.data.tracks[0].logits["ID"][0].astype(float)

    def direction(x):
        return x / np.abs(x).max(1, keepdims=True)

    np.testing.assert_allclose(direction(shown), direction(z), atol=1e-3)
    fits = np.abs(z).max(1) < 65504
    np.testing.assert_array_equal(shown[fits], z[fits].astype(np.float16))


def test_thinned_data_are_every_kth_image_with_its_label_and_picture():
    explorer, thinned = make_explorer(images=True), make_explorer(images=True).data
    data = explorer.data
    budget = 2 * data.nbytes // 5
    k = thinned.thin(budget)
    assert k == 3 and thinned.nbytes <= budget
    for name in ("ID", "near", "far"):
        for few, all_ in zip(thinned.tracks[0].logits[name], data.tracks[0].logits[name]):
            np.testing.assert_array_equal(few, all_[::3])
        np.testing.assert_array_equal(thinned.tiles(name, [1, 4]), data.tiles(name, [3, 12]))
    np.testing.assert_array_equal(thinned.labels, data.labels[::3])
    assert explorer.data.thin(10**9) == 1


def test_tiles_are_rgba_of_grey_and_colour_images():
    images = {"ID": np.arange(3 * 4, dtype=np.uint8).reshape(3, 1, 2, 2), "OOD": np.full((4, 3, 2, 2), 7, np.uint8)}
    data = ScoreExplorer.from_logits(np.eye(3), np.zeros((4, 3)), images=images).data
    assert data.tiles("ID", [1])[0].tolist() == [[[4, 4, 4, 255], [5, 5, 5, 255]], [[6, 6, 6, 255], [7, 7, 7, 255]]]
    assert data.tiles("OOD", [0, 3]).tolist() == [[[[7, 7, 7, 255]] * 2] * 2] * 2
    data.images = lambda name: np.zeros((1, 4, 2, 2), np.uint8)
    with pytest.raises(ValueError, match="must have 1 or 3 channels, got 4"):
        data.tiles("ID", [0])
