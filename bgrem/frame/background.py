"""Into the network's units and back: a smooth background and the noise of the whole image."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bgrem.frame.noise import (
    MAX_CORRELATION,
    neighbour_correlation,
    pixel_noise,
    smoothed_noise,
)
from bgrem.frame.sky.steps import level_steps
from bgrem.frame.sources import mask_sources
from common.blocks import cut_blocks
from common.robust import mad_sigma
from common.smooth.quadratic import local_quadratic

# px; larger ones miss the waves of a bright sky, masks keep galaxies out of it
BACKGROUND_MESH_PX = 64
TREND_DEGREE = 3  # of the polynomial that removes strong gradients before a mesh is laid
# exponents of y and x in the polynomial
TREND_POWERS = [(i, j) for i in range(TREND_DEGREE + 1) for j in range(TREND_DEGREE + 1 - i)]
BACKGROUND_MASK_SIGMA = 2.0  # noise; smoothed pixels above it belong to sources
BACKGROUND_MASK_SCALES_PX = (1.5, 5.0)  # px; scales on which sources are looked for
BACKGROUND_MASK_GROWTH = 1.0  # scales; how far the mask goes on around a source
# of neighbours; below the first it is within its error, from the second on it counts as measured
CORRELATION_ERRORS = (0.05, 0.1)
CONSTANT_BLOCK_PX = 16  # px; an area of one value has such a block, mostly equal counts have not
MAX_CONSTANT_SHARE = 0.9  # of the measured pixels; beyond it the frame itself is like that
MIN_BACKGROUND_MESH_PX = 16  # px; smaller meshes have too few pixels for a mode
MESH_FILTER_SIDE = 3  # meshes; side of the median filter between them
BACKGROUND_MASK_ROUNDS = 3  # of masking and meshing
MESHES_IN_TROUGH = 4  # a mesh's side relative to that of the rough one, which sees troughs
TROUGH_TAIL = 5  # per cent of the rough mesh's values: the darkest
TROUGH_DEPTHS = (0.35, 0.6)  # noise; dense sources alone reach the first, waves beyond the second
WAVE_SCALE = 0.22  # of a mesh's side; standard deviation of the weights of the local surface
WAVE_ROUNDS = 2  # of masking and fitting the local surface
MIN_MASK_LEVEL = 0.3  # noise; fainter and wider light cannot be separated from a varying sky
TREND_ROUNDS = 5  # of the polynomial's reweighting; the weights hardly change any more
BLOCKS_PER_SIDE = 6  # of the image's shorter side, at least: a cubic needs four and noise more
MEASURED_SHARE = 0.25  # of a block's pixels that must be measured
BLOCKS_PER_TERM = 3  # measured blocks for each of the (TREND_DEGREE + 1)^2 products of powers
BLOCK_PERCENTILE = 40  # of a block's pixels: the darker half has more of the sky among dense stars
DARK_RESIDUAL = 0.3  # dark blocks count as if they were so much nearer: bright ones hold objects
TREND_CLIP = 1.5  # robust standard deviations; a block this far off has half its weight
MESHES_PER_WAVE = 2  # a mesh's side relative to that of the first one, on which waves are sky
LEAST_NOISE = 0.7  # of the neighbours' differences: a mesh of equal pixels must not divide by 0
MOST_MASKED = 0.8  # of the measured pixels; beyond it only the brighter half stays masked


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


@dataclass(frozen=True)
class _Look:
    """What a source is: sigma above the noise, whose neighbours are correlated."""

    sigma: float
    correlation: float


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
    pixels: np.ndarray,
    missing: np.ndarray | None = None,
    *,
    mesh: int = BACKGROUND_MESH_PX,
    mask_sigma: float = BACKGROUND_MASK_SIGMA,
) -> Statistics:
    """Return background and noise of an image of shape (H, W).

    A robust polynomial takes off strong gradients (moonlight: many sigma across one mesh). Then,
    three times, sources are masked on two scales, and a mesh of clipped modes with bicubic splines
    between them (SExtractor's, from `sep`) gives the background and its rms. The deeper the sky
    goes down within a few meshes, the more a local regression counts, which follows waves.

    Parameters
    ----------
    pixels : array, shape (H, W)
    missing : bool array, shape (H, W), optional
        Default: what is not finite.
    mesh : int, optional
        Side of a mesh in pixels.
    mask_sigma : float, optional
        Smoothed pixels above this, in noise, belong to sources. A lower value leaves less faint
        light in the background (level 0.02 of the noise lower for 20 %) and fewer pixels to
        measure it.

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
    base = level_steps(flat, missing)
    missing = missing | _constant_areas(flat, missing)
    base += _robust_trend(flat - base, missing, mesh)
    original, flat = flat, np.where(missing, 0, flat - base)
    noise = pixel_noise(flat, missing, original)
    if not noise > 0:
        raise ValueError("the image is constant: it has no noise that could be removed.")
    flat /= noise  # `sep` takes a noise of 1 for granted where a mesh tells it little
    fine, _ = _mesh(flat, missing, mesh // MESHES_PER_WAVE)  # waves are no sources
    correlation = _correlation(flat - fine, missing)
    # neighbours that are alike differ by less than the noise
    scale = np.sqrt(1 - correlation)
    flat, fine, noise = flat * scale, fine * scale, noise / scale
    look = _Look(mask_sigma, correlation)
    mask = missing | _sources(flat - fine, missing, look)
    for _ in range(BACKGROUND_MASK_ROUNDS):
        background, sigma = _mesh(flat, mask, mesh)
        mask = missing | _sources(flat - background, missing, look)
    rough, _ = _mesh(flat, missing, mesh // MESHES_IN_TROUGH)
    if (weight := _wave_weight(rough)) > 0:
        sky, mask = _wavy_sky(flat, missing, rough, mesh, look)
        background = (1 - weight) * background + weight * sky
        sigma = (1 - weight) * sigma + weight * _mesh(flat - sky, mask, mesh)[1]
    return Statistics(
        (background * noise + base + middle).astype(np.float32),
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


def _constant_areas(flat: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return the blocks of one value: strips and fillings without noise say nothing of it."""
    blocks = cut_blocks(flat, CONSTANT_BLOCK_PX, np.nan)
    equal = (np.nanmin(blocks, (1, 3)) == np.nanmax(blocks, (1, 3))).repeat(CONSTANT_BLOCK_PX, 0)
    equal = equal.repeat(CONSTANT_BLOCK_PX, 1)[: flat.shape[0], : flat.shape[1]] & ~missing
    measured = (~missing).sum()
    return equal if equal.sum() < MAX_CONSTANT_SHARE * measured else np.zeros_like(missing)


def _correlation(flat: np.ndarray, missing: np.ndarray) -> float:
    """Return the correlation of neighbours; 0 where it may be chance, or cannot be measured."""
    found = np.nan_to_num(neighbour_correlation(flat, missing))
    return float(np.interp(found, CORRELATION_ERRORS, (0, 1)) * min(found, MAX_CORRELATION))


def _wave_weight(rough: np.ndarray) -> float:
    """Return the weight of a surface that follows waves, 0 to 1, by how deep the sky goes down.

    Objects only add light: they cannot make dark places of a few meshes. So what a rough mesh
    without any mask has below its median is sky. The weight is continuous, so that no frame lies
    at an edge of a choice.
    """
    low, middle = np.percentile(rough, (TROUGH_TAIL, 50))
    return float(np.interp(middle - low, TROUGH_DEPTHS, (0, 1)))


def _wavy_sky(
    flat: np.ndarray, missing: np.ndarray, rough: np.ndarray, mesh: int, look: _Look
) -> tuple[np.ndarray, np.ndarray]:
    """Return a sky that varies by many sigma within a mesh, and where it does not see the sky.

    Crests are not masked as sources, since sources are looked for above a sky that follows them:
    first the rough mesh, then the surface itself.
    """
    sky = rough
    for _ in range(WAVE_ROUNDS):
        mask = missing | _sources(flat - sky, missing, look)
        sky = local_quadratic(flat, ~mask, WAVE_SCALE * mesh)
    return sky, mask


def _robust_trend(flat: np.ndarray, missing: np.ndarray, mesh: int) -> np.ndarray:
    """Return a polynomial through block medians, reweighted against those far off."""
    height, width = flat.shape
    side = max(1, min(mesh // 2, min(flat.shape) // BLOCKS_PER_SIDE))
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


def _sources(flat: np.ndarray, missing: np.ndarray, look: _Look) -> np.ndarray:
    """Return where sources are: smoothed pixels that stand out, and their surroundings."""
    filled = np.where(missing, 0, flat)

    def noise(scale: float) -> float:
        return max(smoothed_noise(scale, look.correlation), MIN_MASK_LEVEL / look.sigma)

    found = mask_sources(
        filled,
        missing,
        scales=BACKGROUND_MASK_SCALES_PX,
        sigma=look.sigma,
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
