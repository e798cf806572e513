"""One plane through the network: into its units, tile by tile, and back."""

from dataclasses import dataclass, replace

import numpy as np

from bgrem.config import DenoiseConfig
from bgrem.denoising.twin import other_noise
from bgrem.frame.normalisers import Normaliser, normaliser_of
from bgrem.frame.sky.remainder import with_remainder
from bgrem.inference.run import Progress, fill_missing, run_tiles
from bgrem.inference.tiling import TilePlan
from bgrem.models import Model
from bgrem.networks.diffusion import denoise_steps
from common.image import missing_of
from common.scratch import row_blocks


@dataclass(frozen=True, eq=False)
class DenoisedPlane:
    """One channel, arrays of shape (H, W) in the image's units.

    Attributes are those of `bgrem.denoising.flow.Denoised`.
    """

    sources: np.ndarray
    background: np.ndarray
    sigma: np.ndarray
    capped: np.ndarray | None
    twin: np.ndarray | None


def denoise_plane(
    pixels: np.ndarray,
    name: str,
    config: DenoiseConfig,
    model: Model,
    progress: Progress | None,
    twin: bool,
) -> DenoisedPlane:
    """Denoise one channel, shape (H, W)."""
    missing = missing_of(pixels)
    lifted = pixels if config.minimum is None else np.maximum(pixels, config.minimum)
    normaliser = normaliser_of(model.description)
    try:
        statistics = normaliser.fit(
            lifted, missing, mesh=config.mesh, mask_sigma=config.mask_sigma,
            factor=config.normalisation,
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    scaled = fill_missing(statistics.forward(lifted), missing, config.seed)
    del lifted
    tiling = _tiling(config, model, normaliser, scaled.shape)

    def predict_tiles(tiles: np.ndarray) -> np.ndarray:
        if normaliser.subtracts_tile_median:
            tiles = tiles - np.median(tiles, axis=(1, 2, 3), keepdims=True)
        *_, predicted = denoise_steps(tiles, model.predict, config.steps, model.schedule)
        return predicted

    def sources_of(noisy: np.ndarray) -> np.ndarray:
        sources = run_tiles(noisy, tiling, predict_tiles, progress)
        for rows in row_blocks(sources.shape, sources):
            if config.clip:
                np.maximum(sources[rows], 0, out=sources[rows])
        return sources

    sources = sources_of(scaled)
    twin_sources = sources_of(sources + other_noise(scaled - sources)) if twin else None
    if normaliser.leaves_remainder:
        statistics = with_remainder(statistics, scaled, sources, missing, mesh=config.mesh)
    capped, kept = None, sources
    if config.max_sigma is not None:
        scaled = statistics.forward(pixels)
        capped = (np.abs(scaled - sources) > config.max_sigma) & ~missing
        kept = np.where(capped, scaled, sources)
    return DenoisedPlane(
        statistics.inverse(kept),
        statistics.background,
        statistics.sigma,
        capped,
        None if twin_sources is None else statistics.inverse(twin_sources),
    )


def _tiling(
    config: DenoiseConfig, model: Model, normaliser: Normaliser, shape: tuple[int, ...]
) -> DenoiseConfig:
    """Return the config with the model's tile, if its network must not see larger ones."""
    tile = int(model.description.get("tile", config.tile))
    if not normaliser.keeps_training_tile or tile >= config.tile:
        return config
    overlap = min(config.overlap, tile // 4)
    # as many pixels at once as with the config's tile, and none for nothing
    number = config.batch_size * (config.tile // tile) ** 2
    number = min(number, len(TilePlan((shape[0], shape[1]), tile, overlap).starts()))
    return replace(config, tile=tile, overlap=overlap, batch_size=number)
