"""Every setting of a background fit; the only place where a default exists."""

from dataclasses import dataclass, field, fields
from typing import Any

OBJECTIVES = ("robust", "original")
OPERATIONS = ("subtract", "divide")
ORIGINAL_ONLY = (  # the robust objective has no stretch and no descent
    "delinearization_quantile", "threshold_min", "threshold_max", "initializer", "epochs",
    "alpha", "batch_size", "learning_rate",
)  # fmt: skip


def _option(default: Any, help_text: str, *flags: str, **more: Any) -> Any:
    return field(default=default, metadata={"help": help_text, "flags": flags, **more})


@dataclass(frozen=True, kw_only=True)
class BackgroundConfig:
    """Settings of `fit_background`; flags and parameter files are made from these fields.

    Raises
    ------
    ValueError
        If a value is out of its range.

    Examples
    --------
    >>> from bgoptimizer import BackgroundConfig
    >>> BackgroundConfig(operation="divide").pedestal
    'level'
    >>> BackgroundConfig(order=4)
    Traceback (most recent call last):
    ValueError: order must be one of (0, 2, 3). Received: 4
    """

    objective: str = _option(
        "robust",
        "robust: recognise objects, fit around them; original: the published loss and descent",
        "--objective",
        choices=OBJECTIVES,
    )
    operation: str = _option(
        "subtract",
        "subtract an additive background or divide by a multiplicative one",
        "--operation",
        choices=OPERATIONS,
    )
    pedestal: str = _option(
        "level",
        "added after subtraction: level (median of the model, per channel), none, or a number",
        "--pedestal",
    )
    downscaling_factor: int = _option(
        0,
        "side of a block in pixels; 0 chooses: 8 for original, about 125 rows of blocks for robust",
        "-dx",
        "--downscaling-factor",
    )
    downscaling_func: str = _option(
        "median", "statistic of a block", "-df", "--downscaling-func", choices=("median", "mean")
    )
    delinearization_quantile: float = _option(
        0.95,
        "quantile that the stretch maps to 1 (original)",
        "-dq",
        "--delinearization-quantile",
    )
    control_points: int = _option(
        0, "control points in all; 0 chooses: 32 for original, 294 at 3:2 for robust",
        "-N", "--control-points",
    )  # fmt: skip
    order: int = _option(
        0, "spline order, 2 or 3; 0 chooses: 2 for original, 3 for robust", "-O", "--order",
        choices=(0, 2, 3),
    )  # fmt: skip
    threshold_min: float = _option(
        0.001, "stretched pixels below are masked (original)", "-tm", "--threshold-min"
    )
    threshold_max: float = _option(
        1.0, "stretched pixels above are masked (original)", "-tM", "--threshold-max"
    )
    initializer: str = _option(
        "random", "start of the control points (original)", "-i", "--initializer",
        choices=("random", "grid"),
    )  # fmt: skip
    epochs: int = _option(1000, "largest number of descent steps (original)", "-e", "--epochs")
    alpha: float = _option(
        5.0, "weight of overshoot and negative background (original)", "-a", "--alpha"
    )
    batch_size: int = _option(
        1, "images in a step; the fit has one (original)", "-B", "--batch-size"
    )
    learning_rate: float = _option(
        1e-3, "learning rate of Adam (original)", "-lr", "--learning-rate"
    )
    uncertainty: int = _option(
        0, "bootstrap fits behind the sigma map; 0 writes none (robust, no Bayer)", "--uncertainty"
    )
    bayer: bool = _option(
        False, "fit the four colours of a Bayer mosaic one by one (also set by BAYERPAT)", "--bayer"
    )
    seed: int = _option(0, "seed of all random numbers", "--seed")

    def __post_init__(self) -> None:
        for name, values in (
            ("objective", OBJECTIVES), ("operation", OPERATIONS), ("order", (0, 2, 3)),
            ("downscaling_func", ("median", "mean")), ("initializer", ("random", "grid")),
        ):  # fmt: skip
            if getattr(self, name) not in values:
                raise ValueError(f"{name} must be one of {values}. Received: {getattr(self, name)}")
        if not 0.5 <= self.delinearization_quantile <= 1:
            raise ValueError(
                "delinearization_quantile must be between 0.5 and 1. "
                f"Received: {self.delinearization_quantile}"
            )
        for name in ("downscaling_factor", "control_points", "uncertainty", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative. Received: {getattr(self, name)}")
        for name in ("epochs", "batch_size", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive. Received: {getattr(self, name)}")
        if 0 < self.control_points < 4:
            raise ValueError(f"control_points must be 4 or more. Received: {self.control_points}")
        if self.objective == "robust":
            defaults = {one.name: one.default for one in fields(self)}
            for name in ORIGINAL_ONLY:
                if getattr(self, name) != defaults[name]:
                    raise ValueError(
                        f"{name} = {getattr(self, name)} belongs to the published method. Add "
                        "--objective original, or leave it out (for thresholds: give a --mask)."
                    )
        if self.uncertainty and self.objective == "original":
            raise ValueError("uncertainty needs the objective robust. Leave out one of the two.")
        if self.pedestal not in ("level", "none"):
            try:
                float(self.pedestal)
            except ValueError:
                raise ValueError(
                    f"pedestal must be level, none or a number. Received: {self.pedestal!r}"
                ) from None
