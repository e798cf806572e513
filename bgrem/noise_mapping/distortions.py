"""How the streaks of a frame turn, stretch and widen from place to place.

Bright streaks tell it one by one. All of them together give a linear function of the place, which
is what fainter ones have.
"""

from dataclasses import dataclass

import numpy as np

from bgrem.noise_mapping.template import DISTORTIONS, START_WIDTH_PX, Template
from common.robust import MAD_TO_SIGMA

PLACE_ERROR_PX = 0.5  # px; prior of a change of place, of a streak or of its ends and rims
ROUNDS = 5  # of reweighting


@dataclass(frozen=True, eq=False)
class Distortions:
    """Distortions as a linear function of the place, and how much single stars differ from it.

    Attributes
    ----------
    slopes : array, shape (2, 3)
        Change of turned, stretched, widened from the frame's middle to its right, its upper edge.
    scatter : array, shape (3,)
    shape : tuple of int
        Of the frame.
    """

    slopes: np.ndarray
    scatter: np.ndarray
    shape: tuple[int, int]

    def at(self, table: np.ndarray) -> np.ndarray:
        """Return the distortions that stars (N, 2 or more: x, y) are expected to have: (N, 3)."""
        return _places(table, self.shape) @ self.slopes


def unknown_distortions(template: Template, shape: tuple[int, int]) -> Distortions:
    """Return distortions of which nothing is known: they move no light by more than a place's error."""
    half = np.array([template.length / 2, template.length / 2, START_WIDTH_PX])
    return Distortions(np.zeros((2, DISTORTIONS)), PLACE_ERROR_PX / half, shape)


def measure_distortions(
    unknown: Distortions, table: np.ndarray, found: np.ndarray, errors: np.ndarray
) -> tuple[Distortions, np.ndarray]:
    """Return the distortions of a frame from those of single stars, and their common part (3,).

    a + b x + c y is fitted to the stars' values with Cauchy's weights; (x, y) is the place in the
    frame from -1 to 1. The common part a belongs to the template.

    Parameters
    ----------
    unknown : Distortions
        Prior of the slopes and of the scatter.
    table : array, shape (N, 2 or more)
        x, y of the stars.
    found, errors : array, shape (N, 3)
        Their distortions; standard deviations, infinite where a star tells nothing.
    """
    terms = np.concatenate([np.ones((len(table), 1)), _places(table, unknown.shape)], 1)
    fits, scatters = np.zeros((3, DISTORTIONS)), unknown.scatter.copy()
    for k in range(DISTORTIONS):
        told = errors[:, k] < unknown.scatter[k]
        if told.sum() <= terms.shape[1]:
            continue
        x, value, error = terms[told], found[told, k], errors[told, k]
        off, scatter = value - np.median(value), 0.0
        for _ in range(ROUNDS):
            width = np.hypot(error, scatter)
            weight = 1 / (width**2 * (1 + (off / (2 * width)) ** 2))
            prior = np.diag([0, 1, 1]) / unknown.scatter[k] ** 2
            fits[:, k] = np.linalg.solve((x.T * weight) @ x + prior, (x.T * weight) @ value)
            off = value - x @ fits[:, k]
            spread = (MAD_TO_SIGMA * np.median(np.abs(off))) ** 2 - np.median(error) ** 2
            scatter = float(np.sqrt(max(spread, 1 / (1 / error**2).sum())))
        scatters[k] = min(scatter, unknown.scatter[k])
    return Distortions(fits[1:], scatters, unknown.shape), fits[0]


def _places(table: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the places of stars from -1 to 1 in the frame: (N, 2)."""
    height, width = shape
    return table[:, :2] * (2 / np.array([width, height])) - 1
