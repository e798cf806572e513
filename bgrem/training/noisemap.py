"""Frames for `bgrem noisemap`: structures under the noise of a diffusion time (DDNN)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bgrem.networks.schedule import LinearSchedule
from bgrem.noise_mapping.units import FRAME_NOISE_IN_UNITS, contrast, frame_level
from bgrem.simulate.noise import smooth_leftover
from bgrem.simulate.staring import draw_noise, simulate_staring_frame
from bgrem.simulate.trails import draw_trails
from bgrem.training.batches import Batches, Task
from common.checked.archives import number_of, planes_of, read_arrays

INFERENCE_TIMES = (90, 180)  # diffusion times at which inference starts
INFERENCE_TIMES_SHARE = 0.7  # of the tiles that are trained at these times
LOSS_WEIGHT_KNEE = 3.0  # network units; brighter structures are predicted to a share of themselves
TRACKS_SHARE = 0.5  # of tiles with tracks of particles


@dataclass(frozen=True, eq=False)
class FrameField:
    """One frame in units of its noise (simulated) or of its contrast (the user's).

    Attributes
    ----------
    structure : array, shape (H, W), float32
        What smooth background and bands of the whole frame leave over; a user's frame has its
        noise in it.
    scale : array, shape (H, W), float32, or None
        Noise that is measured on a simulated frame, ADU; None: a user's frame.
    sigma, hot_pixels : array, shape (H, W), float32, or None
        As `bgrem.simulate.staring.StaringFrame`, ADU.
    gain, read_noise : float
        Electrons per ADU; electrons.
    """

    structure: np.ndarray
    scale: np.ndarray | None = None
    sigma: np.ndarray | None = None
    hot_pixels: np.ndarray | None = None
    gain: float = 1.0
    read_noise: float = 0.0

    def save(self, path: Path) -> None:
        """Write the field as .npz."""
        planes = {n: getattr(self, n) for n in FIELD_PLANES if getattr(self, n) is not None}
        np.savez(path, gain=self.gain, read_noise=self.read_noise, **planes)

    @classmethod
    def load(cls, path: Path) -> "FrameField":
        """Read what `save` wrote."""
        where = str(path)
        arrays = read_arrays(path, where, "a training field")
        names = [name for name in FIELD_PLANES if name in arrays or name == "structure"]
        planes = dict(zip(names, planes_of(arrays, names, where), strict=True))
        gain = number_of(arrays, "gain", where, least=0)
        return cls(**planes, gain=gain, read_noise=number_of(arrays, "read_noise", where, least=0))


FIELD_PLANES = ("structure", "scale", "sigma", "hot_pixels")  # arrays of a stored training field


def simulated_frame_field(seed: int, shape: tuple[int, int]) -> FrameField:
    """Return a simulated staring frame, its noise to be drawn anew for each tile."""
    frame = simulate_staring_frame(seed, shape)
    rng = np.random.default_rng([seed, 3])
    noise = draw_noise(frame.sigma, frame.hot_pixels, frame.gain, frame.read_noise, rng)
    level, scale = frame_level(frame.structure + noise)
    structure = (frame.structure - level) / scale
    return FrameField(
        structure.astype(np.float32), scale, frame.sigma, frame.hot_pixels, frame.gain,
        frame.read_noise,
    )  # fmt: skip


def measured_frame_field(path: Path) -> FrameField:
    """Return a raw frame of the user: level 0, variance 1, nothing else done to it."""
    from common.io import read_image

    image = read_image(path)
    if image.shape[-1] != 1 or image.missing.any():
        raise ValueError(f"{path}: expected one channel without missing pixels. Cut them off.")
    level, width = contrast(image.pixels)
    return FrameField(((image.pixels[..., 0] - level) / width).astype(np.float32))


class FrameBatches(Batches):
    """Batches ((noisy, noise_variance), noise) of the DDPM's forward diffusion.

    A simulated frame's own noise is part of the diffusion's: what is learned is the structure
    without it. A user's frame is given by its pixels alone: they are the structure.

    Parameters
    ----------
    fields : list of FrameField
    schedule : LinearSchedule
    **common
        Of `Batches`.
    """

    def __init__(
        self, fields: list[FrameField], *, schedule: LinearSchedule, **common: Any
    ) -> None:
        super().__init__(fields, **common)
        self.schedule = schedule

    def __getitem__(
        self, index: int
    ) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray]:
        """Return one batch: arrays (B, T, T, 1), (B, 1, 1, 1), (B, T, T, 1), (B, T, T), float32.

        The last one weighs pixels: streaks of thousands of sigma count by their relative error.
        """
        rng = self.generator(index)
        size = (self.batch_size, 1, 1, 1)
        usual = rng.uniform(size=size) < INFERENCE_TIMES_SHARE
        low = np.where(usual, INFERENCE_TIMES[0], 1)
        high = np.where(usual, INFERENCE_TIMES[1], self.schedule.steps)
        times = np.floor(rng.uniform(low, high + 1))
        signals, rates = self.schedule.rates(times)
        both = zip(signals.ravel(), rates.ravel(), strict=True)
        tiles = [self._tile(rng, float(signal), float(rate)) for signal, rate in both]
        structure, noise = (np.stack(part)[..., None] for part in zip(*tiles, strict=True))
        weights = 1 / (1 + np.abs(structure[..., 0]) / LOSS_WEIGHT_KNEE)
        return (signals * structure + rates * noise, rates**2), noise, weights

    def _tile(
        self, rng: np.random.Generator, signal: float, rate: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a structure in the network's units, and noise of variance 1."""
        field = self.fields[rng.integers(len(self.fields))]
        white = rng.standard_normal((self.tile, self.tile), np.float32)
        if field.scale is None or field.sigma is None or field.hot_pixels is None:
            return self.cut(rng, field.structure)[0], white
        structure, scale, sigma, hot = self.cut(
            rng, field.structure, field.scale, field.sigma, field.hot_pixels
        )
        if self.vary:
            structure = structure + smooth_leftover(rng, structure.shape).astype(np.float32)
        own = signal * FRAME_NOISE_IN_UNITS
        if rate > own:  # else the time is nearer to the structure than any frame
            noise = draw_noise(sigma, hot, field.gain, field.read_noise, rng) / scale
            if self.vary and rng.uniform() < TRACKS_SHARE:
                noise = noise + particle_tracks(rng, self.tile)
            white = (own * noise + np.sqrt(rate**2 - own**2) * white) / rate
        return FRAME_NOISE_IN_UNITS * structure, white.astype(np.float32)


def particle_tracks(rng: np.random.Generator, side: int) -> np.ndarray:
    """Return tracks of particles that hit or graze the detector, in units of the noise.

    One to six, any direction, 0.5 to 100 px long, sigma 0.2 to 0.5 px: thinner than any star.
    """
    canvas = np.zeros((side, side))
    number = int(rng.integers(1, 7))
    angle, length = rng.uniform(0, 2 * np.pi, number), 0.5 * 200 ** rng.uniform(size=number)
    start = rng.uniform(-0.5, side - 0.5, (number, 2))
    end = start + length[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    width = rng.uniform(0.2, 0.5)
    peak = 2 * 250 ** rng.uniform(size=number)
    draw_trails(canvas, start, end, width, peak * np.sqrt(2 * np.pi) * width, quadrature=3)
    return canvas


TASK = Task(
    FrameField,
    lambda config, seed, shape: simulated_frame_field(seed, shape),
    lambda config, path: measured_frame_field(path),
    FrameBatches,
    lambda config: {"schedule": LinearSchedule()},
    lambda config: {"scaling": "contrast" if config.files else "noise"},
)
