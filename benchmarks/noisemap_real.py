"""Real frames with trails of satellites among stars that are points (noisemap.py)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sep
from noisemap_pictures import draw_maps

from common.io import read_image

FILES = ("streak_lco04m_starlink.fits", "streak_vatt4k.fits")
MESH, THRESHOLD, LEAST_AREA = 64, 5.0, 5  # px, sigma, px
APERTURE = 3.0  # px
KEPT = 0.9
TRAIL_LENGTH = 40  # px; a longer source is a trail
Map = Callable[[np.ndarray], np.ndarray]


def measure_real(folder: Path, ours: Map, pictures: Path | None) -> dict[str, Any]:
    """Print and return what survives in the residual: sources, and light of trails in the map."""
    report = {}
    for name in FILES:
        pixels = read_image(folder / name).pixels[..., 0].astype(float)
        found = ours(pixels)
        report[name] = figures = survivors(pixels, found)
        print(f"{name}: {figures['sources']} sources above {THRESHOLD:g} sigma, "
              f"{figures['survive']} of them keep {KEPT:.0%} of their flux "
              f"(median {figures['median']:.2f}, 10 % quantile {figures['quantile']:.2f}); "
              f"residual noise {figures['noise']:.2f} of the frame's; "
              f"trails: {figures['trail pixels']} px, {figures['trail in map']:.0%} of their "
              "light is in the map")  # fmt: skip
        if pictures:
            panels = {"frame": pixels, "map": found, "residual": pixels - found}
            draw_maps(panels, pictures / f"{Path(name).stem}.png")
    return report


def survivors(pixels: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    """Return how many sources of a frame are in its residual, and where its trails are."""
    sky = sep.Background(pixels, bw=MESH, bh=MESH)
    flat = pixels - sky.back()
    residual = pixels - found
    after = sep.Background(residual, bw=MESH, bh=MESH)
    sources, segments = sep.extract(
        flat, THRESHOLD, err=sky.rms(), minarea=LEAST_AREA, segmentation_map=True
    )
    long = np.hypot(np.ptp([sources["xmin"], sources["xmax"]], 0),
                    np.ptp([sources["ymin"], sources["ymax"]], 0)) > TRAIL_LENGTH  # fmt: skip
    edge = np.minimum(np.minimum(sources["x"], pixels.shape[1] - 1 - sources["x"]),
                      np.minimum(sources["y"], pixels.shape[0] - 1 - sources["y"]))  # fmt: skip
    stars = sources[~long & (edge > 2 * APERTURE)]
    flux = [sep.sum_circle(one, stars["x"], stars["y"], APERTURE, bkgann=(8, 12))[0]
            for one in (flat, np.ascontiguousarray(residual - after.back()))]  # fmt: skip
    share = flux[1] / flux[0]
    trails = np.isin(segments, 1 + np.flatnonzero(long))
    mapped = found - sep.Background(np.ascontiguousarray(found), bw=MESH, bh=MESH).back()
    return {
        "sources": len(stars), "survive": int((share >= KEPT).sum()),
        "median": float(np.median(share)), "quantile": float(np.quantile(share, 0.1)),
        "noise": after.globalrms / sky.globalrms, "trail pixels": int(trails.sum()),
        "trail in map": float(mapped[trails].sum() / flat[trails].sum()) if trails.any() else 0.0,
    }  # fmt: skip
