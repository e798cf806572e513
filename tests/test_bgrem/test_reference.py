"""Fast array code against the slow loops of `reference`, on small random inputs."""

import numpy as np
import pytest
import reference

from bgrem.frame.detect import Detections
from bgrem.frame.sources import second_moments, segment_moments
from bgrem.inference.tiling import TilePlan, map_tiles
from bgrem.validation.checks.noise import autocorrelation
from bgrem.validation.metrics import MATCH_RADIUS_FWHM, MIN_IGNORED_SNR, MIN_LISTED_SNR, score

FLOAT32 = 2e-6  # of the largest value: a dozen operations on float32, each good to 6e-8


def blobs(rng, shape=(24, 31), number=9):
    """Return labels (H, W) of random overlapping rectangles, some of them one pixel wide."""
    labels = np.zeros(shape, int)
    for k in range(1, number + 1):
        row, column = (rng.integers(0, length - 6) for length in shape)
        height, width = rng.integers(1, 7, 2)
        labels[row : row + height, column : column + width] = k
    labels[0, :3] = number + 1  # one row
    labels[-1, -1] = number + 2  # one pixel
    return labels


@pytest.mark.parametrize(
    ("shape", "tile", "overlap"),
    [((40, 70), 32, 8), ((33, 50), 32, 16), ((20, 45), 16, 0), ((9, 60), 32, 12)],
)
def test_tiles_are_averaged_with_the_weights_of_the_definition(shape, tile, overlap):
    image = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    plan = TilePlan(shape, tile, overlap)

    def depends_on_the_tile(tiles):
        return tiles - 3 * tiles.mean(axis=(1, 2, 3), keepdims=True)

    fast = map_tiles(image, plan, depends_on_the_tile)
    slow = reference.map_tiles(image, plan.starts(), plan.sides, overlap, depends_on_the_tile)
    assert np.abs(fast - slow).max() < FLOAT32 * np.abs(image).max()


@pytest.mark.parametrize("above", [-np.inf, 0.0])
def test_moments_of_segments_are_sums_over_their_pixels(above):
    rng = np.random.default_rng(2)
    labels = blobs(rng)
    pixels = rng.normal(2, 1.5, labels.shape)  # some are negative, so are some variances
    present = np.unique(labels)[1:]
    number = int(labels.max())
    found = segment_moments(pixels, labels, number, above)
    for k in present:
        slow = reference.segment_ellipse(pixels, labels, k, above)
        fast = [getattr(found, name)[k - 1] for name in ("flux", "x", "y", "a", "b", "theta")]
        # float64; near 0 differences of squares lose eight of its sixteen digits
        assert fast == pytest.approx(slow, rel=1e-8, abs=1e-8, nan_ok=True)


def test_segments_have_their_own_limits_of_brightness():
    rng = np.random.default_rng(3)
    labels = blobs(rng)
    pixels = rng.uniform(0, 5, labels.shape)
    number = int(labels.max())
    limits = rng.uniform(0, 1.5, number)
    limits[-2:] = 0  # the single pixels and the row stay
    found = segment_moments(pixels, labels, number, limits)
    for k in np.unique(labels)[1:]:
        slow = reference.segment_ellipse(pixels, labels, k, limits[k - 1])
        fast = [getattr(found, name)[k - 1] for name in ("flux", "x", "y", "a", "b")]
        assert fast == pytest.approx(slow[:5], rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("angle", [0.0, 0.7, 2.9])
def test_moments_along_an_angle_are_sums_over_the_pixels(angle):
    rng = np.random.default_rng(4)
    labels = blobs(rng)
    weights = rng.uniform(0.1, 3, labels.shape)
    found = second_moments(labels, weights, angle)
    for k in np.unique(labels)[1:]:
        slow = reference.moments_along(labels, weights, k, angle)
        assert [part[k] for part in found] == pytest.approx(slow, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_detections_are_matched_nearest_first(seed):
    rng = np.random.default_rng(seed)
    truth = {
        "x": rng.uniform(0, 60, 90), "y": rng.uniform(0, 60, 90),
        "snr": rng.uniform(0.5, 6, 90), "half_light_radius": rng.uniform(0, 9, 90),
    }  # fmt: skip
    x, y = rng.uniform(0, 60, (2, 70))
    fwhm = 3.5
    radius = np.maximum(MATCH_RADIUS_FWHM * fwhm, truth["half_light_radius"] / 2)
    partner, wrong = reference.match(
        list(zip(x, y, strict=True)), truth, MIN_IGNORED_SNR, MIN_LISTED_SNR, radius
    )
    fast = score(Detections(x, y, np.ones(70)), truth, fwhm)
    assert fast.partner.tolist() == partner
    assert fast.wrong.tolist() == wrong
    assert 0 < fast.false < 70


def test_the_autocorrelation_is_the_mean_over_all_pairs():
    rng = np.random.default_rng(7)
    noise = rng.normal(size=(22, 27))
    values = noise + 0.5 * np.roll(noise, 1, 1)
    good = rng.random(values.shape) > 0.3
    slow = reference.autocorrelation(values, good, 21)
    # products by FFT: rounding is relative to the largest sum
    assert autocorrelation(values, good)[:22] == pytest.approx(slow, abs=1e-10)
