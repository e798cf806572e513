"""What the weights `hst` and `streaks` do, on fields they have not seen."""

import numpy as np
import pytest
from scipy import ndimage

from bgrem.config import EnhanceConfig, NoiseMapConfig
from bgrem.enhancing.flow import enhance
from bgrem.inference.run import load_for
from bgrem.noise_mapping.flow import noisemap
from bgrem.simulate.hubble import long_exposure, short_exposure, simulate_hubble_field
from bgrem.simulate.staring import draw_noise, simulate_staring_frame
from bgrem.simulate.trails import add_satellites

SEED = 61_800


@pytest.fixture(scope="module")
def enhancer():
    return load_for(EnhanceConfig(), "enhance")


@pytest.fixture(scope="module")
def mapper():
    return load_for(NoiseMapConfig(), "noisemap")


def pair(kind, ratio):
    field = simulate_hubble_field(SEED, (320, 320), kind=kind)
    rng = np.random.default_rng(SEED)
    long = long_exposure(field.sources + field.sky, field.exposure, rng)
    return long, short_exposure(long, ratio, field.exposure, rng)


@pytest.mark.parametrize("ratio", [2, 5])
@pytest.mark.parametrize("kind", ["cluster", "deep"])
def test_an_enhanced_exposure_is_nearer_to_the_long_one(enhancer, kind, ratio):
    long, short = pair(kind, ratio)
    done = enhance(short, ratio=ratio, gain=1.0, model=enhancer).result.pixels[..., 0]
    before, after = (np.median(np.abs(ratio * one - long)) for one in (short, done))
    assert after < 0.85 * before


@pytest.mark.parametrize("ratio", [2, 5])
def test_nothing_is_invented_on_an_empty_sky(enhancer, ratio):
    rng = np.random.default_rng(SEED)
    sky = np.full((384, 384), 0.05)
    long = long_exposure(sky, 1000.0, rng)
    short = short_exposure(long, ratio, 1000.0, rng)
    done = enhance(short, ratio=ratio, gain=1.0, noise=0.0, model=enhancer).result.pixels[..., 0]

    def highest(image):
        smooth = ndimage.gaussian_filter(image - np.median(image), 1.0)
        return smooth.max()

    # chance makes peaks of 4.4 sigma; those of the input are as many of its larger noise
    assert highest(done) < 0.85 * highest(short)
    assert highest(done) < 8 * np.std(long) / ratio / (2 * np.sqrt(np.pi))


def test_bright_stars_keep_their_light(enhancer):
    rng = np.random.default_rng(SEED)
    y, x = np.mgrid[:256, :256]
    light, places = np.full((256, 256), 0.05), [(40 + 58 * k, 30 + 60 * k) for k in range(4)]
    for row, column in places:
        light += 4 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 0.9**2))
    long = long_exposure(light, 800.0, rng)
    short = short_exposure(long, 2, 800.0, rng)
    done = enhance(short, ratio=2, gain=1.0, noise=0.0, model=enhancer).result.pixels[..., 0]
    sky = np.median(done)
    for row, column in places:
        near = np.hypot(y - row, x - column) < 5
        expected = 4 * 2 * np.pi * 0.9**2 * 400
        # photons: 8100 electrons are good to 1.1 %, and their long exposure's share
        assert (done[near] - sky).sum() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("seed", [61_803, 61_804])
def test_streaks_and_bands_go_and_satellites_stay(mapper, seed):
    frame = simulate_staring_frame(seed, (256, 256))
    rng = np.random.default_rng(seed)
    noise = draw_noise(frame.sigma, frame.hot_pixels, frame.gain, frame.read_noise, rng)
    raw = frame.structure + noise
    peaks = np.full(12, 10 * float(np.median(frame.sigma)))
    with_satellites, found = add_satellites(raw, peaks, rng)
    with_, without = (
        noisemap(one.astype(np.float32), model=mapper) for one in (with_satellites, raw)
    )
    left = np.abs(without.map.pixels[..., 0] - frame.structure)
    contrast = np.abs(frame.structure - np.median(frame.structure))
    assert left.mean() < 0.5 * contrast.mean()
    change = (with_.residual.pixels - without.residual.pixels)[..., 0]
    kept = [
        change[int(y) - 2 : int(y) + 4, int(x) - 2 : int(x) + 4].sum() / flux
        for x, y, flux in zip(found["x"], found["y"], found["flux"], strict=True)
    ]
    assert np.median(kept) > 0.8
