"""Settings of `bgrem denoise`."""

from dataclasses import dataclass

from bgrem.config.choices import KEEP_CHOICES, MODEL_HELP, RUNTIME_CHOICES, SURVEY_MODEL
from common.config import check, option


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
