"""Keep satellites and trails out of the map: what is replaced in a frame before it is mapped.

A network reproduces a part of everything that it is given, of satellites too. It cannot reproduce
what it is not given. There is one strategy for each kind of frame, chosen by `choose_protection`:

    NoProtection      the user has switched it off
    WithoutStreaks    the stars are round: all light that is not sky is replaced by the sky
    LongStreaks       points and trails are replaced by their neighbours along the streaks
    ShortStreaks      longer lines are replaced by the sky, points by a first map

What replaces light gets noise of its own: without noise it would be a structure.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bgrem.config import NoiseMapConfig
from bgrem.noise_mapping.hiding import hide_long_trails, hide_without_streaks, mask_compact_light
from bgrem.noise_mapping.neighbours import NeighbourLight, correct_streaks, light_along
from bgrem.noise_mapping.streaks import Streaks, find_streaks

# maps before the last: a first map still has a part of the light that is searched for
HIDING_ROUNDS = 2
MAX_POINT_PIXELS = 40  # pixels above half the threshold; larger patches are left-overs of streaks

# maps a frame once: takes frame and generator, returns the map, both (H, W) in units of the noise
MapOnce = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True, eq=False)
class Protected:
    """A frame as the network is given it: both (H, W).

    Attributes
    ----------
    flat : array
        In units of the noise.
    hidden : bool array
        Satellites, trails, perhaps stars: light that stays in the residual.
    """

    flat: np.ndarray
    hidden: np.ndarray


@dataclass(frozen=True, eq=False)
class Protection(ABC):
    """One strategy for one frame.

    Attributes
    ----------
    flat : array, shape (H, W)
        Frame without smooth background and bands, in units of its noise.
    """

    flat: np.ndarray

    @abstractmethod
    def protect(self, map_once: MapOnce, rng: np.random.Generator) -> Protected:
        """Return the frame without the light that is to stay in the residual.

        Parameters
        ----------
        map_once : callable
            Maps a frame with the network.
        rng : numpy.random.Generator
            Draws the noise, here and in `map_once`.
        """

    def finish(self, mapped: np.ndarray) -> np.ndarray:
        """Return the map (H, W), in units of the noise, with what the strategy corrects in it."""
        return mapped

    def _replaced(
        self, where: np.ndarray, light: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the frame with other light, and noise of its own, in a mask: all (H, W)."""
        noise = rng.standard_normal(self.flat.shape, np.float32)
        return np.where(where, light + noise, self.flat)


def choose_protection(flat: np.ndarray, config: NoiseMapConfig) -> Protection:
    """Return the strategy for a frame, by its streaks.

    Parameters
    ----------
    flat : array, shape (H, W)
        Frame without smooth background and bands, in units of its noise.
    config : NoiseMapConfig
        `protect` is the threshold of points and trails in units of their noise; 0: no protection.
    """
    if not config.protect:
        return NoProtection(flat)
    streaks = find_streaks(flat)
    if streaks is None:
        return WithoutStreaks(flat, config.protect)
    if streaks.short:
        return ShortStreaks(flat, config.protect, streaks)
    return LongStreaks(flat, streaks, light_along(flat, streaks, config.protect))


@dataclass(frozen=True, eq=False)
class NoProtection(Protection):
    """The network is given the frame as it is."""

    def protect(self, map_once: MapOnce, rng: np.random.Generator) -> Protected:
        """Return the frame, nothing hidden."""
        return Protected(self.flat, np.zeros(self.flat.shape, bool))


@dataclass(frozen=True, eq=False)
class WithoutStreaks(Protection):
    """All light that is not sky is replaced by the sky."""

    threshold: float

    def protect(self, map_once: MapOnce, rng: np.random.Generator) -> Protected:
        """Return the sky where there is other light, and the frame elsewhere."""
        hidden, sky = hide_without_streaks(self.flat, self.threshold)
        return Protected(self._replaced(hidden, sky, rng), hidden)


@dataclass(frozen=True, eq=False)
class LongStreaks(Protection):
    """Points, trails and bright streaks are replaced by their neighbours along the streaks.

    The streaks are put back into the map by `finish`; points and trails are not.
    """

    streaks: Streaks
    along: NeighbourLight

    def protect(self, map_once: MapOnce, rng: np.random.Generator) -> Protected:
        """Return the neighbours' light on points, trails and bright streaks."""
        where = self.along.points | self.along.bright
        return Protected(self._replaced(where, self.along.light, rng), self.along.points)

    def finish(self, mapped: np.ndarray) -> np.ndarray:
        """Return the map with bright streaks as their neighbours give them."""
        return correct_streaks(mapped, self.flat, self.streaks, self.along)


@dataclass(frozen=True, eq=False)
class ShortStreaks(Protection):
    """Lines longer than the streaks are replaced by the sky, points by a map without them.

    Neighbours along short streaks are dark. What is brighter than a first map is searched instead,
    and replaced by that map, as inpainting with diffusion does (Lugmayr et al. 2022).
    """

    threshold: float
    streaks: Streaks

    def protect(self, map_once: MapOnce, rng: np.random.Generator) -> Protected:
        """Return the sky on long lines, and the map on points that are brighter than it."""
        trails, sky = hide_long_trails(self.flat, self.streaks)
        hidden, replaced = trails, self._replaced(trails, sky, rng)
        for _ in range(HIDING_ROUNDS):
            mapped = map_once(replaced, rng)
            points = mask_compact_light(self.flat - mapped, self.threshold, MAX_POINT_PIXELS)
            hidden = trails | points
            replaced = self._replaced(hidden, np.where(trails, sky, mapped), rng)
        return Protected(replaced, hidden)
