"""Settings of `bgrem catalog`."""

from dataclasses import dataclass

from common.config import check, option


@dataclass(frozen=True, kw_only=True)
class CatalogConfig:
    """Settings of `bgrem.catalog`: what is a source, and how it is measured."""

    engine: str = option("sep", "what detects and measures", choices=("sep", "sextractor"))
    threshold: float | None = option(
        None, "threshold on the denoised image; default: 1, and more where the noise is "
              "correlated",
        unit="sigma of the original's noise", above=0,
    )  # fmt: skip
    minimum_area: int = option(
        5, "smallest area of a source above the threshold", unit="px", least=1
    )
    sharpen: int = option(
        30, "Richardson-Lucy iterations that separate blended stars; 0: none (engine sep)", least=0
    )
    deblend_contrast: float = option(5e-5, "SExtractor's DEBLEND_MINCONT", least=0, most=1)
    apertures: tuple[float, ...] = option(
        (5.0, 10.0, 20.0), "diameters for FLUX_APER; SExtractor's default is the first", unit="px",
        above=0, refusal="must be positive diameters",
    )  # fmt: skip
    kron_factor: float = option(
        2.5, "Kron factor of FLUX_AUTO, as in SExtractor's PHOT_AUTOPARAMS", above=0
    )
    kron_minimum: float = option(
        3.5, "smallest KRON_RADIUS, as in SExtractor's PHOT_AUTOPARAMS", above=0
    )
    disagreement: float = option(
        5.0, "difference of original and denoised flux from which DENOISED_FLAG is set",
        unit="FLUXERR_AUTO", above=0,
    )  # fmt: skip
    max_sharpness: float = option(
        1.15, "peaks so many times sharper than a star's get a DENOISED_FLAG (cosmic rays)", above=1
    )
    gain: float | None = option(
        None, "gain; without one, errors have no photon noise of the source; default: the "
              "header's",
        unit="electrons per pixel value", finite=True, above=0,
    )  # fmt: skip
    saturate: float | None = option(
        None, "saturation level; default: the header's", unit="pixel values", finite=True
    )
    zero_point: float | None = option(
        None, "zero point of the magnitudes; default: the header's, else 0", unit="mag", finite=True
    )
    vignet: int = option(0, "side of the stamps for PSFEx (VIGNET); 0: none", unit="px")

    def __post_init__(self) -> None:
        check(self)
        if self.vignet < 0 or (self.vignet and self.vignet % 2 == 0):
            raise ValueError(f"vignet must be odd, or 0 for none. Received: {self.vignet}")
