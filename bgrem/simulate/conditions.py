"""Random conditions of the optical training domain."""

import numpy as np

from bgrem.config import SimulateConfig


def random_conditions(seed: int, shape: tuple[int, ...]) -> SimulateConfig:
    """Return the `SimulateConfig` of one field of the training's domain, drawn by `seed`.

    FWHM 1.7 to 6.5 px, sparse to crowded, few to many galaxies, dark to moonlit sky.
    """
    from bgrem.simulate.presets import PRESETS

    rng = np.random.default_rng([seed, 11])

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    fwhm = log_uniform(1.7, 6.5)
    # five-sigma stars per PSF area: up to one in fifteen, beyond it fields are one blend
    crowded = 1e6 / (15 * fwhm**2)
    return SimulateConfig(
        preset=str(rng.choice(list(PRESETS))), shape=shape, seed=seed, fwhm=fwhm,
        beta=float(rng.uniform(2.2, 5)), ellipticity=float(rng.uniform(0, 0.15)),
        stars=log_uniform(200, max(min(crowded, 14000), 1000)),
        star_slope=float(rng.uniform(0.2, 0.42)), galaxies=log_uniform(30, 1500),
        faint_structures=float(rng.uniform(0, 6)), sky=log_uniform(40, 20000),
        gradient=float(rng.uniform(0, 0.3)), waves=float(rng.uniform(0, 0.008)),
    )  # fmt: skip
