"""`enhance`: an exposure that looks longer."""

import json

import numpy as np
import pytest
from astropy.io import fits
from scipy import ndimage

from bgrem.cli import main
from bgrem.enhancing.flow import enhance
from bgrem.enhancing.withheld import put_back_stars
from bgrem.frame.exposure import electrons_of
from bgrem.frame.stars import PointSpread
from bgrem.models import Model
from common.image import AstroImage
from common.io import read_image


class Network:
    """Predicts `share` of the pixels as noise, whatever they are."""

    def __init__(self, share):
        self.share, self.ratios = share, set()

    def predict_on_batch(self, inputs):
        noisy, ratio = inputs
        self.ratios |= set(np.unique(ratio).tolist())
        return self.share * noisy


def model(share=0.0):
    return Model("fake", Network(share), {"ratios": [2, 5], "task": "enhance"})


@pytest.fixture
def electrons():
    rng = np.random.default_rng(3)
    pixels = rng.poisson(40, (96, 120)) + rng.normal(0, 3, (96, 120))
    pixels[40, 50] += 5000
    return pixels.astype(np.float32)


@pytest.fixture(scope="module")
def tiny_exposure_model(tmp_path_factory):
    from bgrem.models import named_weights, save_model
    from bgrem.networks.attention_unet import exposure_unet, initialise

    network = exposure_unet((4, 6), 8)
    initialise(network, 5)
    folder = tmp_path_factory.mktemp("models") / "tiny_exposure"
    options = {"name": "exposure", "widths": [4, 6], "bottleneck": 8}
    card = {"task": "enhance", "network": options, "ratios": [2, 5], "domain": {}}
    save_model(folder, named_weights(network), card)
    return folder


def test_where_nothing_is_noise_the_image_stays(electrons):
    done = enhance(electrons, model=model(), gain=1.0)
    assert np.allclose(done.result.pixels[..., 0], electrons, atol=1e-2)


def test_where_all_is_noise_the_background_and_the_kept_noise_are_left(electrons):
    flat = electrons.copy()
    flat[40, 50] = 40
    spread = {
        noise: enhance(flat, model=model(1.0), gain=1.0, ratio=4, noise=noise).result.pixels.std()
        for noise in (0.0, 0.5, 1.0)
    }
    assert spread[0.0] < 0.1 * flat.std()
    # an exposure four times as long has half the noise
    assert spread[1.0] == pytest.approx(flat.std() / 2, rel=0.02)
    assert spread[0.5] == pytest.approx(flat.std() / 4, rel=0.04)


def test_the_network_is_told_the_ratio(electrons):
    one = model()
    enhance(electrons, model=one, gain=1.0, ratio=3.5)
    assert one.network.ratios == {3.5}


def test_a_ratio_that_the_model_does_not_know_is_refused(electrons):
    with pytest.raises(ValueError, match="was trained for ratios from 2 to 5"):
        enhance(electrons, model=model(), gain=1.0, ratio=8)


def test_the_unit_changes_nothing_but_the_scale(electrons):
    plain = enhance(electrons, model=model(0.5), gain=1.0).result.pixels
    counts = enhance(electrons / 2.5, model=model(0.5), gain=2.5).result.pixels
    assert np.allclose(2.5 * counts, plain, rtol=1e-4, atol=1e-2)


def test_missing_pixels_stay_missing(electrons):
    electrons[10:14, 20:40] = np.nan
    result = enhance(electrons, model=model(0.5), gain=1.0).result
    assert np.array_equal(result.missing[..., 0], np.isnan(electrons))


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ([("BUNIT", "ELECTRONS")], 1.0),
        ([("BUNIT", "electrons/s"), ("EXPTIME", 500.0)], 500.0),
        ([("BUNIT", "e-/sec"), ("EXPTIME", 20.0)], 20.0),
        ([("BUNIT", "electron s-1"), ("EXPTIME", 20.0)], 20.0),
        ([("BUNIT", "counts/s"), ("EXPTIME", 10.0), ("GAIN", 1.5)], 15.0),
        ([("GAIN", 2.0)], 2.0),
        ([("BUNIT", "adu"), ("GAIN", 4.0)], 4.0),
    ],
)
def test_electrons_come_from_the_header(tmp_path, electrons, cards, expected):
    path = tmp_path / "frame.fits"
    fits.writeto(path, electrons, fits.Header(cards))
    assert electrons_of(read_image(path))[0] == expected


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ([], "Give --gain"),
        ([("BUNIT", "nanomaggy"), ("GAIN", 2.0)], "nanomaggy.*Give --gain"),
        ([("BUNIT", "electrons/s")], "Give --exposure"),
    ],
)
def test_an_unknown_unit_is_refused_in_one_line(tmp_path, electrons, cards, message):
    path = tmp_path / "frame.fits"
    fits.writeto(path, electrons, fits.Header(cards))
    with pytest.raises(ValueError, match=message):
        electrons_of(read_image(path))


def test_cosmic_rays_are_replaced_and_stars_stay():
    pytest.importorskip("astroscrappy", reason="pip install astroscrappy")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:128, :128]
    star = 4000 * np.exp(-((y - 60) ** 2 + (x - 70) ** 2) / (2 * 1.5**2))
    pixels = rng.poisson(50 + star) + rng.normal(0, 3, star.shape)
    pixels[20, 30:36] += 2000
    image = AstroImage(pixels.astype(np.float32))
    done = enhance(image, model=model(), gain=1.0, cosmic_rays=True)
    assert done.cosmic_rays[20, 30:36].all()
    assert not done.cosmic_rays[56:65, 66:75].any()
    assert np.abs(done.result.pixels[20, 30:36] - 50).max() < 60


@pytest.mark.parametrize(("tile", "stride"), [(64, 16), (64, 24), (64, 64), (256, 192)])
def test_windows_of_any_stride_are_averaged_to_the_whole(electrons, tile, stride):
    whole = enhance(electrons, model=model(0.5), gain=1.0).result.pixels
    tiled = enhance(electrons, model=model(0.5), gain=1.0, tile=tile, stride=stride).result.pixels
    assert np.allclose(tiled, whole, atol=1e-2)


def test_the_command_writes_a_longer_exposure_with_its_header(
    tmp_path, electrons, tiny_exposure_model
):
    path, out = tmp_path / "frame.fits", tmp_path / "out"
    cards = [("EXTNAME", "SCI"), ("BUNIT", "ELECTRONS"), ("EXPTIME", 60.0)]
    fits.HDUList([
        fits.PrimaryHDU(), fits.ImageHDU(electrons, fits.Header(cards)),
        fits.ImageHDU(np.sqrt(electrons + 9), name="ERR"),
        fits.ImageHDU((electrons > 900).astype(np.int16), name="DQ"),
    ]).writeto(path)  # fmt: skip
    arguments = ["enhance", str(path), "-i", "SCI", "--dq", "DQ", "-o", str(out), "--quiet",
                 "--model", str(tiny_exposure_model), "--ratio", "3"]  # fmt: skip
    assert main(arguments) == 0
    with fits.open(out / "frame_enhanced.fits", checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "ERR", "DQ"]
        header = hdus["SCI"].header
        assert header["BGRATIO"] == 3
        assert header["EXPTIME"] == 60
        assert header["BGTOOL"] == "bgrem enhance"
        assert np.isnan(hdus["SCI"].data[40, 50])
    assert main(["reproduce", str(out / "frame_enhanced.fits"), "--input", str(path)]) == 0
    parameters = json.loads((out / "frame_enhancedParams.json").read_text())
    assert parameters["parameters"]["ratio"] == 3


def test_a_model_of_another_command_is_refused(tmp_path, electrons, tiny_model, capsys):
    path = tmp_path / "frame.fits"
    fits.writeto(path, electrons, fits.Header([("BUNIT", "electrons")]))
    assert main(["enhance", str(path), "--model", str(tiny_model)]) == 2
    assert "is a model of `bgrem denoise`" in capsys.readouterr().err


def star_frame(rng, snr, spread, shape=(200, 240)):
    stamp = spread.stamp(15)
    flux = snr / np.sqrt((stamp**2).sum())
    light = np.zeros(shape)
    for row in range(20, shape[0] - 19, 20):
        for column in range(20, shape[1] - 19, 20):
            light[row - 7 : row + 8, column - 7 : column + 8] += flux * stamp
    return light, light + rng.normal(size=shape), flux


def test_the_light_that_a_network_withholds_from_stars_comes_back():
    spread, rng = PointSpread(2.0), np.random.default_rng(4)
    light, noisy, flux = star_frame(rng, 12, spread)
    withheld = noisy - 0.6 * light  # 40 % of each star are taken for noise
    noise = put_back_stars(noisy, withheld.astype(np.float32), spread)
    kept = noisy - noise
    fluxes = np.array([kept[row - 7 : row + 8, column - 7 : column + 8].sum()
                       for row in range(20, 181, 20) for column in range(20, 221, 20)])  # fmt: skip
    assert np.median(fluxes) == pytest.approx(flux, rel=0.03)
    far = ndimage.maximum_filter(light, 5) == 0
    assert np.array_equal(noise[far], withheld.astype(np.float32)[far])


def test_two_stars_that_touch_share_what_comes_back():
    spread = PointSpread(2.0)
    stamp = 300 * spread.stamp(15)
    light = np.zeros((60, 60))
    light[20:35, 20:35] += stamp
    light[20:35, 24:39] += stamp
    noise = put_back_stars(light, (0.5 * light).astype(np.float32), spread)
    assert (light - noise).sum() == pytest.approx(light.sum(), rel=0.03)
    assert np.abs(noise).max() < 0.15 * light.max()


def test_noise_alone_gets_hardly_a_star():
    noise = np.random.default_rng(8).normal(size=(1500, 2000))
    back = put_back_stars(noise, noise.astype(np.float32), PointSpread(1.8))
    assert ndimage.label(np.abs(back - noise) > 0.3)[1] <= 9  # 3 are expected
    assert np.array_equal(put_back_stars(noise, noise, None), noise)
