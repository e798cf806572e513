"""`noisemap`: what diffusion can reproduce is removed, satellites remain."""

import numpy as np
import pytest
from astropy.io import fits

from bgrem.cli import main
from bgrem.config import NoiseMapConfig
from bgrem.models import Model
from bgrem.networks.diffusion import ddim_step
from bgrem.networks.schedule import LinearSchedule
from bgrem.noise_mapping.flow import noisemap
from bgrem.noise_mapping.runs import diffusion_times
from bgrem.noise_mapping.units import FRAME_NOISE_IN_UNITS


class Oracle:
    """Returns all but the true structure as noise. Keeps what it was given."""

    def __init__(self, structure):
        self.structure, self.given = structure, []

    def predict_on_batch(self, inputs):
        noisy, variance = inputs
        self.given.append((noisy.copy(), float(variance[0, 0, 0, 0])))
        noise = np.sqrt(variance)
        return (noisy - np.sqrt(1 - variance) * self.structure) / noise


class Half:
    """Returns half of all that it is given as structure."""

    def predict_on_batch(self, inputs):
        noisy, variance = inputs
        return 0.5 * noisy / np.sqrt(variance)


def oracle(structure=0.0, scaling="noise"):
    return Model("oracle", Oracle(np.float32(structure)), {"task": "noisemap", "scaling": scaling})


@pytest.fixture
def frame():
    rng = np.random.default_rng(4)
    return (500 + rng.normal(0, 12, (96, 128))).astype(np.float32)


@pytest.mark.parametrize("steps", [1, 4])
def test_the_map_is_the_structure_and_the_residual_the_rest(frame, steps):
    done = noisemap(
        frame, model=oracle(FRAME_NOISE_IN_UNITS * 2.0), runs=3, depth=150, ddim_steps=steps
    )
    # two units of the noise above the smooth background
    assert np.median(done.map.pixels) == pytest.approx(500 + 2 * 12, abs=1.5)
    assert np.allclose(done.map.pixels + done.residual.pixels, frame[..., None], atol=1e-3)
    assert done.deviation.pixels.max() < 0.5  # an oracle says the same in each run


def test_a_satellite_stays_where_it_is_no_structure(frame):
    frame[40, 60] += 200
    done = noisemap(frame, model=oracle(), runs=2)
    assert done.residual.pixels[40, 60, 0] > 190 - 3 * 12


def test_the_noise_of_the_frame_is_part_of_the_diffusion_s(frame):
    one = oracle()
    noisemap(frame, model=one, runs=1, depth=300, tile=256, stride=256)
    noisy, variance = one.network.given[0]
    # 96 x 128 draws: good to one per cent
    assert noisy[:1, :96, :128].var() == pytest.approx(variance, rel=0.05)


def test_noise_is_added_up_to_the_first_time_and_not_beyond_the_frame_s_own():
    signals, noises = LinearSchedule().rates(np.arange(1001))
    config = NoiseMapConfig(depth=200, ddim_steps=4)
    times, added = diffusion_times(config, 0.4)
    assert times.tolist() == [200, 150, 100, 50, 0]
    assert added**2 + (0.4 * signals[200]) ** 2 == pytest.approx(noises[200] ** 2, rel=1e-5)
    times, added = diffusion_times(config, 2.0)
    first = times[0]
    assert noises[first - 1] / signals[first - 1] < 2 <= noises[first] / signals[first]
    assert first > 200
    assert added == 0


def test_all_runs_are_one_where_no_noise_is_added(frame):
    one = oracle()
    noisemap(frame, model=one, runs=20, depth=100, protect=0)
    assert len(one.network.given) == 1
    _, noise = LinearSchedule().rates(118)
    assert one.network.given[0][1] == pytest.approx(float(noise) ** 2)


def test_the_seed_draws_the_noise(frame, tiny_noise_model):
    def mapped(seed):
        return noisemap(frame, model=tiny_noise_model, runs=2, depth=200, seed=seed).map.pixels

    assert np.array_equal(mapped(1), mapped(1))
    assert not np.array_equal(mapped(1), mapped(2))


def test_the_deviation_is_that_of_the_runs(frame, tiny_noise_model):
    settings = {"model": tiny_noise_model, "depth": 200, "seed": 3}
    done = noisemap(frame, runs=2, **settings)
    first = noisemap(frame, runs=1, **settings).map.pixels
    second = 2 * done.map.pixels - first
    expected = np.std([first, second], axis=0, ddof=1)
    assert np.allclose(done.deviation.pixels, expected, atol=1e-2)
    assert done.deviation.pixels.max() > 0


def test_tiles_see_the_same_noise(frame):
    model = Model("half", Half(), {"task": "noisemap", "scaling": "noise"})
    settings = {"model": model, "depth": 200, "runs": 1, "protect": 0}
    whole = noisemap(frame, tile=256, stride=256, **settings).map.pixels
    tiled = noisemap(frame, tile=64, stride=32, **settings).map.pixels
    other = noisemap(frame, tile=256, stride=256, seed=9, **settings).map.pixels
    assert np.allclose(tiled, whole, atol=1e-2)
    assert not np.allclose(other, whole, atol=1)


def test_missing_pixels_stay_missing(frame):
    frame[:5, :7] = np.nan
    done = noisemap(frame, model=oracle(), runs=1)
    for part in (done.map, done.residual, done.deviation, done.rms):
        assert np.array_equal(part.missing[..., 0], np.isnan(frame))


def test_a_model_of_own_frames_scales_by_contrast(frame):
    done = noisemap(frame, model=oracle(scaling="contrast"), runs=1, depth=100)
    assert np.median(done.map.pixels) == pytest.approx(500, abs=1)


def test_a_constant_frame_is_refused():
    with pytest.raises(ValueError, match="constant"):
        noisemap(np.full((64, 64), 7.0), model=oracle())


def test_a_ddim_step_of_the_true_noise_lands_on_the_same_line():
    rng = np.random.default_rng(0)
    clean, noise = rng.normal(size=(2, 8, 8)).astype(np.float32)
    schedule = LinearSchedule()
    signals, noises = (rates.tolist() for rates in schedule.rates(np.array([300, 120])))
    noisy = signals[0] * clean + noises[0] * noise
    after = ddim_step(noisy, noise, (signals[0], noises[0]), (signals[1], noises[1]))
    assert np.allclose(after, signals[1] * clean + noises[1] * noise, atol=1e-5)


def test_random_steps_keep_the_variance_of_their_time():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(300, 300)).astype(np.float32)
    signals, noises = (rates.tolist() for rates in LinearSchedule().rates(np.array([300, 120])))
    rates = [(signals[k], noises[k]) for k in (0, 1)]
    after = ddim_step(noises[0] * noise, noise, *rates, eta=1.0, rng=rng)
    assert after.std() == pytest.approx(noises[1], rel=0.01)
    assert abs(np.corrcoef(after.ravel(), noise.ravel())[0, 1]) < 0.95


def test_the_linear_schedule_is_the_ddpm_s():
    signal, noise = LinearSchedule().rates(np.array([0, 1, 1000]))
    assert signal[0] == 1
    assert noise[0] == 0
    assert signal[1] ** 2 == pytest.approx(1 - 1e-4)
    assert signal[2] ** 2 == pytest.approx(4e-5, rel=0.05)  # Ho et al. 2020: nearly nothing is left


def test_points_of_light_are_kept_out_of_the_map_of_a_network_that_would_take_half(frame):
    frame[40, 60] += 400
    model = Model("half", Half(), {"task": "noisemap", "scaling": "noise"})
    kept = {
        protect: noisemap(frame, model=model, runs=1, depth=100, protect=protect)
        .residual.pixels[38:43, 58:63].sum() / 400
        for protect in (0.0, 4.0)
    }  # fmt: skip
    assert kept[0.0] < 0.65
    assert kept[4.0] > 0.7  # the noise of 25 pixels is 0.15 of the light


@pytest.fixture(scope="module")
def tiny_noise_folder(tmp_path_factory):
    from bgrem.models import named_weights, save_model
    from bgrem.networks.attention_unet import initialise
    from bgrem.networks.residual_unet import residual_unet

    network = residual_unet((8, 8))
    initialise(network, 5)
    folder = tmp_path_factory.mktemp("models") / "tiny_noise"
    options = {"name": "residual", "widths": [8, 8]}
    card = {"task": "noisemap", "network": options, "scaling": "noise", "domain": {}}
    save_model(folder, named_weights(network), card)
    return folder


@pytest.fixture(scope="module")
def tiny_noise_model(tiny_noise_folder):
    from bgrem.models import load_model

    return load_model(tiny_noise_folder)


def test_the_command_writes_residual_map_deviation_and_rms(tmp_path, frame, tiny_noise_folder):
    path, out = tmp_path / "frame.fits", tmp_path / "out"
    fits.writeto(path, frame, fits.Header([("DATE-OBS", "2023-04-14T03:12:45.123")]))
    arguments = ["noisemap", str(path), "-o", str(out), "--runs", "2", "--depth", "150",
                 "--model", str(tiny_noise_folder), "--quiet"]  # fmt: skip
    assert main(arguments) == 0
    parts = {}
    words = {"residual": "result", "map": "map", "deviation": "deviation", "rms": "rms"}
    for word, part in words.items():
        with fits.open(out / f"frame_{word}.fits", checksum=True) as hdus:
            assert hdus[0].header["DATE-OBS"] == "2023-04-14T03:12:45.123"
            assert hdus[0].header["BGPART"] == part
            assert hdus[0].header["BGTOOL"] == "bgrem noisemap"
            parts[part] = hdus[0].data
    assert np.allclose(parts["result"] + parts["map"], frame, atol=1e-3)
    assert np.median(parts["rms"]) == pytest.approx(parts["result"].std(), rel=0.3)
    assert (out / "frame_residualParams.json").exists()
    for word in ("map", "rms"):
        assert main(["reproduce", str(out / f"frame_{word}.fits"), "--input", str(path)]) == 0
