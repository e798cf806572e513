"""Cosmic rays and hot pixels are marked, stars are not."""

import numpy as np
import pytest
from scipy import ndimage

from bgrem.cataloguing.sharp import sharper_than_stars
from bgrem.frame.sources import Frame

SHAPE = (300, 300)


@pytest.fixture
def scene():
    """Stars of a FWHM of 3 px on a grid, and between them tracks of one pixel's width."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    light, tracks = np.zeros(SHAPE), np.zeros(SHAPE)
    for row in range(15, 300, 30):
        for column in range(15, 300, 30):
            dy, dx = y - row - rng.uniform(-0.5, 0.5), x - column - rng.uniform(-0.5, 0.5)
            peak = rng.uniform(50, 900)
            light += peak * (1 + (dx**2 + dy**2) / 2.94**2) ** -3 * (np.hypot(dy, dx) < 12)
    for row in range(30, 280, 60):
        for column in range(30, 280, 60):
            length = rng.integers(1, 6)
            tracks[row, column : column + length] = rng.uniform(40, 400)
    seen = light + ndimage.gaussian_filter(tracks, 1.2)  # as the network draws them
    segmentation = ndimage.label(seen > 3)[0]
    return rng.normal(0, 1, SHAPE) + light + tracks, seen, tracks, segmentation


def frame_of(pixels, seen, sigma=1.0, gain=None):
    return Frame.of(pixels, seen, np.full(SHAPE, sigma), gain)


def on_tracks(tracks, segmentation):
    number = int(segmentation.max())
    return ndimage.maximum(tracks, segmentation, np.arange(1, number + 1)) > 0


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_tracks_are_marked_and_stars_are_not(scene, scale):
    pixels, seen, tracks, segmentation = scene
    found = sharper_than_stars(frame_of(scale * pixels, scale * seen, scale), segmentation)
    assert np.array_equal(found, on_tracks(tracks, segmentation))
    assert 20 <= found.sum() <= 25
    assert len(found) > 100


def test_stars_beside_gaps_and_full_pixels_are_not_marked(scene):
    pixels, seen, tracks, segmentation = scene
    holed = pixels.copy()
    holed[np.maximum(pixels - tracks, 0) > 400] = np.nan
    found = sharper_than_stars(frame_of(holed, seen), segmentation)
    assert np.array_equal(found, on_tracks(tracks, segmentation))
    full = pixels > 400
    marked = sharper_than_stars(frame_of(np.minimum(pixels, 400), seen), segmentation, full)
    assert not (marked & ~on_tracks(tracks, segmentation)).any()


def test_without_stars_nothing_is_marked(scene):
    _, _, tracks, _ = scene
    noise = np.random.default_rng(8).normal(0, 1, SHAPE)
    segmentation = ndimage.label(ndimage.gaussian_filter(tracks, 1.2) > 3)[0]
    found = sharper_than_stars(frame_of(tracks + noise, tracks), segmentation)
    assert len(found) == segmentation.max()
    assert not found.any()
    nothing = np.zeros(SHAPE, int)
    assert len(sharper_than_stars(frame_of(noise, noise), nothing)) == 0


def test_the_noise_of_photons_is_taken_into_account(scene):
    pixels, seen, _, segmentation = scene
    faint = frame_of(0.02 * pixels, 0.02 * seen, 0.02, gain=1.0)  # few photons a source
    assert not sharper_than_stars(faint, segmentation).all()
    assert sharper_than_stars(faint, segmentation).sum() < 15
