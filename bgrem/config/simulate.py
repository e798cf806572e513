"""Settings of `bgrem simulate`."""

from dataclasses import dataclass, field

from bgrem.config.choices import PRESET_NAMES, PROFILES
from common.config import check, option


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """What one simulated field looks like; None means as the instrument's preset says."""

    preset: str = field(default="meerlicht", metadata={"flags": ()})  # PRESET_NAMES; no flag
    shape: tuple[int, ...] | None = option(None, "rows,columns; default: the detector's")
    seed: int = option(0, "the same seed gives the same pixels", least=0, most=2**63)
    fwhm: float | None = option(None, "FWHM of point sources", unit="px", least=1, most=100)
    profile: str = option(
        "moffat", "of point sources; airy: with obscuration and struts", choices=PROFILES
    )
    beta: float | None = option(None, "exponent of the Moffat profile", least=1.1, most=100)
    ellipticity: float | None = option(None, "1 - b/a of the profile", least=0, most=0.9)
    stars: float | None = option(
        None, "stars above 5 sigma", unit="per megapixel", least=0, most=1e6
    )
    star_slope: float = option(
        0.3, "d log10 N(<m) / dm of the stars' power law", least=0.01, most=2
    )
    galaxies: float | None = option(
        None, "galaxies above 5 sigma", unit="per megapixel", least=0, most=1e6
    )
    faint_structures: float = option(
        2.0, "low-surface-brightness patches", unit="per megapixel", least=0, most=1e4
    )
    sky: float | None = option(None, "level of the sky", unit="electrons", least=0, most=1e9)
    gradient: float = option(
        0.03, "change of the sky across the field, relative to its level", least=0, most=1.9
    )
    waves: float = option(
        0.005, "rms of smooth sky variations, relative to its level", least=0, most=0.3
    )
    artefacts: bool = option(False, "add cosmic rays, hot pixels and banding")

    def __post_init__(self) -> None:
        if self.preset not in PRESET_NAMES:
            raise ValueError(f"{self.preset}: no such preset. Known are {', '.join(PRESET_NAMES)}.")
        if self.shape is not None and (len(self.shape) != 2 or min(self.shape) < 16):
            raise ValueError(f"shape must be rows,columns of 16 or more. Received: {self.shape}")
        check(self)
