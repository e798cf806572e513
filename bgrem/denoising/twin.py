"""Other noise of the same image, for the uncertainty of a result."""

import numpy as np
from scipy import ndimage

NOISE_STRENGTH_WIDTH_PX = 2.5  # px; Gaussian over which the local strength of the noise is measured
# local noise = 1; stronger values are artefacts and are clipped in the second noise
MAX_TWIN_NOISE = 4.0


def other_noise(removed: np.ndarray) -> np.ndarray:
    """Return what was taken off elsewhere, made as strong as it is here: (H, W), noise = 1.

    So it has the correlation of the image's own noise, and grows with light as that does; around
    what is no noise (a cosmic ray) it is strong, too.

    Parameters
    ----------
    removed : array, shape (H, W)
        Image less result, in units of its noise.
    """
    strength = np.maximum(np.sqrt(ndimage.gaussian_filter(removed**2, NOISE_STRENGTH_WIDTH_PX)), 1)
    elsewhere = np.clip((removed / strength)[::-1, ::-1], -MAX_TWIN_NOISE, MAX_TWIN_NOISE)
    return (elsewhere * strength).astype(np.float32)
