"""The diffusions: background mixed onto the clean image (BGRem), noise over structures (DDPM)."""

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from bgrem.networks.schedule import CosineSchedule
from common.progress.stopping import stop_if_asked

Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]


def mix(clean: np.ndarray, background: np.ndarray, noise_rates: np.ndarray) -> np.ndarray:
    """Return noisy = clean + noise_rate x background (BGRem, Sect. 3); the clean image stays.

    Parameters
    ----------
    clean, background : array, shape (B, H, W, C)
    noise_rates : array, broadcast against them
    """
    return clean + noise_rates * background


def step_back(
    noisy: np.ndarray, predicted: np.ndarray, noise_rate: float, next_noise_rate: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return (clean estimate, noisy image of the next step), both float32."""
    clean = noisy - np.float32(noise_rate) * predicted
    return clean, clean + np.float32(next_noise_rate) * predicted


def denoise_steps(
    observed: np.ndarray, predict: Predict, steps: int, schedule: CosineSchedule
) -> Iterator[np.ndarray]:
    """Give the clean estimate of each of `steps` equal steps from t = 1 to 0; the last counts.

    Parameters
    ----------
    observed : array, shape (B, H, W, C), float32
        The image with all of its background, linear, in units of its noise.
    predict : callable
        Takes (noisy, noise_variance of shape (B, 1, 1, 1)), gives the background, float32.
    steps : int
        At least 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be 1 or more. Received: {steps}")
    noisy = np.asarray(observed, np.float32)
    _, noise_rates = schedule.rates(1 - np.arange(steps + 1) / steps)
    for rate, next_rate in itertools.pairwise(noise_rates):
        stop_if_asked()
        variance = np.full((len(noisy), 1, 1, 1), rate**2, np.float32)
        clean, noisy = step_back(noisy, predict(noisy, variance), rate, next_rate)
        yield clean


def ddim_step(
    noisy: np.ndarray,
    predicted: np.ndarray,
    rates: tuple[float, float],
    next_rates: tuple[float, float],
    *,
    eta: float = 0.0,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Return the image at an earlier time of a DDPM (Song et al. 2021, equation 12), float32.

    Parameters
    ----------
    noisy, predicted : array, shape (H, W)
        The image now, and its noise as the network says.
    rates, next_rates : tuple of float
        Signal and noise rate now and then.
    eta : float
        0: deterministic, 1: as random as the DDPM.
    rng : numpy.random.Generator, optional
        Draws the noise where `eta` is above 0.
    """
    (signal, noise), (next_signal, next_noise) = rates, next_rates
    clean = (noisy - np.float32(noise) * predicted) / np.float32(signal)
    fresh = 0.0
    if eta and rng is not None and next_noise > 0:
        kept = 1 - (signal / next_signal) ** 2
        fresh = eta * next_noise / noise * float(np.sqrt(max(kept, 0)))
    directed = np.float32(np.sqrt(max(next_noise**2 - fresh**2, 0)))
    after = np.float32(next_signal) * clean + directed * predicted
    if fresh and rng is not None:
        after = after + np.float32(fresh) * rng.standard_normal(noisy.shape, np.float32)
    return np.asarray(after, np.float32)
