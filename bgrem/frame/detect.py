"""Find sources above a threshold: the `sep` library, SExtractor, a matched filter."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from common.scratch import map_rows

# SExtractor's default.conv, a pyramid, and its other defaults
SEXTRACTOR_KERNEL = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], float)
SEXTRACTOR_CONTRAST = 0.005  # DEBLEND_MINCONT of SExtractor
SEXTRACTOR_MIN_AREA = 5  # px; DETECT_MINAREA of SExtractor
SEXTRACTOR_DEBLEND_LEVELS = 32  # DEBLEND_NTHRESH of SExtractor
MIN_PIXEL_STACK = 100_000  # pixels; stack of `sep` for small frames
STACK_IS_FULL = "pixel buffer full"  # in the error of `sep` for too small a stack
MAX_SUB_OBJECTS = 65536  # parts of one blend; crowded frames have more than the 1024 of `sep`
# A denoised image has no noise that a filter would have to smooth, nor any that a low contrast
# would split sources along.
DENOISED_OPTIONS: dict[str, Any] = {"kernel": None, "contrast": 5e-5}


@dataclass(frozen=True)
class Detections:
    """Positions (0-based pixels) and fluxes, each of shape (N,)."""

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray

    def __len__(self) -> int:
        """Return N."""
        return len(self.x)


def gaussian_kernel(fwhm: float) -> np.ndarray:
    """Return a Gaussian convolution mask of a full width in pixels."""
    half = max(1, int(np.ceil(1.2 * fwhm)))
    axis = np.arange(-half, half + 1)
    profile = np.exp(-4 * np.log(2) * (axis / fwhm) ** 2)
    return np.outer(profile, profile)


def detect_with_sep(
    pixels: np.ndarray,
    threshold: float,
    *,
    noise: np.ndarray | float | None = None,
    kernel: np.ndarray | None = SEXTRACTOR_KERNEL,
    contrast: float = SEXTRACTOR_CONTRAST,
) -> Detections:
    """Return what the `sep` library finds in background-subtracted pixels, shape (H, W).

    The parameters are those of `extract_with_sep`.
    """
    found, _ = extract_with_sep(pixels, threshold, noise=noise, kernel=kernel, contrast=contrast)
    return Detections(found["x"], found["y"], found["flux"])


def extract_with_sep(
    pixels: np.ndarray,
    threshold: float,
    *,
    noise: np.ndarray | float | None = None,
    kernel: np.ndarray | None = SEXTRACTOR_KERNEL,
    contrast: float = SEXTRACTOR_CONTRAST,
    minimum_area: int = SEXTRACTOR_MIN_AREA,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the `sep` library's records, shape (N,), and its segmentation map, shape (H, W).

    Parameters
    ----------
    threshold : float
        In units of `noise`, or of the pixels without one.
    noise : array or float, optional
        Standard deviation of the pixels.
    kernel : array, optional
        Convolution mask; None for none.
    contrast : float
        DEBLEND_MINCONT.
    minimum_area : int
        DETECT_MINAREA, in pixels.
    """
    options = {} if noise is None else {"err": noise}
    found: tuple[np.ndarray, np.ndarray] = extract(
        pixels,
        threshold,
        minarea=minimum_area,
        filter_kernel=kernel,
        filter_type="conv",
        deblend_nthresh=SEXTRACTOR_DEBLEND_LEVELS,
        deblend_cont=contrast,
        segmentation_map=True,
        **options,
    )
    return found


def extract(pixels: np.ndarray, threshold: float, **options: Any) -> Any:
    """Return what `sep.extract` returns for pixels (H, W), with as much memory as it can need.

    Parameters
    ----------
    pixels : array, shape (H, W)
        Without background.
    threshold : float
    **options
        Of `sep.extract`.
    """
    import sep

    data = np.ascontiguousarray(pixels, np.float32)
    most = max(MIN_PIXEL_STACK, 2 * data.size)
    # the stack is filled anew at each call, some 40 bytes a pixel: no larger than is needed
    noise = options.get("err")
    bright = data > threshold if noise is None else data > threshold * noise
    stack = min(most, max(MIN_PIXEL_STACK, 2 * int(np.count_nonzero(bright))))
    del bright
    sep.set_sub_object_limit(MAX_SUB_OBJECTS)
    while True:
        sep.set_extract_pixstack(stack)
        try:
            return sep.extract(data, threshold, **options)
        except Exception as error:
            if stack == most or STACK_IS_FULL not in str(error):
                raise
            stack = min(most, 4 * stack)  # a filter can bring more pixels above the threshold


def matched_filter(
    observed: np.ndarray, background: np.ndarray, sigma: np.ndarray | float, profile: np.ndarray
) -> np.ndarray:
    """Return the signal-to-noise ratio of a point source at each pixel, shape (H, W).

    The best linear detector of isolated point sources, given the true background, noise and
    profile (point-spread function, sum 1, odd sides).
    """
    from scipy.signal import fftconvolve

    weight = 1 / np.broadcast_to(np.asarray(sigma, float), observed.shape) ** 2
    flipped = profile[::-1, ::-1]
    signal = fftconvolve((observed - background) * weight, flipped, mode="same")
    return signal / np.sqrt(fftconvolve(weight, flipped**2, mode="same"))


def detect_peaks(significance: np.ndarray, threshold: float) -> Detections:
    """Return local maxima of at least `threshold`, at subpixel positions by a parabola."""
    from scipy import ndimage

    def are_peaks(rows: np.ndarray) -> np.ndarray:
        return (rows == ndimage.maximum_filter(rows, 3)) & (rows >= threshold)

    y, x = np.nonzero(map_rows(are_peaks, significance, dtype=bool, halo=1))
    position = []
    for axis, place in ((0, y), (1, x)):
        last = significance.shape[axis] - 1
        steps = [np.clip(place + step, 0, last) for step in (-1, 0, 1)]
        low, middle, high = (significance[(step, x) if axis == 0 else (y, step)] for step in steps)
        curve = low - 2 * middle + high
        shift = np.where(curve < 0, 0.5 * (low - high) / np.where(curve < 0, curve, 1), 0)
        position.append(place + np.clip(shift, -0.5, 0.5))
    return Detections(position[1], position[0], significance[y, x])
