"""Blended stars become two on the sharpened image, galaxies stay one."""

import numpy as np
import pytest

from bgrem.frame.blends import Sharpened, find_sources
from bgrem.frame.stars import PointSpread

SPREAD = PointSpread(3.0, 3.0)
SHAPE = (120, 140)


def light_of(stars, shape=SHAPE):
    """Stars (x, y, peak) without noise."""
    import galsim

    image = galsim.Image(np.zeros(shape), xmin=0, ymin=0)
    for x, y, peak in stars:
        stamp = galsim.Image(61, 61, dtype=float)
        stamp.setCenter(round(x), round(y))
        SPREAD.profile.withFlux(10 * peak).drawImage(
            stamp, scale=1.0, center=galsim.PositionD(x, y)
        )
        common = stamp.bounds & image.bounds
        image[common] += stamp[common]
    return image.array.copy()


def found_in(light, threshold=1.0, **settings):
    return find_sources(light, threshold, Sharpened(light, SPREAD), **settings)


def test_two_stars_under_one_maximum_are_two():
    light = light_of([(60, 60, 100), (63.4, 60.4, 90), (30, 30, 40)])
    assert len(find_sources(light, 1.0, None).places) == 2
    found = found_in(light)
    places = sorted(zip(found.places.x, found.places.y, strict=True))
    np.testing.assert_allclose(places, [(30, 30), (60, 60), (63.4, 60.4)], atol=0.7)
    assert sorted(found.blended) == [False, True, True]


def test_each_source_has_its_own_pixels_above_the_threshold():
    rng = np.random.default_rng(3)
    light = light_of(np.column_stack([rng.uniform(5, 115, (60, 2)), rng.uniform(5, 80, 60)]))
    found = found_in(light)
    number = np.bincount(found.segmentation.ravel(), minlength=len(found.places) + 1)
    assert len(number) == len(found.places) + 1
    assert (number[1:] > 0).all()
    assert (light[found.segmentation > 0] > 1).all()
    plain = find_sources(light, 1.0, None)
    assert ((found.segmentation > 0) == (plain.segmentation > 0)).mean() > 0.99
    rows, columns = (np.rint(axis).astype(int) for axis in (found.places.y, found.places.x))
    assert (found.segmentation[rows, columns] == np.arange(1, len(rows) + 1)).mean() > 0.95


def test_a_smooth_galaxy_is_one_source():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    along = 0.8 * (x - 70) + 0.6 * (y - 60)
    across = 0.8 * (y - 60) - 0.6 * (x - 70)
    galaxy = 60 * np.exp(-np.sqrt((along / 10) ** 2 + (across / 4) ** 2 + 0.1))
    assert len(found_in(galaxy).places) == 1


def test_a_star_on_a_galaxy_is_seen():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    galaxy = 30 * np.exp(-np.hypot(x - 70, y - 60) / 10)
    found = found_in(galaxy + light_of([(84, 60, 25)]))
    assert len(found.places) == 2
    assert np.hypot(found.places.x - 84, found.places.y - 60).min() < 0.5


def test_faint_maxima_beside_a_star_need_a_star_at_the_threshold():
    light = light_of([(60, 60, 100), (63.2, 60, 8)])
    few, many = (found_in(light, threshold) for threshold in (5.0, 0.3))
    assert len(few.places) <= len(many.places)


def test_blocks_make_no_seam(monkeypatch):
    rng = np.random.default_rng(5)
    light = light_of(np.column_stack([rng.uniform(5, 115, (40, 2)), rng.uniform(5, 80, 40)]))
    whole = Sharpened(light, SPREAD).image
    monkeypatch.setattr("bgrem.frame.blends.BLOCK_PX", 50)
    parts = Sharpened(light, SPREAD).image
    np.testing.assert_allclose(parts, whole, atol=0.02 * whole.max())
    assert np.median(np.abs(parts - whole)) < 1e-6 * whole.max()


@pytest.mark.parametrize("shape", [(5, 200), (40, 40), (1, 30)])
def test_small_frames(shape):
    light = np.zeros(shape)
    light[shape[0] // 2, 10:14] = 9
    assert len(found_in(light, minimum_area=2).places) == 1


def test_an_empty_frame_has_no_source():
    assert len(found_in(np.zeros(SHAPE)).places) == 0


def test_the_threshold_may_differ_from_place_to_place():
    light = light_of([(30, 60, 10), (100, 60, 10)])
    threshold = np.where(np.arange(SHAPE[1]) < 70, 1.0, 50.0) * np.ones(SHAPE)
    found = found_in(light, threshold)
    assert len(found.places) == 1
    assert found.places.x[0] == pytest.approx(30, abs=0.3)
