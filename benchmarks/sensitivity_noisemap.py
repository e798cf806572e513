"""Staring frames with satellites and trails, and the noise map's figures (sensitivity.py)."""

import functools
from typing import Any

import detection
import noisemap_scenes as scenes
import noisemap_trails as trails
import numpy as np
from scipy import ndimage
from sensitivity_memory import digest

from bgrem.simulate.optical import simulate_field
from bgrem.simulate.staring import draw_noise, simulate_staring_frame
from bgrem.simulate.trails import add_satellites

Measured = dict[str, Any]
STARING_SEED = 63_200
STARING_SHAPE = (256, 256)  # one tile of the network
# name: range of the streaks' length in px, number of frames; 0 px: none
STREAKS = {"streaks": (12, 90, 4), "overlong": (150, 300, 1), "short": (5, 9, 2), "none": (0, 0, 1)}
ROUND = 2  # frames with round stars
PEAKS = (5.0, 8.0)  # of satellites, noise
SATELLITES, TRAILS = 8, 4  # of each peak; lines
FALSE_PEAKS = 40  # highest ones of a frame; one false alarm per frame needs the first few
CLIP = 10.0  # noise; a saturated streak must not be all of a map's error
STAR = 0.3  # noise; where light of round stars is more the pixels do not count


def staring_frames(number: int) -> list[str]:
    """Return names "kind seed"; `number` of each kind at most."""
    found = []
    for kind, (low, high, wanted) in STREAKS.items():
        seeds = (
            seed for seed in range(STARING_SEED, STARING_SEED + 1000)
            if low <= staring_length(seed) <= high
        )  # fmt: skip
        found += [f"{kind} {next(seeds)}" for _ in range(min(wanted, number))]
    return found + [f"round {STARING_SEED + k}" for k in range(min(ROUND, number))]


@functools.cache
def staring_length(seed: int) -> float:
    """Return the length of a frame's streaks in px."""
    return simulate_staring_frame(seed, STARING_SHAPE).length


def prepare_staring(name: str) -> tuple[scenes.Scene, np.ndarray, np.ndarray, list[trails.Trail]]:
    """Return a scene with satellites and trails, what a map should be, the noise and the trails."""
    kind, seed = name.split()[0], int(name.split()[1])
    rng = np.random.default_rng([seed, 17])
    if kind == "round":
        field = simulate_field(shape=STARING_SHAPE, seed=seed, preset="meerlicht", stars=2000.0)
        frame, pixels, truth = None, field.observed.astype(float), field.background
        sigma = np.sqrt(detection.true_variance(field))
        ignored = field.sources > STAR * sigma
        streaks, angle = np.zeros(STARING_SHAPE), None
    else:
        frame = simulate_staring_frame(seed, STARING_SHAPE)
        drawn = draw_noise(frame.sigma, frame.hot_pixels, frame.gain, frame.read_noise, rng)
        pixels, truth, sigma = frame.structure + drawn, frame.structure, frame.sigma
        ignored = (frame.hot_pixels > 0) | (np.abs(drawn) > scenes.ARTEFACT * frame.sigma)
        angle = frame.angle if frame.length else None
        streaks = scenes.streak_light(frame, float(np.median(sigma)))
    noise = float(np.median(sigma))
    ignored = ndimage.binary_dilation(ignored, iterations=2)
    lines = trails.draw_trails_for(seed, STARING_SHAPE, angle, noise, TRAILS)
    near = np.any([trails.near(one, STARING_SHAPE, scenes.APART) for one in lines], 0)
    places = scenes.draw_places(rng, streaks, ignored | near, SATELLITES * len(PEAKS))
    peaks = np.resize(PEAKS, len(places))
    light = streaks[tuple(np.round(places).astype(int).T[::-1])]
    place = np.select([light > scenes.ON, np.abs(light) < scenes.OFF], ["on", "off"], "between")
    crossed = trails.add_all(pixels, lines)
    filled, catalogue = add_satellites(crossed, peaks * noise, rng, positions=places)
    catalogue |= {"kind": peaks.astype(str), "place": place, "light": light}
    scene = scenes.Scene(seed, frame, pixels, noise, streaks, ignored, filled, catalogue)  # type: ignore[arg-type]
    return scene, truth, sigma, lines


@functools.cache
def _streaks_model() -> Any:
    from bgrem.config import NoiseMapConfig
    from bgrem.inference.run import load_for

    return load_for(NoiseMapConfig(), "noisemap")


def measure_staring(frame: tuple) -> Measured:
    """Return light kept of satellites and trails, peaks for detection, the map's error."""
    from bgrem import noisemap

    scene, truth, sigma, lines = frame
    maps = [noisemap(one, runs=1, batch_size=1, model=_streaks_model())
            for one in (scene.pixels, scene.with_satellites)]  # fmt: skip
    plain, found = (one.residual.pixels[..., 0] for one in maps)
    mapped = [one.map.pixels[..., 0] for one in maps]
    rows = scenes.satellite_rows(scene, plain, found)
    kept, put = found - plain, scene.with_satellites - scene.pixels
    areas = [trails.near(one, kept.shape, trails.APERTURE) for one in lines if not one.parallel]
    error = ((mapped[0] - truth) / sigma)[~scene.artefacts]
    return {
        "kept": {place: [row["kept"] for row in rows if row["place"] == place]
                 for place in ("on", "off")},
        "trails": [float(kept[area].sum() / put[area].sum()) for area in areas],
        "false": scenes.false_peaks(scene, plain, mapped[0])[:FALSE_PEAKS].tolist(),
        "found": scenes.satellite_peaks(scene, found, mapped[1])[
            scene.catalogue["kind"] == str(PEAKS[-1])].tolist(),
        "error": float(np.sqrt(np.mean(np.clip(error, -CLIP, CLIP) ** 2))),
        "digest": digest(*(plane.pixels for one in maps for plane in (one.map, one.rms))),
    }  # fmt: skip


def staring_per_frame(rows: list[Measured]) -> dict[str, np.ndarray]:
    """Return the figures; detection is at a threshold with one false alarm per frame on average."""

    def mean(values: list[float]) -> float:
        return float(np.mean(values)) if values else np.nan

    def wrong(values: list[float]) -> float:
        """Return the part of the flux that is lost or gained; some of saturated streaks is much."""
        return mean([min(abs(value - 1), 1.0) for value in values])

    alarms = np.sort(np.concatenate([row["false"] for row in rows]))[::-1]
    threshold = alarms[min(len(rows), len(alarms) - 1)]
    return {
        "flux error on streaks": np.array([wrong(row["kept"]["on"]) for row in rows]),
        "flux error off streaks": np.array([wrong(row["kept"]["off"]) for row in rows]),
        "8 sigma found": np.array([np.mean(np.array(row["found"]) > threshold) for row in rows]),
        "trails kept": np.array([mean(row["trails"]) for row in rows]),
        "map error": np.array([row["error"] for row in rows]),
    }
