"""Data of `enhance` and `noisemap`, and a training of each."""

import numpy as np
import pytest

from bgrem.config import TrainConfig
from bgrem.models import load_model
from bgrem.networks.schedule import LinearSchedule
from bgrem.noise_mapping.units import FRAME_NOISE_IN_UNITS
from bgrem.training.enhance import ExposureBatches, ExposureField, simulated_exposure_field
from bgrem.training.noisemap import (
    FrameBatches,
    FrameField,
    measured_frame_field,
    particle_tracks,
    simulated_frame_field,
)
from bgrem.training.run import train

COMMON = {"tile": 32, "batch_size": 8, "steps": 3, "seed": 1}


@pytest.fixture(scope="module")
def exposure_field():
    return simulated_exposure_field(61_700, (96, 96))


@pytest.fixture(scope="module")
def frame_field():
    return simulated_frame_field(61_701, (96, 96))


def empty_sky(exposure=1000.0):
    level = np.full((200, 200), 0.05, np.float32)
    return ExposureField(level, level, exposure)


def test_pairs_of_an_empty_sky_have_unit_noise_and_no_mean():
    batches = ExposureBatches([empty_sky()], ratios=(2, 5), vary=False, **COMMON | {"tile": 192})
    (noisy, ratio), noise = batches[0]
    assert noisy.shape == noise.shape == (8, 192, 192, 1)
    assert sorted(set(ratio.ravel())) == sorted(np.linspace(2, 5, 8).astype(np.float32))
    # 37,000 pixels: standard deviations good to 0.4 %; negative pixels count as 0 in equation 4
    assert noisy.std(axis=(1, 2, 3)) == pytest.approx(np.ones(8), abs=0.05)
    assert abs(noise.mean()) < 0.05


def test_less_noise_is_wanted_the_smaller_the_ratio():
    batches = ExposureBatches([empty_sky()], ratios=(2, 5), vary=False, **COMMON | {"tile": 192})
    _, noise = batches[0]
    spread = noise.std(axis=(1, 2, 3))
    assert (np.diff(spread) > 0).all()  # ratios rise in a batch without variation


@pytest.mark.parametrize("kind", ["exposure", "frame"])
def test_the_same_seed_epoch_and_index_give_the_same_batch(kind, exposure_field, frame_field):
    def batches():
        if kind == "exposure":
            return ExposureBatches([exposure_field], ratios=(2, 5), vary=True, **COMMON)
        return FrameBatches([frame_field], schedule=LinearSchedule(), vary=True, **COMMON)

    assert np.array_equal(batches()[1][1], batches()[1][1])
    assert not np.array_equal(batches()[1][1], batches()[2][1])


def test_fields_come_back_from_their_files(tmp_path, exposure_field, frame_field):
    for number, field in enumerate((exposure_field, frame_field, FrameField(np.ones((3, 4))))):
        path = tmp_path / f"{number}.npz"
        field.save(path)
        again = type(field).load(path)
        for name, value in vars(field).items():
            if value is None:
                assert getattr(again, name) is None
            else:
                assert np.array_equal(getattr(again, name), value)


def test_a_frame_s_own_noise_is_part_of_the_diffusion_s():
    flat = np.zeros((128, 128), np.float32)
    field = FrameField(flat, flat + 5, flat + 5, flat, gain=1.0, read_noise=5.0)
    batches = FrameBatches([field], schedule=LinearSchedule(), vary=False,
                           **COMMON | {"tile": 128})  # fmt: skip
    (noisy, variance), noise, weights = batches[0]
    assert noise.std(axis=(1, 2, 3)) == pytest.approx(np.ones(8), abs=0.03)
    assert (weights == 1).all()
    assert np.allclose(noisy, np.sqrt(variance) * noise)  # no structure


def test_rows_and_columns_are_levelled_before_the_network():
    from bgrem.noise_mapping.units import frame_level

    rng = np.random.default_rng(5)
    offsets = rng.normal(0, 8, (128, 1)) + rng.normal(0, 5, (1, 160))
    noise = rng.normal(0, 6, (128, 160))
    level, sigma = frame_level(1000 + offsets + noise)
    # a median of 128 pixels is good to 0.11 of the noise
    assert np.std(level - 1000 - offsets) < 0.25 * 6
    assert 6 < np.median(sigma) < 12  # as the mesh sees it, bands and all


def test_structures_are_scaled_so_that_the_noise_is_that_of_time_118():
    signal, noise = LinearSchedule().rates(118)
    assert noise / signal == pytest.approx(FRAME_NOISE_IN_UNITS, rel=0.01)


def test_own_frames_have_unit_variance_between_zscale_s_limits(tmp_path):
    from astropy.io import fits

    rng = np.random.default_rng(0)
    fits.writeto(tmp_path / "raw.fits", rng.normal(700, 9, (100, 100)).astype(np.float32))
    field = measured_frame_field(tmp_path / "raw.fits")
    assert field.scale is None
    assert np.median(field.structure) == pytest.approx(0, abs=0.05)
    assert 1 <= field.structure.std() < 1.2  # the limits cut little of a Gaussian


def test_tracks_of_particles_are_thin():
    rng = np.random.default_rng(2)
    tracks = np.stack([particle_tracks(rng, 64) for _ in range(40)])
    assert tracks.max() > 5
    assert (tracks > 0.5).mean() < 0.05


@pytest.mark.parametrize(("task", "network"), [("enhance", "exposure"), ("noisemap", "residual")])
def test_training_writes_a_model_of_its_task_and_goes_on_exactly(task, network, tmp_path):
    config = TrainConfig(
        task=task, network=network, fields=1, validation_fields=1, field_shape=(64, 64), tile=32,
        batch_size=2, epochs=2, steps_per_epoch=2, validation_steps=1, patience=0,
        precision="float32",
    )  # fmt: skip

    def silent(line):
        pass

    whole = load_model(train(config, tmp_path / "whole", report=silent))
    assert whole.description["task"] == task

    class Stop(Exception):
        pass

    def stop_after_one(line):
        if line.startswith("epoch 1"):
            raise Stop

    with pytest.raises(Stop):
        train(config, tmp_path / "parts", report=stop_after_one)
    parts = load_model(train(config, tmp_path / "parts", report=silent))
    for one, other in zip(whole.network.weights, parts.network.weights, strict=True):
        assert np.array_equal(one.numpy(), other.numpy())
