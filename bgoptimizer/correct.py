"""Remove a fitted background from an image: subtract or divide, with nothing hidden."""

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from bgoptimizer.model import BackgroundModel
from bgoptimizer.operation import measure_operation
from common import scratch
from common.image import AstroImage


@dataclass(frozen=True, eq=False)
class Correction:
    """What a correction gives.

    Attributes
    ----------
    result, model : AstroImage
        Subtraction: input = model + result - pedestal. Division: input = model x result / level.
    constant : array, shape (C,), or (4,) for a Bayer mosaic
        The pedestal that was added, or the level that was multiplied, per channel or phase.
    operation : {"subtract", "divide"}
        What was done.
    notes : tuple of str
        Why, if the stars were asked.
    """

    result: AstroImage
    model: AstroImage
    constant: np.ndarray
    operation: str = "subtract"
    notes: tuple[str, ...] = ()


# as in the fit: the matrices are small, further threads of BLAS only wait
@threadpool_limits.wrap(limits=1, user_api="blas")
def correct_background(image: AstroImage | np.ndarray, model: BackgroundModel) -> Correction:
    """Return the image without its background.

    Parameters
    ----------
    image : AstroImage or array
        The image that `model` was fitted to (or one of the same shape).
    model : BackgroundModel
        Its configuration says whether to subtract or divide, or to ask the stars ("auto"), and
        which pedestal to add.

    Raises
    ------
    ValueError
        If the shapes differ, or a division meets a background that is not positive.

    Notes
    -----
    Nothing is clipped or rescaled, per channel one constant is applied so that star colours stay.
    The stored model is input - result + pedestal rounded to the pixels' dtype, and the pedestal a
    short binary number, so that the identity holds in floating point and not only on paper:
    exactly wherever the pixel is not much fainter than the background, and within one rounding
    of the model elsewhere.

    Examples
    --------
    >>> import numpy as np
    >>> from bgoptimizer import correct_background, fit_background, make_scene
    >>> observed = make_scene(3, shape=(96, 144), objects="none").observed
    >>> found = correct_background(observed, fit_background(observed))
    >>> total = found.model.pixels + found.result.pixels - found.constant
    >>> bool(np.allclose(total, observed, rtol=1e-6))
    True
    """
    image = image if isinstance(image, AstroImage) else AstroImage(image)
    if image.shape != model.shape:
        raise ValueError(
            f"{image.name}: shape {image.shape} differs from the model's {model.shape}."
        )
    operation = model.config.operation
    notes: tuple[str, ...] = ()
    if operation == "auto":
        measured = measure_operation(image, model)
        operation, notes = measured.choice, (measured.note,)
    divide = operation == "divide"
    constant = _constant(model, divide)
    result, background = (scratch.empty(image.shape, image.pixels.dtype) for _ in range(2))
    for rows, values in model.row_blocks():
        scratch.release(image.pixels, result, background)
        pixels = image.pixels[rows].astype(np.float64)
        offset = model.per_pixel(constant, rows)
        if divide:
            if values.min() <= 0:
                raise ValueError(
                    f"{image.name}: the background reaches {values.min():g}, division needs it "
                    "positive. Use --operation subtract, or add the missing bias first."
                )
            result[rows] = pixels / values * offset
            background[rows] = values
            continue
        # rounded first, so that the difference of neighbours on one floating-point grid is exact
        values = values.astype(image.pixels.dtype).astype(np.float64)
        result[rows] = pixels - values + offset
        kept = pixels - result[rows] + offset
        background[rows] = np.where(np.isfinite(kept), kept, values)
    cards = _cards(constant, divide)
    return Correction(
        image.with_pixels(result, cards=cards),
        _as_model(image, background, cards),
        constant,
        operation,
        notes,
    )


def _as_model(image: AstroImage, background: np.ndarray, cards: list) -> AstroImage:
    """Return the model as an image: it is defined at missing pixels too."""
    plain = AstroImage(
        image.pixels, name=image.name, carrier=image.carrier, cards=image.cards,
        history=image.history,
    )  # fmt: skip
    return plain.with_pixels(background, cards=cards)


def _constant(model: BackgroundModel, divide: bool) -> np.ndarray:
    """Pedestal or level per channel, rounded to 16 significant bits (see `correct_background`)."""
    pedestal = model.config.pedestal
    if divide or pedestal == "level":
        value = model.levels().astype(np.float64)
    else:
        value = np.full(
            max(model.shape[-1], len(model.planes)), 0.0 if pedestal == "none" else float(pedestal)
        )
    mantissa, exponent = np.frexp(value)
    return np.ldexp(np.round(mantissa * 2**16) / 2**16, exponent)


def _cards(constant: np.ndarray, divide: bool) -> list:
    names = [""] if len(constant) == 1 else [str(c + 1) for c in range(len(constant))]
    key, text = (
        ("BGLEVEL", "result = input / background * this")
        if divide
        else ("BGPED", "pedestal: input = model + result - this")
    )
    pairs = zip(names, constant, strict=True)
    return [(f"{key}{name}", float(value), text) for name, value in pairs]
