"""Random conditions of the optical training domain."""

import numpy as np

from bgrem.config import SimulateConfig


# share of fields with each profile; the rest are Moffat's
AIRY_SHARE = 0.15
KOLMOGOROV_SHARE = 0.15
MAX_AIRY_FWHM_PX = 3.0  # px; telescopes without air do not sample their light finer
TRAILED_SHARE = 0.25  # share of seeing-limited fields whose stars are drawn out
SPARSE_SHARE = 0.1  # share of fields with hardly a star


def random_conditions(seed: int, shape: tuple[int, ...]) -> SimulateConfig:
    """Return the `SimulateConfig` of one field of the training's domain, drawn by `seed`.

    FWHM 1.2 to 8 px; Moffat's, Kolmogorov's and diffraction's profiles, round or drawn out;
    sparse to crowded, few to many galaxies, dark to moonlit sky.
    """
    from bgrem.simulate.presets import PRESETS

    rng = np.random.default_rng([seed, 11])

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    fwhm, profile = log_uniform(1.2, 8), "moffat"
    kind = rng.uniform()
    if kind < AIRY_SHARE:
        profile, fwhm = "airy", log_uniform(1.2, MAX_AIRY_FWHM_PX)
    elif kind < AIRY_SHARE + KOLMOGOROV_SHARE:
        profile = "kolmogorov"
    ellipticity = float(rng.uniform(0, 0.15))
    if profile != "airy" and rng.uniform() < TRAILED_SHARE:
        ellipticity = float(rng.uniform(0.15, 0.4))
    # five-sigma stars per PSF area: up to one in fifteen, beyond it fields are one blend
    crowded = 1e6 / (15 * fwhm**2)
    stars = log_uniform(200, max(min(crowded, 20000), 1000))
    if rng.uniform() < SPARSE_SHARE:
        stars = log_uniform(10, 200)
    return SimulateConfig(
        preset=str(rng.choice(list(PRESETS))), shape=shape, seed=seed, fwhm=fwhm, profile=profile,
        beta=float(rng.uniform(2.2, 5)), ellipticity=ellipticity, stars=stars,
        star_slope=float(rng.uniform(0.2, 0.42)), galaxies=log_uniform(30, 1500),
        faint_structures=float(rng.uniform(0, 6)), sky=log_uniform(40, 20000),
        gradient=float(rng.uniform(0, 0.3)), waves=float(rng.uniform(0, 0.008)),
    )  # fmt: skip
