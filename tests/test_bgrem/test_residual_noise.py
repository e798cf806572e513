"""Scatter as a function of brightness, and the noise of a residual."""

import numpy as np
import pytest

from bgrem.noise_mapping import residual_noise
from bgrem.noise_mapping.residual_noise import residual_rms
from bgrem.simulate.trails import draw_trails


@pytest.mark.parametrize("enough", [90_000, 2_000_000])
def test_the_noise_grows_with_the_light(monkeypatch, enough):
    monkeypatch.setattr(residual_noise, "MAX_PIXELS_FOR_RMS", enough)
    rng = np.random.default_rng(0)
    brightness = np.tile(np.linspace(0, 100, 400), (300, 1))
    values = rng.standard_normal(brightness.shape) * np.sqrt(1 + brightness / 10)
    found = residual_rms(values, brightness)
    assert found[:, 200].mean() == pytest.approx(np.sqrt(1 + 50 / 10), rel=0.1)
    assert found[:, -1].mean() == pytest.approx(np.sqrt(1 + 10), rel=0.15)


def test_the_noise_of_a_residual_reaches_as_far_as_its_left_overs():
    rng = np.random.default_rng(0)
    mapped = np.zeros((400, 300))
    mapped[:, 100:140] = 50
    left = rng.standard_normal(mapped.shape)
    dots = rng.random(mapped.shape) < 0.03
    left[dots & (mapped > 0)] = 20
    found = residual_rms(left, mapped)
    assert found[:, 20].mean() == pytest.approx(1, rel=0.05)
    assert 5 < found[:, 120].mean() < 10
    assert found[:, 98].mean() == pytest.approx(found[:, 120].mean(), rel=0.01)  # the rim


def test_stars_that_stay_in_the_residual_are_no_noise():
    rng = np.random.default_rng(0)
    left = rng.standard_normal((300, 300))
    places = rng.uniform(10, 290, (300, 2))
    draw_trails(left, places, places + np.array([0.01, 0]), 1.5, np.full(300, 1e5))
    assert (left > 10).mean() > 0.05
    assert residual_rms(left, np.zeros(left.shape)).max() < 1.35
    assert residual_rms(left, np.zeros(left.shape), left > 2).max() < 1.1


def test_hidden_light_is_no_left_over():
    rng = np.random.default_rng(0)
    mapped = np.zeros((300, 300))
    mapped[100:150] = 50
    left = rng.standard_normal(mapped.shape)
    left[100:150, 40:50] += 30
    assert residual_rms(left, mapped)[120, 0] > 5
    assert residual_rms(left, mapped, left > 15)[120, 0] < 1.5
