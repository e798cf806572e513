"""Every setting of a background fit; the only place where a default exists."""

from dataclasses import dataclass, fields
from pathlib import Path

from common.config import check, option, plane_numbers

OBJECTIVES = ("robust", "original")  # what the fit minimises
OPERATIONS = ("subtract", "divide", "auto")  # what the background does to the image
SOLVERS = ("solve", "descent")  # how the objective robust is minimised
# what is called object -> times all its thresholds
PROTECTIONS = {"strong": 0.5, "normal": 1.0, "weak": 2.0}
STATISTICS = ("median", "mean")  # of a block
ORDERS = (0, 2, 3)  # of the spline; 0 chooses
INITIALIZERS = ("random", "grid")  # start of the control points
NOT_NEGATIVE = "must not be negative"  # words of a refusal
ORIGINAL_ONLY_SETTINGS = (  # the robust objective has no stretch and no descent
    "delinearization_quantile", "threshold_min", "threshold_max", "initializer", "epochs",
    "alpha", "batch_size", "learning_rate",
)  # fmt: skip


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

    objective: str = option(
        "robust",
        "robust: recognise objects, fit around them; original: the published loss and descent",
        choices=OBJECTIVES, refusal=f"must be one of {OBJECTIVES}",
    )  # fmt: skip
    solver: str = option(
        "solve", "solve the objective robust, or descend it with Keras, on a GPU, too",
        choices=SOLVERS, refusal=f"must be one of {SOLVERS}",
    )  # fmt: skip
    protect: str = option(
        "normal", "what counts as object and is kept: strong also faint and smooth light, such as "
                  "cirrus; weak only what is sure (robust)",
        choices=tuple(PROTECTIONS), refusal=f"must be one of {tuple(PROTECTIONS)}",
    )  # fmt: skip
    operation: str = option(
        "subtract", "subtract an additive background, divide by a multiplicative one, or auto: as "
                    "the stars say",
        choices=OPERATIONS, refusal=f"must be one of {OPERATIONS}",
    )  # fmt: skip
    pedestal: str = option(
        "level",
        "added after subtraction: level (median of the model, per channel), none, or a number",
    )
    downscaling_factor: int = option(
        0,
        "side of a block in pixels; 0 chooses: 8 for original, about 125 rows of blocks for robust",
        "-dx", "--downscaling-factor", least=0, refusal=NOT_NEGATIVE,
    )  # fmt: skip
    downscaling_func: str = option(
        "median", "statistic of a block", "-df", "--downscaling-func",
        choices=STATISTICS, refusal=f"must be one of {STATISTICS}",
    )  # fmt: skip
    delinearization_quantile: float = option(
        0.95, "quantile that the stretch maps to 1 (original)", "-dq", "--delinearization-quantile",
        least=0.5, most=1, refusal="must be between 0.5 and 1",
    )  # fmt: skip
    control_points: int = option(
        0, "control points in all; 0 chooses: 32 for original, 294 at 3:2 for robust",
        "-N", "--control-points", least=0, refusal=NOT_NEGATIVE,
    )  # fmt: skip
    order: int = option(
        0, "spline order, 2 or 3; 0 chooses: 2 for original, 3 for robust", "-O", "--order",
        choices=ORDERS, refusal=f"must be one of {ORDERS}",
    )  # fmt: skip
    threshold_min: float = option(
        0.001, "stretched pixels below are masked (original)", "-tm", "--threshold-min"
    )
    threshold_max: float = option(
        1.0, "stretched pixels above are masked (original)", "-tM", "--threshold-max"
    )
    initializer: str = option(
        "random", "start of the control points (original)", "-i", "--initializer",
        choices=INITIALIZERS, refusal=f"must be one of {INITIALIZERS}",
    )  # fmt: skip
    epochs: int = option(
        1000, "largest number of descent steps (original)", "-e", "--epochs", above=0
    )
    alpha: float = option(
        5.0, "weight of overshoot and negative background (original)", "-a", "--alpha"
    )
    batch_size: int = option(
        1, "images in a step; the fit has one (original)", "-B", "--batch-size", above=0
    )
    learning_rate: float = option(
        1e-3, "learning rate of Adam (original)", "-lr", "--learning-rate", above=0
    )
    uncertainty: int = option(
        0, "bootstrap fits behind the sigma map; 0 writes none (robust, no Bayer)",
        least=0, refusal=NOT_NEGATIVE,
    )  # fmt: skip
    bayer: bool | None = option(
        None, "fit the four colours of a Bayer mosaic one by one (default: as the header says)"
    )
    seed: int = option(0, "seed of all random numbers", least=0, refusal=NOT_NEGATIVE)

    def __post_init__(self) -> None:
        check(self)
        if 0 < self.control_points < 4:
            raise ValueError(f"control_points must be 4 or more. Received: {self.control_points}")
        if self.objective == "robust":
            defaults = {one.name: one.default for one in fields(self)}
            for name in ORIGINAL_ONLY_SETTINGS:
                if getattr(self, name) != defaults[name]:
                    raise ValueError(
                        f"{name} = {getattr(self, name)} belongs to the published method. Add "
                        "--objective original, or leave it out (for thresholds: give a --mask)."
                    )
        if self.protect != "normal" and self.objective == "original":
            raise ValueError("protect needs the objective robust. Leave out one of the two.")
        if self.solver == "descent" and self.objective == "original":
            raise ValueError("the objective original is always descended. Leave out --solver.")
        if self.uncertainty and self.objective == "original":
            raise ValueError("uncertainty needs the objective robust. Leave out one of the two.")
        if self.pedestal not in ("level", "none"):
            try:
                float(self.pedestal)
            except ValueError:
                raise ValueError(
                    f"pedestal must be level, none or a number. Received: {self.pedestal!r}"
                ) from None


@dataclass(frozen=True, kw_only=True)
class GuidanceConfig:
    """The files with the user's help; recorded and replayed with the settings of the fit."""

    mask: Path | None = option(
        None, "mask image: 1 = use, 0 = leave out, between: weight", "-m", "--mask",
        metavar="MASK",
    )  # fmt: skip
    samples: Path | None = option(
        None, "points that are sky: a table x,y,radius (.csv), or regions of DS9 (.reg)",
        metavar="FILE",
    )  # fmt: skip
    objects: Path | None = option(
        None, "what is object: regions of DS9 (.reg), or an image, above 0 is object",
        metavar="FILE",
    )  # fmt: skip
    reference: Path | None = option(
        None, "another image of the field, aligned or with a WCS: what it has, too, is object",
        metavar="IMAGE",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class InputConfig:
    """How the pixels of a file are read; recorded and replayed with the settings of the fit."""

    hdu: str | None = option(
        None, "HDU number or EXTNAME (FITS), all for each image HDU, image number (XISF)"
    )
    channels: tuple[int, ...] | None = option(
        None, "planes to read, one or three", metavar="0,1,2", convert=plane_numbers, least=0
    )
    zeros: str = option(
        "border", "which exact zeros are missing pixels", choices=("border", "all", "data")
    )
    verify: bool = option(True, "refuse files with wrong checksums (default: yes)")

    def __post_init__(self) -> None:
        check(self)
