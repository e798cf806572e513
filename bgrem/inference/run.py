"""Run a network over an image: load it, fill holes, tile by tile, smaller tiles without memory."""

import warnings
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from bgrem.config import DenoiseConfig, EnhanceConfig, NoiseMapConfig
from bgrem.inference.device import automatic_precision
from bgrem.inference.exported import find_exported
from bgrem.inference.tiling import TILE_MULTIPLE, TilePlan, map_tiles
from bgrem.models import Model, is_exported, load_model, require_task
from bgrem.networks.gpu import DeviceWarning
from common import scratch
from common.cli import is_out_of_memory
from common.progress.passes import begin_pass
from common.scratch import row_blocks, with_halo

Progress = Callable[[int], None]
HOLE_SCALE_PX = 1.5  # px; Gaussian whose mean of the neighbours is the light of a hole
HOLE_REACH_PX = 6  # px; how far that Gaussian reaches: 4 standard deviations
MIN_TILE_PX = 128  # px; side of a tile that is still tried when memory runs out
TileSettings = DenoiseConfig | EnhanceConfig | NoiseMapConfig  # model, tiles, precision


def run_tiles(
    scaled: np.ndarray,
    config: TileSettings,
    function: Callable[[np.ndarray], np.ndarray],
    progress: Progress | None,
) -> np.ndarray:
    """Run the tiles; where memory runs out, one at a time, then smaller ones.

    Warns
    -----
    DeviceWarning
        Each time they are tried again with less memory.
    """
    tile, batch_size = config.tile, config.batch_size
    while True:
        plan = TilePlan(scaled.shape, tile, min(config.overlap, tile - TILE_MULTIPLE))
        begin_pass(progress, len(plan.starts()))
        try:
            return map_tiles(scaled, plan, function, batch_size=batch_size, progress=progress)
        except Exception as error:
            if not is_out_of_memory(error) or (tile <= MIN_TILE_PX and batch_size == 1):
                raise
            # the same pixels with fewer tiles at once; with smaller ones to the seams
            smaller = tile if batch_size > 1 else max(MIN_TILE_PX, tile // 32 * 16)
            warnings.warn(
                f"the memory is too small for {batch_size} x {tile} px at once: tiles of "
                f"{smaller} px one by one",
                DeviceWarning, stacklevel=2,
            )  # fmt: skip
            tile, batch_size = smaller, 1


def fill_missing(scaled: np.ndarray, missing: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the scaled image with its holes filled: light of the neighbours, noise of its own.

    A hole without noise would be a structure that the network has never seen.
    """
    if not missing.any():
        return scaled
    filled = scratch.empty(scaled.shape, np.float32)
    rng = np.random.default_rng(seed)
    for rows in row_blocks(scaled.shape, scaled, missing, filled):
        wide, inner = with_halo(rows, HOLE_REACH_PX, len(scaled))
        hole, there = missing[wide], scaled[wide]
        weight = ndimage.gaussian_filter((~hole).astype(np.float32), HOLE_SCALE_PX)
        light = ndimage.gaussian_filter(np.where(hole, 0, there), HOLE_SCALE_PX)
        light /= np.maximum(weight, 1e-3)
        light *= np.minimum(weight / 0.05, 1)  # deep inside a hole nothing is known: background
        noise = rng.standard_normal(there[inner].shape, np.float32)
        filled[rows] = np.where(missing[rows], light[inner] + noise, scaled[rows])
    return filled


def load_for(config: TileSettings, task: str = "denoise") -> Model:
    """Load the config's model for its runtime, in the precision that this machine is quick in.

    Raises
    ------
    ValueError
        If there is no such model, it was trained for another task, or the runtime cannot have it.
    """
    require_task(config.model, task)
    exported = is_exported(config.model)
    runtime = config.runtime
    if runtime == "auto":
        runtime = "onnx" if exported else "keras"
    if runtime == "keras":
        if exported:
            raise ValueError(
                f"{config.model}: an exported file. Keras takes a name or a folder; leave "
                "--runtime out."
            )
        precision = automatic_precision() if config.precision == "auto" else config.precision
        return load_model(
            config.model, dtype="mixed_bfloat16" if precision == "bfloat16" else "float32"
        )
    if config.precision == "bfloat16":
        raise ValueError(f"--precision bfloat16: the runtime {runtime} computes in float32 alone.")
    return load_model(find_exported(config.model), runtime=runtime)
