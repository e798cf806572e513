"""BGRem on an image: the whole flow on one screen."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from bgrem.config import DenoiseConfig, EnhanceConfig, NoiseMapConfig
from bgrem.diffusion import denoise_steps
from bgrem.models import Model
from bgrem.normalise import Statistics, paper_factor, whole_image_statistics
from bgrem.tiling import MULTIPLE, TilePlan, map_tiles
from common.image import AstroImage

Progress = Callable[[int], None]
SMALLEST = 128  # px; side of a tile where memory runs out
STRENGTH, MOST = 2.5, 4.0  # px, over which noise is measured; units of the noise
TileSettings = DenoiseConfig | EnhanceConfig | NoiseMapConfig  # model, tiles, precision


@dataclass(frozen=True, eq=False)
class Denoised:
    """What `denoise` gives, all of one shape (H, W, C): image = result + background + residual.

    Attributes
    ----------
    result : AstroImage
        The sources, in the image's units, without background and noise.
    background : AstroImage
        The smooth background of the whole image (0 where the published preprocessing is used).
    residual : AstroImage
        What was removed beside it: noise.
    sigma : array, shape (H, W, C)
        Standard deviation of the image's noise.
    capped : bool array, shape (H, W, C)
        Where the network would have changed more than `max_sigma`: there the input stays, without
        the background. None without a cap.
    twin : array, shape (H, W, C)
        The result's sources with the noise of other pixels, denoised again, if it was asked for.
    """

    result: AstroImage
    background: AstroImage
    residual: AstroImage
    sigma: np.ndarray
    capped: np.ndarray | None = None
    twin: np.ndarray | None = None


def denoise(
    image: AstroImage | np.ndarray,
    config: DenoiseConfig | None = None,
    *,
    model: Model | None = None,
    progress: Progress | None = None,
    twin: bool = False,
    **settings: Any,
) -> Denoised:
    """Remove background and noise from an image.

    Parameters
    ----------
    image : AstroImage or array, shape (H, W) or (H, W, C)
        Linear pixels in any unit; missing ones are NaN and stay so.
    config : DenoiseConfig, optional
        `settings` change its fields: ``denoise(image, steps=3)``.
    model : Model, optional
        A loaded model (`bgrem.models.load_model`); default: the one that `config.model` names.
    progress : callable, optional
        Called with the number of tiles that are done.
    twin : bool
        Denoise the result with other noise, too, as `bgrem.uncertainty` needs it: twice the time.

    Returns
    -------
    Denoised
        Its result is never below 0 unless `clip` is off, but where `max_sigma` has left the input.

    Raises
    ------
    ValueError
        If no pixel is measured, the image is constant, or there is no such model.

    Examples
    --------
    >>> import numpy as np
    >>> from bgrem import denoise, simulate_field
    >>> field = simulate_field(shape=(64, 64), seed=3, stars=3000)
    >>> done = denoise(field.observed, steps=1)
    >>> parts = (done.result, done.background, done.residual)
    >>> total = np.sum([part.pixels for part in parts], axis=0)[..., 0]
    >>> bool(np.allclose(total, field.observed, rtol=1e-6))
    True
    """
    from dataclasses import replace

    config = replace(config or DenoiseConfig(), **settings)
    if not isinstance(image, AstroImage):
        image = AstroImage(np.asarray(image))
    model = model or load_for(config)
    planes = [
        _denoise_plane(image.pixels[..., channel], image.name, config, model, progress, twin)
        for channel in range(image.shape[-1])
    ]
    always, optional = ([plane[:3] for plane in planes], [plane[3:] for plane in planes])
    result, background, sigma = (np.stack(part, -1) for part in zip(*always, strict=True))
    capped, twins = (
        None if part[0] is None else np.stack(part, -1) for part in zip(*optional, strict=True)
    )
    pixels = image.pixels
    if config.strength < 1:
        removed = pixels - result
        result = pixels - config.strength * removed if config.strength else pixels.copy()
        background = config.strength * background
    dtype = pixels.dtype
    result = np.where(image.missing, np.nan, result).astype(dtype)
    background = background.astype(dtype)
    residual = residual_of(pixels, result, background)
    return Denoised(
        image.with_pixels(result), image.with_pixels(background), image.with_pixels(residual),
        sigma, capped, twins,
    )  # fmt: skip


def _denoise_plane(
    pixels: np.ndarray,
    name: str,
    config: DenoiseConfig,
    model: Model,
    progress: Progress | None,
    twin: bool,
) -> tuple[Any, ...]:
    """Return sources, smooth background, noise, `capped` and twin of one channel, each (H, W)."""
    missing = ~np.isfinite(pixels)
    lifted = pixels if config.minimum is None else np.maximum(pixels, config.minimum)
    try:
        statistics = _statistics(lifted, missing, config, model)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    scaled = fill_missing(statistics.forward(lifted), missing, config.seed)
    tile_median = model.description.get("background") == "tile-median"

    def network_steps(noisy: np.ndarray) -> np.ndarray:
        if tile_median:
            noisy = noisy - np.median(noisy, axis=(1, 2, 3), keepdims=True)
        *_, clean = denoise_steps(noisy, predictor(model), config.steps, model.schedule)
        return clean

    tiled = _with_tile(config, model, scaled.shape)

    def cleaned(image: np.ndarray) -> np.ndarray:
        clean = run_tiles(image, tiled, network_steps, progress)
        return np.maximum(clean, 0) if config.clip else clean

    clean, capped = cleaned(scaled), None
    second = statistics.inverse(cleaned(clean + other_noise(scaled - clean))) if twin else None
    if config.max_sigma is not None:
        capped = (np.abs(scaled - clean) > config.max_sigma) & ~missing
        clean = np.where(capped, scaled, clean)
    return statistics.inverse(clean), statistics.background, statistics.sigma, capped, second


def other_noise(removed: np.ndarray) -> np.ndarray:
    """Return what was taken off elsewhere, made as strong as it is here: (H, W), noise = 1.

    So it has the correlation of the image's own noise, and grows with light as that does; around
    what is no noise (a cosmic ray) it is strong, too.

    Parameters
    ----------
    removed : array, shape (H, W)
        Image less result, in units of its noise.
    """
    strength = np.maximum(np.sqrt(ndimage.gaussian_filter(removed**2, STRENGTH)), 1)
    elsewhere = np.clip((removed / strength)[::-1, ::-1], -MOST, MOST)
    return (elsewhere * strength).astype(np.float32)


def _statistics(
    pixels: np.ndarray, missing: np.ndarray, config: DenoiseConfig, model: Model
) -> Statistics:
    """Return what the whole image is scaled by: measured, or the user's factor."""
    if model.description.get("background") == "tile-median":
        factor = config.normalisation or paper_factor(pixels)
        return Statistics(np.zeros(pixels.shape, np.float32),
                          np.full(pixels.shape, 1 / factor, np.float32))  # fmt: skip
    if model.description.get("background") == "poisson":
        from bgrem.counts import counts_statistics

        found = counts_statistics(pixels, missing)
    else:
        found = whole_image_statistics(pixels, missing, mesh=config.mesh)
    if config.normalisation:
        return Statistics(found.background, np.full_like(found.sigma, 1 / config.normalisation))
    return found


def _with_tile(config: DenoiseConfig, model: Model, shape: tuple[int, ...]) -> DenoiseConfig:
    """Return the config with the tile of a model of counts: its field is as small as that."""
    from dataclasses import replace

    tile = int(model.description.get("tile", config.tile))
    if model.description.get("background") != "poisson" or tile >= config.tile:
        return config
    overlap = min(config.overlap, tile // 4)
    # as many pixels at once as with the config's tile, and none for nothing
    number = config.batch_size * (config.tile // tile) ** 2
    number = min(number, len(TilePlan((shape[0], shape[1]), tile, overlap).starts()))
    return replace(config, tile=tile, overlap=overlap, batch_size=number)


def run_tiles(
    scaled: np.ndarray,
    config: TileSettings,
    function: Callable[[np.ndarray], np.ndarray],
    progress: Progress | None,
) -> np.ndarray:
    """Run the tiles; where memory runs out, one at a time, then smaller ones."""
    tile, batch_size = config.tile, config.batch_size
    while True:
        plan = TilePlan(scaled.shape, tile, min(config.overlap, tile - MULTIPLE))
        try:
            return map_tiles(scaled, plan, function, batch_size=batch_size, progress=progress)
        except Exception as error:
            exhausted = "ResourceExhausted" in type(error).__name__ or "OOM" in str(error)
            if not (exhausted or isinstance(error, MemoryError)) or (
                tile <= SMALLEST and batch_size == 1
            ):
                raise
            tile, batch_size = (tile, 1) if batch_size > 1 else (max(SMALLEST, tile // 32 * 16), 1)


def fill_missing(scaled: np.ndarray, missing: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the scaled image with its holes filled: light of the neighbours, noise of its own.

    A hole without noise would be a structure that the network has never seen.
    """
    if not missing.any():
        return scaled
    known = np.where(missing, 0, scaled)
    weight = ndimage.gaussian_filter((~missing).astype(np.float32), 1.5)
    light = ndimage.gaussian_filter(known, 1.5) / np.maximum(weight, 1e-3)
    light *= np.minimum(weight / 0.05, 1)  # deep inside a hole nothing is known: background
    noise = np.random.default_rng(seed).standard_normal(scaled.shape, np.float32)
    return np.where(missing, light + noise, scaled).astype(np.float32)


def residual_of(pixels: np.ndarray, result: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return pixels - result - background so that `restore_pixels` gives the pixels back exactly.

    float32 where that holds for all pixels, else float64.
    """
    exact = pixels.astype(np.float64) - (result.astype(np.float64) + background)
    exact = np.where(np.isfinite(pixels), exact, np.nan)
    narrow = exact.astype(np.float32)
    if pixels.dtype == np.float32:
        again = restore_pixels(result, background, narrow)
        if np.array_equal(again, pixels, equal_nan=True):
            return narrow
    return exact


def restore_pixels(result: np.ndarray, background: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Return the input of `denoise` from its three parts, in the result's dtype."""
    total = result.astype(np.float64) + background + residual
    return total.astype(result.dtype)


def load_for(config: TileSettings, task: str = "denoise") -> Model:
    """Load the config's model in the precision that this machine is quick in.

    Raises
    ------
    ValueError
        If there is no such model, or it was trained for another task.
    """
    from bgrem.models import load_model, require_task

    require_task(config.model, task)

    precision = automatic_precision() if config.precision == "auto" else config.precision
    return load_model(
        config.model, dtype="mixed_bfloat16" if precision == "bfloat16" else "float32"
    )


def automatic_precision() -> str:
    """Return "bfloat16" where the processor or GPU computes in it, else "float32"."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as file:
            flags = file.read(8192).split()
    except OSError:  # not Linux
        flags = []
    if {"amx_bf16", "avx512_bf16"} & set(flags):
        return "bfloat16"
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        import tensorflow as tf

        for device in tf.config.list_physical_devices("GPU"):
            details = tf.config.experimental.get_device_details(device)
            if details.get("compute_capability", (0, 0)) >= (8, 0):
                return "bfloat16"
    return "float32"


def predictor(model: Model) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return the network as a function of arrays, compiled once per shape."""

    def predict(noisy: np.ndarray, variance: np.ndarray) -> np.ndarray:
        return np.asarray(model.network.predict_on_batch((noisy, variance)), np.float32)

    return predict
