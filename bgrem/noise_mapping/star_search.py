"""Search for the streaks of a frame's stars with the streak that they share."""

import warnings

import numpy as np
from scipy import fft, ndimage, sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from bgrem.noise_mapping.template import Template

MIN_SIGNIFICANCE = 4.0  # of the matched filter: fainter streaks are lost in the noise
BESIDE_PX = 4.0  # px across; nearer ones are searched for once the nearest are subtracted
TWINS_PX = 1.0  # px; nearer ones are one star
DYNAMIC_RANGE = 10.0  # of a search: what is fainter than the brightest / this waits for the next
SEARCH_SEGMENTS = 6  # of a streak; a satellite lies in one or two of them
MIN_SEGMENTS = 2  # of a streak that the frame's edge cuts; less looks like a satellite
SEGMENTS_AGREE = 0.2  # second least / median light of the segments
# of a segment's usual weight: wings of a saturated star; less is outside
MIN_SEGMENT_WEIGHT = 0.003


def search_stars(left: np.ndarray, variance: np.ndarray, template: Template) -> np.ndarray:
    """Return x, y, flux of streaks that stand out of a frame without the known ones: (N, 3).

    A matched filter with each segment of the template along the streak. Their median is not changed
    by what lies in one or two of them, a satellite or a trail across.
    """
    part = segments(template, SEARCH_SEGMENTS)
    size = [fft.next_fast_len(side + template.light.shape[1], True) for side in left.shape]
    weight = 1 / variance
    spectra = [fft.rfft2(one, size) for one in (np.where(weight > 0, left, 0) * weight, weight)]
    reach = template.half  # middles outside of the frame, too
    crop = tuple(np.s_[: side + 2 * reach] for side in left.shape)

    def correlate(spectrum: np.ndarray, stamp: np.ndarray) -> np.ndarray:
        return np.asarray(fft.irfft2(spectrum * fft.rfft2(stamp[::-1, ::-1], size), size)[crop])

    pieces = [np.where(part == k, template.light, 0) for k in range(SEARCH_SEGMENTS)]
    products = np.stack([correlate(spectra[0], one) for one in pieces])
    norms = np.maximum([correlate(spectra[1], one**2) for one in pieces], 1e-12)
    inside = norms > MIN_SEGMENT_WEIGHT * np.median(norms, (1, 2), keepdims=True)
    fluxes = np.where(inside, products / norms, np.nan)
    seen = inside.sum(0)
    with warnings.catch_warnings():  # a place of which no segment is inside
        warnings.simplefilter("ignore", RuntimeWarning)
        median = np.nan_to_num(np.nanmedian(fluxes, 0))
    least = np.sort(fluxes, 0)  # NaN comes last
    low = np.where(seen > MIN_SEGMENTS, least[1], least[0])
    root, total = np.sqrt(norms.sum(0)), products.sum(0) / norms.sum(0)
    good = (root * np.minimum(total, median) > MIN_SIGNIFICANCE) & (low > SEGMENTS_AGREE * median)
    significance = np.where(
        good & (seen >= MIN_SEGMENTS), root * np.minimum(total, 1.5 * median), 0
    )
    y, x = np.nonzero(
        (significance > 0) & (significance == ndimage.maximum_filter(significance, 5))
    )
    if not len(x):
        return np.zeros((0, 3))
    height = significance[y, x]
    order = np.argsort(-height)
    order = order[height[order] > height.max() / DYNAMIC_RANGE]
    flux = np.minimum(total, median)[y, x]
    found = np.stack([x - reach, y - reach, flux], 1)[order].astype(float)
    hiding, taken = beside(template, found, found), np.zeros(len(found), bool)
    for k in range(len(found)):
        taken[k] = not hiding[k, :k][taken[:k]].any()
    return found[taken]


def beside(template: Template, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return which streaks (N, 3) may be a part of which others (M, 3): bool array, (N, M)."""
    x, y = np.moveaxis(one[:, None, :2] - other[None, :, :2], -1, 0)
    cos, sin = np.cos(template.angle), np.sin(template.angle)
    along, across = np.abs(x * cos + y * sin), np.abs(y * cos - x * sin)
    return np.asarray((along < template.length / 2) & (across < BESIDE_PX))


def without_twins(table: np.ndarray) -> np.ndarray:
    """Return the stars (N, 3) with those that are nearer than `TWINS_PX` as one, of all flux.

    The fit cannot tell their fluxes apart: one alone would keep a part of the light.
    """
    pairs = cKDTree(table[:, :2]).query_pairs(TWINS_PX, output_type="ndarray")
    if not len(pairs):
        return table
    links = sparse.coo_matrix((np.ones(len(pairs)), pairs.T), shape=(len(table),) * 2)
    number, group = connected_components(links, directed=False)
    flux = np.bincount(group, table[:, 2], number)
    weight = np.maximum(table[:, 2], 1e-9)
    place = [np.bincount(group, weight * table[:, k], number) / np.bincount(group, weight, number)
             for k in (0, 1)]  # fmt: skip
    return np.stack([*place, flux], 1)


def segments(template: Template, number: int) -> np.ndarray:
    """Return the segment, 0 to number - 1, of each pixel of the template along it: (S, S)."""
    along, _ = template.along_and_across
    share = along / template.length + 0.5
    return np.clip(np.floor(number * share), 0, number - 1).astype(int)
