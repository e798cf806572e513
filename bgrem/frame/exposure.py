"""Facts about an exposure from header and user: gain, saturation, zero point, place on the sky."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bgrem.config import CatalogConfig
from common.header import (
    GAIN_KEYWORDS,
    READ_NOISE_KEYWORDS,
    SATURATION_KEYWORDS,
    ZERO_POINT_KEYWORDS,
    header_number,
    header_of,
)
from common.image import AstroImage

# values of BUNIT for which GAIN of the header holds
COUNT_UNITS = ("", "adu", "dn", "ct", "cts", "count", "counts")
ELECTRON_UNITS = ("electron", "electrons", "e", "e-")  # values of BUNIT that mean electrons


@dataclass(frozen=True)
class Exposure:
    """None means unknown; `origin` says where each known value is from, `notes` what is missing.

    Attributes
    ----------
    gain : float or None
        Electrons per pixel value.
    read_noise : float or None
        Electrons. Only recorded: the noise is measured.
    saturate : float or None
        Pixel value, before any background is taken off.
    zero_point : float or None
        Magnitudes.
    unit : str
        BUNIT of the pixels.
    """

    gain: float | None
    read_noise: float | None
    saturate: float | None
    zero_point: float | None
    unit: str
    origin: dict[str, str]
    notes: tuple[str, ...]


def find_exposure(header: Mapping[str, Any], config: CatalogConfig) -> Exposure:
    """Return what the config's values, else the header's keywords say; nothing is guessed."""
    unit = str(header.get("BUNIT", "")).strip()
    origin: dict[str, str] = {}

    def known(name: str, keywords: tuple[str, ...]) -> float | None:
        given = getattr(config, name, None)
        if given is not None:
            origin[name] = f"--{name.replace('_', '-')}"
            return float(given)
        for keyword in keywords:
            value = header_number(header, (keyword,))
            if value is not None:
                origin[name] = keyword
                return float(value)
        return None

    gain, gain_note = known("gain", GAIN_KEYWORDS), ""
    if config.gain is None and unit.lower() in ELECTRON_UNITS:
        gain, origin["gain"] = 1.0, f"BUNIT {unit}"
    elif config.gain is None and gain is not None and unit.lower() not in COUNT_UNITS:
        gain_note = f"{origin.pop('gain')} is not used, as BUNIT is {unit}"
        gain = None
    values = {
        "gain": gain,
        "read_noise": known("read_noise", READ_NOISE_KEYWORDS),
        "saturate": known("saturate", SATURATION_KEYWORDS),
        "zero_point": known("zero_point", ZERO_POINT_KEYWORDS),
    }
    notes = [
        note for name, note in (
            ("gain", (gain_note or "no gain") + ": errors are without the sources' photon noise"),
            ("saturate", "no saturation level: saturated sources have no flag"),
            ("zero_point", "no zero point: magnitudes are -2.5 log10(flux)"),
        ) if values[name] is None
    ]  # fmt: skip
    return Exposure(**values, unit=unit, origin=origin, notes=tuple(notes))


# of a BUNIT divided by seconds
PER_SECOND_PATTERN = re.compile(
    r"(.*?)\s*(?:/\s*(?:s|sec|second|seconds)|s(?:ec)?\*?\*?\(?-1\)?)$", re.I
)
EXPOSURE_KEYWORDS = ("EXPTIME", "EXPOSURE", "ITIME", "TEXPTIME")  # in order of trust


def electrons_of(
    image: AstroImage, *, gain: float | None = None, seconds: float | None = None
) -> tuple[float, float | None]:
    """Return the electrons that a pixel value of 1 stands for, and the exposure time or None.

    Parameters
    ----------
    image : AstroImage
        Its header says the unit (BUNIT), the gain and the exposure time.
    gain : float, optional
        Electrons per count, in place of the header's.
    seconds : float, optional
        Exposure time, in place of the header's.

    Raises
    ------
    ValueError
        If the header and the arguments do not say it.
    """
    header = header_of(image)
    unit = str(header.get("BUNIT", "")).strip()
    if seconds is None:
        seconds = header_number(header, EXPOSURE_KEYWORDS)
    rate = PER_SECOND_PATTERN.fullmatch(unit)
    base = (rate[1] if rate else unit).strip().lower()
    factor: float | None = gain
    if base in ELECTRON_UNITS:
        factor = 1.0
    elif gain is None and base in COUNT_UNITS:
        factor = header_number(header, GAIN_KEYWORDS)
    if factor is None or not factor > 0:
        raise ValueError(
            f"{image.name}: the header does not say how many electrons a count is (BUNIT "
            f"{unit!r}). Give --gain, 1 for electrons."
        )
    if rate is None:
        return float(factor), seconds
    if not seconds or not seconds > 0:
        raise ValueError(
            f"{image.name}: pixels are {unit}, but no exposure time is known. Give --exposure."
        )
    return float(factor * seconds), seconds
