"""Schedule and diffusion: the paper's equations."""

import numpy as np
import pytest

from bgrem.networks.diffusion import denoise_steps, mix, step_back
from bgrem.networks.schedule import CosineSchedule


def test_rates_run_from_the_highest_signal_to_the_lowest():
    signal, noise = CosineSchedule(0.01, 0.98).rates(np.array([0.0, 1.0]))
    assert signal == pytest.approx([0.98, 0.01], abs=1e-6)
    assert noise == pytest.approx([np.sqrt(1 - 0.98**2), np.sqrt(1 - 0.01**2)], abs=1e-6)


def test_the_angle_is_linear_in_time():
    signal, _ = CosineSchedule(0.0, 0.98).rates(np.linspace(0, 1, 5))
    assert np.diff(np.arccos(signal)) == pytest.approx(np.pi / 8 - np.arccos(0.98) / 4, rel=1e-5)


def test_a_schedule_that_runs_backwards_is_refused():
    with pytest.raises(ValueError, match="min_signal < max_signal"):
        CosineSchedule(0.98, 0.02)


def test_the_clean_image_is_never_scaled():
    clean, background = np.full((1, 2, 2, 1), 5.0), np.full((1, 2, 2, 1), 2.0)
    assert mix(clean, background, np.full((1, 1, 1, 1), 0.25)).ravel() == pytest.approx(5.5)


def test_a_step_back_takes_the_background_off_and_adds_less_of_it():
    clean, following = step_back(np.array([7.0], np.float32), np.array([2.0], np.float32), 0.5, 0.1)
    assert clean == pytest.approx([6.0])
    assert following == pytest.approx([6.2])


@pytest.mark.parametrize("steps", [1, 2, 6])
def test_a_perfect_prediction_gives_the_clean_image_after_any_number_of_steps(steps):
    rng = np.random.default_rng(0)
    clean = rng.exponential(3, (2, 8, 8, 1)).astype(np.float32)
    background = rng.normal(size=clean.shape).astype(np.float32)
    variances = []

    def predict(noisy, variance):
        variances.append(float(variance[0, 0, 0, 0]))
        return (noisy - clean) / np.sqrt(variance)

    schedule = CosineSchedule(0.01, 0.98)
    observed = clean + schedule.rates(1.0)[1] * background
    results = list(denoise_steps(observed, predict, steps, schedule))
    assert len(results) == steps
    assert np.allclose(results[-1], clean, atol=1e-4)
    assert variances == sorted(variances, reverse=True)
    assert variances[0] == pytest.approx(1, abs=1e-3)


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="steps must be 1 or more"):
        next(denoise_steps(np.zeros((1, 4, 4, 1)), lambda x, v: x, 0, CosineSchedule()))
