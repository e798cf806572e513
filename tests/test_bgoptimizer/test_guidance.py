"""What the user knows of a frame: points of sky, objects, a reference, a sequence."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from scipy import ndimage

from bgoptimizer import BackgroundConfig, fit_background, fit_sequence, make_scene
from bgoptimizer.cli import main
from bgoptimizer.guidance.files import read_objects, read_samples
from bgoptimizer.guidance.guidance import OBJECT, SKY, prepare_guidance
from common import AstroImage, read_image

SHAPE = (400, 600)


@pytest.fixture(scope="module")
def nebula():
    return make_scene(4, shape=SHAPE, objects="nebula")


@pytest.fixture(scope="module")
def noise(nebula):
    return float(np.median(np.abs(np.diff(nebula.observed[..., 0], axis=1)))) / 0.954


def error(model, scene):
    return float(np.std(model.evaluate() - scene.background))


def wcs_header(scale=1e-3, centre=(300.5, 200.5)):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.0, 20.0], list(centre)
    wcs.wcs.cdelt = [-scale, scale]
    return wcs.to_header()


@pytest.fixture
def frame(tmp_path, nebula):
    path = tmp_path / "night.fits"
    fits.writeto(path, nebula.observed[..., 0], wcs_header())
    return path


# --- points of sky and objects -------------------------------------------------------------------


def test_a_sample_is_sky_and_an_object_is_object_whatever_is_recognised(nebula):
    plain = fit_background(nebula.observed)
    inside = np.argwhere(ndimage.binary_erosion(plain.objects[..., 0], iterations=3))
    y, x = (inside[len(inside) // 2] + 0.5) * plain.cell_factor
    drawn = np.zeros(SHAPE, bool)
    drawn[:40, :40] = True
    model = fit_background(nebula.observed, samples=np.array([[x, y, 2.0]]), objects=drawn)
    row, column = int(y / model.cell_factor), int(x / model.cell_factor)
    assert not model.objects[row, column, 0]
    assert model.used[row, column, 0] > 1
    corner = slice(0, 40 // model.cell_factor)
    assert model.objects[corner, corner].all()


def test_samples_hold_a_surface_that_objects_hide(noise):
    """Light over most of the frame, with gaps that only the user sees."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] / SHAPE[0]
    sky = 1.0 + 0.02 * x - 0.03 * np.sin(3 * y)
    gaps = [(v, u) for v in np.arange(0.1, 1, 0.2) for u in np.arange(0.1, 1.5, 0.2)]
    light = np.full(SHAPE, 50 * noise)
    for v, u in gaps:
        light *= 1 - np.exp(-((y - v) ** 2 + (x - u) ** 2) / (2 * 0.03**2))
    rng = np.random.default_rng(1)
    observed = (sky + light + noise * rng.standard_normal(SHAPE)).astype(np.float32)
    samples = np.array([(u * SHAPE[0], v * SHAPE[0], 2.0) for v, u in gaps])
    helped = fit_background(observed, samples=samples).evaluate()[..., 0]
    alone = fit_background(observed).evaluate()[..., 0]
    # a block of 3 px has some light beside the middle of a gap
    assert np.abs(np.mean(helped - sky)) < 3 * noise < 5 * noise < np.abs(np.mean(alone - sky))


def test_points_outside_are_left_out_and_none_inside_is_refused():
    image = AstroImage(np.random.default_rng(0).normal(size=(30, 40)))
    known = prepare_guidance(image, samples=np.array([[5, 6, 1], [500, 6, 1]])).known
    assert known[6, 5] == SKY
    assert (known == SKY).sum() == 5
    with pytest.raises(ValueError, match="none of the 1 points lies in the frame of 40 x 30 px"):
        prepare_guidance(image, samples=np.array([[5, 600]]))
    with pytest.raises(ValueError, match="not finite"):
        prepare_guidance(image, samples=np.array([[5, np.nan]]))
    with pytest.raises(ValueError, match=r"expected points \(N, 2\)"):
        prepare_guidance(image, samples=np.zeros(3))
    with pytest.raises(ValueError, match=r"objects: expected an image of shape \(30, 40\)"):
        prepare_guidance(image, objects=np.zeros((3, 4), bool))


def test_a_sample_in_an_object_is_sky_and_a_bayer_phase_has_its_part():
    image = AstroImage(np.zeros((8, 8)))
    objects = np.ones((8, 8), bool)
    guidance = prepare_guidance(image, samples=np.array([[2.0, 4.0]]), objects=objects)
    assert guidance.known[4, 2] == SKY
    assert (guidance.known == OBJECT).sum() == 63
    assert guidance.phase(0, 0).known[2, 1] == SKY
    assert (guidance.phase(1, 0).known == OBJECT).all()
    assert guidance.known_cells(2)[2, 1] == SKY


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("10,20\n30,40\n", [[10, 20], [30, 40]]),
        ("10,20,3\n", [[10, 20, 3]]),
        ("# by hand\nx,y,radius\n10,20,3\n", [[10, 20, 3]]),
        ("X_IMAGE,Y_IMAGE\n11,21\n", [[10, 20]]),
        ("RA,DEC,name\n150,20,A\n", [[299.5, 199.5]]),  # the reference pixel, from 0
    ],
)
def test_tables_of_points_are_read(frame, tmp_path, text, places):
    path = tmp_path / "sky.csv"
    path.write_text(text)
    image = read_image(frame)
    assert read_samples(path, image) == pytest.approx(np.array(places, float), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("sky.csv", "", "has no point"),
        ("sky.csv", "a,b\n1,2\n", "the columns are a, b"),
        ("sky.csv", "1,2\n3,x\n", "point 2: y = 'x' is no number"),
        ("sky.png", "", "expected a table"),
    ],
)
def test_tables_that_cannot_be_read_are_one_line(frame, tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_samples(path, read_image(frame))


def test_regions_of_ds9_are_read_in_pixels_and_on_the_sky(frame, tmp_path):
    pytest.importorskip("regions", reason="regions of DS9: pip install regions")
    image, path = read_image(frame), tmp_path / "help.reg"
    path.write_text("image\ncircle(51,31,5)\n")
    marked = read_objects(path, image)
    assert marked[30, 50]
    assert marked.sum() == pytest.approx(np.pi * 25, rel=0.15)
    path.write_text('fk5\ncircle(150.0,20.0,18")\n')
    assert read_objects(path, image)[199, 299]
    path.write_text("image\npoint(51,31)\n")
    assert read_samples(path, image)[30, 50]
    with pytest.raises(ValueError, match="a point has no extent"):
        read_objects(path, image)
    path.write_text("image\ncircle(5000,31,5)\n")
    with pytest.raises(ValueError, match="no region lies in the frame"):
        read_objects(path, image)
    path.write_text('fk5\ncircle(150.0,20.0,18")\n')
    with pytest.raises(ValueError, match="has no WCS"):
        read_objects(path, AstroImage(np.zeros(SHAPE)))


def test_objects_are_an_image_too(frame, tmp_path):
    marked = np.zeros(SHAPE, np.uint8)
    marked[3, 4] = 255
    fits.writeto(tmp_path / "objects.fits", marked)
    assert np.argwhere(read_objects(tmp_path / "objects.fits", read_image(frame))).tolist() == [
        [3, 4]
    ]


def test_the_command_takes_all_help_and_replays_it(frame, tmp_path):
    (tmp_path / "sky.csv").write_text("20,20,5\n300,200,5\n")
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[100:140, 150:200] = 1
    fits.writeto(tmp_path / "objects.fits", drawn)
    words = ["--samples", str(tmp_path / "sky.csv"), "--objects", str(tmp_path / "objects.fits")]
    assert main([str(frame), "-o", str(tmp_path / "a"), *words]) == 0
    settings = tmp_path / "a" / "night_bgParams.json"
    parameters = json.loads(settings.read_text())["parameters"]
    assert Path(parameters["samples"]).name == "sky.csv"
    assert main([str(frame), "-o", str(tmp_path / "b"), "--params", str(settings)]) == 0
    first, second = (fits.getdata(tmp_path / one / "night_bgModel.fits") for one in "ab")
    assert np.array_equal(first, second)


# --- reference -----------------------------------------------------------------------------------


def reference_of(scene, noise, scale=2.0):
    rng = np.random.default_rng(3)
    pixels = 0.1 + scale * scene.objects + 0.5 * noise * rng.standard_normal(scene.objects.shape)
    return pixels.astype(np.float32)


def test_a_reference_separates_an_object_from_the_background(nebula, noise):
    """Twice the nebula over the frame's own: recognised alone, it takes some of its light."""
    smooth = ndimage.gaussian_filter(nebula.objects[..., 0], 12)[..., None] * 3
    observed = nebula.observed + smooth.astype(np.float32)
    rng = np.random.default_rng(3)
    light = nebula.objects + smooth
    reference = 0.1 + 2 * light + 0.5 * noise * rng.standard_normal(light.shape)
    alone = fit_background(observed)
    helped = fit_background(observed, reference=reference.astype(np.float32))
    assert error(helped, nebula) < 0.5 * error(alone, nebula)
    assert abs(float(np.mean(helped.evaluate() - nebula.background))) < 0.2 * noise
    assert any("reference: light 0.5" in note or "0.49" in note for note in helped.notes)


def test_a_reference_of_another_scale_is_laid_over_by_its_wcs(nebula, noise, frame, tmp_path):
    pixels = reference_of(nebula, noise)[..., 0]
    small = pixels.reshape(SHAPE[0] // 2, 2, SHAPE[1] // 2, 2).mean((1, 3))
    path = tmp_path / "reference.fits"
    fits.writeto(path, small, wcs_header(2e-3, (150.5, 100.5)))
    assert main([str(frame), "-o", str(tmp_path / "out"), "--reference", str(path)]) == 0
    model = fits.getdata(tmp_path / "out" / "night_bgModel.fits")
    aligned = fit_background(nebula.observed, reference=pixels).evaluate()[..., 0]
    truth = nebula.background[..., 0]
    assert np.std(model - truth) < 1.5 * np.std(aligned - truth)


def test_references_that_do_not_fit_are_one_line(nebula, noise, tmp_path):
    good = reference_of(nebula, noise)
    image = AstroImage(nebula.observed, name="night.fits")
    rng = np.random.default_rng(5)
    empty = rng.normal(0.1, noise, nebula.observed.shape).astype(np.float32)
    with pytest.raises(ValueError, match=r"night\.fits: has no structure in common"):
        fit_background(image, reference=empty)
    with pytest.raises(ValueError, match="one of them has no WCS"):
        fit_background(image, reference=good[:100])
    with pytest.raises(ValueError, match="has 3 channels"):
        fit_background(image, reference=np.repeat(good, 3, -1))
    with pytest.raises(ValueError, match="a Bayer mosaic takes no reference"):
        fit_background(image, BackgroundConfig(bayer=True), reference=good)
    with pytest.raises(ValueError, match="are for the objective robust"):
        fit_background(image, BackgroundConfig(objective="original"), reference=good)
    for name, centre in (("a.fits", (300.5, 200.5)), ("b.fits", (9000.0, 200.5))):
        fits.writeto(tmp_path / name, good[..., 0], wcs_header(centre=centre))
    frame, far = (read_image(tmp_path / name) for name in ("a.fits", "b.fits"))
    with pytest.raises(ValueError, match=r"b\.fits: does not overlap .*a\.fits"):
        fit_background(frame, reference=far)


# --- sequence ------------------------------------------------------------------------------------


def night(number, noise):
    """Frames of one faint nebula under gradients of their own, and their backgrounds."""
    rng = np.random.default_rng(8)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] / SHAPE[0]
    clouds = np.zeros(SHAPE)
    for scale in (1, 2, 4, 8, 16, 32):
        clouds += scale**2 * ndimage.gaussian_filter(rng.standard_normal(SHAPE), 1.5 * scale)
    light = np.exp(clouds / clouds.std() - ((y - 0.5) ** 2 + (x - 0.75) ** 2) / (2 * 0.2**2))
    light *= 4 * noise / np.quantile(light, 0.99)
    frames, skies = [], []
    for _ in range(number):
        slope = rng.normal(0, 20 * noise, 2)
        sky = 0.1 + slope[0] * y + slope[1] * x + 10 * noise * (x - 0.7) ** 2
        frames.append((sky + light + noise * rng.standard_normal(SHAPE)).astype(np.float32))
        skies.append(sky)
    return frames, skies


def test_a_sequence_is_better_than_its_frames_alone(noise):
    frames, skies = night(4, noise)
    strong = BackgroundConfig(protect="strong")  # this nebula is fainter than the noise
    together, alone, kept = (
        np.mean(
            [
                np.std(model.evaluate()[..., 0] - sky)
                for model, sky in zip(models, skies, strict=True)
            ]
        )
        for models in (
            fit_sequence(frames),
            [fit_background(frame) for frame in frames],
            fit_sequence(frames, strong),
        )
    )
    assert together < 0.95 * alone
    assert kept < 0.8 * together


def test_a_sky_that_all_frames_share_is_no_object(noise):
    """A sum of waves under 8 frames: their median shows it far above its own noise."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] / SHAPE[0]
    sky = 0.1 + noise * (6 * np.sin(4 * x + 1) + 4 * np.cos(5 * y + 3 * x))
    frames = [(sky + noise * rng.standard_normal(SHAPE)).astype(np.float32) for _ in range(8)]
    first = next(fit_sequence(frames))
    assert first.objects.mean() < 0.05
    assert np.std(first.evaluate()[..., 0] - sky) < 0.3 * noise


def test_frames_of_a_sequence_share_one_map(noise):
    first, second = fit_sequence(night(2, noise)[0])
    assert np.array_equal(first.objects, second.objects)


def test_sequences_that_are_none_are_one_line(nebula, noise, tmp_path):
    frames, _ = night(2, noise)
    with pytest.raises(ValueError, match=r"has shape \(100, 600, 1\)"):
        list(fit_sequence([frames[0], frames[1][:100]]))
    with pytest.raises(ValueError, match="there is none"):
        list(fit_sequence([]))
    with pytest.raises(ValueError, match="once only"):
        list(fit_sequence(iter(frames)))
    with pytest.raises(ValueError, match="a Bayer mosaic"):
        list(fit_sequence(frames, BackgroundConfig(bayer=True)))
    with pytest.raises(ValueError, match="needs the objective robust"):
        list(fit_sequence(frames, BackgroundConfig(objective="original")))
    for name, centre in (("a.fits", (300.5, 200.5)), ("b.fits", (320.5, 200.5))):
        fits.writeto(tmp_path / name, frames[0], wcs_header(centre=centre))
    with pytest.raises(ValueError, match=r"b\.fits: is 20 px from .*a\.fits"):
        list(fit_sequence([read_image(tmp_path / name) for name in ("a.fits", "b.fits")]))


def test_the_command_fits_a_sequence(noise, tmp_path, capsys):
    for k, pixels in enumerate(night(3, noise)[0]):
        fits.writeto(tmp_path / f"sub{k}.fits", pixels)
    names = [str(tmp_path / f"sub{k}.fits") for k in range(3)]
    assert main([*names, "-o", str(tmp_path / "out"), "--sequence", "--quiet"]) == 0
    masks = [fits.getdata(tmp_path / "out" / f"sub{k}_bgMask.fits") == 0 for k in range(3)]
    assert np.mean(masks[0] == masks[1]) > 0.9  # stars and noise differ
    header = fits.getheader(tmp_path / "out" / "sub0_bgModel.fits")
    assert "objects from the median of 3 frames" in str(header["HISTORY"])
    assert main([names[0], "-o", str(tmp_path / "out"), "--sequence", "--overwrite"]) == 2
    assert "give two or more images" in capsys.readouterr().err


def test_protection_is_of_the_robust_objective():
    with pytest.raises(ValueError, match="protect needs the objective robust"):
        BackgroundConfig(protect="strong", objective="original")
