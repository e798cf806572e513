"""Training: data, one config, exact resume, the same on every backend."""

import csv
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.io import fits
from small_networks import SIZES, networks

from bgrem.config import CONFIG_FOLDER, TrainConfig
from bgrem.models import load_model
from bgrem.networks.schedule import CosineSchedule
from bgrem.simulate.conditions import random_conditions, wide_conditions
from bgrem.simulate.noise import bleed, correlate_noise_widely, round_to_integers
from bgrem.training.denoise import TileBatches, TrainingField
from bgrem.training.pairs import read_pair
from bgrem.training.run import train
from bgrem.training.tasks import load_fields

QUICK = TrainConfig(
    tile=32, batch_size=4, epochs=2, steps_per_epoch=3, validation_steps=1, fields=2,
    validation_fields=1, field_shape=(96, 96), precision="float32", average=0.9, warm_up_steps=2,
)  # fmt: skip


def silent(line):
    pass


def field(**changes):
    rng = np.random.default_rng(0)
    clean = rng.exponential(0.3, (64, 80)).astype(np.float32)
    values = {"clean": clean, "background": np.zeros_like(clean), "electrons": 20.0}
    return TrainingField(**(values | {"photons": 390.0} | changes))


def batches(fields, **changes):
    settings = {"tile": 32, "batch_size": 8, "steps": 4, "seed": 1, "schedule": CosineSchedule()}
    return TileBatches(fields, **(settings | changes))


@pytest.fixture(scope="module", params=SIZES)
def size(request):
    return request.param


@pytest.fixture(scope="module")
def finished(size, tmp_path_factory):
    """Run folder of a short training on simulations."""
    folder = tmp_path_factory.mktemp("run")
    with networks(size):
        train(QUICK, folder, report=silent)
    return folder


@pytest.fixture
def sized(size):
    """The networks of the finished run, for a test that loads or trains one."""
    with networks(size):
        yield


def test_a_run_leaves_config_history_checkpoint_and_a_model_with_its_card(finished, sized):
    for name in ("config.json", "history.csv", "history.png", "checkpoint.npz"):
        assert (finished / name).stat().st_size > 0
    with open(finished / "history.csv", newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    model = load_model(finished / "model")
    assert model.description["training"]["config"]["seed"] == 0
    assert model.sha256 == model.description["sha256"]


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(finished, sized, tmp_path):
    import shutil

    shutil.copytree(finished / "fields", tmp_path / "fields")
    (tmp_path / "config.json").write_text((finished / "config.json").read_text())

    class Stop(Exception):
        pass

    def stop(line):
        if line.startswith("epoch 1"):
            raise Stop

    with pytest.raises(Stop):
        train(QUICK, tmp_path, report=stop)
    told = []
    train(QUICK, tmp_path, report=silent, progress=told.append)
    assert told == pytest.approx([4 / 6, 5 / 6, 1])  # the second epoch of two, three steps
    with np.load(finished / "checkpoint.npz") as a, np.load(tmp_path / "checkpoint.npz") as b:
        assert sorted(a.files) == sorted(b.files)
        for name in a.files:
            if name != "state":
                # sums of threads may come in another order
                assert np.allclose(a[name], b[name], rtol=1e-4, atol=1e-6), name


def test_a_folder_of_another_config_is_refused(finished, sized):
    with pytest.raises(ValueError, match="another config"):
        train(dataclasses.replace(QUICK, seed=5), finished, report=silent)


def test_fine_tuning_starts_from_a_model(finished, sized, tmp_path):
    config = dataclasses.replace(
        QUICK, start_from=str(finished / "model"), epochs=1, learning_rate=1e-9, warm_up_steps=0,
        schedule="constant", average=0.0, weight_decay=0.0,
    )  # fmt: skip
    model = load_model(train(config, tmp_path, report=silent))
    start = load_model(finished / "model")
    for new, old in zip(model.network.trainable_variables, start.network.trainable_variables,
                        strict=True):  # fmt: skip
        assert np.allclose(new.numpy(), old.numpy(), atol=1e-3)


def test_the_loss_falls():
    import keras

    from bgrem.networks.attention_unet import attention_unet, initialise

    network = attention_unet((8, 8), 8)
    initialise(network, 0)
    network.compile(keras.optimizers.AdamW(3e-3, global_clipnorm=1.0), "mean_absolute_error")
    data = batches([field()], steps=40)
    losses = [float(network.train_on_batch(*data[i])) for i in range(40)]
    assert losses[-1] < 0.8 * losses[0]


def test_a_batch_is_the_paper_s_mixture():
    (noisy, variance), background = batches([field()])[0]
    assert noisy.shape == background.shape == (8, 32, 32, 1)
    assert variance.shape == (8, 1, 1, 1)
    clean = noisy - np.sqrt(variance) * background
    assert clean.min() > -1e-3  # this field's sources are nowhere negative
    assert noisy.dtype == variance.dtype == background.dtype == np.float32


def test_the_same_seed_epoch_and_index_give_the_same_batch_and_others_another():
    first, second = batches([field()]), batches([field()])
    second.epoch = 1
    assert np.array_equal(first[2][1], batches([field()])[2][1])
    assert not np.array_equal(first[2][1], first[3][1])
    assert not np.array_equal(first[2][1], second[2][1])


def test_drawn_noise_has_unit_width_where_nothing_shines_and_more_under_stars():
    dark = field(clean=np.zeros((64, 80), np.float32))
    _, noise = batches([dark], vary=False)[0]
    assert noise.std() == pytest.approx(1, abs=0.03)
    bright = field(clean=np.full((64, 80), 60.0, np.float32))
    _, noise = batches([bright], vary=False)[0]
    assert noise.std() == pytest.approx(np.sqrt(1 + 60 / 20), rel=0.03)


def test_the_published_preprocessing_takes_the_median_of_each_tile_off():
    shifted = field(background=np.full((64, 80), 9.0, np.float32), electrons=None)
    (noisy, variance), background = batches([shifted], tile_median=True)[0]
    clean = noisy - np.sqrt(variance) * background
    assert np.median(clean + background, axis=(1, 2, 3)) == pytest.approx(0, abs=1e-5)


def test_tiles_larger_than_a_field_are_refused():
    with pytest.raises(ValueError, match="side of 64 px, tile is 128"):
        batches([field()], tile=128)


def test_conditions_cover_the_domain_of_the_card():
    drawn = [random_conditions(seed, (64, 64)) for seed in range(300)]
    widths = [one.fwhm for one in drawn]
    assert min(widths) < 1.9
    assert max(widths) > 6
    assert min(one.stars for one in drawn) < 300
    assert max(one.stars for one in drawn) > 6000


def test_the_wide_domain_has_all_profiles_trails_and_densities():
    drawn = [wide_conditions(seed, (64, 64)) for seed in range(300)]
    assert {one.profile for one in drawn} == {"moffat", "kolmogorov", "airy"}
    assert min(one.fwhm for one in drawn) < 1.3
    assert max(one.fwhm for one in drawn) > 7.5
    assert max(one.fwhm for one in drawn if one.profile == "airy") <= 3
    assert 0.1 < np.mean([one.ellipticity > 0.15 for one in drawn]) < 0.35
    assert min(one.stars for one in drawn) < 30
    assert max(one.stars for one in drawn) > 12000


def test_noise_on_a_finer_grid_is_as_strong_and_correlates_with_its_neighbours_alone():
    white = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
    for seed in range(6):
        found = correlate_noise_widely(np.random.default_rng(seed), white)
        assert found.std() == pytest.approx(1, abs=0.02)
        assert found.dtype == np.float32
        assert 0 <= np.mean(found[:, 1:] * found[:, :-1]) < 0.8
        assert abs(np.mean(found[:, 6:] * found[:, :-6])) < 0.03


def test_charge_of_a_full_column_flows_up_and_down():
    light = np.zeros((40, 20))
    light[18:22, 7] = 900
    found = [bleed(np.random.default_rng(seed), light, 500.0) for seed in range(20)]
    reach = [int((one[:, 7] == 500).sum()) for one in found]
    assert min(reach) == 4  # in half of the tiles nothing flows
    assert max(reach) > 10
    assert all(one.max() == 500 and not one[:, 8:].any() for one in found)


def test_integers_have_one_step_and_lie_near_their_pixels():
    pixels = np.random.default_rng(1).standard_normal((64, 64))
    found = round_to_integers(np.random.default_rng(2), pixels)
    step = np.diff(np.unique(found))
    assert step.std() < 1e-9 * step.mean() or np.allclose(step / step.min() % 1, 0, atol=1e-6)
    assert np.abs(found - pixels).max() <= step.min() / 2 + 1e-9


def test_wide_tiles_differ_from_others_and_are_finite():
    (plain, _), _ = batches([field()])[0]
    (wide, _), background = batches([field()], wide=True)[0]
    assert not np.array_equal(plain, wide)
    for index in range(8):
        (wide, _), background = batches([field()], wide=True)[index]
        assert np.isfinite(wide).all()
        assert np.isfinite(background).all()


def write_pairs(folder, number=3):
    rng = np.random.default_rng(0)
    for k in range(number):
        clean = rng.exponential(2, (64, 64)).astype(np.float32)
        background = rng.normal(100, 5, (64, 64)).astype(np.float32)
        np.savez(folder / f"{k}.npz", clean=clean, background=background)
    return str(folder / "*.npz")


def test_own_fields_are_split_whole_between_training_and_validation(tmp_path):
    config = dataclasses.replace(QUICK, files=(write_pairs(tmp_path, 5),))
    training, validation = load_fields(config, tmp_path)
    assert (len(training), len(validation)) == (4, 1)
    assert all(abs(np.median(one.background)) < 2 for one in training + validation)


def test_one_field_alone_cannot_be_validated(tmp_path):
    config = dataclasses.replace(QUICK, files=(write_pairs(tmp_path, 1),))
    with pytest.raises(ValueError, match="second one"):
        load_fields(config, tmp_path)


@pytest.mark.parametrize("suffix", ["fits", "h5", "npz"])
def test_pairs_are_read_from_each_format(tmp_path, suffix):
    observed, clean = np.arange(12.0).reshape(3, 4), np.ones((3, 4))
    path = tmp_path / f"pair.{suffix}"
    if suffix == "fits":
        fits.HDUList([
            fits.PrimaryHDU(), fits.ImageHDU(observed, name="OBSERVED"),
            fits.ImageHDU(clean, name="SOURCES"),
        ]).writeto(path)  # fmt: skip
    elif suffix == "h5":
        with h5py.File(path, "w") as file:
            file["observed"], file["clean"] = observed, clean
    else:
        np.savez(path, observed=observed, clean=clean)
    read = read_pair(path)
    assert np.array_equal(read[0], observed)
    assert np.array_equal(read[1], clean)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"observed": np.zeros((4, 4))}, "expected observed and clean"),
        ({"observed": np.zeros((4, 4)), "clean": np.zeros((4, 5))}, "shapes"),
        ({"observed": np.full((4, 4), np.nan), "clean": np.zeros((4, 4))}, "missing pixels"),
    ],
)
def test_files_that_do_not_fit_are_refused_by_name(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=rf"bad\.npz.*{message}"):
        read_pair(tmp_path / "bad.npz")


@pytest.mark.parametrize("path", sorted(CONFIG_FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_every_committed_config_is_valid(path):
    assert TrainConfig.read(path.stem) == TrainConfig.read(path)


def test_unknown_settings_and_bad_files_are_named(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"epoch": 3}))
    with pytest.raises(ValueError, match=r"a\.json: unknown settings epoch"):
        TrainConfig.read(tmp_path / "a.json")
    with pytest.raises(ValueError, match="no such config"):
        TrainConfig.read("nothing")


STEPS = """
import json, sys
import numpy as np, keras
from bgrem.networks.attention_unet import attention_unet, initialise
network = attention_unet((4, 6), 8)
initialise(network, 0)
network.compile(keras.optimizers.AdamW(1e-3, weight_decay=1e-4, global_clipnorm=1.0),
                "mean_absolute_error", jit_compile=False)
rng = np.random.default_rng(0)
losses = []
for _ in range(4):
    noisy = rng.normal(0, 2, (4, 16, 16, 1)).astype("float32")
    variance = rng.uniform(size=(4, 1, 1, 1)).astype("float32")
    losses.append(float(network.train_on_batch((noisy, variance), 0.5 * noisy)))
print(json.dumps(losses))
"""


@pytest.mark.slow
def test_tensorflow_and_jax_take_the_same_first_steps():
    pytest.importorskip("jax", reason="pip install bgrem[jax]")
    losses = []
    for backend in ("tensorflow", "jax"):
        ended = subprocess.run(
            [sys.executable, "-c", STEPS], capture_output=True, text=True, check=True,
            env=os.environ | {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": ""},
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        losses.append(json.loads(ended.stdout.splitlines()[-1]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
