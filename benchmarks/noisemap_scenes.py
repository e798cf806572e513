"""Staring frames with satellites and trails in them, and what is measured on them (noisemap.py)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import sep
from scipy import ndimage

from bgrem.noise_mapping.residual_noise import residual_rms
from bgrem.simulate import staring
from bgrem.simulate.staring import StaringFrame, draw_noise, simulate_staring_frame
from bgrem.simulate.trails import add_satellites

APART = 22  # px between satellites: their boxes do not hold each other's light
EDGE = 20  # px at the border without satellites
BOX, INNER = 31, 5  # px; the pixels around a satellite: the box without its inner part
APERTURE = 3.0  # px; holds all of a satellite's light
ARTEFACT = 6.0  # sigma; a pixel whose noise is more than this is hot, or hit by a particle
ON, OFF = 2.0, 0.5  # sigma of streak light: more is on a streak, less is off
ON_SHARE = 0.35  # of the satellites are put onto streaks, if there are any
FILTER = 0.6  # px, sigma of the matched filter
NEAR = 1.5  # px, largest distance of a detection to its satellite
SKY = 64  # px, mesh
MESH, RING = 32, (5, 11)  # px, of the detector's own local level and noise
STACK = 12  # frames in the median
Map = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Scene:
    """A noisy frame, and the same one with satellites: all arrays (H, W), ADU.

    `streaks` is the light above sky and banding in units of the noise; `artefacts` are hot and hit
    pixels with their neighbours, as a mask of bad pixels has them. `catalogue` has x, y, flux, kind
    ("frame" or a number of sigmas), place ("on", "off", "between"), light (of the streak there).
    """

    seed: int
    frame: StaringFrame
    pixels: np.ndarray
    noise: float
    streaks: np.ndarray
    artefacts: np.ndarray
    with_satellites: np.ndarray
    catalogue: dict[str, np.ndarray]


def make_scene(seed: int, shape: tuple[int, int], peaks: dict[str, float], number: int) -> Scene:
    """Return a frame with `number` satellites of each kind.

    `peaks` are in units of the pixels' noise; 0 stands for SNR 1 over the frame: the standard
    deviation of all its pixels.
    """
    frame = simulate_staring_frame(seed, shape)
    rng = np.random.default_rng([seed, 5])
    drawn = draw_noise(frame.sigma, frame.hot_pixels, frame.gain, frame.read_noise, rng)
    pixels = frame.structure + drawn
    noise = float(np.median(frame.sigma))
    bad = (frame.hot_pixels > 0) | (np.abs(drawn) > ARTEFACT * frame.sigma)
    artefacts = ndimage.binary_dilation(bad, iterations=2)
    streaks = streak_light(frame, noise)
    places = draw_places(rng, streaks, artefacts, number * len(peaks))
    number = len(places) // len(peaks)
    places = places[: number * len(peaks)]
    kind = np.tile(np.array(list(peaks)), number)
    peak = np.tile([value * noise or pixels.std() for value in peaks.values()], number)
    with_satellites, catalogue = add_satellites(pixels, peak, rng, positions=places)
    light = streaks[tuple(np.round(places).astype(int).T[::-1])]
    place = np.select([light > ON, np.abs(light) < OFF], ["on", "off"], "between")
    return Scene(
        seed, frame, pixels, noise, streaks, artefacts, with_satellites,
        catalogue | {"kind": kind, "place": place, "light": light},
    )  # fmt: skip


def streak_light(frame: StaringFrame, noise: float) -> np.ndarray:
    """Return the streaks of a frame without noise, in units of its noise."""
    if not frame.length:
        return np.zeros(frame.structure.shape)
    return flattened(frame.structure) / noise


def flattened(pixels: np.ndarray) -> np.ndarray:
    """Return pixels less a smooth sky, and less the medians of rows and columns."""
    pixels = pixels - sep.Background(np.ascontiguousarray(pixels, float), bw=64, bh=64).back()
    pixels = pixels - np.median(pixels, 1, keepdims=True)
    return pixels - np.median(pixels, 0, keepdims=True)


def draw_places(rng: Any, streaks: np.ndarray, artefacts: np.ndarray, number: int) -> np.ndarray:
    """Return (x, y) of places `APART` from each other, clear of artefacts, some on streaks."""
    free = ndimage.binary_erosion(~artefacts, iterations=2)
    free[:EDGE], free[-EDGE:], free[:, :EDGE], free[:, -EDGE:] = (False,) * 4
    on = np.argwhere(free & (streaks > ON))
    anywhere = np.argwhere(free)
    chosen: list[np.ndarray] = []
    for _ in range(30 * number):
        pool = on if len(on) and rng.random() < ON_SHARE else anywhere
        place = pool[rng.integers(len(pool))] + rng.uniform(-0.5, 0.5, 2)
        if all(np.hypot(*(place - other)) >= APART for other in chosen):
            chosen.append(place)
        if len(chosen) == number:
            break
    return np.array(chosen)[:, ::-1]


def other_frames(scene: Scene, number: int = STACK) -> np.ndarray:
    """Return noisy frames (number, H, W) of the same detector and sky, with other stars.

    The rows' bands are drawn anew for each, as reading is; what is fixed stays.
    """
    streaks, bands = staring._streaks, staring._bands
    shape = (scene.pixels.shape[0], scene.pixels.shape[1])
    frames = []
    for k in range(number):
        fresh = np.random.default_rng([scene.seed, 7, k])

        def anew(old: Any, fresh: Any = fresh) -> Any:
            def drawn(rng: Any, *args: Any) -> np.ndarray:
                old(rng, *args)  # what follows is drawn as in the scene
                return old(fresh, *args)

            return drawn

        with mock.patch.multiple(staring, _streaks=anew(streaks), _bands=anew(bands)):
            frame = simulate_staring_frame(scene.seed, shape)
        noise = draw_noise(frame.sigma, frame.hot_pixels, frame.gain, frame.read_noise, fresh)
        frames.append(frame.structure + noise)
    return np.stack(frames)


def satellite_rows(scene: Scene, plain: np.ndarray, found: np.ndarray) -> list[dict[str, Any]]:
    """Return what becomes of each satellite, given the residual without and with satellites.

    The signal is the difference of both at the satellite's central pixel, so that streaks and
    noise do not count as the satellite's light; the noise is that of the frame with it.
    """
    kept, put = found - plain, scene.with_satellites - scene.pixels
    whole = [float(one[~scene.artefacts].std()) for one in (scene.pixels, plain)]
    ring = np.ones((BOX, BOX), bool)
    middle = BOX // 2
    inner = slice(middle - INNER // 2, middle + INNER // 2 + 1)
    ring[inner, inner] = False
    rows = []
    columns = (scene.catalogue[name] for name in ("x", "y", "kind", "place", "light"))
    for x, y, kind, place, streak in zip(*columns, strict=True):
        column, row = round(x), round(y)
        box = np.s_[row - middle : row + middle + 1, column - middle : column + middle + 1]
        clean = ring & ~scene.artefacts[box]
        around = [float(one[box][clean].std()) for one in (scene.with_satellites, found)]
        hot = [float(one[box][ring].std()) for one in (scene.with_satellites, found)]
        light = [float(one[row, column]) for one in (put, kept)]
        flux = [float(sep.sum_circle(one.astype(float), [x], [y], APERTURE)[0][0])
                for one in (put, kept)]  # fmt: skip
        rows.append({
            "seed": scene.seed, "kind": str(kind), "place": str(place),
            "light": float(streak),
            "snr": light[0] / around[0], "gain": light[1] / around[1] * around[0] / light[0] - 1,
            "hot": light[1] / hot[1] * hot[0] / light[0] - 1,
            "whole": light[1] / whole[1] * whole[0] / light[0] - 1,
            "kept": flux[1] / flux[0],
            "measured": [(one[row, column] - np.median(one[box])) / noise for one, noise in
                         ((scene.with_satellites, around[0]), (found, around[1]))],
        })  # fmt: skip
    return rows


def significance(pixels: np.ndarray, mapped: np.ndarray) -> np.ndarray:
    """Return the matched filter of point sources over its noise, given the map that was taken off.

    The noise is the largest of a mesh's robust noise, the rms of a ring around, and the noise where
    the map is as bright, as `bgrem noisemap` gives it (`residual_rms`); here for all maps. Without
    the last two what is left of bright streaks, be it photon noise alone, is every alarm.
    """
    filtered = ndimage.gaussian_filter(pixels.astype(float), FILTER)
    local = sep.Background(filtered, bw=MESH, bh=MESH)
    flat = filtered - local.back()
    inner, outer = (side**2 * ndimage.uniform_filter(flat**2, side) for side in RING)
    ring = (outer - inner) / (RING[1] ** 2 - RING[0] ** 2)
    left, streaks = (
        sep.Background(np.ascontiguousarray(one, float), bw=SKY, bh=SKY) for one in (pixels, mapped)
    )
    noise = left.rms()
    rms = noise * residual_rms((pixels - left.back()) / noise, (mapped - streaks.back()) / noise)
    white = 1 / (2 * np.sqrt(np.pi) * FILTER)  # of the noise is left by the filter
    largest = np.maximum(np.maximum(ring, local.rms() ** 2), (white * rms) ** 2)
    return flat / np.sqrt(np.maximum(largest, 1e-18))


def false_peaks(scene: Scene, plain: np.ndarray, mapped: np.ndarray) -> np.ndarray:
    """Return the significance of all peaks of a residual without satellites, falling.

    Those of hot and hit pixels are left out, and those so near to the border that no satellite is.
    """
    found = significance(plain, mapped)
    peaks = (found == ndimage.maximum_filter(found, 3)) & ~scene.artefacts
    return np.sort(found[EDGE:-EDGE, EDGE:-EDGE][peaks[EDGE:-EDGE, EDGE:-EDGE]])[::-1]


def satellite_peaks(scene: Scene, found: np.ndarray, mapped: np.ndarray) -> np.ndarray:
    """Return the highest significance near each satellite, shape (N,)."""
    size = int(np.ceil(NEAR))
    near = np.hypot(*np.mgrid[-size : size + 1, -size : size + 1]) <= NEAR
    highest = ndimage.maximum_filter(significance(found, mapped), footprint=near)
    x, y = (np.round(scene.catalogue[name]).astype(int) for name in "xy")
    return highest[y, x]


def power_spectrum(pixels: np.ndarray, noise: float) -> np.ndarray:
    """Return the power of square pixels by frequency, white noise at 1, shape (side / 2,).

    Averaged over azimuth, frequency k is k / side cycles per px; Hann's window.
    """
    side = min(pixels.shape)
    window = np.outer(*[np.hanning(side)] * 2)
    flat = pixels[:side, :side] - pixels[:side, :side].mean()
    power = np.abs(np.fft.fft2(flat * window)) ** 2 / (window**2).sum() / noise**2
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(side, 1 / side)] * 2))
    ring = np.round(frequency).astype(int).ravel()
    return (np.bincount(ring, power.ravel()) / np.bincount(ring))[: side // 2]
