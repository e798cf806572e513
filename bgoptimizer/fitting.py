"""`fit_background`: one image in, its background model out; the whole flow on one screen."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from bgoptimizer.config import BackgroundConfig
from bgoptimizer.guidance.guidance import prepare_guidance
from bgoptimizer.model import BackgroundModel
from common.header import is_mosaic, mosaic_pattern
from common.image import AstroImage


def fit_background(
    image: AstroImage | np.ndarray,
    config: BackgroundConfig | None = None,
    *,
    mask: np.ndarray | None = None,
    samples: np.ndarray | None = None,
    objects: np.ndarray | None = None,
    reference: AstroImage | np.ndarray | None = None,
) -> BackgroundModel:
    """Return the background of an image.

    Parameters
    ----------
    image : AstroImage or array, shape (H, W) or (H, W, C)
        Linear; NaN = missing. Never changed.
    config : BackgroundConfig, optional
    mask : array, shape (H, W) or (H, W, C), any dtype, optional
        1 = use, 0 = leave out (0...1 in between); integers are scaled by the dtype's largest
        value unless they are 0 and 1.
    samples : array, shape (N, 2) or (N, 3), or bool (H, W), optional
        Points of sky (x, y from 0, and perhaps a radius, pixels), or its pixels. They are sky
        whatever the fit recognises there, and outweigh what lies around them.
    objects : bool array, shape (H, W), optional
        Pixels of objects. Their outskirts are looked for as those of objects that are recognised.
    reference : AstroImage or array, optional
        Another image of the field, linear: wider, cleaner, or its own background removed. Laid over
        the frame by the WCS of both, or pixel by pixel. Smooth structure that both have is object;
        what the frame has more is its background. The sky of the reference is taken for flat.

    Raises
    ------
    ValueError
        If nothing is left to fit (all missing, constant, all masked), or the help does not fit the
        frame or the objective.

    Notes
    -----
    `bgoptimizer.robust`: sky values of blocks → objects recognised → the smooth surface that
    predicts held-out blocks best, bounded from above where objects lie. The objective is quadratic
    between reweightings, so it is solved instead of descended. `bgoptimizer.original`: the
    published loss, descended with Adam.

    Examples
    --------
    >>> import numpy as np
    >>> from bgoptimizer import fit_background, make_scene
    >>> scene = make_scene(4, shape=(96, 144), objects="galaxy")
    >>> model = fit_background(scene.observed)
    >>> error = model.evaluate() - scene.background
    >>> bool(np.std(error) < 0.1 * np.std(scene.background))
    True
    """
    image = image if isinstance(image, AstroImage) else AstroImage(image)
    config = config or BackgroundConfig()
    guidance = prepare_guidance(
        image, mask=mask, samples=samples, objects=objects, reference=reference
    )
    _check_pixels(image, guidance.weights)
    if config.objective == "original" and (guidance.known is not None or guidance.reference):
        raise ValueError(
            "samples, objects and a reference are for the objective robust. Leave them out, or "
            "give a mask."
        )
    bayer = is_mosaic(image, config.bayer)
    pattern = mosaic_pattern(image) if bayer else ""
    if len(pattern) > 4:
        raise ValueError(
            f"{image.name}: a mosaic of the colour filters {pattern}, not a Bayer mosaic. Debayer "
            "it first. --no-bayer takes it for a mono image."
        )
    if bayer and config.uncertainty:
        raise ValueError(
            f"{image.name}: a Bayer mosaic has no sigma map. Debayer first, or leave out "
            "--uncertainty."
        )
    if bayer and guidance.reference is not None:
        raise ValueError(f"{image.name}: a Bayer mosaic takes no reference. Debayer first.")
    fit = _objective(config.objective)
    # The matrices are small: further threads of BLAS only wait, and take CPU time while they do.
    with threadpool_limits(1, user_api="blas"):
        if not bayer:
            return fit(image.pixels, guidance, config, image.name)
        parts = []
        for phase in range(4):
            top, left = divmod(phase, 2)
            part = guidance.phase(top, left)
            parts.append(fit(image.pixels[top::2, left::2], part, config, image.name))
    return replace(
        parts[0],
        shape=image.shape,
        planes=tuple(part.planes[0] for part in parts),
        notes=("Bayer mosaic: each of the four colours has its own background",),
    )


def _objective(name: str) -> Callable[..., BackgroundModel]:
    """Return the fit of an objective: (pixels, guidance, config, name of the image) -> model."""
    if name == "original":
        from bgoptimizer.original.fit import fit_original

        return fit_original
    from bgoptimizer.robust.fit import fit_robust

    return fit_robust


def _check_pixels(image: AstroImage, weights: np.ndarray | None) -> None:
    for channel in range(image.shape[-1]):
        plane = image.pixels[..., channel]
        good = np.isfinite(plane)
        if not good.any():
            raise ValueError(
                f"{image.name}: channel {channel} has no measured pixel (all NaN, zero or "
                "missing). Check the file, or read its zeros as data with --zeros data."
            )
        low, high = (
            np.min(plane, where=good, initial=np.inf),
            np.max(plane, where=good, initial=-np.inf),
        )
        if low == high:
            raise ValueError(
                f"{image.name}: channel {channel} is constant ({low:g}). There is no background "
                "to fit."
            )
        if weights is not None and not (good & (weights[..., channel] > 0)).any():
            raise ValueError(
                f"{image.name}: channel {channel} has no pixel that the mask leaves. "
                "1 means use, 0 means leave out."
            )
