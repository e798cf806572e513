"""Which constants sensitivity.py varies, and how one is changed in every module that has it."""

import ast
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from scipy import special

PACKAGES = ("bgrem", "bgoptimizer", "common")
FACTORS = (0.8, 1.25)
NEAR_ONE = 0.8

# The one table with paths of modules: {group: {module: names}}; NAME[k] is one value of a tuple.
# Left out are limits of memory (rows, chunks, pixels at most): they are not tuned.
GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "noise map": {
        "bgrem.noise_mapping.protection": (
            "HIDING_ROUNDS",
            "MAX_POINT_PIXELS",
        ),
        "bgrem.noise_mapping.hiding": (
            "SEARCH_ROUNDS",
            "POINT_SIGMA_PX",
            "LOCAL_NOISE_SIDE_PX",
            "MAX_LOCAL_NOISE",
            "MIN_TRAIL_TO_STREAK_LENGTH",
            "MAX_TRAIL_VARIANCE_RATIO",
            "TRAIL_MARGIN_PX",
            "PEAK_FOOT_SHARE",
            "PEAK_MARGIN_PX",
        ),
        "bgrem.noise_mapping.neighbours": (
            "NEIGHBOUR_DISTANCES_PX[0]",
            "NEIGHBOUR_DISTANCES_PX[1]",
            "SEARCH_DISTANCES_PX[0]",
            "SEARCH_DISTANCES_PX[1]",
            "MAX_FILL_DISTANCE_PX",
            "FILL_NEIGHBOURS",
            "STREAK_END_NOISE",
            "MAX_HIDDEN_SHARE",
            "STREAK_END_MARGIN_PX",
        ),
        "bgrem.noise_mapping.residual_noise": (
            "RMS_BRIGHTNESS_SIDE_PX",
            "MIN_PIXELS_FOR_RMS",
            "MIN_PIXELS_FOR_SCATTER",
            "TAIL_SHARE",
        ),
        "bgrem.noise_mapping.streaks": (
            "STREAK_SMOOTHING_PX",
            "MIN_STREAK_LIGHT",
            "BRIGHT_STREAK_NOISE",
            "MAX_SKY_NOISE",
            "SKY_WIDTH_PX",
            "MAX_SHIFT_PX",
            "MIN_SHIFT_PX",
            "COARSE_SHIFT_PX",
            "MIN_CORRELATION_SCATTER",
            "MIN_USABLE_LENGTH_PX",
            "MIN_USABLE_LENGTH_WIDTHS",
            "MAX_POWER_SHARE",
            "MIN_STREAK_PIXELS",
            "MIN_ELONGATION",
            "MAX_STREAK_ANGLE",
            "MIN_PARALLEL_OBJECTS",
            "MIN_PARALLEL_SHARE",
            "ROUNDNESS_SHIFT_PX",
            "MIN_CORRELATION_RATIO",
        ),
    },
    "smooth background": {
        "bgrem.frame.background": (
            "BACKGROUND_MESH_PX",
            "MESH_FILTER_SIDE",
            "MIN_BACKGROUND_MESH_PX",
            "BACKGROUND_MASK_ROUNDS",
            "BACKGROUND_MASK_SIGMA",
            "BACKGROUND_MASK_GROWTH",
            "CONSTANT_BLOCK_PX",
            "MAX_CONSTANT_SHARE",
            "BACKGROUND_MASK_SCALES_PX[0]",
            "BACKGROUND_MASK_SCALES_PX[1]",
            "MIN_MASK_LEVEL",
            "MOST_MASKED",
            "LEAST_NOISE",
            "MESHES_PER_WAVE",
            "CORRELATION_ERRORS[0]",
            "CORRELATION_ERRORS[1]",
            "MESHES_IN_TROUGH",
            "TROUGH_TAIL",
            "TROUGH_DEPTHS[0]",
            "TROUGH_DEPTHS[1]",
            "WAVE_SCALE",
            "WAVE_ROUNDS",
            "TREND_DEGREE",
            "TREND_ROUNDS",
            "BLOCKS_PER_SIDE",
            "MEASURED_SHARE",
            "BLOCKS_PER_TERM",
            "BLOCK_PERCENTILE",
            "TREND_CLIP",
            "DARK_RESIDUAL",
        ),
        "bgrem.frame.noise": (
            "DARK_QUANTILE",
            "CALM_SMOOTHING_PX",
            "FAR_LAG_PX",
            "MAX_CORRELATION",
        ),
        "common.smooth.quadratic": (
            "BLOCK_PX",
            "REACH",
            "STIFFNESS",
        ),
        "bgrem.frame.sky.steps": (
            "STEP_SIGMA",
            "STEP_REACH_PX",
            "STEP_SIDES_PX[0]",
            "STEP_SIDES_PX[1]",
            "MIN_STEP_SIDE_PX",
            "MAX_STEP_CHANGE",
        ),
    },
    "object map": {
        "bgoptimizer.robust.mask": (
            "TEXTURE_SCALES_CELLS[0]",
            "TEXTURE_SCALES_CELLS[1]",
            "MAX_TEXTURE_RATIO",
            "TEXTURE_RATIO",
            "CALM_SHARE",
            "TEXTURE_WIDE",
            "WIDE_SEED",
            "WIDE_EDGE",
            "EDGE_CELLS",
            "GUARD_RING_HEIGHTS",
            "GROW_NOISE_SIGMA",
            "GROW_MODEL_SIGMA",
            "GROW_SCALES[0]",
            "GROW_SCALES[1]",
            "MAX_GROW_ROUNDS",
            "CHOOSE_EVERY",
            "LEAST_OUTSIDE",
            "MAX_OBJECT_SHARE",
            "COMPACT_SIGMA",
            "COMPACT_SIDE",
            "ROBUST_CLIP",
            "BOUND_START",
            "BOUND_RANGE",
            "FLOOR_DEPTH_SIGMA",
            "FLOOR_SIDE",
            "FLOOR_OPENING",
            "FLOOR_RIM",
            "LEAST_SKY",
        ),
        "bgoptimizer.robust.smoothing": ("AVERAGE_MARGIN",),
        "bgoptimizer.robust.trend": (
            "CLIP_BELOW",
            "CLIP_ABOVE",
            "DARK_SHARE",
            "MAX_RANGE",
            "DEGREE_MARGIN",
            "CLIP_ROUNDS",
        ),
        "bgoptimizer.robust.plans": ("FLAT_MARGIN",),
        "bgoptimizer.robust.fit": ("LAST_ROUNDS",),
        "bgoptimizer.cells": ("STEP_REPEATS", "STEP_NOISE", "CELLS_PER_SHORT_SIDE"),
    },
    "threshold": {
        "bgrem.cataloguing.threshold": (
            "WHITE_NOISE_THRESHOLD",
            "INFLATION_OFFSET",
            "INFLATION_FWHM_PX",
            "MAX_EMPTY_SIGMA",
            "EMPTY_MARGIN_PX",
            "INFLATION_MESH_PX",
            "MIN_EMPTY_SHARE",
        ),
    },
    "help of the user": {
        "bgoptimizer.guidance.reference": (
            "STRUCTURE_CELLS[0]",
            "STRUCTURE_CELLS[1]",
            "STRUCTURE_CELLS[2]",
            "SCALE_ERROR",
            "SMOOTHING_CELLS",
            "STRUCTURE_SIGMA",
            "MIN_SCALE_SIGMA",
            "MISFIT_SHARE",
            "CLIP_SIGMA",
            "SCALE_ROUNDS",
            "MOST_PLACES",
        ),
        "bgoptimizer.robust.mask": ("SURE_WEIGHT", "MIN_SAMPLE_CELLS"),
    },
    "added or lost light": {
        "bgoptimizer.operation": (
            "TILES_PER_HEIGHT",
            "DETECTION_SIGMA",
            "FLUX_QUANTILE",
            "BRIGHT_RATIO",
            "APERTURE_PX",
            "MIN_STARS",
            "FITS_SIGMA",
            "FAILS_SIGMA",
            "FIT_ROUNDS",
        ),
    },
    "uncertainty": {
        "bgoptimizer.robust.uncertainty": (
            "WIDER_CELLS",
            "WING_LENGTH_HEIGHTS",
            "EXTENDED_HALF_WIDTH",
        ),
    },
    "sharp sources": {
        "bgrem.cataloguing.sharp": (
            "STARS_FOR_SHARPNESS",
            "SHARPNESS_SIGMA",
            "REACH_PX",
        ),
    },
    "verdict": {
        "bgrem.validation.verdict": (
            "MIN_STARS_FOR_VERDICT",
            "MIN_BRIGHT_FOUND",
            "MAX_FALSE_PER_MEGAPIXEL",
            "SIGNIFICANCE",
        ),
    },
    "missing pixels": {
        "common.reading.missing": (
            "MAX_MAGNITUDE",
            "MAX_SPREAD_RATIO",
            "SPREAD_QUANTILE",
            "MIN_USUAL_SHARE",
            "MAX_FILL_VALUES",
            "MIN_LINE_PIXELS",
            "MAX_PIXELS_PER_CORE",
            "MIN_SOLID_SHARE",
            "MIN_EDGE_RATIO",
            "MAX_EQUAL_SHARE",
            "BRIGHT_SIDE_PX",
            "MIN_BRIGHT_EDGE",
            "MIN_MARKERS",
            "MIN_MARKER_GAP",
        ),
    },
}

# Constants that follow from another one: {(module, name): (name of the follower, its value)}.
FOLLOWERS: dict[tuple[str, str], tuple[str, Callable[[Any], Any]]] = {
    ("bgrem.noise_mapping.residual_noise", "TAIL_SHARE"): (
        "TAIL_SIGMA", lambda share: float(special.ndtri(1 - share / 2)),
    ),
    ("bgrem.frame.background", "TREND_DEGREE"): (
        "TREND_POWERS",
        lambda degree: [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)],
    ),
}  # fmt: skip

# The value at which a constant does nothing, for those that have one: {module: {label: value}}. It
# is measured as a third variant; what does not need the constant then may lose it.
OFF: dict[str, dict[str, Any]] = {
    "bgrem.noise_mapping.protection": {"MAX_POINT_PIXELS": 0},
    "bgrem.noise_mapping.hiding": {"SEARCH_ROUNDS": 1, "MAX_LOCAL_NOISE": np.inf},
    "bgrem.noise_mapping.neighbours": {"STREAK_END_NOISE": np.inf, "STREAK_END_MARGIN_PX": 0.0},
    "bgrem.noise_mapping.residual_noise": {
        "RMS_BRIGHTNESS_SIDE_PX": 1, "MIN_PIXELS_FOR_RMS": 1, "MIN_PIXELS_FOR_SCATTER": 1,
    },
    "bgrem.noise_mapping.streaks": {
        "MIN_CORRELATION_SCATTER": -np.inf, "MIN_USABLE_LENGTH_PX": 0.0,
        "MIN_USABLE_LENGTH_WIDTHS": 0.0, "MAX_POWER_SHARE": np.inf, "MIN_STREAK_PIXELS": 1,
        "MIN_ELONGATION": 1.0, "MAX_STREAK_ANGLE": np.pi / 4, "MIN_PARALLEL_OBJECTS": 0,
        "MIN_PARALLEL_SHARE": 0.0, "MIN_CORRELATION_RATIO": 0.0,
    },
    "bgrem.frame.background": {
        "MESH_FILTER_SIDE": 1, "BACKGROUND_MASK_ROUNDS": 1, "MIN_MASK_LEVEL": 0.0,
        "MOST_MASKED": 1.0, "LEAST_NOISE": 0.0, "TREND_ROUNDS": 1,
        "BLOCK_PERCENTILE": 50, "TREND_CLIP": np.inf, "DARK_RESIDUAL": 1.0,
    },
    "bgoptimizer.robust.mask": {
        "MAX_TEXTURE_RATIO": np.inf, "GROW_NOISE_SIGMA": 0.0,
        "GROW_MODEL_SIGMA": 0.0, "MAX_GROW_ROUNDS": 1, "CHOOSE_EVERY": 1,
        "LEAST_OUTSIDE": 0.0, "MAX_OBJECT_SHARE": 1.0,
        "COMPACT_SIGMA": np.inf, "BOUND_START": 0.0,
        "LEAST_SKY": 0.0,
    },
    "bgoptimizer.robust.smoothing": {"AVERAGE_MARGIN": 0.0},
    "bgrem.cataloguing.threshold": {
        "INFLATION_OFFSET": 0.0, "EMPTY_MARGIN_PX": 1, "INFLATION_MESH_PX": 100_000,
        "MIN_EMPTY_SHARE": 0.0,
    },
}  # fmt: skip
SWITCHED_OFF = 0.0  # stands for a factor where a constant has its value of `OFF`

# Functions whose results are kept while a frame is measured, as a change of one constant leaves
# most of their arguments as they were: {group: {name: (module, number of arguments that matter,
# modules of the group's constants that the function reads)}}.
MAPPING = "bgrem.noise_mapping"
REMEMBERED: dict[str, dict[str, tuple[str, int, tuple[str, ...]]]] = {
    "noise map": {
        "shift": ("scipy.ndimage", 2, ()),
        "map_coordinates": ("scipy.ndimage", 2, ()),
        "run_tiles": (f"{MAPPING}.runs", 1, ()),  # model, tiles and time are always the same
        "find_units": (f"{MAPPING}.flow", 1, ()),
        "find_streaks": (f"{MAPPING}.protection", 1, (f"{MAPPING}.streaks",)),
        "_scatter_curve": (f"{MAPPING}.residual_noise", 2, (f"{MAPPING}.residual_noise",)),
        "_neighbours": (f"{MAPPING}.neighbours", 4, (f"{MAPPING}.neighbours",)),
    },
    "object map": {
        "Grid": ("bgoptimizer.robust.fit", 4, ()),
        "Prior.fit": ("bgoptimizer.robust.smoothing", 4, ()),
        "Prior.deviation": ("bgoptimizer.robust.smoothing", 4, ()),
        "Prior.held_out": ("bgoptimizer.robust.smoothing", 4, ()),
    },
}


@dataclass(frozen=True)
class Constant:
    """One number of a module; `place` is its place in a tuple, or None."""

    group: str
    module: str
    name: str
    place: int | None = None

    @property
    def label(self) -> str:
        """As the table writes it."""
        return self.name if self.place is None else f"{self.name}[{self.place}]"

    @property
    def value(self) -> Any:
        """What it is now."""
        whole = getattr(importlib.import_module(self.module), self.name)
        return whole if self.place is None else whole[self.place]


def constants_of(group: str) -> list[Constant]:
    """Return the constants of a group in the table's order."""
    found = []
    for module, names in GROUPS[group].items():
        for label in names:
            name, _, place = label.rstrip("]").partition("[")
            found.append(Constant(group, module, name, int(place) if place else None))
    return found


def changed_value(value: Any, factor: float) -> Any:
    """Return value * factor; an integer changes by one at least and stays above 0.

    Of a share near 1 the rest changes: 0.9 becomes 0.88 and 0.92.
    """
    if isinstance(value, float) and NEAR_ONE < value < 1:
        return 1 - (1 - value) / factor
    if not isinstance(value, int):
        return type(value)(value * factor)
    new = round(value * factor)
    if new == value:
        new += 1 if factor > 1 else -1
    return max(new, 1)


def variants(constant: Constant) -> dict[float, Any]:
    """Return the other values of a constant, by factor: those of `FACTORS`, then that of `OFF`."""
    found = {factor: changed_value(constant.value, factor) for factor in FACTORS}
    off = OFF.get(constant.module, {})
    if constant.label in off:
        found[SWITCHED_OFF] = off[constant.label]
    return {factor: new for factor, new in found.items() if new != constant.value}


@contextmanager
def changed(constant: Constant, new: Any) -> Iterator[None]:
    """Give a constant another value in its module and wherever it was imported by name.

    Raises
    ------
    RuntimeError
        If a module of the project is imported meanwhile: it would keep the value.
    """
    home = importlib.import_module(constant.module)
    whole = getattr(home, constant.name)
    if constant.place is not None:
        new = (*whole[: constant.place], new, *whole[constant.place + 1 :])
    values = {constant.name: new}
    if (constant.module, constant.name) in FOLLOWERS:
        follower, function = FOLLOWERS[constant.module, constant.name]
        values[follower] = function(new)
    before = [
        (module, alias, getattr(module, alias), value)
        for name, value in values.items()
        for module, alias in bindings(home, name)
    ]
    loaded = {id(module) for module in _project_modules()}
    try:
        for module, alias, _, value in before:
            setattr(module, alias, value)
        yield
    finally:
        for module, alias, old, _ in before:
            setattr(module, alias, old)
    late = [one.__name__ for one in _project_modules() if id(one) not in loaded]
    if late:
        raise RuntimeError(f"{late} imported while {constant.label} was changed. Import it before.")


def bindings(home: ModuleType, name: str) -> list[tuple[ModuleType, str]]:
    """Return the modules, with the names in them, that have a constant of `home`."""
    found = [(home, name)]
    for module in _project_modules():
        for source, original, alias in _imports(str(module.__file__)):
            if (source, original) == (home.__name__, name):
                found.append((module, alias))
    return found


@cache
def _imports(file: str) -> list[tuple[str, str, str]]:
    """Return (module, name, name here) of what a file imports at its top by `from ... import`."""
    return [
        (str(node.module), one.name, one.asname or one.name)
        for node in ast.parse(Path(file).read_text("utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for one in node.names
    ]


def _project_modules() -> list[ModuleType]:
    """Return the loaded modules of the packages and of this folder."""
    folder = str(Path(__file__).parent)
    return [
        module for name, module in sorted(sys.modules.items())
        if (file := getattr(module, "__file__", None)) and file.endswith(".py")
        and (name.split(".")[0] in PACKAGES or str(Path(file).parent) == folder)
    ]  # fmt: skip
