"""Was light added or lost? The stars of simulated frames, whose gradients are known."""

import numpy as np
import pytest
from astropy.io import fits
from scipy import ndimage

from bgoptimizer import BackgroundConfig, correct_background, fit_background
from bgoptimizer.cli import main
from bgoptimizer.operation import _decide, _poisson_slope, measure_operation
from common import AstroImage

SHAPE = (1000, 1500)


def starry_frame(kind, stars=30000):
    """A frame of many stars under light that was added, or taken by a vignette of 50 %."""
    rng = np.random.default_rng(11)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] / SHAPE[0]
    away = (y - 0.5) ** 2 + (x - 0.75) ** 2
    shape = 1 - 0.5 * away / away.max()
    flux = np.minimum(800 * rng.random(stars) ** (-1 / 0.9), 1e5)
    points = np.zeros(SHAPE)
    place = (
        rng.uniform(0, SHAPE[0], stars).astype(int),
        rng.uniform(0, SHAPE[1], stars).astype(int),
    )
    np.add.at(points, place, flux)
    light = ndimage.gaussian_filter(points, 1.3) * (shape if kind == "lost" else 1)
    total = light + 400 * shape
    return AstroImage((total + np.sqrt(total) * rng.standard_normal(SHAPE)).astype(np.float32))


@pytest.mark.parametrize(("kind", "choice"), [("added", "subtract"), ("lost", "divide")])
def test_stars_say_whether_light_was_added_or_lost(kind, choice):
    image = starry_frame(kind)
    model = fit_background(image, BackgroundConfig(operation="auto"))
    found = measure_operation(image, model)
    assert found.kind == found.choice == choice
    assert abs(found.exponent - (kind == "lost")) < 2.5 * found.error
    correction = correct_background(image, model)
    assert correction.operation == choice
    assert correction.notes == (found.note,)


def test_too_few_stars_say_nothing():
    rng = np.random.default_rng(0)
    image = AstroImage((100 + rng.normal(size=(100, 150))).astype(np.float32))
    found = measure_operation(image, fit_background(image))
    assert (found.kind, found.choice) == ("unknown", "subtract")
    assert "cannot say" in found.note


@pytest.mark.parametrize(
    ("exponent", "error", "kind"),
    [(0.1, 0.2, "subtract"), (0.9, 0.2, "divide"), (0.5, 0.1, "both"), (0.5, 0.6, "unknown"),
     (2.4, 0.3, "both"), (0.3, 0.2, "subtract"), (0.4, 0.25, "unknown")],
)  # fmt: skip
def test_an_answer_needs_one_that_fits_and_one_that_does_not(exponent, error, kind):
    assert _decide(exponent, error) == kind


def test_a_poisson_regression_finds_its_slope_within_its_error():
    rng = np.random.default_rng(2)
    terms = np.stack([np.ones(400), rng.uniform(-1, 1, 400)], -1)
    slopes = []
    for _ in range(50):
        counts = rng.poisson(5 * np.exp(0.7 * terms[:, 1]))
        slopes.append(_poisson_slope(terms, counts, np.ones(400)))
    values, errors = np.array(slopes).T
    assert values.mean() == pytest.approx(0.7, abs=0.03)
    assert errors.mean() == pytest.approx(values.std(), rel=0.3)


def test_the_command_names_the_result_and_says_why(tmp_path):
    rng = np.random.default_rng(0)
    fits.writeto(tmp_path / "a.fits", (100 + rng.normal(size=(60, 90))).astype(np.float32))
    words = [str(tmp_path / "a.fits"), "-o", str(tmp_path), "--operation", "auto"]
    assert main(words) == 0
    header = fits.getheader(tmp_path / "a_bgCorrected.fits")
    assert "cannot say" in str(header["HISTORY"])
    assert "BGPED" in header
