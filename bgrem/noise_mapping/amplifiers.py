"""Parts of a frame that one amplifier reads, and the sky and bands of each of them."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import maximum_filter1d

from bgrem.frame.background import BACKGROUND_MESH_PX, sep_mesh
from bgrem.frame.sky.steps import level_steps

# IRAF's sections of amplifiers in one image: DSEC11, ASEC12 (CTIO), AMPSEC1
SECTION_KEYWORD = re.compile(r"(?:[AD]SEC\d\d|AMPSEC\d*)$")
SECTION = re.compile(r"\[(\d+):(\d+),(\d+):(\d+)\]$")
MIN_PART_PX = 16  # px; a narrower part has too few pixels for a median of its lines


@dataclass(frozen=True)
class Edges:
    """Borders of the amplifiers' parts, px, with 0 and the frame's size: columns and rows."""

    columns: tuple[int, ...]
    rows: tuple[int, ...]


def amplifier_edges(
    flat: np.ndarray, missing: np.ndarray, header: Mapping[str, Any] | None = None
) -> Edges:
    """Return where the parts of amplifiers end: by the header's sections, and by level steps.

    Parameters
    ----------
    flat : array, shape (H, W)
        Frame with its steps.
    missing : bool array, shape (H, W)
    header : mapping, optional
        Keywords.
    """
    sections = _sections(header or {})
    across, down = level_steps(flat, missing)
    found = []
    for profile, index in ((across, 0), (down, 2)):
        height = np.abs(np.diff(profile))
        # a step may lie within a pixel: the largest of neighbouring differences
        places = (np.flatnonzero(height * (height == maximum_filter1d(height, 5))) + 1).tolist()
        places += [edge for one in sections for edge in (one[index] - 1, one[index + 1])]
        edges = [0]
        for place in sorted(places):
            if place - edges[-1] >= MIN_PART_PX and len(profile) - place >= MIN_PART_PX:
                edges.append(int(place))
        found.append((*edges, len(profile)))
    return Edges(*found)


def _sections(header: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """Return first and last column, first and last row of the header's sections, 1-based."""
    values = (str(value).replace(" ", "") for key, value in header.items()
              if SECTION_KEYWORD.match(key))  # fmt: skip
    matches = [SECTION.match(value) for value in values]
    return [tuple(int(one) for one in match.groups()) for match in matches if match]


def sky_and_bands(left: np.ndarray, missing: np.ndarray, edges: Edges) -> np.ndarray:
    """Return smooth sky and bands of a frame without stars: (H, W).

    Rows have a median in each part between columns, columns in each part between rows.

    Parameters
    ----------
    left : array, shape (H, W)
        In units of its noise.
    missing : bool array, shape (H, W)
        Pixels that do not count.
    edges : Edges
    """
    sky = sep_mesh(np.where(missing, 0, left), BACKGROUND_MESH_PX, missing).back()
    known = np.where(missing, np.nan, left - sky)
    bands = np.zeros(left.shape)
    for axis, borders in ((1, edges.columns), (0, edges.rows)):
        for first, last in itertools.pairwise(borders):
            part = np.s_[:, first:last] if axis else np.s_[first:last]
            bands[part] += _median(known[part] - bands[part], axis)
    return np.asarray(sky + bands)


def _median(values: np.ndarray, axis: int) -> np.ndarray:
    """Return medians of lines, 0 where a line has no value."""
    return np.ma.median(np.ma.masked_invalid(values), axis=axis, keepdims=True).filled(0)
