"""Into the network's units and back: a smooth background and the noise of the whole image."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

MESH = 64  # px; larger ones miss the waves of a bright sky, masks keep galaxies out of it
TREND_DEGREE = 3  # of the polynomial that takes strong gradients off before a mesh is laid
POWERS = [(i, j) for i in range(TREND_DEGREE + 1) for j in range(TREND_DEGREE + 1 - i)]
MASK_SIGMA = 2.0  # smoothed pixels above this belong to sources
SMOOTHING = (1.5, 5.0)  # px; scales on which sources are looked for
SMALLEST_MESH = 16
FILTER = 3  # meshes; median filter between them
ROUNDS = 3
CREST, CREST_SHARE = 0.75, 0.02  # noise; part of the free pixels
SKEWED = 2.5  # bright side : dark side of what varies; more is an object, not a sky
ENOUGH = 1_000_000  # pixels that give the noise to a thousandth
FAINTEST = 0.3  # of the noise: fainter and wider light cannot be told from a varying sky
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
    pixels: np.ndarray, missing: np.ndarray | None = None, *, mesh: int = MESH
) -> Statistics:
    """Return background and noise of an image of shape (H, W).

    A robust polynomial takes off strong gradients (moonlight: many sigma across one mesh). Then
    twice: sources are masked on two scales, and a mesh of clipped modes with bicubic splines
    between them (SExtractor's, from `sep`) gives the background and its rms.

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
    calm = missing | _sources(flat - fine, missing, 1.0)
    mask = calm
    for _ in range(ROUNDS):
        background, sigma = _mesh(flat, mask, mesh)
        mask = missing | _sources(flat - background, missing, 1.0)
    if _is_wavy(fine, background, ~calm):
        background, sigma = _mesh(flat, calm, mesh // MESHES_PER_WAVE)
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


def _is_wavy(fine: np.ndarray, background: np.ndarray, free: np.ndarray) -> bool:
    """Return whether crests of the sky were taken for sources, which leaves even more of them.

    Then a finer mesh lies above the background where nothing stands out of it, and it varies to
    both sides; around galaxies, which must not be followed, it varies to the bright one.
    """
    low, middle, high = np.percentile(fine, (WAVE_TAIL, 50, 100 - WAVE_TAIL))
    crests = (fine - background > CREST)[free].mean() if free.any() else 0.0
    return bool(crests > CREST_SHARE and high - middle < SKEWED * (middle - low))


def _pixel_noise(flat: np.ndarray, missing: np.ndarray) -> float:
    """Return the noise from differences of neighbours, which no gradient and few sources reach."""
    step = -(-flat.size // ENOUGH)
    right = (flat[::step, 1:] - flat[::step, :-1])[~(missing[::step, 1:] | missing[::step, :-1])]
    below = (flat[1::step] - flat[:-1:step])[~(missing[1::step] | missing[:-1:step])]
    differences = np.concatenate([right, below])
    if not differences.size:
        return 0.0
    spread = 1.4826 * float(np.median(np.abs(differences))) / np.sqrt(2)
    return spread or float(differences.std()) / np.sqrt(2)  # counts of mostly equal pixels


def _robust_trend(flat: np.ndarray, missing: np.ndarray, mesh: int) -> np.ndarray:
    """Return a polynomial through block medians, reweighted four times against the bright."""
    height, width = flat.shape
    side = max(SMALLEST_BLOCK, min(mesh // 2, min(flat.shape) // BLOCKS_PER_SIDE))
    rows, columns = -(-height // side), -(-width // side)
    padded = np.full((rows * side, columns * side), np.nan)
    padded[:height, :width] = np.where(missing, np.nan, flat)
    blocks = padded.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(rows, columns, -1)
    enough = np.isfinite(blocks).sum(-1) > MEASURED_SHARE * side * side
    if enough.sum() < BLOCKS_PER_TERM * (TREND_DEGREE + 1) ** 2:
        return np.zeros_like(flat)
    levels = np.zeros(enough.shape)
    # the darker half of a block knows more of the sky where stars are dense
    percentile = np.nanpercentile if missing.any() or padded.shape != flat.shape else np.percentile
    levels[enough] = percentile(blocks[enough], BLOCK_PERCENTILE, axis=-1)

    y, x = _from_minus_one(rows, side, height), _from_minus_one(columns, side, width)
    design = np.stack([np.outer(y**i, x**j)[enough] for i, j in POWERS], -1)
    values, weights = levels[enough], np.ones(int(enough.sum()))
    for _ in range(TREND_ROUNDS):
        root = np.sqrt(weights)
        solution = np.linalg.lstsq(design * root[:, None], values * root, rcond=None)[0]
        residual = values - design @ solution
        scale = 1.4826 * np.median(np.abs(residual)) or 1.0
        # bright blocks hold objects: they count less than dark ones
        off = np.where(residual > 0, residual, DARK_RESIDUAL * residual) / (TREND_CLIP * scale)
        weights = 1 / (1 + off**2)
    y, x = _from_minus_one(height, 1, height), _from_minus_one(width, 1, width)
    trend = np.zeros(flat.shape)
    for coefficient, (i, j) in zip(solution, POWERS, strict=True):
        trend += coefficient * np.outer(y**i, x**j)
    return trend


def _from_minus_one(count: int, side: int, length: int) -> np.ndarray:
    """Return the centres of `count` blocks along an axis that runs from -1 to 1."""
    return 2 * (np.arange(count) + 0.5) * side / length - 1


def _sources(flat: np.ndarray, missing: np.ndarray, noise: float) -> np.ndarray:
    """Return where sources are: smoothed pixels that stand out, and their surroundings."""
    filled = np.where(missing, 0, flat)

    def on_scale(scale: float) -> np.ndarray:
        smooth = ndimage.gaussian_filter(filled, scale, mode="nearest")
        level = noise * max(MASK_SIGMA / (2 * np.sqrt(np.pi) * scale), FAINTEST)
        bright = smooth - np.median(smooth[~missing]) > level
        bright = ndimage.binary_opening(bright)  # single pixels are noise
        return ndimage.binary_dilation(bright, iterations=round(scale))

    with ThreadPoolExecutor() as threads:  # the filters let go of Python's lock
        found = np.logical_or.reduce(list(threads.map(on_scale, SMOOTHING)))
    # where nearly everything is masked nothing would be left to measure: keep the darkest half
    if found[~missing].mean() > MOST_MASKED:
        found &= filled > np.median(filled[~missing])
    return found


def _mesh(flat: np.ndarray, mask: np.ndarray, mesh: int) -> tuple[np.ndarray, np.ndarray]:
    """Return background and rms of a mesh of clipped modes."""
    import sep

    side = max(SMALLEST_MESH, min(mesh, min(flat.shape) // 2))
    data = np.ascontiguousarray(flat, np.float64)
    grid = sep.Background(data, mask=mask, bw=side, bh=side, fw=FILTER, fh=FILTER)
    return grid.back(), grid.rms()
