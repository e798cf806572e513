"""Random conditions of the optical training domain."""

from dataclasses import replace

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

    FWHM 1.7 to 6.5 px, sparse to crowded, few to many galaxies, dark to moonlit sky.
    """
    from bgrem.simulate.presets import PRESETS

    rng = np.random.default_rng([seed, 11])
    fwhm = _log_uniform(rng, 1.7, 6.5)
    return SimulateConfig(
        preset=str(rng.choice(list(PRESETS))), shape=shape, seed=seed, fwhm=fwhm,
        beta=float(rng.uniform(2.2, 5)), ellipticity=float(rng.uniform(0, 0.15)),
        stars=_log_uniform(rng, 200, max(min(_crowded(fwhm), 14000), 1000)),
        star_slope=float(rng.uniform(0.2, 0.42)), galaxies=_log_uniform(rng, 30, 1500),
        faint_structures=float(rng.uniform(0, 6)), sky=_log_uniform(rng, 40, 20000),
        gradient=float(rng.uniform(0, 0.3)), waves=float(rng.uniform(0, 0.008)),
    )  # fmt: skip


def wide_conditions(seed: int, shape: tuple[int, ...]) -> SimulateConfig:
    """Return the `SimulateConfig` of one field of a wider domain, drawn by `seed`.

    FWHM 1.2 to 8 px; Moffat's, Kolmogorov's and diffraction's profiles, round or drawn out;
    10 to 20,000 stars per megapixel; else as `random_conditions`.
    """
    rng = np.random.default_rng([seed, 13])
    fwhm, profile = _log_uniform(rng, 1.2, 8), "moffat"
    kind = rng.uniform()
    if kind < AIRY_SHARE:
        profile, fwhm = "airy", _log_uniform(rng, 1.2, MAX_AIRY_FWHM_PX)
    elif kind < AIRY_SHARE + KOLMOGOROV_SHARE:
        profile = "kolmogorov"
    ellipticity = float(rng.uniform(0, 0.15))
    if profile != "airy" and rng.uniform() < TRAILED_SHARE:
        ellipticity = float(rng.uniform(0.15, 0.4))
    stars = _log_uniform(rng, 200, max(min(_crowded(fwhm), 20000), 1000))
    if rng.uniform() < SPARSE_SHARE:
        stars = _log_uniform(rng, 10, 200)
    return replace(
        random_conditions(seed, shape), fwhm=fwhm, profile=profile, ellipticity=ellipticity,
        stars=stars,
    )  # fmt: skip


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _crowded(fwhm: float) -> float:
    """Return five-sigma stars per megapixel: one in fifteen areas, beyond it all is one blend."""
    return 1e6 / (15 * fwhm**2)
