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

from scipy import special

PACKAGES = ("bgrem", "bgoptimizer", "common")
FACTORS = (0.8, 1.25)

# The one table with paths of modules: {group: {module: names}}; NAME[k] is one value of a tuple.
# Left out are limits of memory (ROWS, CHUNK, ENOUGH pixels): they are not tuned.
GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "noise map": {
        "bgrem.noise_mapping.flow": ("ROUNDS", "POINT_PIXELS"),
        "bgrem.noise_mapping.hiding": (
            "LOOKS", "POINT", "AROUND", "MOST", "LONGER", "THIN", "WINGS", "FOOT", "PEAK_RIM",
        ),
        "bgrem.noise_mapping.neighbours": (
            "NEAR[0]", "NEAR[1]", "FAR[0]", "FAR[1]", "BEYOND", "NEAREST", "AGREE", "COVERED",
            "STREAK_END", "LEAST_SPAN",
        ),
        "bgrem.noise_mapping.residual_noise": ("RIMS", "FEWEST", "FEWEST_IN_RANGE", "TAIL"),
        "bgrem.noise_mapping.streaks": (
            "SMOOTH", "FAINTEST", "BRIGHT", "FAINT", "WIDE", "REACH", "FIRST", "COARSE[0]",
            "COARSE[1]", "CHANCE", "SHORTEST", "NARROWEST", "LARGEST", "SMALLEST", "ELONGATED",
            "PARALLEL", "FEWEST", "SHARE", "NEARBY", "ROUNDEST",
        ),
    },
    "smooth background": {
        "bgrem.frame.background": (
            "MESH", "FILTER", "SMALLEST_MESH", "ROUNDS", "MASK_SIGMA", "SMOOTHING[0]",
            "SMOOTHING[1]", "FAINTEST", "MOST_MASKED", "LEAST_NOISE", "MESHES_PER_WAVE", "CREST",
            "CREST_SHARE", "SKEWED", "WAVE_TAIL", "TREND_DEGREE", "TREND_ROUNDS",
            "BLOCKS_PER_SIDE", "SMALLEST_BLOCK", "MEASURED_SHARE", "BLOCKS_PER_TERM",
            "BLOCK_PERCENTILE", "TREND_CLIP", "DARK_RESIDUAL",
        ),
    },
    "object map": {
        "bgoptimizer.robust.mask": (
            "TEXTURE_SEED", "TEXTURE_EDGE", "TEXTURE_SCALES[0]", "TEXTURE_SCALES[1]",
            "TEXTURE_SCALES[2]", "TEXTURE_CLIP", "TEXTURE_STIFFNESS", "TEXTURE_RATIO",
            "TEXTURE_REACH", "QUIET_SHARE", "RING", "GROW_NOISE", "GROW_MODEL", "GROW_SCALES[0]",
            "GROW_SCALES[1]", "GROW_SCALES[2]", "ROUNDS", "CHOOSE_EVERY", "SETTLED_CELLS",
            "SETTLED_SHARE", "LEAST_OUTSIDE", "TOO_MUCH", "COMPACT", "COMPACT_SIDE",
            "ROBUST_CLIP", "BOUND_START", "BOUND_RANGE", "FLOOR_DEPTH", "FLOOR_SIDE",
            "FLOOR_OPENING", "FLOOR_RIM", "FLOOR_SHARE[0]", "FLOOR_SHARE[1]", "NEGATIVE_DEPTH",
            "NEGATIVE_SHARE", "LEAST_SKY",
        ),
        "bgoptimizer.robust.smoothing": ("CHOICE_MARGIN", "AVERAGE_MARGIN"),
    },
    "threshold": {
        "bgrem.cataloguing.threshold": (
            "WHITE", "OFFSET", "WIDTH", "EMPTY", "MARGIN", "MESH", "ENOUGH",
        ),
    },
}  # fmt: skip

# Constants that follow from another one: {(module, name): (name of the follower, its value)}.
FOLLOWERS: dict[tuple[str, str], tuple[str, Callable[[Any], Any]]] = {
    ("bgrem.noise_mapping.residual_noise", "TAIL"): (
        "TAIL_SIGMA", lambda share: float(special.ndtri(1 - share / 2)),
    ),
    ("bgrem.frame.background", "TREND_DEGREE"): (
        "POWERS", lambda degree: [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)],
    ),
    ("bgoptimizer.robust.mask", "QUIET_SHARE"): (
        "QUIET_CHI2", lambda share: float(special.chdtri(1, 1 - share)),
    ),
}  # fmt: skip

# Functions whose results are kept while a frame is measured, as a change of one constant leaves
# most of their arguments as they were: {group: {name: (module, number of arguments that matter,
# modules of the group's constants that the function reads)}}.
MAPPING = "bgrem.noise_mapping"
REMEMBERED: dict[str, dict[str, tuple[str, int, tuple[str, ...]]]] = {
    "noise map": {
        "shift": ("scipy.ndimage", 2, ()),
        "map_coordinates": ("scipy.ndimage", 2, ()),
        "run_tiles": (f"{MAPPING}.flow", 1, ()),  # model, tiles and time are always the same
        "find_units": (f"{MAPPING}.flow", 1, ()),
        "find_streaks": (f"{MAPPING}.flow", 1, (f"{MAPPING}.streaks",)),
        "_widths": (f"{MAPPING}.residual_noise", 2, (f"{MAPPING}.residual_noise",)),
        "_neighbours": (f"{MAPPING}.neighbours", 4, (f"{MAPPING}.neighbours",)),
    },
    "object map": {
        "Grid": ("bgoptimizer.fitting", 4, ()),
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
    """Return value * factor; an integer changes by one at least and stays above 0."""
    if not isinstance(value, int):
        return type(value)(value * factor)
    new = round(value * factor)
    if new == value:
        new += 1 if factor > 1 else -1
    return max(new, 1)


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
