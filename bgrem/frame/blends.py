"""Sources of a denoised image: segments above a threshold, and the stars that one segment holds.

A denoised image has hardly any noise, so that Richardson-Lucy iterations (Richardson 1972, Lucy
1974; scikit-image) can draw the light of its stars together. Two stars that share one maximum then
have two. A maximum counts where it is as high as that of a star at the threshold, and higher than
the light around it: smooth light, as of a galaxy, is not drawn together.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from bgrem.frame.detect import (
    DENOISED_OPTIONS,
    SEXTRACTOR_MIN_AREA,
    Detections,
    detect_peaks,
    extract_with_sep,
)
from bgrem.frame.sources import number_anew
from bgrem.frame.stars import PointSpread
from common import scratch
from common.scratch import map_rows

SHARPENINGS = 30  # iterations; more split more blends, and galaxies
SHARPNESS_RATIO = 1.15  # sharpened / denoised light of a maximum that is a star; smooth light has 1
RINGING_SIGMA_PX = 0.7  # px; Gaussian that takes the pixels' own pattern from the sharpened image
LEAST_LIGHT = 1e-3  # noise; the iterations need positive pixels
BLOCK_PX = 1024  # px; side of the blocks that are sharpened at once: memory
MARGIN_FWHM = 8.0  # FWHM around a block; light from further away changes nothing in it


@dataclass(frozen=True, eq=False)
class Sharpened:
    """A denoised image (H, W) in units of the noise, and what draws its stars together.

    Attributes
    ----------
    light : array
    spread : PointSpread
    iterations : int
    """

    light: np.ndarray
    spread: PointSpread
    iterations: int = SHARPENINGS

    @cached_property
    def image(self) -> np.ndarray:
        """The sharpened image, block by block."""
        margin = int(np.ceil(MARGIN_FWHM * max(self.spread.fwhm, 1.0)))
        height, width = self.light.shape
        found = scratch.empty((height, width), np.float64)
        for top in range(0, height, BLOCK_PX):
            for left in range(0, width, BLOCK_PX):
                part = found[top : top + BLOCK_PX, left : left + BLOCK_PX]
                rows, columns = (len(side) + 2 * margin for side in (part, part.T))
                block = self._sharpen(self._window(top, left, rows, columns, margin))
                part[:] = block[margin : rows - margin, margin : columns - margin]
            scratch.release(self.light, found)
        return found

    def _window(self, top: int, left: int, rows: int, columns: int, margin: int) -> np.ndarray:
        """Return light from `margin` before a place on, mirrored beyond the frame's edges."""
        area, missing = [], []
        starts_and_sides = ((top - margin, rows), (left - margin, columns))
        for (start, side), most in zip(starts_and_sides, self.light.shape, strict=True):
            first, last = max(start, 0), min(start + side, most)
            area.append(slice(first, last))
            missing.append((first - start, start + side - last))
        return np.pad(self.light[tuple(area)], missing, mode="symmetric")

    @cached_property
    def gain(self) -> float:
        """Sharpened over unsharpened peak of a star alone."""
        star = np.pad(self._stamp, self._stamp.shape[0])
        star /= star.max()
        return float(self._sharpen(star).max())

    @cached_property
    def maxima(self) -> Detections:
        """Local maxima of the sharpened image; `flux` is their height."""
        return detect_peaks(self.image, LEAST_LIGHT)

    @cached_property
    def _stamp(self) -> np.ndarray:
        return self.spread.stamp(2 * int(np.ceil(3.5 * max(self.spread.fwhm, 1.0))) + 1)

    def _sharpen(self, light: np.ndarray) -> np.ndarray:
        from skimage.restoration import richardson_lucy

        drawn = richardson_lucy(
            np.maximum(light, 0) + LEAST_LIGHT, self._stamp, num_iter=self.iterations, clip=False,
            filter_epsilon=LEAST_LIGHT / 10,
        )  # fmt: skip
        return np.asarray(ndimage.gaussian_filter(drawn, RINGING_SIGMA_PX))


@dataclass(frozen=True, eq=False)
class Sources:
    """What was found above a threshold.

    Attributes
    ----------
    places : Detections
    segmentation : int array, shape (H, W)
        0: no source; k + 1: the pixels of source k.
    blended : bool array, shape (N,)
        Whether others touch it.
    """

    places: Detections
    segmentation: np.ndarray
    blended: np.ndarray


def find_sources(
    light: np.ndarray,
    threshold: np.ndarray | float,
    sharpened: Sharpened | None,
    *,
    contrast: float = DENOISED_OPTIONS["contrast"],
    minimum_area: int = SEXTRACTOR_MIN_AREA,
) -> Sources:
    """Return the sources of a denoised image.

    Parameters
    ----------
    light : array, shape (H, W)
        In units of the original's noise.
    threshold : array, shape (H, W), or float
        In the same units.
    sharpened : Sharpened or None
        Of `light`; None leaves blends to the contrast alone.
    contrast : float
        DEBLEND_MINCONT.
    minimum_area : int
        Pixels above the threshold.
    """
    import sep

    scaled = (
        map_rows(np.divide, light, threshold, dtype=np.float32)
        if isinstance(threshold, np.ndarray)
        else map_rows(lambda rows: rows / threshold, light, dtype=np.float32)
    )
    found, segmentation = extract_with_sep(
        scaled, 1.0, kernel=None, contrast=contrast, minimum_area=minimum_area
    )
    kept, segmentation = number_anew(segmentation, len(found))
    found = found[kept]
    places = Detections(found["x"], found["y"], found["flux"])
    blended = found["flag"] & sep.OBJ_MERGED > 0
    if sharpened is None or not len(places):
        return Sources(places, segmentation, blended)
    return _split(places, segmentation, blended, sharpened, threshold)


def _split(
    places: Detections, segmentation: np.ndarray, blended: np.ndarray, sharpened: Sharpened,
    threshold: np.ndarray | float,
) -> Sources:  # fmt: skip
    """Return the sources with one for each star that the sharpened image shows in a segment."""
    from skimage.segmentation import watershed

    maxima = sharpened.maxima
    row, column = (
        np.clip(np.round(axis).astype(int), 0, most - 1)
        for axis, most in zip((maxima.y, maxima.x), segmentation.shape, strict=True)
    )
    label, height = segmentation[row, column], sharpened.image[row, column]
    light = map_rows(lambda rows: ndimage.maximum_filter(rows, 3), sharpened.light, halo=1)
    local = light[row, column]
    del light
    least = sharpened.gain * np.broadcast_to(threshold, segmentation.shape)[row, column]
    order = np.argsort(-height, kind="stable")
    _, first = np.unique(label[order], return_index=True)
    highest = np.zeros(len(label), bool)
    highest[order[first]] = True
    stars = (label > 0) & (highest | ((height > SHARPNESS_RATIO * local) & (height >= least)))
    number = np.bincount(label[stars], minlength=len(places) + 1)
    shared = number > 1  # by two stars or more
    stars &= shared[label]
    if not stars.any():
        return Sources(places, segmentation, blended)
    markers = np.zeros(segmentation.shape, np.int32)
    markers[row[stars], column[stars]] = np.arange(1, stars.sum() + 1)
    mask = map_rows(lambda rows: shared[rows], segmentation, dtype=bool)
    whole = map_rows(lambda rows, own: np.where(own, 0, rows), segmentation, mask, dtype=np.int32)
    # one after the other: pieces that do not touch have nothing to do with each other
    pieces, _ = ndimage.label(mask)
    for piece, window in enumerate(ndimage.find_objects(pieces), 1):
        own = pieces[window] == piece
        parts = watershed(-sharpened.image[window], np.where(own, markers[window], 0), mask=own)
        whole[window][own] = np.where(parts > 0, len(places) + parts, whole[window])[own]
    del pieces, mask
    kept, whole = number_anew(whole, len(places) + int(stars.sum()))
    columns = [
        np.concatenate(both)[kept]
        for both in ((places.x, maxima.x[stars]), (places.y, maxima.y[stars]),
                     (places.flux, maxima.flux[stars]), (blended, np.ones(stars.sum(), bool)))
    ]  # fmt: skip
    return Sources(Detections(*columns[:3]), whole, columns[3])
