"""What sensitivity.py measures: frames of each group, and the figures of one frame."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import background
import background_kinds
import background_unseen
import detection
import numpy as np
import outside_fields
import sensitivity_decisions as decisions
from sensitivity_memory import digest
from sensitivity_noisemap import (
    Measured,
    measure_staring,
    prepare_staring,
    staring_frames,
    staring_per_frame,
)

from bgoptimizer import make_scene
from bgrem.simulate.optical import SimulatedField, simulate_field

FIELD_SEED = 63_300
FIELD_SHAPE = (768, 768)
FIELD_KINDS = ("survey", "crowded", "galaxies", "moonlit", "wavy")
OUTSIDE_SEED = 61_300
OUTSIDE_KINDS = ("drizzled", "bright sky", "steep sky", "overscan")

SCENE_SEED = 2000  # of `make_scene`; development used 0 to 39, the benchmark 1000 up
SCENE_SHAPE = (500, 750)
SCENES = 7  # that are whole
CUT_SCENES = 3  # scenes of which a dark part is cut off at zero
KINDS_SCENES = 2  # scenes of each of `SCENE_KINDS`
SCENE_KINDS = ("integers", "flat error", "cirrus", "narrowband", "Milky Way", "saturated", "filled")
CUT_SHARE = 0.25  # of the frame that is
CUT_SLOPE = 20.0  # times the scene's gradients, so that the cut part lies far below zero
FREE = 0.1  # of `OBJECT_LEVEL`; where objects have less light there is none

THRESHOLD_SEED = 63_400
THRESHOLD_SHAPE = (512, 512)
THRESHOLD_KINDS = ("survey", "crowded", "galaxies", "sharp")


@dataclass(frozen=True)
class Figure:
    """One headline figure.

    Attributes
    ----------
    name, unit : str
    limit : float
        A change that a user would see.
    scale : float
        From what `per_frame` gives to the unit.
    """

    name: str
    unit: str
    limit: float
    scale: float = 1.0


@dataclass(frozen=True)
class Group:
    """How a group is measured.

    `frames(number)` gives names; `prepare(name)` makes a frame; `measure(frame)` runs the project
    on it; `per_frame(rows)` makes {figure: one value for each row} of what was measured.
    """

    figures: tuple[Figure, ...]
    frames: Callable[[int], list[str]]
    prepare: Callable[[str], Any]
    measure: Callable[[Any], Measured]
    per_frame: Callable[[list[Measured]], dict[str, np.ndarray]]


def field_frames(number: int) -> list[str]:
    """Return names "kind seed", two of each kind."""
    kinds = [(kind, FIELD_SEED + 10 * j) for j, kind in enumerate(FIELD_KINDS)]
    kinds += [(kind, OUTSIDE_SEED) for kind in OUTSIDE_KINDS]
    return [f"{kind} {seed + k}" for kind, seed in kinds for k in range(min(2, number))]


def glow_frames(number: int) -> list[str]:
    """Return names "glow seed"."""
    return [f"glow {OUTSIDE_SEED + k}" for k in range(min(4, number))]


def prepare_field(name: str) -> SimulatedField | outside_fields.OutsideField:
    """Return a field with its background: of the project's simulator or of GalSim alone."""
    kind, seed = name.rsplit(maxsplit=1)
    if kind in outside_fields.KINDS:
        return outside_fields.draw_field(kind, FIELD_SHAPE, int(seed))
    return simulate_field(shape=FIELD_SHAPE, seed=int(seed), **detection.KINDS[kind])


def measure_field(field: SimulatedField | outside_fields.OutsideField) -> Measured:
    """Return error and scatter of the smooth background and the error of the noise."""
    from bgrem.frame import background as smooth

    found = smooth.whole_image_statistics(
        field.observed,
        mesh=smooth.BACKGROUND_MESH_PX,
        mask_sigma=smooth.BACKGROUND_MASK_SIGMA,
    )
    sigma = np.sqrt(detection.true_variance(field))
    error = (found.background - field.background) / sigma
    return {
        "rms": float(error.std()), "level": float(error.mean()),
        "noise": float(np.median(found.sigma / sigma)) - 1,
        "digest": digest(found.background, found.sigma),
    }  # fmt: skip


def prepare_seen(name: str) -> tuple[Any, Any, np.ndarray, np.ndarray]:
    """Return a field, its background and noise, its scaled pixels, and what a network shows."""
    from bgrem.denoising.flow import denoise
    from bgrem.frame.background import whole_image_statistics

    field = prepare_field(name)
    found = whole_image_statistics(field.observed)
    done = denoise(field.observed, steps=1, keep="sources")
    sources = done.result.pixels[..., 0] / found.sigma
    return field, found, found.forward(field.observed), sources


def measure_seen(frame: tuple[Any, Any, np.ndarray, np.ndarray]) -> Measured:
    """Return error and scatter of the background with the rest of the sky."""
    from bgrem.frame.sky.remainder import with_remainder

    field, found, scaled, sources = frame
    sky = with_remainder(found, scaled, sources, np.zeros(scaled.shape, bool)).background
    error = (sky - field.background) / np.sqrt(detection.true_variance(field))
    return {"rms": float(error.std()), "level": float(error.mean()), "digest": digest(sky)}


def plain_per_frame(rows: list[Measured]) -> dict[str, np.ndarray]:
    """Figures that are numbers of one frame."""
    return {key: np.array([row[key] for row in rows], float) for key in rows[0] if key != "digest"}


def scene_frames(number: int) -> list[str]:
    """Return names "scene seed", "cut seed" and "kind seed"."""
    names = [f"scene {SCENE_SEED + k}" for k in range(min(number, SCENES))]
    names += [f"cut {SCENE_SEED + 100 + k}" for k in range(min(number, CUT_SCENES))]
    return names + [f"{kind} {decisions.KIND_SEED + k}" for kind in SCENE_KINDS
                    for k in range(min(number, KINDS_SCENES))]  # fmt: skip


def prepare_scene(name: str) -> background.TruthScene | background_kinds.KindScene:
    """Return a random scene; of a "cut" one the darkest part is cut off at zero."""
    kind, seed = name.rsplit(maxsplit=1)
    if kind in SCENE_KINDS:
        return background_kinds.draw_kind(kind, int(seed), SCENE_SHAPE)
    scene = make_scene(int(seed), shape=SCENE_SHAPE)
    observed, truth = scene.observed.astype(float), scene.background.astype(float)
    if kind == "cut":
        level = np.quantile(truth, CUT_SHARE)
        truth = CUT_SLOPE * (truth - level)
        noise = observed - scene.background
        observed = np.maximum(truth, 0) + noise
    return background.TruthScene(name, observed, truth, scene.objects, scene.valid)


def measure_scene(scene: background.TruthScene | background_kinds.KindScene) -> Measured:
    """Return log errors of the background, and how well the object map fits the objects."""
    from bgoptimizer import fit_background

    of_kind = isinstance(scene, background_kinds.KindScene)
    model = fit_background(background_unseen.image_of(scene) if of_kind else scene.observed)
    surface = model.evaluate()
    every, outside = (background_unseen if of_kind else background).score(surface, scene)
    light = _on_cells(scene.objects[..., 0], model.cell_factor)
    found = model.objects[..., 0]
    level = background_unseen.MAP_LEVEL * scene.noise if of_kind else background.OBJECT_LEVEL
    objects, free = light > level, light < FREE * level
    return {
        "every": float(np.log(every)), "outside": float(np.log(outside)),
        "recall": float(found[objects].mean()) if objects.any() else np.nan,
        "false": float(found[free].mean()) if free.any() else np.nan,
        "digest": digest(surface, found),
    }  # fmt: skip


def _on_cells(light: np.ndarray, factor: int) -> np.ndarray:
    """Return objects' light on the cells of a fit."""
    from common.blocks import block_reduce

    return block_reduce(light, factor, "mean")


def threshold_frames(number: int) -> list[str]:
    """Return names "kind white|correlated seed"."""
    return [f"{kind} {noise} {THRESHOLD_SEED + j}" for j, kind in enumerate(THRESHOLD_KINDS)
            for noise in ("white", "correlated")][: 2 * number]  # fmt: skip


def prepare_threshold(name: str) -> tuple[Any, Any]:
    """Return a field and its denoised frame."""
    from bgrem.config import DenoiseConfig
    from bgrem.denoising import denoise
    from bgrem.frame.sources import Frame
    from bgrem.simulate.noise import correlate_noise

    kind, noise, seed = name.split()
    field = simulate_field(shape=THRESHOLD_SHAPE, seed=int(seed), **detection.KINDS[kind])
    pixels = field.observed.astype(float)
    if noise == "correlated":
        rng = np.random.default_rng([int(seed), 19])
        pixels = pixels - field.noise + correlate_noise(rng, field.noise)
    done = denoise(pixels, DenoiseConfig(), model=_optical_model())
    planes = pixels - done.background.pixels[..., 0], done.result.pixels[..., 0], done.sigma[..., 0]
    return field, Frame.of(*planes, None)


@functools.cache
def _optical_model() -> Any:
    from bgrem.config import DenoiseConfig
    from bgrem.inference.run import load_for

    return load_for(DenoiseConfig())


def measure_threshold(frame: tuple[Any, Any]) -> Measured:
    """Return false and true sources above the automatic threshold, as the engine sep has them."""
    from bgrem.cataloguing.threshold import find_threshold
    from bgrem.config import CatalogConfig
    from bgrem.frame.detect import Detections, extract_with_sep
    from bgrem.validation import metrics

    field, planes = frame
    threshold, config = find_threshold(planes), CatalogConfig()
    found, _ = extract_with_sep(
        planes.denoised / (planes.sigma * threshold.sigma), 1.0, kernel=None,
        contrast=config.deblend_contrast, minimum_area=config.minimum_area,
    )  # fmt: skip
    outcome = metrics.score(
        Detections(found["x"], found["y"], found["flux"]), field.catalogue, field.fwhm
    )
    return {
        "false": outcome.false / field.observed.size * 1e6,
        "true": outcome.true / metrics.listed_number(field.catalogue),
        "digest": digest(np.asarray(threshold.sigma)),
    }


MEASURES: dict[str, Group] = {
    "noise map": Group(
        (Figure("flux error on streaks", "%", 5, 100),
         Figure("flux error off streaks", "%", 3, 100),
         Figure("8 sigma found", "%", 4, 100), Figure("trails kept", "%", 2, 100),
         Figure("map error", "noise", 0.02)),
        staring_frames, prepare_staring, measure_staring, staring_per_frame,
    ),
    "smooth background": Group(
        (Figure("rms", "noise", 0.01), Figure("level", "noise", 0.01),
         Figure("noise", "%", 1, 100)),
        field_frames, prepare_field, measure_field, plain_per_frame,
    ),
    "light over a border": Group(
        (Figure("rms", "noise", 0.05), Figure("level", "noise", 0.01),
         Figure("noise", "%", 1, 100)),
        glow_frames, prepare_field, measure_field, plain_per_frame,
    ),
    "rest of the sky": Group(
        (Figure("rms", "noise", 0.01), Figure("level", "noise", 0.01)),
        field_frames, prepare_seen, measure_seen, plain_per_frame,
    ),
    "object map": Group(
        (Figure("every", "%", 3, 100), Figure("outside", "%", 3, 100),
         Figure("recall", "%", 2, 100), Figure("false", "%", 1, 100)),
        scene_frames, prepare_scene, measure_scene, plain_per_frame,
    ),
    "threshold": Group(
        (Figure("false", "per Mpx", 2), Figure("true", "%", 0.5, 100)),
        threshold_frames, prepare_threshold, measure_threshold, plain_per_frame,
    ),
    "help of the user": Group(
        (Figure("every", "%", 3, 100), Figure("outside", "%", 3, 100)),
        decisions.guided_frames, decisions.prepare_guided, decisions.measure_guided,
        plain_per_frame,
    ),
    "added or lost light": Group(
        (Figure("right", "%", 10, 100), Figure("wrong", "%", 5, 100)),
        decisions.operation_frames, decisions.prepare_operation, decisions.measure_operation,
        plain_per_frame,
    ),
    "uncertainty": Group(
        (Figure("within", "%", 5, 100),),
        decisions.uncertain_frames, decisions.prepare_uncertain, decisions.measure_uncertain,
        plain_per_frame,
    ),
    "blends": Group(
        (Figure("true", "%", 1, 100), Figure("false", "per Mpx", 2)),
        decisions.blend_frames, decisions.prepare_blends, decisions.measure_blends,
        plain_per_frame,
    ),
    "profile fluxes": Group(
        (Figure("faint", "%", 1, 100), Figure("bright", "%", 0.5, 100), Figure("pull", "", 0.1)),
        decisions.blend_frames, decisions.prepare_blends, decisions.measure_profiles,
        plain_per_frame,
    ),
    "withheld light": Group(
        (Figure("bias", "%", 2, 100), Figure("scatter", "%", 2, 100)),
        decisions.exposure_frames, decisions.prepare_exposure, decisions.measure_exposure,
        plain_per_frame,
    ),
    "sharp sources": Group(
        (Figure("tracks", "%", 5, 100), Figure("stars", "%", 0.5, 100)),
        decisions.sharp_frames, decisions.prepare_sharp, decisions.measure_sharp, plain_per_frame,
    ),
    "verdict": Group(
        (Figure("warned", "%", 15, 100),),
        decisions.verdict_frames, decisions.prepare_verdict, decisions.measure_verdict,
        plain_per_frame,
    ),
    "missing pixels": Group(
        (Figure("missed", "%", 1, 100), Figure("wrong", "%", 0.01, 100)),
        decisions.missing_frames, decisions.prepare_missing, decisions.measure_missing,
        plain_per_frame,
    ),
}  # fmt: skip
