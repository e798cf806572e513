"""Every setting of the learned systems; the only place where a default exists."""

import json
import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from bgrem.simulate.presets import PRESETS

CONFIGS = Path(__file__).with_name("configs")
TASKS = ("denoise", "enhance", "noisemap")
LOSSES = ("l1", "l2", "huber")
SCHEDULES = ("cosine", "epoch", "constant")
PRECISIONS = ("float32", "mixed_bfloat16")


def _option(default: Any, help_text: str, *flags: str, **more: Any) -> Any:
    metadata = {"help": help_text} | ({"flags": flags} if flags else {}) | more
    return field(default=default, metadata=metadata)


def _refuse_not_finite(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number. Received: {value}")


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """What one simulated field looks like; None means as the instrument's preset says."""

    preset: str = field(default="meerlicht", metadata={"flags": ()})  # PRESETS; no flag
    shape: tuple[int, ...] | None = _option(None, "rows,columns; default: the detector's")
    seed: int = _option(0, "the same seed gives the same pixels")
    fwhm: float | None = _option(None, "FWHM of point sources", unit="px")
    beta: float | None = _option(None, "exponent of the Moffat profile")
    ellipticity: float | None = _option(None, "1 - b/a of the profile")
    stars: float | None = _option(None, "stars above 5 sigma", unit="per megapixel")
    star_slope: float = _option(0.3, "d log10 N(<m) / dm of the stars' power law")
    galaxies: float | None = _option(None, "galaxies above 5 sigma", unit="per megapixel")
    faint_structures: float = _option(2.0, "low-surface-brightness patches", unit="per megapixel")
    sky: float | None = _option(None, "level of the sky", unit="electrons")
    gradient: float = _option(0.03, "change of the sky across the field, relative to its level")
    waves: float = _option(0.005, "rms of smooth sky variations, relative to its level")
    artefacts: bool = _option(False, "add cosmic rays, hot pixels and banding")

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ValueError(f"{self.preset}: no such preset. Known are {', '.join(PRESETS)}.")
        if self.shape is not None and (len(self.shape) != 2 or min(self.shape) < 16):
            raise ValueError(f"shape must be rows,columns of 16 or more. Received: {self.shape}")
        for name, least, most in _FIELD_RANGES:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ValueError(f"{name} must be from {least} to {most}. Received: {value}")


_FIELD_RANGES = (
    ("seed", 0, 2**63), ("fwhm", 1, 100), ("beta", 1.1, 100), ("ellipticity", 0, 0.9),
    ("stars", 0, 1e6), ("star_slope", 0.01, 2), ("galaxies", 0, 1e6), ("faint_structures", 0, 1e4),
    ("sky", 0, 1e9), ("gradient", 0, 1.9), ("waves", 0, 0.3),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What a model is trained on, and how. The names of configs/ hold complete sets.

    Parameters
    ----------
    task : str
        The command that the model is for; a row of `bgrem.training.DATA`.
    network : str
        A row of `bgrem.networks.NETWORKS`.
    simulation : str
        "any" (the whole optical domain), "gamma" (counts maps), or an instrument's preset; the
        tasks enhance and noisemap have one simulation each.
    files : tuple of str
        Files or patterns of the user's own fields; then nothing is simulated.
    tile_median : bool
        The published preprocessing: factor of the field, median of the tile.
    domain : dict
        What the card says of the training data.
    """

    task: str = _option("denoise", "the command that the model is for", choices=TASKS)
    network: str = _option("narrow", "narrow, wide or gamma; exposure; residual")
    softening: float = _option(3.0, "asinh compression of the input; 0: linear", unit="noise")
    loss: str = _option("l1", "loss of the predicted background", choices=LOSSES)
    huber_delta: float = _option(0.5, "where Huber's loss turns linear", unit="noise")
    start_from: str = _option("", "model to fine-tune: a name or a folder")

    simulation: str = _option("any", "any, gamma, or the preset of one instrument")
    fields: int = _option(96, "simulated fields for training")
    validation_fields: int = _option(12, "simulated fields for validation")
    field_shape: tuple[int, ...] = _option((768, 768), "rows,columns of a simulated field")
    files: tuple[str, ...] = _option((), "own fields: names or patterns of FITS, HDF5, npz files")
    validation_share: float = _option(0.2, "share of the own fields kept for validation")
    vary: bool = _option(True, "vary simulated fields: flux, density, noise, artefacts")
    tile_median: bool = _option(False, "published preprocessing: factor, median of the tile")
    ratios: tuple[float, ...] = _option((2.0, 5.0), "least,largest exposure ratio (enhance)")
    smallest_peak: float = _option(0.0, "leave out tiles with fainter sources only", unit="noise")

    tile: int = _option(128, "side of a training tile", unit="px")
    batch_size: int = _option(16, "tiles in a batch")
    epochs: int = _option(50, "largest number of epochs")
    steps_per_epoch: int = _option(200, "batches in an epoch")
    validation_steps: int = _option(8, "batches in a validation")
    learning_rate: float = _option(1e-3, "highest learning rate")
    schedule: str = _option("cosine", "schedule of the learning rate", choices=SCHEDULES)
    warm_up_steps: int = _option(300, "steps of the learning rate's rise (schedule cosine)")
    decay: float = _option(0.92, "factor of the learning rate per epoch (schedule epoch)")
    weight_decay: float = _option(1e-4, "weight decay of AdamW")
    clip_norm: float = _option(1.0, "largest norm of all gradients together; 0: no limit")
    average: float = _option(0.999, "momentum of the averaged weights; 0: off")
    patience: int = _option(10, "epochs without a better loss; 0: never stop")
    precision: str = _option("mixed_bfloat16", "precision of the network", choices=PRECISIONS)
    seed: int = _option(0, "seed of weights, fields and tiles")

    min_signal: float = _option(0.0, "signal rate at diffusion time 1, in training")
    inference_min_signal: float = _option(0.01, "the same rate in inference")
    max_signal: float = _option(0.98, "signal rate at diffusion time 0")
    domain: dict[str, Any] = field(default_factory=dict, metadata={"flags": ()})

    def __post_init__(self) -> None:
        for name in ("field_shape", "files", "ratios"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, known in (
            ("task", TASKS), ("loss", LOSSES), ("schedule", SCHEDULES), ("precision", PRECISIONS)
        ):  # fmt: skip
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}. Received: {getattr(self, name)}"
                )
        for name in ("tile", "batch_size", "epochs", "steps_per_epoch", "validation_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more. Received: {getattr(self, name)}")
        if self.tile % 16:
            raise ValueError(f"tile must be a multiple of 16. Received: {self.tile}")
        if not self.ratios or not min(self.ratios) > 1:
            raise ValueError(f"ratios must be above 1. Received: {self.ratios}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive. Received: {self.learning_rate}")
        if not 0 <= self.average < 1:
            raise ValueError(f"average must be 0 or more and below 1. Received: {self.average}")

    @classmethod
    def read(cls, source: str | Path) -> "TrainConfig":
        """Return the config of a JSON file, or of a name in `bgrem/configs`.

        Raises
        ------
        ValueError
            If there is none, or it has unknown or bad entries.
        """
        path = CONFIGS / f"{source}.json"
        path = path if path.is_file() else Path(source)
        try:
            values = json.loads(path.read_text("utf-8"))
        except OSError:
            known = ", ".join(sorted(one.stem for one in CONFIGS.glob("*.json")))
            raise ValueError(f"{source}: no such config. Give a JSON file or: {known}.") from None
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: not JSON ({error}).") from None
        unknown = set(values) - {one.name for one in fields(cls)}
        if unknown:
            raise ValueError(f"{path}: unknown settings {', '.join(sorted(unknown))}.")
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class DenoiseConfig:
    """Settings of `bgrem.denoise`; the flags of the published script are kept.

    Examples
    --------
    >>> from bgrem import DenoiseConfig
    >>> DenoiseConfig().steps
    6
    >>> DenoiseConfig(tile=100)
    Traceback (most recent call last):
    ValueError: tile must be a multiple of 16. Received: 100
    """

    model: str = _option("optical", "name (bgrem models) or folder of a model", "--model")
    steps: int = _option(6, "diffusion steps; 1 is the quickest", "-s", "--steps")
    normalisation: float | None = _option(
        None,
        "factor that brings the noise to 1; default: measured over the image",
        "-n",
        "--normalisation",
    )
    minimum: float | None = _option(
        None, "raise fainter pixels to this value first", "-m", "--minimum", unit="pixel values"
    )
    clip: bool = _option(True, "set negative results to 0 (faint fluxes gain a bias)")
    strength: float = _option(1.0, "part of the background and noise that is removed, 0 to 1")
    max_sigma: float | None = _option(
        None, "where more noise than this would be removed, the input stays (default: no cap)",
        unit="noise",
    )  # fmt: skip
    mesh: int = _option(64, "mesh of the smooth background", unit="px")
    tile: int = _option(576, "largest side of a tile", unit="px")
    overlap: int = _option(64, "overlap of neighbouring tiles", unit="px")
    batch_size: int = _option(2, "tiles at once")
    precision: str = _option(
        "auto", "precision of the network", choices=("auto", "float32", "bfloat16")
    )
    seed: int = _option(0, "seed of the noise that fills missing pixels for the network")

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch_size", 1), ("mesh", 16)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more. Received: {getattr(self, name)}")
        if self.tile < 16 or self.tile % 16:
            raise ValueError(f"tile must be a multiple of 16. Received: {self.tile}")
        _refuse_not_finite(self, "minimum", "normalisation")
        if self.normalisation is not None and not self.normalisation > 0:
            raise ValueError(f"normalisation must be positive. Received: {self.normalisation}")
        if self.max_sigma is not None and not self.max_sigma > 0:
            raise ValueError(f"max_sigma must be positive. Received: {self.max_sigma}")
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength must be from 0 to 1. Received: {self.strength}")


@dataclass(frozen=True, kw_only=True)
class CatalogConfig:
    """Settings of `bgrem.catalog`: what is a source, and how it is measured."""

    engine: str = _option("sep", "what detects and measures", choices=("sep", "sextractor"))
    threshold: float | None = _option(
        None, "threshold on the denoised image; default: 1, and more where the noise is correlated",
        unit="sigma of the original's noise",
    )  # fmt: skip
    minimum_area: int = _option(5, "smallest area of a source above the threshold", unit="px")
    deblend_contrast: float = _option(5e-5, "SExtractor's DEBLEND_MINCONT")
    apertures: tuple[float, ...] = _option(
        (5.0, 10.0, 20.0), "diameters for FLUX_APER; SExtractor's default is the first", unit="px"
    )
    kron_factor: float = _option(
        2.5, "Kron factor of FLUX_AUTO, as in SExtractor's PHOT_AUTOPARAMS"
    )
    kron_minimum: float = _option(3.5, "smallest KRON_RADIUS, as in SExtractor's PHOT_AUTOPARAMS")
    disagreement: float = _option(
        5.0, "difference of original and denoised flux from which DENOISED_FLAG is set",
        unit="FLUXERR_AUTO",
    )  # fmt: skip
    gain: float | None = _option(
        None, "gain; without one, errors have no photon noise of the source; default: the header's",
        unit="electrons per pixel value",
    )  # fmt: skip
    saturate: float | None = _option(
        None, "saturation level; default: the header's", unit="pixel values"
    )
    zero_point: float | None = _option(
        None, "zero point of the magnitudes; default: the header's, else 0", unit="mag"
    )
    vignet: int = _option(0, "side of the stamps for PSFEx (VIGNET); 0: none", unit="px")

    def __post_init__(self) -> None:
        _refuse_not_finite(self, "zero_point", "saturate", "gain")
        for name in ("threshold", "kron_factor", "kron_minimum", "disagreement", "gain"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive. Received: {value}")
        if self.minimum_area < 1:
            raise ValueError(f"minimum_area must be 1 or more. Received: {self.minimum_area}")
        if not 0 <= self.deblend_contrast <= 1:
            raise ValueError(
                f"deblend_contrast must be from 0 to 1. Received: {self.deblend_contrast}"
            )
        if not self.apertures or not all(one > 0 for one in self.apertures):
            raise ValueError(f"apertures must be positive diameters. Received: {self.apertures}")
        if self.vignet < 0 or (self.vignet and self.vignet % 2 == 0):
            raise ValueError(f"vignet must be odd, or 0 for none. Received: {self.vignet}")


@dataclass(frozen=True, kw_only=True)
class ValidateConfig:
    """Settings of `bgrem.validate`: what is put into a frame, and how much of it is examined."""

    repeats: int = _option(3, "frames with injected sources")
    injections: int | None = _option(None, "sources in each; default: one in 2000 pixels")
    side: int = _option(1024, "largest side of the middle part that is examined", unit="px")
    full: bool = _option(False, "examine the whole frame, whatever its size")
    halos: bool = _option(True, "inject halos of low surface brightness")
    fwhm: float | None = _option(None, "FWHM of stars; default: measured on the frame", unit="px")
    gain: float | None = _option(
        None, "gain; without one, injected sources have no photon noise; default: the header's",
        unit="electrons per pixel value",
    )  # fmt: skip
    saturate: float | None = _option(
        None, "saturation level; default: the header's", unit="pixel values"
    )
    largest_change: float = _option(
        5.0,
        "change of a pixel, background aside, above which it counts as suspicious",
        unit="sigma",
    )

    def __post_init__(self) -> None:
        for name, least in (("repeats", 1), ("injections", 10), ("side", 128), ("fwhm", 1),
                            ("gain", 0), ("largest_change", 0)):  # fmt: skip
            value = getattr(self, name)
            if value is not None and (value < least or value <= 0):
                raise ValueError(f"{name} must be {least} or more. Received: {value}")


@dataclass(frozen=True, kw_only=True)
class _Windows:
    """How an image is cut for a network that sees it once a time."""

    mesh: int = _option(64, "mesh of the smooth background", unit="px")
    tile: int = _option(256, "largest side of a window", unit="px")
    stride: int = _option(192, "step from window to window; overlaps are averaged", unit="px")
    batch_size: int = _option(8, "windows at once")
    precision: str = _option(
        "auto", "precision of the network", choices=("auto", "float32", "bfloat16")
    )

    @property
    def overlap(self) -> int:
        """Pixels that neighbouring windows share."""
        return self.tile - self.stride

    def __post_init__(self) -> None:
        if self.tile < 32 or self.tile % 16:
            raise ValueError(f"tile must be a multiple of 16 from 32 up. Received: {self.tile}")
        if not 16 <= self.stride <= self.tile:
            raise ValueError(
                f"stride must be from 16 to the tile ({self.tile}). Received: {self.stride}"
            )
        for name, least in (("batch_size", 1), ("mesh", 16)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more. Received: {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class EnhanceConfig(_Windows):
    """Settings of `bgrem.enhance`."""

    ratio: float = _option(2.0, "how many times as long the exposure is to look")
    model: str = _option("hst", "name (bgrem models) or folder of a model", "--model")
    noise: float = _option(
        0.3, "noise that is kept, relative to an exposure of that length; 0: the network's image"
    )
    cosmic_rays: bool = _option(False, "remove cosmic rays first (needs astroscrappy)")
    gain: float | None = _option(None, "gain; default: the header's", unit="electrons per count")
    exposure: float | None = _option(
        None, "exposure time, for pixels per second; default: the header's", unit="seconds"
    )
    read_noise: float | None = _option(
        None,
        "read noise in the search of cosmic rays; default: the header's, else 3",
        unit="electrons",
    )
    seed: int = _option(0, "seed of the noise that fills missing pixels for the network")

    def __post_init__(self) -> None:
        _refuse_not_finite(self, "ratio", "noise", "gain", "exposure", "read_noise")
        super().__post_init__()
        if not self.ratio > 1:
            raise ValueError(f"ratio must be above 1. Received: {self.ratio}")
        if not 0 <= self.noise <= 1:
            raise ValueError(f"noise must be from 0 to 1. Received: {self.noise}")
        for name in ("gain", "exposure"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive. Received: {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class NoiseMapConfig(_Windows):
    """Settings of `bgrem.noisemap`."""

    model: str = _option("streaks", "name (bgrem models) or folder of a model", "--model")
    runs: int = _option(2, "noise maps that are averaged")
    depth: int = _option(150, "diffusion time up to which noise is added, of 1000")
    ddim_steps: int = _option(1, "steps from there back to 0")
    protect: float = _option(
        3.0, "points and trails above this are hidden from the network, streaks are interpolated "
        "along their direction; 0: off",
        unit="noise",
    )  # fmt: skip
    eta: float = _option(0.0, "randomness of the steps: 0 deterministic, 1 as the DDPM")
    seed: int = _option(0, "seed of the noise that is added")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, most in (("runs", 10_000), ("depth", 1000), ("ddim_steps", 1000)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(
                    f"{name} must be from 1 to {most}. Received: {getattr(self, name)}"
                )
        if self.ddim_steps > self.depth:
            raise ValueError(f"ddim_steps must be {self.depth} (depth) or less. "
                             f"Received: {self.ddim_steps}")  # fmt: skip
        if not (self.protect == 0 or self.protect >= 2.5):  # below noise is all points
            raise ValueError(f"protect must be 2.5 or more, or 0. Received: {self.protect}")
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must be from 0 to 1. Received: {self.eta}")
