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
from sensitivity_groups import GROUPS, OFF, SWITCHED_OFF

PACKAGES = ("bgrem", "bgoptimizer", "common")
FACTORS = (0.8, 1.25)
NEAR_ONE = 0.8


def clipped_chi_square(sigma: float) -> float:
    """Return the mean of a squared Gaussian that is clipped at a number of standard deviations."""
    outside = special.erfc(sigma / np.sqrt(2))
    density = np.exp(-(sigma**2) / 2) / np.sqrt(2 * np.pi)
    return float(1 - outside - 2 * sigma * density + sigma**2 * outside)


# Constants that follow from another one: {(module, name): (name of the follower, its value)}.
FOLLOWERS: dict[tuple[str, str], tuple[str, Callable[[Any], Any]]] = {
    ("bgrem.noise_mapping.residual_noise", "TAIL_SHARE"): (
        "TAIL_SIGMA", lambda share: float(special.ndtri(1 - share / 2)),
    ),
    ("bgrem.noise_mapping.template", "HUBER_SIGMA"): ("CLIPPED_CHI_SQUARE", clipped_chi_square),
    ("bgrem.frame.sky.base", "TREND_DEGREE"): (
        "TREND_POWERS",
        lambda degree: [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)],
    ),
}  # fmt: skip


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
