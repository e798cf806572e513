"""Pictures: the noise goes, the light stays."""

import numpy as np
import pytest
from astropy.io import fits
from printed_events import results_of

from bgrem import DenoiseConfig, denoise
from bgrem.cli import main
from bgrem.denoising.picture.colour import channel_noise, from_planes, to_planes
from bgrem.denoising.picture.mosaic import cut_mosaic, join_mosaic
from bgrem.frame.picture.choice import choose_settings, has_nebula
from bgrem.frame.picture.level import picture_statistics
from common import AstroImage, read_image

SHAPE = (200, 216)


def nebula(shape=SHAPE, height=30.0):
    y, x = np.indices(shape) / shape[0]
    return height * np.exp(-((y - 0.4) ** 2 + (x - 0.6) ** 2) / 0.06)


def picture(channels=3, seed=0, shape=SHAPE, noise=1.0):
    """Return a picture and its truth, (H, W, C)."""
    rng = np.random.default_rng(seed)
    light = 500 + nebula(shape)[..., None] * np.linspace(1, 0.5, channels)
    for _ in range(12):
        y, x = np.indices(shape)
        row, column = rng.uniform(10, shape[0] - 10), rng.uniform(10, shape[1] - 10)
        star = rng.uniform(20, 400) * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 4)
        light = light + star[..., None]
    return light + noise * rng.standard_normal(light.shape), light


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_noise_goes_and_the_light_stays(channels):
    observed, truth = picture(channels)
    done = denoise(AstroImage(observed.astype(np.float32)), keep="background")
    assert rms(done.result.pixels - truth) < 0.5
    assert abs(np.median(done.result.pixels - truth)) < 0.05
    assert not done.background.pixels.any()
    total = done.result.pixels.astype(float) + done.residual.pixels
    np.testing.assert_allclose(total, observed, rtol=1e-6)


def test_luminance_and_colour_are_removed_in_parts():
    observed, _ = picture(3)
    image = AstroImage(observed.astype(np.float32))
    whole = denoise(image, keep="background").residual.pixels
    grey = denoise(image, keep="background", colour=0.0).residual.pixels
    tint = denoise(image, keep="background", luminance=0.0).residual.pixels
    np.testing.assert_allclose(grey + tint, whole, atol=1e-3)
    # without the colours the noise of all channels is one and the same
    assert np.ptp(grey / grey.std((0, 1)), axis=-1).mean() < 0.1
    nothing = denoise(image, keep="background", strength=0.0).result.pixels
    np.testing.assert_allclose(nothing, image.pixels, rtol=1e-6)


def test_faint_stars_are_put_back_on_request():
    rng = np.random.default_rng(3)
    light = np.full((256, 256), 100.0)
    places = [(row, column) for row in range(20, 250, 30) for column in range(20, 250, 30)]
    y, x = np.indices(light.shape)
    for row, column in places:
        light += 2.2 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 2.5)
    image = AstroImage((light + rng.standard_normal(light.shape)).astype(np.float32))
    plain = denoise(image, keep="background").result.pixels[..., 0]
    more = denoise(image, keep="background", detail=1.0).result.pixels[..., 0]
    at = tuple(np.array(places).T)
    assert more[at].mean() >= plain[at].mean()
    assert rms(more - light) < 1


def test_missing_pixels_stay_missing_in_their_channel_alone():
    observed, _ = picture(3)
    observed[40:44, 50:60, 1] = np.nan
    done = denoise(AstroImage(observed.astype(np.float32)), keep="background")
    np.testing.assert_array_equal(np.isnan(done.result.pixels), np.isnan(observed))


@pytest.mark.parametrize("shape", [(8, 10), (7, 10), (8, 9), (7, 9)])
def test_a_mosaic_is_cut_and_joined(shape):
    pixels = np.arange(np.prod(shape), dtype=float).reshape(shape)
    phases = cut_mosaic(pixels)
    assert phases.shape == (-(-shape[0] // 2), -(-shape[1] // 2), 4)
    np.testing.assert_array_equal(join_mosaic(phases, shape), pixels)


def test_colour_planes_go_back_and_forth():
    rng = np.random.default_rng(0)
    units = np.array([1.0, 2.0, 5.0])
    pixels = units * rng.standard_normal((30, 40, 3))
    planes = to_planes(pixels, units)
    np.testing.assert_allclose(from_planes(planes, units), pixels)
    np.testing.assert_allclose(planes.std((0, 1)), 1, atol=0.1)
    sigma = channel_noise(np.ones((2, 2, 3)), units)
    np.testing.assert_allclose(sigma, np.broadcast_to(units, sigma.shape))


@pytest.mark.parametrize("slope", [0.0, 0.05])
def test_the_noise_grows_with_the_light(slope):
    rng = np.random.default_rng(1)
    light = 100 + nebula((512, 512), 200.0)
    sigma = np.sqrt(4 + slope * (light - 100))
    found = picture_statistics(light + sigma * rng.standard_normal(light.shape))
    np.testing.assert_allclose(found.sigma, sigma, rtol=0.12)
    assert rms(found.background - light) < 0.25 * sigma.mean()


def test_noise_of_resampled_frames_is_measured_in_full():
    from scipy import ndimage

    noise = ndimage.gaussian_filter(np.random.default_rng(2).standard_normal((400, 400)), 0.8)
    found = picture_statistics(100 + noise)
    assert np.median(found.sigma) == pytest.approx(noise.std(), rel=0.1)


@pytest.mark.parametrize("grain_px", [0.0, 0.8])  # white, and correlated
def test_fine_texture_is_not_taken_for_noise(grain_px):
    from scipy import ndimage

    rng = np.random.default_rng(4)
    noise, texture = rng.standard_normal((2, 512, 512))
    noise = ndimage.gaussian_filter(noise, grain_px)
    texture = ndimage.gaussian_filter(texture, 1.7)
    bright = nebula((512, 512), 1.0) > 0.2  # half of the picture
    light = bright * (60 + 3 * texture / texture.std()) * noise.std()
    found = picture_statistics(light + noise).sigma
    # differences over 3 px alone are more than twice the noise there
    assert np.median(found[bright]) == pytest.approx(noise.std(), rel=0.1)
    assert np.median(found[~bright]) == pytest.approx(noise.std(), rel=0.1)


def test_what_has_no_noise_is_refused():
    with pytest.raises(ValueError, match="there is no noise to take out"):
        denoise(np.full((64, 64, 3), 2.0, np.float32), keep="background")


def test_a_nebula_is_no_sky():
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((768, 768))
    y, x = np.indices(noise.shape) / 768
    assert has_nebula(noise + nebula(noise.shape, 30.0))
    assert not has_nebula(noise)
    assert not has_nebula(noise + 300 * x + 40 * (y - 0.5) ** 2)
    assert not has_nebula(noise + 20 * np.sin(9 * x) * np.cos(8 * y))


@pytest.mark.parametrize(
    ("settings", "kept"),
    [({}, "background"), ({"keep": "sources"}, "sources"), ({"model": "gamma"}, "auto")],
)
def test_what_is_kept_follows_image_and_user(settings, kept):
    image = AstroImage(picture(3)[0].astype(np.float32))
    assert choose_settings(image, DenoiseConfig(**settings)).keep == kept


def test_the_command_says_what_it_keeps(tmp_path, capsys):
    observed, truth = picture(3)
    path, out = tmp_path / "nebula.fits", tmp_path / "out"
    fits.writeto(path, np.moveaxis(observed, -1, 0).astype(np.float32))
    assert main(["denoise", str(path), "-o", str(out), "--json"]) == 0
    captured = capsys.readouterr()
    assert "nebula.fits: a colour image: the background is kept" in captured.err
    assert results_of(captured.out)[0]["keep"] == "background"
    result = read_image(out / "nebula_denoised.fits")
    assert rms(result.pixels - truth) < 0.5
    assert fits.getheader(out / "nebula_denoised.fits")["BGKEEP"] == "background"


def test_a_mosaic_keeps_its_layout(tmp_path):
    rng = np.random.default_rng(7)
    light = 400 + nebula((201, 240))
    light[::2, ::2] *= 1.5
    light[1::2, 1::2] *= 0.7
    path = tmp_path / "raw.fits"
    observed = (light + 4 * rng.standard_normal(light.shape)).astype(np.float32)
    fits.writeto(path, observed, fits.Header({"BAYERPAT": "RGGB", "EXPTIME": 60.0}))
    assert main(["denoise", str(path), "-o", str(tmp_path / "out")]) == 0
    with fits.open(tmp_path / "out" / "raw_denoised.fits") as hdus:
        assert hdus[0].header["BAYERPAT"] == "RGGB"
        assert hdus[0].header["EXPTIME"] == 60.0
        assert rms(hdus[0].data - light) < 2


def test_sources_of_a_mosaic_are_refused(tmp_path, capsys):
    path = tmp_path / "raw.fits"
    fits.writeto(path, np.ones((64, 64), np.float32), fits.Header({"BAYERPAT": "RGGB"}))
    assert main(["denoise", str(path), "--keep", "sources"]) != 0
    assert "raw.fits: a Bayer mosaic." in capsys.readouterr().err


def stretched(pixels, midtone=0.02):
    """Return pixels after the midtones transfer function, 0 to 1."""
    low, high = np.quantile(pixels, 0.0005), pixels.max()
    x = np.clip((pixels - low) / (high - low), 0, 1)
    return (midtone - 1) * x / ((2 * midtone - 1) * x - midtone)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_stretched_picture_is_refused_with_the_reason(channels):
    observed = stretched(picture(channels, shape=(384, 384))[0]).astype(np.float32)
    with pytest.raises(ValueError, match="is stretched: its noise falls to"):
        denoise(observed, keep="background")
    assert np.isfinite(denoise(observed, keep="background", linear=True).result.pixels).all()


def test_a_history_tells_of_a_stretch(tmp_path):
    path = tmp_path / "m42.fits"
    header = fits.Header()
    header["HISTORY"] = "HistogramTransformation with PixInsight 1.9"
    fits.writeto(path, np.moveaxis(picture(3)[0], -1, 0).astype(np.float32), header)
    with pytest.raises(ValueError, match="its history names HistogramTransformation"):
        denoise(read_image(path), keep="background")


def test_integers_come_back_as_integers_where_asked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    observed, _ = picture(1)
    fits.PrimaryHDU(observed[..., 0].round().astype(np.uint16)).writeto("counts.fits")
    command = ["denoise", "counts.fits", "--keep", "background", "--integers"]
    assert main(command) == 0
    with fits.open("counts_denoised.fits") as hdus:
        assert hdus[0].data.dtype == np.uint16
        assert abs(np.median(hdus[0].data) - np.median(observed)) < 1
    fits.PrimaryHDU(observed[..., 0].astype(np.float32)).writeto("floats.fits")
    assert main(["denoise", "floats.fits", "--integers"]) == 2
    assert "floats.fits: stores no integers" in capsys.readouterr().err
