"""Settings of `bgrem enhance` and `bgrem noisemap`, which cut an image into windows."""

from dataclasses import dataclass

from bgrem.config.choices import MODEL_HELP, RUNTIME_CHOICES
from common.config import check, option


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
