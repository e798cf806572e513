"""Widths that outliers do not change, and blocks of pixels."""

import numpy as np
import pytest

from common.blocks import block_reduce, cut_blocks
from common.robust import (
    FWHM_PER_SIGMA,
    ROUNDED_FWHM_PER_SIGMA,
    darker_half,
    difference_noise,
    mad_sigma,
    neighbour_differences,
)


@pytest.fixture
def normal():
    """10,000 normal values of mean 5 and standard deviation 3."""
    return np.random.default_rng(0).normal(5, 3, 10_000)


def test_the_mad_of_normal_values_is_their_standard_deviation(normal):
    assert mad_sigma(normal) == pytest.approx(3, rel=0.03)  # 1.2 % by chance
    assert mad_sigma(normal, 5.0) == pytest.approx(3, rel=0.03)


def test_a_tenth_of_outliers_changes_the_mad_by_a_sixth_at_most(normal):
    normal[:1000] = 1e6
    assert mad_sigma(normal) == pytest.approx(3, rel=0.16)


def test_the_mad_keeps_the_precision_of_the_values(normal):
    assert mad_sigma(normal.astype(np.float32)).dtype == np.float32


def test_sources_in_the_brighter_half_do_not_widen_the_darker_one(normal):
    middle, sigma = darker_half(normal)
    assert (middle, sigma) == (pytest.approx(5, abs=0.15), pytest.approx(3, rel=0.05))
    bright = normal > 8
    normal[bright] += 1000
    assert darker_half(normal) == (middle, sigma)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("step", [1, 3])
def test_the_noise_of_neighbours_does_not_see_a_gradient(axis, step):
    y, x = np.mgrid[:200, :180]
    plane = 0.1 * y + 0.2 * x + np.random.default_rng(1).normal(0, 2, y.shape)
    found = neighbour_differences(plane, np.ones(plane.shape, bool), axis=axis, step=step)
    assert difference_noise(found) == pytest.approx(2, rel=0.04)


@pytest.mark.parametrize(
    ("axis", "lag", "expected"),
    [(1, 2, [20, 20, 20]), (1, 1, [10, 10, 10]), (0, 1, [1, 1]), (0, 2, [])],
)
def test_a_difference_with_an_unusable_pixel_is_left_out(axis, lag, expected):
    plane = np.array([[0, 10, 20, 30], [1, 11, 21, 31]])
    usable = np.array([[True, True, True, True], [True, False, True, False]])
    assert neighbour_differences(plane, usable, axis=axis, lag=lag).tolist() == expected


def test_without_pixels_the_noise_is_zero():
    assert difference_noise(np.array([])) == 0


def test_a_gaussian_falls_to_half_at_half_its_full_width():
    assert np.exp(-0.5 * (FWHM_PER_SIGMA / 2) ** 2) == pytest.approx(0.5, rel=1e-12)
    assert pytest.approx(FWHM_PER_SIGMA, rel=1e-4) == ROUNDED_FWHM_PER_SIGMA


def test_blocks_beyond_the_edges_are_filled():
    blocks = cut_blocks(np.arange(6.0).reshape(2, 3), 2, -1.0)
    assert blocks.shape == (1, 2, 2, 2)
    assert blocks[0, :, 0].tolist() == [[0, 1], [3, 4]]
    assert blocks[0, :, 1].tolist() == [[2, -1], [5, -1]]


@pytest.mark.parametrize("shape", [(12, 20), (13, 19)])
def test_a_mean_of_blocks_is_that_of_their_pixels(shape):
    plane = np.random.default_rng(2).normal(size=shape)
    means = np.nanmean(cut_blocks(plane, 4, np.nan), (1, 3))
    reduced = block_reduce(plane, 4, "mean")
    assert np.allclose(reduced, means, equal_nan=True)
