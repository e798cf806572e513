"""The network that recognises objects: computed as it was trained, and what it sees."""

import numpy as np
import pytest

from bgoptimizer.recognition import network
from bgoptimizer.recognition.features import FEATURES, cell_features
from bgoptimizer.recognition.network import object_logits
from bgoptimizer.recognition.scenes import draw_frame


def test_numpy_computes_what_keras_has_trained():
    pytest.importorskip("tensorflow")
    from bgoptimizer.recognition.train import build

    trained = build()
    trained.set_weights(list(network._weights()))
    image = np.random.default_rng(0).normal(size=(32, 48, FEATURES)).astype(np.float32)
    wanted = np.asarray(trained(image[None], training=False))[0, ..., 0]
    np.testing.assert_allclose(network.forward(image, network._weights()), wanted, atol=1e-3)


@pytest.mark.parametrize("shape", [(20, 33), (61, 90)])
def test_any_frame_has_log_odds(shape):
    cells = np.random.default_rng(1).normal(size=(*shape, 3))
    found = object_logits(cells, np.zeros(cells.shape, bool), 8.0)
    assert found.shape == cells.shape
    assert np.isfinite(found).all()


def test_objects_of_frames_that_it_has_not_seen_are_found():
    log_odds, objects, sky = [], [], []
    for seed in range(900_000, 900_016):
        frame = draw_frame(seed)
        found = object_logits(frame.cells, np.zeros(frame.cells.shape, bool), frame.factor)
        present = np.isfinite(frame.cells)
        log_odds.append(found.ravel())
        objects.append((present & (frame.light > 3)).ravel())
        sky.append((present & (frame.light < 0.05)).ravel())
    log_odds, objects, sky = (np.concatenate(one) for one in (log_odds, objects, sky))
    assert (log_odds[objects] > 1.5).mean() > 5 * (log_odds[sky] > 1.5).mean()


def test_units_do_not_matter():
    frame = draw_frame(5)
    stars = np.zeros(frame.cells.shape, bool)
    one = cell_features(frame.cells, stars, frame.factor)
    other = cell_features(3e-4 * frame.cells + 0.1, stars, frame.factor)
    np.testing.assert_allclose(one, other, atol=0.02)


def test_damaged_weights_are_named(monkeypatch, tmp_path):
    broken = tmp_path / "weights.npz"
    broken.write_bytes(network.WEIGHTS_FILE.read_bytes()[:-1])
    monkeypatch.setattr(network, "WEIGHTS_FILE", broken)
    network._weights.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"weights\.npz: is damaged"):
            network._weights()
    finally:
        monkeypatch.undo()
        network._weights.cache_clear()
