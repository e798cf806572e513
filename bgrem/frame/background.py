"""Into the network's units and back: a smooth background and the noise of the whole image."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bgrem.frame.sources import mask_sources
from common.blocks import cut_blocks
from common.robust import difference_noise, mad_sigma, neighbour_differences

# px; larger ones miss the waves of a bright sky, masks keep galaxies out of it
BACKGROUND_MESH_PX = 64
TREND_DEGREE = 3  # of the polynomial that removes strong gradients before a mesh is laid
# exponents of y and x in the polynomial
TREND_POWERS = [(i, j) for i in range(TREND_DEGREE + 1) for j in range(TREND_DEGREE + 1 - i)]
BACKGROUND_MASK_SIGMA = 2.0  # noise after smoothing; pixels above it belong to sources
BACKGROUND_MASK_SCALES_PX = (1.5, 5.0)  # px; scales on which sources are looked for
BACKGROUND_MASK_GROWTH = 1.0  # scales; how far the mask goes on around a source
MIN_BACKGROUND_MESH_PX = 16  # px; smaller meshes have too few pixels for a mode
MESH_FILTER_SIDE = 3  # meshes; side of the median filter between them
BACKGROUND_MASK_ROUNDS = 3  # of masking and meshing
CREST_HEIGHT = 0.75  # noise; how far the finer mesh lies above the background on a crest
CREST_SHARE = 0.02  # of the free pixels; more crests mean a wavy sky: the finer mesh counts half
MAX_SKY_SKEW = 2.5  # variation to the bright side / to the dark side; there, too, it counts half
PIXELS_FOR_NOISE = 1_000_000  # pixels; give the noise to a thousandth
MIN_MASK_LEVEL = 0.3  # noise; fainter and wider light cannot be separated from a varying sky
TREND_ROUNDS = 5  # of the polynomial's reweighting; the weights hardly change any more
BLOCKS_PER_SIDE = 6  # of the image's shorter side, at least: a cubic needs four and noise more
SMALLEST_BLOCK = 4  # px; fewer pixels have no percentile worth a fit
MEASURED_SHARE = 0.25  # of a block's pixels that must be measured
BLOCKS_PER_TERM = 3  # measured blocks for each of the (TREND_DEGREE + 1)^2 products of powers
BLOCK_PERCENTILE = 40  # of a block's pixels: the darker half has more of the sky among dense stars
TREND_CLIP = 1.5  # robust standard deviations; a block this far off has half its weight
DARK_RESIDUAL = 0.3  # dark blocks count as if they were so much nearer: bright ones hold objects
MESHES_PER_WAVE = 2  # a mesh's side relative to that of the finer one, which follows waves
WAVE_TAIL = 5  # per cent of the finer mesh's values that its dark and its bright side leave out
MOST_MASKED = 0.8  # of the measured pixels; beyond it only the brighter half stays masked
LEAST_NOISE = 0.7  # of the neighbours' differences: less is a mesh that hardly has a free pixel


@dataclass(frozen=True)
class Statistics:
    """What the whole image says of its background and noise, in its own units.

    Attributes
    ----------
    background : array, shape (H, W), float32
        Smooth background.
    sigma : array, shape (H, W), float32
        Standard deviation of the noise, above 0.
    """

    background: np.ndarray
    sigma: np.ndarray

    def forward(self, pixels: np.ndarray) -> np.ndarray:
        """Return pixels in the network's units: background 0, noise 1 (float32)."""
        return ((pixels - self.background) / self.sigma).astype(np.float32)

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Return values of the network in the image's units, without the smooth background."""
        return values * self.sigma


def paper_factor(pixels: np.ndarray) -> float:
    """Return the published normalisation factor: 1 / std of the positive pixels.

    Without zeros and without the brightest 10 % (BGRem, Appendix A).
    """
    positive = pixels[np.isfinite(pixels) & (pixels > 0)]
    if positive.size < 10:
        raise ValueError("fewer than 10 positive pixels. Give the normalisation factor with -n.")
    spread = positive[positive <= np.quantile(positive, 0.9)].std()
    if not spread > 0:
        raise ValueError("the pixels have no spread. Give the normalisation factor with -n.")
    return float(1 / spread)


def whole_image_statistics(
    pixels: np.ndarray, missing: np.ndarray | None = None, *, mesh: int = BACKGROUND_MESH_PX
) -> Statistics:
    """Return background and noise of an image of shape (H, W).

    A robust polynomial takes off strong gradients (moonlight: many sigma across one mesh). Then
    twice: sources are masked on two scales, and a mesh of clipped modes with bicubic splines
    between them (SExtractor's, from `sep`) gives the background and its rms. The more
    the sky looks wavy, the more a mesh of half the side counts.

    Parameters
    ----------
    pixels : array, shape (H, W)
    missing : bool array, shape (H, W), optional
        Default: what is not finite.
    mesh : int, optional
        Side of a mesh in pixels.

    Raises
    ------
    ValueError
        If no pixel is measured, or the image is constant.
    """
    missing = ~np.isfinite(pixels) if missing is None else missing
    if missing.all():
        raise ValueError("no pixel is measured: there is nothing to denoise.")
    middle = float(np.median(pixels[~missing]))
    flat = np.where(missing, middle, pixels).astype(np.float64) - middle
    trend = _robust_trend(flat, missing, mesh)
    flat -= trend
    noise = _pixel_noise(flat, missing)
    if not noise > 0:
        raise ValueError("the image is constant: it has no noise that could be removed.")
    flat /= noise  # `sep` takes a noise of 1 for granted where a mesh tells it little
    fine, _ = _mesh(flat, missing, mesh // MESHES_PER_WAVE)  # waves are no sources
    calm = missing | _sources(flat - fine, missing)
    mask = calm
    for _ in range(BACKGROUND_MASK_ROUNDS):
        background, sigma = _mesh(flat, mask, mesh)
        mask = missing | _sources(flat - background, missing)
    if (weight := _wave_weight(fine, background, ~calm)) > 0:
        finer, finer_sigma = _mesh(flat, calm, mesh // MESHES_PER_WAVE)
        background = (1 - weight) * background + weight * finer
        sigma = (1 - weight) * sigma + weight * finer_sigma
    # neighbours differ by the noise at most, also where no pixel of a crowded field is empty
    return Statistics(
        (background * noise + trend + middle).astype(np.float32),
        (np.maximum(sigma, LEAST_NOISE) * noise).astype(np.float32),
    )


def bands(flat: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return offsets of whole rows and columns, shape (H, W): medians, of what is not missing.

    Parameters
    ----------
    flat : array, shape (H, W)
        Pixels without the smooth background.
    missing : bool array, shape (H, W)
    """
    known = np.ma.array(flat, mask=missing)
    rows = np.ma.median(known, axis=1, keepdims=True).filled(0)
    columns = np.ma.median(known - rows, axis=0, keepdims=True).filled(0)
    return np.asarray(rows + columns, np.float32)


def _wave_weight(fine: np.ndarray, background: np.ndarray, free: np.ndarray) -> float:
    """Return the weight of a finer mesh, 0 to 1, by whether crests were taken for sources.

    If so, a finer mesh lies above the background where nothing stands out of it, and it varies to
    both sides; around galaxies, which must not be followed, it varies to the bright one. The
    weight is continuous in both measures, so that no frame lies at an edge of a choice.
    """
    if not free.any():
        return 0.0
    low, middle, high = np.percentile(fine, (WAVE_TAIL, 50, 100 - WAVE_TAIL))
    crests = (fine - background > CREST_HEIGHT)[free].mean() / CREST_SHARE
    skew = (high - middle) / (MAX_SKY_SKEW * max(middle - low, np.finfo(float).tiny))
    return float(np.clip(crests - 0.5, 0, 1) * np.clip(2.5 - 2 * skew, 0, 1))


def _pixel_noise(flat: np.ndarray, missing: np.ndarray) -> float:
    """Return the noise from differences of neighbours, which no gradient and few sources reach."""
    step = -(-flat.size // PIXELS_FOR_NOISE)
    differences = np.concatenate(
        [neighbour_differences(flat, ~missing, axis=axis, step=step) for axis in (1, 0)]
    )
    if not differences.size:
        return 0.0
    # counts of mostly equal pixels have no median
    return difference_noise(differences, 0.0) or float(differences.std()) / np.sqrt(2)


def _robust_trend(flat: np.ndarray, missing: np.ndarray, mesh: int) -> np.ndarray:
    """Return a polynomial through block medians, reweighted four times against the bright."""
    height, width = flat.shape
    side = max(SMALLEST_BLOCK, min(mesh // 2, min(flat.shape) // BLOCKS_PER_SIDE))
    blocks = cut_blocks(np.where(missing, np.nan, flat), side, np.nan).swapaxes(1, 2)
    rows, columns = blocks.shape[:2]
    blocks = blocks.reshape(rows, columns, -1)
    enough = np.isfinite(blocks).sum(-1) > MEASURED_SHARE * side * side
    if enough.sum() < BLOCKS_PER_TERM * (TREND_DEGREE + 1) ** 2:
        return np.zeros_like(flat)
    levels = np.zeros(enough.shape)
    # the darker half of a block knows more of the sky where stars are dense
    percentile = np.nanpercentile if missing.any() or blocks.size != flat.size else np.percentile
    levels[enough] = percentile(blocks[enough], BLOCK_PERCENTILE, axis=-1)

    y, x = _from_minus_one(rows, side, height), _from_minus_one(columns, side, width)
    design = np.stack([np.outer(y**i, x**j)[enough] for i, j in TREND_POWERS], -1)
    values, weights = levels[enough], np.ones(int(enough.sum()))
    for _ in range(TREND_ROUNDS):
        root = np.sqrt(weights)
        solution = np.linalg.lstsq(design * root[:, None], values * root, rcond=None)[0]
        residual = values - design @ solution
        scale = mad_sigma(residual, 0.0) or 1.0
        # bright blocks hold objects: they count less than dark ones
        off = np.where(residual > 0, residual, DARK_RESIDUAL * residual) / (TREND_CLIP * scale)
        weights = 1 / (1 + off**2)
    y, x = _from_minus_one(height, 1, height), _from_minus_one(width, 1, width)
    trend = np.zeros(flat.shape)
    for coefficient, (i, j) in zip(solution, TREND_POWERS, strict=True):
        trend += coefficient * np.outer(y**i, x**j)
    return trend


def _from_minus_one(count: int, side: int, length: int) -> np.ndarray:
    """Return the centres of `count` blocks along an axis that runs from -1 to 1."""
    return 2 * (np.arange(count) + 0.5) * side / length - 1


def _sources(flat: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return where sources are: smoothed pixels that stand out, and their surroundings."""
    filled = np.where(missing, 0, flat)

    def noise(scale: float) -> float:
        return max(1 / (2 * np.sqrt(np.pi) * scale), MIN_MASK_LEVEL / BACKGROUND_MASK_SIGMA)

    found = mask_sources(
        filled,
        missing,
        scales=BACKGROUND_MASK_SCALES_PX,
        sigma=BACKGROUND_MASK_SIGMA,
        growth=BACKGROUND_MASK_GROWTH,
        noise=noise,
        opened=True,
    )
    # where nearly everything is masked nothing would be left to measure: keep the darkest half
    if found[~missing].mean() > MOST_MASKED:
        found &= filled > np.median(filled[~missing])
    return found


def _mesh(flat: np.ndarray, mask: np.ndarray, mesh: int) -> tuple[np.ndarray, np.ndarray]:
    """Return background and rms of a mesh of clipped modes."""
    grid = sep_mesh(flat, mesh, mask, least=MIN_BACKGROUND_MESH_PX)
    return grid.back(), grid.rms()


def sep_mesh(
    pixels: np.ndarray, mesh: int, mask: np.ndarray | None = None, *, least: int = 1
) -> Any:
    """Return SExtractor's background of pixels (H, W): a `sep.Background`.

    Parameters
    ----------
    pixels : array, shape (H, W)
    mesh : int
        Side of a mesh in pixels; at most half of the frame's shorter side is taken.
    mask : bool array, shape (H, W), optional
        Pixels that are left out.
    least : int, optional
        Side of a mesh in pixels that is taken at least.
    """
    import sep

    side = max(least, min(mesh, min(pixels.shape) // 2))
    if mask is not None:
        mask = np.ascontiguousarray(mask)  # that of a turned view lies column by column
    return sep.Background(
        np.ascontiguousarray(pixels, np.float64), mask=mask, bw=side, bh=side,
        fw=MESH_FILTER_SIDE, fh=MESH_FILTER_SIDE,
    )  # fmt: skip
