"""Electrons in units of their noise."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from bgrem.enhancing.anscombe import stabilise, unstabilise


@pytest.mark.parametrize("light", [0, 30, 3000])
def test_the_noise_is_one_at_every_brightness(light):
    rng = np.random.default_rng(light)
    read_noise, sky = 3.0, 12.0
    electrons = rng.poisson(sky + light, 200_000) + rng.normal(0, read_noise, 200_000)
    values = stabilise(electrons, sky, np.sqrt(sky + read_noise**2))
    # standard deviations of 200,000 values are good to 0.2 %, Anscombe's to 1 % at 20 electrons
    assert values.std() == pytest.approx(1, abs=0.015)


def test_the_background_is_zero_and_a_noise_above_it_nearly_one():
    assert stabilise(np.array(200.0), 200.0, 15.0) == 0
    assert stabilise(np.array(215.0), 200.0, 15.0) == pytest.approx(1, abs=0.02)


def test_the_way_back_gives_the_electrons():
    electrons = np.array([-5.0, 0.0, 10.0, 6e4])
    values = stabilise(electrons, 8.0, 4.0)
    assert_allclose(unstabilise(values, 8.0, 4.0), electrons, rtol=1e-5, atol=1e-4)


def test_what_lies_below_all_noise_becomes_its_floor():
    assert np.isfinite(stabilise(np.array(-1e6), 0.0, 3.0))
    assert unstabilise(np.array(-1e6), 0.0, 3.0) == pytest.approx(-9.375)
