"""Every setting of the learned systems; the only place where a default exists."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from common.checked.json_files import read_json, shown
from common.config import check, from_mapping, option, plane_numbers

CONFIG_FOLDER = Path(__file__).with_name("configs")  # complete settings of trainings
TASKS = ("denoise", "enhance", "noisemap")  # commands that a model can be for
# the instruments of `bgrem.simulate.presets.PRESETS`
PRESET_NAMES = ("meerlicht", "decam", "ztf", "wfc3-uvis", "amateur-cmos")
LOSS_NAMES = ("l1", "l2", "huber")  # rows of `bgrem.training.LOSSES`
LEARNING_RATE_SCHEDULES = ("cosine", "epoch", "constant")  # how the learning rate falls
PROFILES = ("moffat", "kolmogorov", "airy")  # of `bgrem.simulate.optical.PointSpread`
PRECISIONS = ("float32", "mixed_bfloat16")  # of the network's arithmetic
KEEP_CHOICES = ("auto", "sources", "background")  # what is left of an image without its noise
RUNTIME_CHOICES = ("auto", "keras", "onnx", "openvino")  # what computes a network
MODEL_HELP = "name (bgrem models), folder or exported file of a model"
SURVEY_MODEL, PICTURE_MODEL = "optical", "picture"  # where sources, and where all light is kept


@dataclass(frozen=True, kw_only=True)
class InputConfig:
    """How the pixels of a file are read: recorded and replayed with the settings of the command."""

    hdu: str | None = option(
        None,
        "HDU number or EXTNAME (FITS), all for each image HDU, image number (XISF)",
        "-i",
        "--hdu",
    )
    channels: tuple[int, ...] | None = option(
        None, "planes to read, one or three", metavar="0,1,2", convert=plane_numbers, least=0
    )
    zeros: str = option(
        "border", "which exact zeros are missing pixels", choices=("border", "all", "data")
    )
    verify: bool = option(True, "read despite wrong checksums", "--no-verify", last=True)
    bayer: bool | None = option(
        None, "whether a mono image is a mosaic of colour filters (default: as the header says)"
    )
    dq: str | None = option(None, "HDU of a data quality plane; not 0: missing", metavar="HDU")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """What one simulated field looks like; None means as the instrument's preset says."""

    preset: str = field(default="meerlicht", metadata={"flags": ()})  # PRESET_NAMES; no flag
    shape: tuple[int, ...] | None = option(None, "rows,columns; default: the detector's")
    seed: int = option(0, "the same seed gives the same pixels", least=0, most=2**63)
    fwhm: float | None = option(None, "FWHM of point sources", unit="px", least=1, most=100)
    profile: str = option(
        "moffat", "of point sources; airy: with obscuration and struts", choices=PROFILES
    )
    beta: float | None = option(None, "exponent of the Moffat profile", least=1.1, most=100)
    ellipticity: float | None = option(None, "1 - b/a of the profile", least=0, most=0.9)
    stars: float | None = option(
        None, "stars above 5 sigma", unit="per megapixel", least=0, most=1e6
    )
    star_slope: float = option(
        0.3, "d log10 N(<m) / dm of the stars' power law", least=0.01, most=2
    )
    galaxies: float | None = option(
        None, "galaxies above 5 sigma", unit="per megapixel", least=0, most=1e6
    )
    faint_structures: float = option(
        2.0, "low-surface-brightness patches", unit="per megapixel", least=0, most=1e4
    )
    sky: float | None = option(None, "level of the sky", unit="electrons", least=0, most=1e9)
    gradient: float = option(
        0.03, "change of the sky across the field, relative to its level", least=0, most=1.9
    )
    waves: float = option(
        0.005, "rms of smooth sky variations, relative to its level", least=0, most=0.3
    )
    artefacts: bool = option(False, "add cosmic rays, hot pixels and banding")

    def __post_init__(self) -> None:
        if self.preset not in PRESET_NAMES:
            raise ValueError(f"{self.preset}: no such preset. Known are {', '.join(PRESET_NAMES)}.")
        if self.shape is not None and (len(self.shape) != 2 or min(self.shape) < 16):
            raise ValueError(f"shape must be rows,columns of 16 or more. Received: {self.shape}")
        check(self)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What a model is trained on, and how. The names of configs/ hold complete sets.

    Parameters
    ----------
    task : str
        The command that the model is for; a row of `bgrem.training.tasks.TASKS`.
    network : str
        A row of `bgrem.networks.attention_unet.NETWORKS`.
    simulation : str
        "any" (the whole optical domain), "wide" (more of it), "picture" (with nebulae,
        whose light stays), "gamma" (counts maps), or an instrument's preset; the tasks enhance
        and noisemap have one simulation each.
    files : tuple of str
        Files or patterns of the user's own fields; then nothing is simulated.
    tile_median : bool
        The published preprocessing: factor of the field, median of the tile.
    domain : dict
        What the card says of the training data.
    """

    task: str = option("denoise", "the command that the model is for", choices=TASKS)
    network: str = option("narrow", "narrow, wide or gamma; exposure; residual")
    softening: float = option(3.0, "asinh compression of the input; 0: linear", unit="noise")
    loss: str = option("l1", "loss of the predicted background", choices=LOSS_NAMES)
    huber_delta: float = option(0.5, "where Huber's loss turns linear", unit="noise")
    start_from: str = option("", "model to fine-tune: a name or a folder")

    simulation: str = option("any", "any, wide, picture, gamma, or the preset of one instrument")
    fields: int = option(96, "simulated fields for training")
    validation_fields: int = option(12, "simulated fields for validation")
    field_shape: tuple[int, ...] = option((768, 768), "rows,columns of a simulated field")
    files: tuple[str, ...] = option((), "own fields: names or patterns of FITS, HDF5, npz files")
    validation_share: float = option(0.2, "share of the own fields kept for validation")
    vary: bool = option(True, "vary simulated fields: flux, density, noise, artefacts")
    tile_median: bool = option(False, "published preprocessing: factor, median of the tile")
    ratios: tuple[float, ...] = option(
        (2.0, 5.0), "least,largest exposure ratio (enhance)", above=1
    )
    smallest_peak: float = option(0.0, "leave out tiles with fainter sources only", unit="noise")

    tile: int = option(128, "side of a training tile", unit="px", least=1, multiple_of=16)
    batch_size: int = option(16, "tiles in a batch", least=1)
    epochs: int = option(50, "largest number of epochs", least=1)
    steps_per_epoch: int = option(200, "batches in an epoch", least=1)
    validation_steps: int = option(8, "batches in a validation", least=1)
    learning_rate: float = option(1e-3, "highest learning rate", above=0)
    schedule: str = option(
        "cosine", "schedule of the learning rate", choices=LEARNING_RATE_SCHEDULES
    )
    warm_up_steps: int = option(300, "steps of the learning rate's rise (schedule cosine)")
    decay: float = option(0.92, "factor of the learning rate per epoch (schedule epoch)")
    weight_decay: float = option(1e-4, "weight decay of AdamW")
    clip_norm: float = option(1.0, "largest norm of all gradients together; 0: no limit")
    average: float = option(0.999, "momentum of the averaged weights; 0: off", least=0, below=1)
    patience: int = option(10, "epochs without a better loss; 0: never stop")
    precision: str = option("mixed_bfloat16", "precision of the network", choices=PRECISIONS)
    seed: int = option(0, "seed of weights, fields and tiles")

    min_signal: float = option(0.0, "signal rate at diffusion time 1, in training")
    inference_min_signal: float = option(0.01, "the same rate in inference")
    max_signal: float = option(0.98, "signal rate at diffusion time 0")
    domain: dict[str, Any] = field(default_factory=dict, metadata={"flags": ()})

    def __post_init__(self) -> None:
        for name in ("field_shape", "files", "ratios"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check(self)

    @classmethod
    def read(cls, source: str | Path) -> "TrainConfig":
        """Return the config of a JSON file, or of a name in `bgrem/configs`.

        Raises
        ------
        ValueError
            If there is none, or it has unknown or bad entries.
        """
        path = CONFIG_FOLDER / f"{source}.json"
        path = path if path.is_file() else Path(source)
        if not path.exists():
            known = ", ".join(sorted(one.stem for one in CONFIG_FOLDER.glob("*.json")))
            raise ValueError(f"{source}: no such config. Give a JSON file or: {known}.")
        values = read_json(path, "is not a config in JSON")
        if not isinstance(values, dict):
            raise ValueError(f"{path}: expected an object with settings, got {shown(values)}.")
        unknown = set(values) - {one.name for one in fields(cls)}
        if unknown:
            raise ValueError(f"{path}: unknown settings {', '.join(sorted(unknown))}.")
        try:
            return from_mapping(cls, values, str(path))
        except ValueError as error:  # a value out of its range names no file
            raise ValueError(f"{path}: {error}" if str(path) not in str(error) else error) from None


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

    model: str = option(SURVEY_MODEL, MODEL_HELP, "--model")
    keep: str = option(
        "auto", "sources: without sky and nebulae; background: only the noise goes; auto: "
                "background for colour images, mosaics and nebulae, else sources",
        choices=KEEP_CHOICES,
    )  # fmt: skip
    luminance: float = option(
        1.0, "part of the noise of the luminance that is removed (background kept)", least=0, most=1
    )
    colour: float = option(
        1.0, "part of the noise of the colours that is removed (background kept)", least=0, most=1
    )
    detail: float = option(
        0.0, "part of faint compact light in the removed noise that is put back (background kept)",
        least=0, most=1,
    )  # fmt: skip
    linear: bool = option(
        False, "take a picture for linear, whatever its noise and history say (background kept)"
    )
    steps: int = option(
        6, "diffusion steps; 1 is the quickest (background kept: always 1)", "-s", "--steps",
        least=1,
    )  # fmt: skip
    normalisation: float | None = option(
        None, "factor that brings the noise to 1; default: measured over the image",
        "-n", "--normalisation", finite=True, above=0,
    )  # fmt: skip
    minimum: float | None = option(
        None, "raise fainter pixels to this value first", "-m", "--minimum", unit="pixel values",
        finite=True,
    )  # fmt: skip
    clip: bool = option(True, "set negative results to 0 (faint fluxes gain a bias)")
    strength: float = option(
        1.0, "part of the background and noise that is removed, 0 to 1", least=0, most=1
    )
    max_sigma: float | None = option(
        None, "where more noise than this would be removed, the input stays (default: no cap)",
        unit="noise", above=0,
    )  # fmt: skip
    mesh: int = option(64, "mesh of the smooth background", unit="px", least=16)
    mask_sigma: float = option(
        2.0, "light above this, smoothed, is kept out of the background", unit="noise", above=0
    )
    binning: int = option(
        0, "side of the sums of pixels that a counts map is denoised in; 0: by its sources' width",
        unit="px", least=0, most=16,
    )  # fmt: skip
    tile: int = option(576, "largest side of a tile", unit="px", multiple_of=16)
    overlap: int = option(64, "overlap of neighbouring tiles", unit="px")
    batch_size: int = option(2, "tiles at once", least=1)
    precision: str = option(
        "auto", "precision of the network", choices=("auto", "float32", "bfloat16")
    )
    runtime: str = option(
        "auto", "what computes the network: Keras, ONNX Runtime or OpenVINO; auto: onnx for a "
                "file of `bgrem models export`, else keras",
        choices=RUNTIME_CHOICES,
    )  # fmt: skip
    seed: int = option(0, "seed of the noise that fills missing pixels for the network")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class CatalogConfig:
    """Settings of `bgrem.catalog`: what is a source, and how it is measured."""

    engine: str = option("sep", "what detects and measures", choices=("sep", "sextractor"))
    threshold: float | None = option(
        None, "threshold on the denoised image; default: 1, and more where the noise is "
              "correlated",
        unit="sigma of the original's noise", above=0,
    )  # fmt: skip
    minimum_area: int = option(
        5, "smallest area of a source above the threshold", unit="px", least=1
    )
    sharpen: int = option(
        30, "Richardson-Lucy iterations that separate blended stars; 0: none (engine sep)", least=0
    )
    deblend_contrast: float = option(5e-5, "SExtractor's DEBLEND_MINCONT", least=0, most=1)
    apertures: tuple[float, ...] = option(
        (5.0, 10.0, 20.0), "diameters for FLUX_APER; SExtractor's default is the first", unit="px",
        above=0, refusal="must be positive diameters",
    )  # fmt: skip
    kron_factor: float = option(
        2.5, "Kron factor of FLUX_AUTO, as in SExtractor's PHOT_AUTOPARAMS", above=0
    )
    kron_minimum: float = option(
        3.5, "smallest KRON_RADIUS, as in SExtractor's PHOT_AUTOPARAMS", above=0
    )
    disagreement: float = option(
        5.0, "difference of original and denoised flux from which DENOISED_FLAG is set",
        unit="FLUXERR_AUTO", above=0,
    )  # fmt: skip
    max_sharpness: float = option(
        1.15, "peaks so many times sharper than a star's get a DENOISED_FLAG (cosmic rays)", above=1
    )
    gain: float | None = option(
        None, "gain; without one, errors have no photon noise of the source; default: the "
              "header's",
        unit="electrons per pixel value", finite=True, above=0,
    )  # fmt: skip
    saturate: float | None = option(
        None, "saturation level; default: the header's", unit="pixel values", finite=True
    )
    zero_point: float | None = option(
        None, "zero point of the magnitudes; default: the header's, else 0", unit="mag", finite=True
    )
    vignet: int = option(0, "side of the stamps for PSFEx (VIGNET); 0: none", unit="px")

    def __post_init__(self) -> None:
        check(self)
        if self.vignet < 0 or (self.vignet and self.vignet % 2 == 0):
            raise ValueError(f"vignet must be odd, or 0 for none. Received: {self.vignet}")


@dataclass(frozen=True, kw_only=True)
class ValidateConfig:
    """Settings of `bgrem.validate`: what is put into a frame, and how much of it is examined."""

    repeats: int = option(3, "frames with injected sources", least=1)
    injections: int | None = option(None, "sources in each; default: one in 2000 pixels", least=10)
    side: int = option(
        1024, "largest side of the middle part that is examined", unit="px", least=128
    )
    full: bool = option(False, "examine the whole frame, whatever its size")
    halos: bool = option(True, "inject halos of low surface brightness")
    fwhm: float | None = option(
        None, "FWHM of stars; default: measured on the frame", unit="px", least=1
    )
    gain: float | None = option(
        None, "gain; without one, injected sources have no photon noise; default: the header's",
        unit="electrons per pixel value", above=0, refusal="must be 0 or more",
    )  # fmt: skip
    saturate: float | None = option(
        None, "saturation level; default: the header's", unit="pixel values"
    )
    largest_change: float = option(
        5.0, "change of a pixel, background aside, above which it counts as suspicious",
        unit="sigma", above=0, refusal="must be 0 or more",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class _Windows:
    """How an image is cut for a network that sees it once a time."""

    mesh: int = option(64, "mesh of the smooth background", unit="px", least=16)
    mask_sigma: float = option(
        2.0, "light above this, smoothed, is kept out of the background", unit="noise", above=0
    )
    tile: int = option(
        256, "largest side of a window", unit="px", least=32, multiple_of=16,
        refusal="must be a multiple of 16 from 32 up",
    )  # fmt: skip
    stride: int = option(192, "step from window to window; overlaps are averaged", unit="px")
    batch_size: int = option(8, "windows at once", least=1)
    precision: str = option(
        "auto", "precision of the network", choices=("auto", "float32", "bfloat16")
    )
    runtime: str = option(
        "auto", "what computes the network: Keras, ONNX Runtime or OpenVINO; auto: onnx for a "
                "file of `bgrem models export`, else keras",
        choices=RUNTIME_CHOICES,
    )  # fmt: skip

    @property
    def overlap(self) -> int:
        """Pixels that neighbouring windows share."""
        return self.tile - self.stride

    def __post_init__(self) -> None:
        check(self)
        if not 16 <= self.stride <= self.tile:
            raise ValueError(
                f"stride must be from 16 to the tile ({self.tile}). Received: {self.stride}"
            )


@dataclass(frozen=True, kw_only=True)
class EnhanceConfig(_Windows):
    """Settings of `bgrem.enhance`."""

    ratio: float = option(
        2.0, "how many times as long the exposure is to look", finite=True, above=1
    )
    model: str = option("hst", MODEL_HELP, "--model")
    noise: float = option(
        0.3, "noise that is kept, relative to an exposure of that length; 0: the network's "
             "image",
        finite=True, least=0, most=1,
    )  # fmt: skip
    cosmic_rays: bool = option(False, "remove cosmic rays first (needs astroscrappy)")
    gain: float | None = option(
        None, "gain; default: the header's", unit="electrons per count", finite=True, above=0
    )
    exposure: float | None = option(
        None,
        "exposure time, for pixels per second; default: the header's",
        unit="seconds",
        finite=True,
        above=0,
    )
    read_noise: float | None = option(
        None, "read noise in the search of cosmic rays; default: the header's, else 3",
        unit="electrons", finite=True,
    )  # fmt: skip
    seed: int = option(0, "seed of the noise that fills missing pixels for the network")


@dataclass(frozen=True, kw_only=True)
class NoiseMapConfig(_Windows):
    """Settings of `bgrem.noisemap`."""

    model: str = option("streaks", MODEL_HELP, "--model")
    runs: int = option(2, "noise maps that are averaged", least=1, most=10_000)
    depth: int = option(
        150, "diffusion time up to which noise is added, of 1000", least=1, most=1000
    )
    ddim_steps: int = option(1, "steps from there back to 0", least=1, most=1000)
    protect: float = option(
        3.0, "star streaks are fitted and subtracted, and what else stands out of the noise by "
             "this is hidden from the network; 0: off",
        unit="noise",
    )  # fmt: skip
    false_alarms: float = option(1.0, "expected false alarms per frame in --detections", above=0)
    eta: float = option(
        0.0, "randomness of the steps: 0 deterministic, 1 as the DDPM", least=0, most=1
    )
    seed: int = option(0, "seed of the noise that is added")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ddim_steps > self.depth:
            raise ValueError(f"ddim_steps must be {self.depth} (depth) or less. "
                             f"Received: {self.ddim_steps}")  # fmt: skip
        if not (self.protect == 0 or self.protect >= 2.5):  # below noise is all points
            raise ValueError(f"protect must be 2.5 or more, or 0. Received: {self.protect}")
