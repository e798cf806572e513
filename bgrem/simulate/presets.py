"""Instruments as data: one row each, in the units of the instrument's handbook."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """A camera on a telescope, under its usual sky.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns of one detector (or mosaic).
    pixel_scale : float
        Arcsec per pixel.
    fwhm, beta, ellipticity : float
        Of the Moffat point-spread function in the field's centre: arcsec, exponent, (1 - b/a).
    zero_point : float
        Magnitude that gives one electron per second.
    exposure : float
        Seconds.
    sky_magnitude : float
        Of one square arcsecond.
    gain, read_noise, dark_current : float
        Electrons per ADU, electrons, electrons per second and pixel.
    saturation : float
        Electrons.
    bias : float
        ADU.
    stars, galaxies : float
        Brighter than magnitude 20, per square arcminute.
    cosmic_rays, hot_pixels, banding : float
        Hits per second and megapixel; share of pixels; rms of the row pattern in electrons.
    """

    shape: tuple[int, int]
    pixel_scale: float
    fwhm: float
    beta: float = 3.5
    ellipticity: float = 0.03
    zero_point: float
    exposure: float
    sky_magnitude: float
    gain: float
    read_noise: float
    dark_current: float
    saturation: float
    bias: float = 0.0
    stars: float = 1.5
    galaxies: float = 0.25
    cosmic_rays: float = 0.0
    hot_pixels: float = 0.0
    banding: float = 0.0


# Handbook values, rounded; zero points include mirror, filter and detector.
PRESETS: dict[str, Instrument] = {
    "meerlicht": Instrument(
        shape=(10560, 10560), pixel_scale=0.56, fwhm=2.3, zero_point=23.3, exposure=60,
        sky_magnitude=20.9, gain=2.3, read_noise=10, dark_current=0.0005, saturation=150e3,
        bias=100, cosmic_rays=0.02, hot_pixels=2e-5,
    ),
    "decam": Instrument(
        shape=(4096, 2048), pixel_scale=0.263, fwhm=1.0, zero_point=26.4, exposure=90,
        sky_magnitude=21.1, gain=4.0, read_noise=7, dark_current=0.0005, saturation=170e3,
        cosmic_rays=0.05, hot_pixels=1e-5,
    ),
    "ztf": Instrument(
        shape=(3080, 3072), pixel_scale=1.01, fwhm=2.0, zero_point=24.7, exposure=30,
        sky_magnitude=20.6, gain=6.2, read_noise=9, dark_current=0.01, saturation=280e3,
        cosmic_rays=0.02, hot_pixels=1e-5,
    ),
    "wfc3-uvis": Instrument(
        shape=(2051, 4096), pixel_scale=0.0396, fwhm=0.083, beta=2.6, ellipticity=0.02,
        zero_point=26.08, exposure=500, sky_magnitude=22.6, gain=1.55, read_noise=3.1,
        dark_current=0.002, saturation=70e3, cosmic_rays=0.7, hot_pixels=2e-4,
    ),
    "amateur-cmos": Instrument(
        shape=(4176, 6248), pixel_scale=1.2, fwhm=3.4, beta=3.0, zero_point=21.4, exposure=180,
        sky_magnitude=20.0, gain=0.78, read_noise=1.5, dark_current=0.003, saturation=50e3,
        bias=500, hot_pixels=5e-5, banding=0.15,
    ),
}  # fmt: skip
