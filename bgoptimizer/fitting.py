"""`fit_background`: one image in, its background model out; the whole flow on one screen."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from bgoptimizer.config import BackgroundConfig
from bgoptimizer.guidance.guidance import Guidance, prepare_guidance
from bgoptimizer.model import BackgroundModel
from common.header import celestial_wcs, header_of, is_mosaic, mosaic_pattern
from common.image import AstroImage
from common.scratch import row_blocks


def fit_background(
    image: AstroImage | np.ndarray,
    config: BackgroundConfig | None = None,
    *,
    mask: np.ndarray | None = None,
    samples: np.ndarray | None = None,
    objects: np.ndarray | None = None,
    reference: AstroImage | np.ndarray | None = None,
    progress: Callable[[float], None] | None = None,
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
    progress : callable, optional
        Called with what is done, from 0 to 1.

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
    guidance = prepare_guidance(
        image, mask=mask, samples=samples, objects=objects, reference=reference
    )
    return fit_guided(image, config or BackgroundConfig(), guidance, progress)


def fit_guided(
    image: AstroImage,
    config: BackgroundConfig,
    guidance: Guidance,
    progress: Callable[[float], None] | None = None,
) -> BackgroundModel:
    """Return the background of an image, the user's help as `prepare_guidance` gives it."""
    _check_pixels(image, guidance.weights)
    helped = guidance.known is not None or guidance.reference is not None
    if config.objective == "original" and helped:
        raise ValueError(
            "samples, objects and a reference are for the objective robust. Leave them out, or "
            "give a mask."
        )
    bayer = _is_bayer(image, config)
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
        tell = progress or _nothing
        if not bayer:
            return fit(image.pixels, guidance, config, image.name, tell)
        parts = []
        for phase in range(4):
            top, left = divmod(phase, 2)
            part = guidance.phase(top, left)
            parts.append(fit(image.pixels[top::2, left::2], part, config, image.name, _nothing))
            tell((phase + 1) / 4)
    return replace(
        parts[0],
        shape=image.shape,
        planes=tuple(part.planes[0] for part in parts),
        notes=("Bayer mosaic: each of the four colours has its own background",),
    )


def fit_sequence(
    images: Iterable[AstroImage | np.ndarray],
    config: BackgroundConfig | None = None,
    *,
    mask: np.ndarray | None = None,
    samples: np.ndarray | None = None,
    objects: np.ndarray | None = None,
) -> Iterator[BackgroundModel]:
    """Give the background of each of many aligned images, which share one object map.

    The map is that of the median of all images, which is far deeper than one of them.

    Parameters
    ----------
    images : iterable of AstroImage or array, shape (H, W) or (H, W, C)
        Of one shape, linear; gone through twice, so no generator. Only one is held at a time.
    config, mask, samples, objects
        As of `fit_background`, for all images.

    Raises
    ------
    ValueError
        If shapes differ, or the centres or corners of two images are apart by more than a block.
    """
    config = config or BackgroundConfig()
    if iter(images) is images:  # its second round would give nothing
        raise ValueError("images can be gone through once only. Give a list, or open them anew.")

    def prepared() -> Iterator[tuple[AstroImage, Guidance]]:
        for one in images:
            image = one if isinstance(one, AstroImage) else AstroImage(one)
            yield image, prepare_guidance(image, mask=mask, samples=samples, objects=objects)

    shared = find_sequence_objects(prepared(), config)
    for image, guidance in prepared():
        yield fit_guided(image, config, replace(guidance, objects=shared))


def find_sequence_objects(
    frames: Iterable[tuple[AstroImage, Guidance]], config: BackgroundConfig
) -> np.ndarray:
    """Return the objects that aligned frames share, in blocks: bool (h, w, C).

    Raises
    ------
    ValueError
        If there is none, one is a Bayer mosaic, or they are not aligned.
    """
    from bgoptimizer.robust.fit import cut_channels
    from bgoptimizer.robust.sequence import find_shared_objects

    if config.objective == "original":
        raise ValueError("a sequence needs the objective robust. Leave out one of the two.")
    cut, first = [], None
    with threadpool_limits(1, user_api="blas"):
        for image, guidance in frames:
            if _is_bayer(image, config):
                raise ValueError(f"{image.name}: a Bayer mosaic. Debayer the sequence first.")
            _check_pixels(image, guidance.weights)
            channels, factor = cut_channels(image.pixels, guidance, config, image.name)
            first = first or _Place.of(image)
            first.check(_Place.of(image), factor)
            cut.append(channels)
        if not cut:
            raise ValueError("a sequence needs images, there is none.")
        return find_shared_objects(cut, config)


@dataclass(frozen=True, eq=False)
class _Place:
    """Where an image lies on the sky."""

    name: str
    shape: tuple[int, int, int]
    wcs: Any

    @classmethod
    def of(cls, image: AstroImage) -> "_Place":
        return cls(image.name, image.shape, celestial_wcs(header_of(image)))

    def check(self, other: "_Place", most: float) -> None:
        """Raise ValueError if another image is not on this one's pixels, to `most` pixels."""
        if other.shape != self.shape:
            raise ValueError(
                f"{other.name}: has shape {other.shape}, {self.name} {self.shape}. "
                "A sequence has one shape."
            )
        if self.wcs is None or other.wcs is None:  # then they are taken for aligned
            return
        rows, columns = self.shape[:2]
        x = np.array([0, columns - 1, 0, columns - 1, columns / 2])
        y = np.array([0, 0, rows - 1, rows - 1, rows / 2])
        there = self.wcs.all_world2pix(*other.wcs.all_pix2world(x, y, 0), 0, quiet=True)
        apart = float(np.hypot(there[0] - x, there[1] - y).max())
        if not apart <= most:
            raise ValueError(
                f"{other.name}: is {apart:.0f} px from {self.name}. Align the sequence first."
            )


def _nothing(done: float) -> None:
    """Tell nobody."""


def _is_bayer(image: AstroImage, config: BackgroundConfig) -> bool:
    """Return whether an image is a Bayer mosaic; raise ValueError for another kind of mosaic."""
    bayer = is_mosaic(image, config.bayer)
    pattern = mosaic_pattern(image) if bayer else ""
    if len(pattern) > 4:
        raise ValueError(
            f"{image.name}: a mosaic of the colour filters {pattern}, not a Bayer mosaic. Debayer "
            "it first. --no-bayer takes it for a mono image."
        )
    return bayer


def _objective(name: str) -> Callable[..., BackgroundModel]:
    """Return the fit of an objective: (pixels, guidance, config, name, progress) -> model."""
    if name == "original":
        from bgoptimizer.original.fit import fit_original

        return fit_original
    from bgoptimizer.robust.fit import fit_robust

    return fit_robust


def _check_pixels(image: AstroImage, weights: np.ndarray | None) -> None:
    for channel in range(image.shape[-1]):
        plane = image.pixels[..., channel]
        low, high, left = _range(plane, None if weights is None else weights[..., channel])
        if low > high:
            raise ValueError(
                f"{image.name}: channel {channel} has no measured pixel (all NaN, zero or "
                "missing). Check the file, or read its zeros as data with --zeros data."
            )
        if low == high:
            raise ValueError(
                f"{image.name}: channel {channel} is constant ({low:g}). There is no background "
                "to fit."
            )
        if not left:
            raise ValueError(
                f"{image.name}: channel {channel} has no pixel that the mask leaves. "
                "1 means use, 0 means leave out."
            )


def _range(plane: np.ndarray, weights: np.ndarray | None) -> tuple[float, float, bool]:
    """Return the lowest and highest pixel, and whether the mask leaves any."""
    low, high, left = np.inf, -np.inf, False
    for rows in row_blocks(plane.shape, plane):
        good = np.isfinite(plane[rows])
        low = min(low, float(np.min(plane[rows], where=good, initial=np.inf)))
        high = max(high, float(np.max(plane[rows], where=good, initial=-np.inf)))
        left = left or bool((good if weights is None else good & (weights[rows] > 0)).any())
    return low, high, left
