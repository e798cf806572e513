"""Replace cosmic rays before an exposure is enhanced."""

import numpy as np

from bgrem.config import EnhanceConfig
from bgrem.frame.background import whole_image_statistics
from bgrem.frame.domain import measure_frame
from common.header import READ_NOISE_KEYWORDS, header_number, header_of
from common.image import AstroImage

# the search of cosmic rays
DEFAULT_READ_NOISE = 3.0  # electrons; for the search of cosmic rays, where the header has none
DEFAULT_FWHM_PX = 2.0  # px; where there are no stars to measure
# to the fine structure; tracks of several pixels have less than single ones
MIN_COSMIC_RAY_CONTRAST = 2.0


def remove_cosmic_rays(
    electrons: np.ndarray, image: AstroImage, config: EnhanceConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Return the image without cosmic rays (van Dokkum 2001), and where they were.

    Stars of Hubble's cameras are nearly as sharp: what a star of the frame's width can look like
    is kept, by the fine structure over a Gaussian of that width.
    """
    try:
        from astroscrappy import detect_cosmics
    except ImportError:
        raise ValueError(
            "cosmic rays: astroscrappy is not installed. Run: pip install astroscrappy"
        ) from None

    read_noise = config.read_noise
    if read_noise is None:
        read_noise = header_number(header_of(image), READ_NOISE_KEYWORDS) or DEFAULT_READ_NOISE
    fwhm = measure_frame(image).fwhm
    fwhm = fwhm if np.isfinite(fwhm) else DEFAULT_FWHM_PX
    cleaned, hits = electrons.copy(), np.zeros(electrons.shape, bool)
    for channel in range(electrons.shape[-1]):
        plane = electrons[..., channel]
        missing = ~np.isfinite(plane)
        # detect_cosmics takes photons' noise from the level: it must stand on its sky
        sigma = float(np.median(whole_image_statistics(plane, missing).sigma))
        lift = max(sigma**2 - read_noise**2, 0.0) - float(np.median(plane[~missing]))
        found, filled = detect_cosmics(
            np.where(missing, -lift, plane) + lift,
            inmask=missing,
            gain=1.0,
            readnoise=read_noise,
            satlevel=np.inf,
            cleantype="meanmask",
            objlim=MIN_COSMIC_RAY_CONTRAST,
            fsmode="convolve",
            psfmodel="gauss",
            psffwhm=fwhm,
        )
        hits[..., channel] = found & ~missing
        cleaned[..., channel] = np.where(hits[..., channel], filled - lift, plane)
    return cleaned, hits
