"""The registry: names, hashes, cards."""

import json
import shutil

import numpy as np
import pytest

from bgrem.models import (
    find_model,
    list_models,
    load_model,
    named_weights,
    save_model,
    set_named_weights,
)


@pytest.mark.parametrize("name", list_models())
def test_every_model_of_the_package_loads_and_has_a_card(name):
    folder = find_model(name)
    assert sum(file.stat().st_size for file in folder.iterdir()) < 5e6
    model = load_model(name)
    assert model.description["domain"]["what"]
    assert model.description["training"]["config"]
    noisy = np.zeros((1, 32, 32, 1), np.float32)
    variance = np.ones((1, 1, 1, 1), np.float32)
    assert np.isfinite(model.network.predict_on_batch((noisy, variance))).all()


def test_a_changed_file_is_refused(tiny_model, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model, copy)
    content = bytearray((copy / "weights.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "weights.npz").write_bytes(content)
    with pytest.raises(ValueError, match="SHA-256"):
        load_model(copy)


def test_an_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no such model.*optical"):
        load_model("nothing")


def test_a_damaged_description_is_refused(tiny_model, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model, copy)
    (copy / "model.json").write_text("{")
    with pytest.raises(ValueError, match="not a readable model"):
        load_model(copy)


def test_weights_of_another_network_are_refused(tiny_model):
    model = load_model(tiny_model)
    arrays = named_weights(model.network)
    arrays.pop(next(iter(arrays)))
    with pytest.raises(ValueError, match="do not fit"):
        set_named_weights(model.network, arrays)


def test_weights_are_kept_to_half_precision(tiny_model, tmp_path):
    model = load_model(tiny_model)
    save_model(tmp_path / "again", named_weights(model.network), model.description)
    again = load_model(tmp_path / "again")
    for name, array in named_weights(again.network).items():
        assert np.array_equal(array, named_weights(model.network)[name])


def test_diverged_weights_are_not_written(tiny_model, tmp_path):
    arrays = named_weights(load_model(tiny_model).network)
    arrays[next(iter(arrays))][:] = 1e6
    with pytest.raises(ValueError, match="diverged"):
        save_model(tmp_path / "bad", arrays, {})


def test_a_model_says_what_it_was_made_for(tiny_model):
    assert json.loads((tiny_model / "model.json").read_text())["domain"] == {"what": "a test"}
    assert load_model(tiny_model).schedule.max_signal == 0.98
