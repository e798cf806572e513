"""How much background or noise a diffusion time carries."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CosineSchedule:
    """Signal rate cos(angle) and noise rate sin(angle), the angle linear in time.

    BGRem (Sect. 3): angle(t) = arccos(max_signal) + t (arccos(min_signal) - arccos(max_signal)).

    Parameters
    ----------
    min_signal, max_signal : float
        Signal rates at t = 1 and t = 0. Training ends at 0, so that t = 1 is the observed image;
        inference at 0.01; the published γ-ray variant at 0.02.
    """

    min_signal: float = 0.0
    max_signal: float = 0.98

    def __post_init__(self) -> None:
        if not 0 <= self.min_signal < self.max_signal <= 1:
            raise ValueError(
                "expected 0 <= min_signal < max_signal <= 1. "
                f"Received: {self.min_signal}, {self.max_signal}"
            )

    def rates(self, diffusion_times: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Return (signal_rates, noise_rates), float32, of times from 0 (clean) to 1 (observed)."""
        start, end = np.arccos(self.max_signal), np.arccos(self.min_signal)
        angles = start + np.asarray(diffusion_times, np.float64) * (end - start)
        return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


@dataclass(frozen=True)
class LinearSchedule:
    """The DDPM's schedule: variances rise linearly over the steps (Ho et al. 2020, Sect. 4).

    Parameters
    ----------
    steps : int
        T, 1000.
    first, last : float
        Variances that are added in step 1 and step T.
    """

    steps: int = 1000
    first: float = 1e-4
    last: float = 0.02

    def rates(self, times: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Return (signal_rates, noise_rates), float32, of times from 0 (none) to `steps`."""
        kept = np.cumprod(1 - np.linspace(self.first, self.last, self.steps))
        signal = np.concatenate([[1.0], kept])[np.asarray(times, int)]
        return np.sqrt(signal).astype(np.float32), np.sqrt(1 - signal).astype(np.float32)
