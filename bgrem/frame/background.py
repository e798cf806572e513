"""Into the network's units and back: a smooth background and the noise of the whole image."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from bgrem.frame.noise import (
    MAX_CORRELATION,
    neighbour_correlation,
    pixel_noise,
    smoothed_noise,
)
from bgrem.frame.sky.base import Base, find_base
from bgrem.frame.sky.border import border_light
from bgrem.frame.sources import mask_sources
from common import scratch
from common.image import missing_of
from common.scratch import map_rows, release, row_blocks, sample_of, with_halo
from common.smooth.quadratic import local_quadratic

# px; larger ones miss the waves of a bright sky, masks keep galaxies out of it
BACKGROUND_MESH_PX = 64
BACKGROUND_MASK_SIGMA = 2.0  # noise; smoothed pixels above it belong to sources
BACKGROUND_MASK_SCALES_PX = (1.5, 5.0)  # px; scales on which sources are looked for
BACKGROUND_MASK_GROWTH = 1.0  # scales; how far the mask goes on around a source
# px; Gaussians of the widest scale reach 4 of them, opening 2 px, growth one scale
MASK_REACH_PX = 32
# of neighbours; below the first it is within its error, from the second on it counts as measured
CORRELATION_ERRORS = (0.05, 0.1)
MIN_BACKGROUND_MESH_PX = 16  # px; smaller meshes have too few pixels for a mode
MESH_FILTER_SIDE = 3  # meshes; side of the median filter between them
BACKGROUND_MASK_ROUNDS = 3  # of masking and meshing
MESHES_IN_TROUGH = 4  # a mesh's side relative to that of the rough one, which sees troughs
TROUGH_TAIL = 5  # per cent of the rough mesh's values: the darkest
TROUGH_DEPTHS = (0.35, 0.6)  # noise; dense sources alone reach the first, waves beyond the second
WAVE_SCALE = 0.22  # of a mesh's side; standard deviation of the weights of the local surface
WAVE_ROUNDS = 2  # of masking and fitting the local surface
MIN_MASK_LEVEL = 0.3  # noise; fainter and wider light cannot be separated from a varying sky
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
        scaled, sigma = scratch.empty(pixels.shape, np.float32), self.sigma
        for rows in row_blocks(pixels.shape, pixels, self.background, sigma, scaled):
            scaled[rows] = (pixels[rows] - self.background[rows]) / sigma[rows]
        return scaled

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Return values of the network in the image's units, without the smooth background."""
        found = scratch.empty(values.shape, np.result_type(values, self.sigma))
        for rows in row_blocks(values.shape, values, self.sigma, found):
            np.multiply(values[rows], self.sigma[rows], out=found[rows])
        return found


# a weight, a mesh, and a sky that stands for its background
_Part = tuple[float | np.ndarray, Any, np.ndarray | None]


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
    goes down within a few meshes, the more a local regression counts, which follows waves; beside
    a border over which light comes it counts alone.

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
    missing = missing_of(pixels) if missing is None else missing
    if missing.all():
        raise ValueError("no pixel is measured: there is nothing to denoise.")
    base, missing = find_base(pixels, missing, mesh)
    original, level = base.sample(pixels, missing)
    unknown = sample_of(missing)
    noise = pixel_noise(level, unknown, original)
    if not noise > 0:
        raise ValueError("the image is constant: it has no noise that could be removed.")
    flat = scratch.empty(pixels.shape, np.float32)
    for rows in row_blocks(flat.shape, flat, pixels, missing):
        # `sep` takes a noise of 1 for granted where a mesh tells it little
        flat[rows] = base.flatten(pixels, missing, rows) / noise
    fine = _mesh(flat, missing, mesh // MESHES_PER_WAVE)  # waves are no sources
    correlation = _correlation(level / noise - sample_of(fine.back()), unknown)
    rest = _less(flat, fine)
    del original, level
    # neighbours that are alike differ by less than the noise
    scale = np.sqrt(1 - correlation)
    for rows in row_blocks(flat.shape, flat, pixels, missing, rest):
        # from the pixels once more: rounded twice, modes of a mesh would jump
        flat[rows] = base.flatten(pixels, missing, rows) / noise * scale
        rest[rows] *= scale
    noise /= scale
    look = _Look(mask_sigma, correlation)
    for _ in range(BACKGROUND_MASK_ROUNDS):
        grid = _mesh(flat, missing | _sources(rest, missing, look), mesh)
        rest = _less(flat, grid)
    rough = _mesh(flat, missing, mesh // MESHES_IN_TROUGH)
    found: list[_Part] = [(1.0, grid, None)]
    weight = _wave_weight(sample_of(rough.back()))
    border = border_light(flat, rest, missing)
    if weight > 0:
        rest, sky, mask = _wavy_sky(flat, missing, _less(flat, rough), mesh, look)
        waves = _mesh(rest, mask, mesh)
        found = [(1 - weight, grid, None), (weight, waves, sky)]
    if border is not None:
        share, sky = border
        fine = _mesh(_less(flat, sky), missing, mesh // MESHES_IN_TROUGH)
        found = [(of * (1 - share), *rest_of) for of, *rest_of in found]
        found.append((share, fine, sky))
    del flat, rest
    return _statistics(found, base, noise)


def bands(flat: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return offsets of whole rows and columns, shape (H, W): medians, of what is not missing.

    Parameters
    ----------
    flat : array, shape (H, W)
        Pixels without the smooth background.
    missing : bool array, shape (H, W)
    """
    height, width = flat.shape
    of_rows, of_columns = np.empty((height, 1), flat.dtype), np.empty((1, width), flat.dtype)
    for rows in row_blocks(flat.shape, flat, missing):
        known = np.ma.array(flat[rows], mask=missing[rows])
        of_rows[rows] = np.ma.median(known, axis=1, keepdims=True).filled(0)
    for columns in row_blocks((width, height), flat, missing):
        known = np.ma.array(flat[:, columns] - of_rows, mask=missing[:, columns])
        of_columns[:, columns] = np.ma.median(known, axis=0, keepdims=True).filled(0)
    return map_rows(lambda one: one + of_columns, of_rows, shape=flat.shape, dtype=np.float32)


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
    flat: np.ndarray, missing: np.ndarray, rest: np.ndarray, mesh: int, look: _Look
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pixels without a sky that varies by many sigma within a mesh, the sky, and its mask.

    Crests are not masked as sources, since sources are looked for above a sky that follows them:
    first the rough mesh, without which `rest` is, then the surface itself.
    """
    for _ in range(WAVE_ROUNDS):
        mask = missing | _sources(rest, missing, look)
        sky = local_quadratic(flat, ~mask, WAVE_SCALE * mesh)
        rest = _less(flat, sky)
    return rest, sky, mask


def _statistics(found: list[_Part], base: Base, noise: float) -> Statistics:
    """Return background and noise from weights, meshes, and skies that stand for their background.

    One plane of a mesh is in memory at a time.
    """
    shape = base.shape
    background, sigma = (scratch.empty(shape, np.float32) for _ in range(2))
    total = [scratch.empty(shape, np.float64) for _ in found[1:]]  # of several, in full precision
    for out, name in ((background, "back"), (sigma, "rms")):
        for number, (weight, grid, sky) in enumerate(found):
            plane = sky if sky is not None and name == "back" else getattr(grid, name)()
            for rows in row_blocks(shape, plane, out, *total):
                part = plane[rows].astype(np.float64)
                if total:
                    here = weight[rows] if isinstance(weight, np.ndarray) else weight
                    part = here * part + (total[0][rows] if number else 0)
                    total[0][rows] = part
                if number < len(found) - 1:
                    continue
                if name == "back":
                    out[rows] = part * noise + base.rows(rows) + base.middle
                else:
                    out[rows] = np.maximum(part, LEAST_NOISE) * noise
    return Statistics(background, sigma)


def _sources(flat: np.ndarray, missing: np.ndarray, look: _Look) -> np.ndarray:
    """Return where sources are: smoothed pixels that stand out, and their surroundings."""

    def noise(scale: float) -> float:
        return max(smoothed_noise(scale, look.correlation), MIN_MASK_LEVEL / look.sigma)

    def mask(pixels: np.ndarray, missing: np.ndarray, smooth: Any = None) -> np.ndarray:
        return mask_sources(
            np.where(missing, 0, pixels), missing, scales=BACKGROUND_MASK_SCALES_PX,
            sigma=look.sigma, growth=BACKGROUND_MASK_GROWTH, noise=noise, smooth=smooth,
            opened=True,
        )  # fmt: skip

    sample, known = sample_of(flat), ~sample_of(missing)
    if sample is flat:
        found = mask(flat, missing)
    else:
        found = scratch.empty(flat.shape, bool)
        filled = np.where(known, sample, 0)
        levels = {scale: np.median(ndimage.gaussian_filter(filled, scale, mode="nearest")[known])
                  for scale in BACKGROUND_MASK_SCALES_PX}  # fmt: skip

        def smooth(pixels: np.ndarray, scale: float) -> np.ndarray:
            light = ndimage.gaussian_filter(pixels, scale, mode="nearest") - levels[scale]
            return np.asarray(light)

        for rows in row_blocks(flat.shape, flat, missing, found):
            wide, inner = with_halo(rows, MASK_REACH_PX, len(flat))
            found[rows] = mask(flat[wide], missing[wide], smooth)[inner]
    # where nearly everything is masked nothing would be left to measure: keep the darkest half
    if found[~missing].mean() > MOST_MASKED:
        middle = np.median(sample[known])
        for rows in row_blocks(flat.shape, flat, missing, found):
            found[rows] &= np.where(missing[rows], 0, flat[rows]) > middle
    return found


def _mesh(flat: np.ndarray, mask: np.ndarray, mesh: int) -> Any:
    """Return a mesh of clipped modes with a background and an rms: a `sep.Background`."""
    grid = sep_mesh(flat, mesh, mask, least=MIN_BACKGROUND_MESH_PX)
    release(flat, mask)
    return grid


def _less(flat: np.ndarray, sky: Any) -> np.ndarray:
    """Return pixels without a sky: an array, or the background of a mesh."""
    rest = scratch.empty(flat.shape, np.float32)
    whole = isinstance(sky, np.ndarray)
    for rows in row_blocks(flat.shape, flat, rest, sky if whole else None):
        rest[rows] = flat[rows] - sky[rows] if whole else flat[rows]
    if not whole:
        sky.subfrom(rest)
        release(rest)
    return rest


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
    # it computes in float32 itself; of other types it makes copies
    kind = np.float32 if pixels.dtype == np.float32 else np.float64
    return sep.Background(
        np.ascontiguousarray(pixels, kind), mask=mask, bw=side, bh=side,
        fw=MESH_FILTER_SIDE, fh=MESH_FILTER_SIDE,
    )  # fmt: skip
