"""What the user draws on the page: areas and points, in pixels of the frame from 0."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MOST_MARKS = 2000  # areas and points; a hand makes no more
MOST_POINTS = 20_000  # of one outline or stroke
FARTHEST_PX = 1e6  # px; no frame is larger


@dataclass(frozen=True)
class Marks:
    """Areas and points of one frame.

    Attributes
    ----------
    areas : tuple of dict
        `kind` (what it means) and `shape`: "ellipse" with x, y, its half axes rx, ry and `angle`,
        degrees, as in DS9: of the first axis, from x towards y; "polygon" with points; "brush"
        with points and radius.
    points : tuple of (x, y, radius)
        Points of sky.
    """

    areas: tuple[Mapping[str, Any], ...] = ()
    points: tuple[tuple[float, float, float], ...] = field(default=())

    @classmethod
    def read(cls, content: Any, kinds: Sequence[str]) -> "Marks":
        """Return the marks that the browser has sent.

        Raises
        ------
        ValueError
            If one is not as the class says, or there are too many.
        """
        if not isinstance(content, dict):
            raise ValueError("marks: expected areas and points.")
        areas, points = content.get("areas", []), content.get("points", [])
        for what, found in (("areas", areas), ("points", points)):
            if not isinstance(found, list) or len(found) > MOST_MARKS:
                raise ValueError(f"marks: {what} are a list of {MOST_MARKS} or fewer.")
        read = tuple(_read_area(one, kinds) for one in areas)
        return cls(read, tuple(_triple(one) for one in points))

    def plain(self) -> dict[str, Any]:
        """Return the marks as JSON has them."""
        return {"areas": [dict(one) for one in self.areas], "points": [*map(list, self.points)]}

    def draw(self, kind: str, shape: tuple[int, int]) -> np.ndarray | None:
        """Return the pixels in areas of a kind, bool (H, W); None if there is no such area."""
        wanted = [one for one in self.areas if one["kind"] == kind]
        if not wanted:
            return None
        marked = np.zeros(shape, bool)
        for one in wanted:
            _SHAPES[one["shape"]](one, marked)
        return marked


def _read_area(one: Any, kinds: Sequence[str]) -> dict[str, Any]:
    if not isinstance(one, dict) or one.get("kind") not in kinds or one.get("shape") not in _SHAPES:
        raise ValueError(f"marks: an area has a kind ({', '.join(kinds)}) and a shape.")
    area: dict[str, Any] = {"kind": one["kind"], "shape": one["shape"]}
    if one["shape"] == "ellipse":
        sizes = {name: _number(one.get(name)) for name in ("x", "y", "rx", "ry")}
        return area | sizes | {"angle": _number(one.get("angle", 0))}
    points = one.get("points")
    if not isinstance(points, list) or not 0 < len(points) <= MOST_POINTS:
        raise ValueError(f"marks: an outline has 1 to {MOST_POINTS} points.")
    area["points"] = [[_number(x) for x in _items(point, 2)] for point in points]
    return area | ({"radius": _number(one.get("radius"))} if one["shape"] == "brush" else {})


def _items(value: Any, count: int) -> list[Any]:
    if not isinstance(value, list) or len(value) != count:
        raise ValueError(f"marks: expected {count} numbers, got {str(value)[:60]}.")
    return value


def _triple(point: Any) -> tuple[float, float, float]:
    x, y, radius = (_number(one) for one in _items(point, 3))
    return x, y, radius


def _number(value: Any) -> float:
    usable = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not usable or not math.isfinite(value) or abs(value) > FARTHEST_PX:
        raise ValueError(f"marks: expected a number of pixels, got {str(value)[:60]}.")
    return float(value)


def _box(
    marked: np.ndarray, x: Sequence[float], y: Sequence[float], reach: float
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """Return the part of a frame around points, and its rows and columns."""
    height, width = marked.shape
    top, bottom = max(0, math.floor(min(y) - reach)), min(height, math.ceil(max(y) + reach) + 1)
    left, right = max(0, math.floor(min(x) - reach)), min(width, math.ceil(max(x) + reach) + 1)
    rows, columns = np.ogrid[top : max(top, bottom), left : max(left, right)]
    return (slice(top, max(top, bottom)), slice(left, max(left, right))), rows, columns


def _ellipse(one: Mapping[str, Any], marked: np.ndarray) -> None:
    x, y, rx, ry = one["x"], one["y"], max(abs(one["rx"]), 0.5), max(abs(one["ry"]), 0.5)
    turn = math.radians(one["angle"])
    cosine, sine = math.cos(turn), math.sin(turn)
    wide, tall = math.hypot(rx * cosine, ry * sine), math.hypot(rx * sine, ry * cosine)
    part, rows, columns = _box(marked, (x - wide, x + wide), (y - tall, y + tall), 0)
    along = cosine * (columns - x) + sine * (rows - y)
    across = cosine * (rows - y) - sine * (columns - x)
    marked[part] |= (along / rx) ** 2 + (across / ry) ** 2 <= 1


def _polygon(one: Mapping[str, Any], marked: np.ndarray) -> None:
    from skimage.draw import polygon

    points = np.asarray(one["points"])
    marked[polygon(points[:, 1], points[:, 0], marked.shape)] = True


def _brush(one: Mapping[str, Any], marked: np.ndarray) -> None:
    points, radius = one["points"], max(abs(one["radius"]), 0.5)
    for (x0, y0), (x1, y1) in zip(points, points[1:] or points, strict=False):
        part, rows, columns = _box(marked, (x0, x1), (y0, y1), radius)
        dx, dy = x1 - x0, y1 - y0
        along = ((columns - x0) * dx + (rows - y0) * dy) / ((dx * dx + dy * dy) or 1.0)
        along = np.clip(along, 0, 1)
        nearest = (columns - x0 - along * dx) ** 2 + (rows - y0 - along * dy) ** 2
        marked[part] |= nearest <= radius**2


_SHAPES = {"ellipse": _ellipse, "polygon": _polygon, "brush": _brush}
