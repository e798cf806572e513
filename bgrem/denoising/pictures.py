"""What the tools show: before and after."""

from pathlib import Path

import numpy as np

from bgrem.denoising.flow import Denoised
from common.image import AstroImage
from common.pictures import shrink, write_side_by_side
from common.screen import auto_stf


def before_after(image: AstroImage, done: Denoised, path: Path, *, overwrite: bool = False) -> None:
    """Write the input, the denoised image and what was taken off, all in the input's stretch.

    The denoised image and the noise stand on the input's median sky, which the stretch expects.
    """
    before, after, noise = (shrink(one.pixels) for one in (image, done.result, done.residual))
    level = np.nanmedian(before, axis=(0, 1))
    panels = [
        ("before", before),
        ("denoised", after - np.nanmedian(after, axis=(0, 1)) + level),
        ("noise that was removed", noise - np.nanmedian(noise, axis=(0, 1)) + level),
    ]
    write_side_by_side(panels, auto_stf(before, linked=False), path, overwrite=overwrite)
