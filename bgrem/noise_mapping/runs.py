"""Diffusion of a frame up to a time and back to 0, and mean and deviation over such runs.

Waldmann et al. (2023, Sect. 3.1): up to the time the frame gets noise, on the way back the network
predicts the noise, and what it has not learned goes with it. Steps back are those of DDIM (Song et
al. 2021).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from bgrem.config import NoiseMapConfig
from bgrem.inference.run import Progress, run_tiles
from bgrem.models import Model
from bgrem.networks.diffusion import ddim_step
from bgrem.networks.schedule import LinearSchedule
from bgrem.noise_mapping.units import Units
from common import scratch
from common.progress import expect_passes
from common.scratch import map_rows, row_blocks

Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class DiffusionRuns:
    """Runs of a network over one frame.

    At time t the frame is x_t = s_t x_0 + n_t e, with signal rate s_t, noise rate n_t and noise e
    of variance 1 (`bgrem.networks.schedule.LinearSchedule`).

    Attributes
    ----------
    units : Units
        Of the frame.
    config : NoiseMapConfig
        Number of runs, tiles, and `eta`.
    predict : callable
        The network: takes tiles (B, T, T, 1) and noise variances n_t^2 (B, 1, 1, 1), returns e.
    progress : callable or None
        Called with the number of tiles that are done.
    times : array of int, shape (K + 1,)
        Decreasing diffusion times, the last is 0, for K steps.
    added_noise : float
        Standard deviation of the noise that is added for the first time, in the network's units.
    """

    units: Units
    config: NoiseMapConfig
    predict: Predict
    progress: Progress | None
    times: np.ndarray
    added_noise: float

    @classmethod
    def of(
        cls, units: Units, config: NoiseMapConfig, model: Model, progress: Progress | None
    ) -> "DiffusionRuns":
        """Return the runs of a model over a frame with these units."""
        times, added_noise = diffusion_times(config, units.frame_noise)
        return cls(units, config, model.predict, progress, times, added_noise)

    def map_once(self, flat: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the map of one run over a frame, both (H, W) in units of the frame's noise."""
        expect_passes(self.progress, len(self.times) - 1)
        return self.units.from_network(self._run(self.units.to_network(flat), rng))

    def mean_and_deviation(
        self, flat: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return mean (Waldmann et al. 2023, equation 6) and sample deviation of all runs.

        Updated run by run (Welford 1962), so that no two runs are in memory.

        Parameters
        ----------
        flat : array, shape (H, W)
            In units of the frame's noise.
        rng : numpy.random.Generator
            Draws the noise of all runs, one after the other.

        Returns
        -------
        mean : array, shape (H, W)
            In units of the frame's noise.
        deviation : array, shape (H, W)
            In the unit of the image; 0 for one run.
        """
        scaled = self.units.to_network(flat)
        mean, squares = (map_rows(np.zeros_like, scaled) for _ in range(2))
        # without random numbers all runs would be the same
        number = self.config.runs if self.added_noise or self.config.eta else 1
        for run in range(number):
            mapped = self._run(scaled, rng)
            for rows in row_blocks(mean.shape, mapped, mean, squares):
                change = mapped[rows] - mean[rows]
                mean[rows] += change / (run + 1)
                squares[rows] += change * (mapped[rows] - mean[rows])
        deviation = map_rows(
            lambda unit, square: unit * np.sqrt(square / max(number - 1, 1)),
            self.units.network_unit, squares,
        )  # fmt: skip
        return self.units.from_network(mean), deviation

    def _run(self, scaled: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the structures of a frame after one way up and back, in the network's units.

        Up to the first time t it is x_t = s_t x + a e, a the added noise; from there each step is
        `bgrem.networks.diffusion.ddim_step` with the noise that the network predicts.
        """
        signals, noises = (rates.tolist() for rates in LinearSchedule().rates(self.times))
        noisy = scratch.empty(scaled.shape, np.float32)
        for rows in row_blocks(noisy.shape, noisy, scaled):
            noisy[rows] = np.float32(signals[0]) * scaled[rows]
            if self.added_noise:
                fresh = rng.standard_normal(noisy[rows].shape, np.float32)
                noisy[rows] += np.float32(self.added_noise) * fresh
        for k in range(len(self.times) - 1):
            predict_noise = partial(self._predict_noise, variance=noises[k] ** 2)
            predicted = run_tiles(noisy, self.config, predict_noise, self.progress)
            now, then = ((signals[n], noises[n]) for n in (k, k + 1))
            for rows in row_blocks(noisy.shape, noisy, predicted):
                noisy[rows] = ddim_step(
                    noisy[rows], predicted[rows], now, then, eta=self.config.eta, rng=rng
                )
        return noisy

    def _predict_noise(self, tiles: np.ndarray, variance: float) -> np.ndarray:
        """Return the noise, of variance 1, of tiles (B, T, T, 1) with this noise variance."""
        return self.predict(tiles, np.full((len(tiles), 1, 1, 1), variance, np.float32))


def diffusion_times(config: NoiseMapConfig, frame_noise: float) -> tuple[np.ndarray, float]:
    """Return K + 1 decreasing diffusion times to 0, and the noise to add for the first of them.

    At time t a frame with noise f has the noise f s_t already, so that it needs a further

        a = sqrt(n_t^2 - f^2 s_t^2)

    in quadrature. If it has more noise than n_t, the first time is the one with as much, n_t =
    f s_t, and nothing is added.

    Parameters
    ----------
    config : NoiseMapConfig
        `depth` is the first time, `ddim_steps` the number of steps K.
    frame_noise : float
        f, in the network's units.
    """
    schedule, added = LinearSchedule(), 0.0
    signals, noises = schedule.rates(np.arange(schedule.steps + 1))
    start = max(config.depth, int(np.argmax(noises >= frame_noise * signals)))
    if start == config.depth:
        added = float(np.sqrt(max(noises[start] ** 2 - (frame_noise * signals[start]) ** 2, 0)))
    return np.round(np.linspace(start, 0, config.ddim_steps + 1)).astype(int), added
