"""Settings of `bgrem validate`."""

from dataclasses import dataclass

from common.config import check, option


@dataclass(frozen=True, kw_only=True)
class ValidateConfig:
    """Settings of `bgrem.validate`: what is put into a frame, and how much of it is examined."""

    repeats: int = option(3, "frames with injected sources", least=1)
    injections: int | None = option(None, "sources in each; default: one in 2000 pixels", least=10)
    side: int = option(
        1024, "largest side of the middle part that is examined", unit="px", least=128
    )
    full: bool = option(False, "examine the whole frame, whatever its size")
    halos: bool = option(True, "inject halos of low surface brightness")
    fwhm: float | None = option(
        None, "FWHM of stars; default: measured on the frame", unit="px", least=1
    )
    gain: float | None = option(
        None, "gain; without one, injected sources have no photon noise; default: the header's",
        unit="electrons per pixel value", above=0, refusal="must be 0 or more",
    )  # fmt: skip
    saturate: float | None = option(
        None, "saturation level; default: the header's", unit="pixel values"
    )
    largest_change: float = option(
        5.0, "change of a pixel, background aside, above which it counts as suspicious",
        unit="sigma", above=0, refusal="must be 0 or more",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check(self)
