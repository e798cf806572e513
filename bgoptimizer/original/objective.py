"""Loss of the background fit: a sum of terms over the residual and the surface, inside a log.

loss = log(0.001 + error + colour balance + α · (overshoot + negative background))
"""

from collections.abc import Callable
from typing import Any

from keras import ops

LOSS_FLOOR = 1e-3  # keeps the log finite on a perfect fit; the value of the original

Term = Callable[[Any, Any], Any]


def error(residual: Any, surface: Any) -> Any:
    """Mean absolute residual."""
    return ops.mean(ops.abs(residual))


def colour_balance(residual: Any, surface: Any) -> Any:
    """Mean over the pixels of the variance of the residual over the channels; 0 in mono."""
    return ops.mean(ops.var(residual, axis=-1))


def overshoot(residual: Any, surface: Any) -> Any:
    """Twice the mean depth of the residual below 0, where the surface is above the image."""
    return ops.mean(ops.abs(residual) - residual)


def negative_background(residual: Any, surface: Any) -> Any:
    """Twice the mean depth of the surface below 0."""
    return ops.mean(ops.abs(surface) - surface)


LOSS_TERMS: dict[str, tuple[Term, bool]] = {  # name: (term, is it multiplied by α)
    "error": (error, False),
    "colour_balance": (colour_balance, False),
    "overshoot": (overshoot, True),
    "negative_background": (negative_background, True),
}


def background_loss(values: Any, mask: Any, surface: Any, alpha: Any) -> Any:
    """Return the loss of a surface.

    Parameters
    ----------
    values, mask, surface : tensor, shape (P, C)
        Stretched pixels, their weight (1 counts, 0 does not), and the surface at their positions.
    alpha : float
        Weight of overshoot and negative background.

    Returns
    -------
    scalar tensor
    """
    residual = mask * (values - surface)
    total = LOSS_FLOOR
    for term, penalised in LOSS_TERMS.values():
        part = term(residual, surface)
        total = total + (alpha * part if penalised else part)
    return ops.log(total)
