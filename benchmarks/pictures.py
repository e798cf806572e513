"""Denoised pictures against their truth: errors, light at each scale, stars, and other methods.

    python benchmarks/pictures.py [--seeds 70000:70002] [--kinds "galaxy, colour"] [--json FILE]
    python benchmarks/pictures.py --pair SINGLE.fits DEEP.fits     # the deeper frame is the truth

Errors are rms in units of the noise that the picture had (1: nothing was gained). The settings of
the other methods are chosen for each picture by its truth. "Light" is the share of the true
light's structure that is left between scales of 3 to 6, 6 to 12, … px. Stars are those above S/N
20. The Wiener filter knows the truth's local power on each scale; it is no bound.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import numpy as np  # noqa: E402
from picture_scenes import KINDS, PictureScene, draw_scene  # noqa: E402
from scipy import ndimage  # noqa: E402

from bgrem import DenoiseConfig, denoise  # noqa: E402
from common import AstroImage, read_image  # noqa: E402

FIRST_SEED = 70_000  # of the table; choices were made on seeds from 60,000
SCALES_PX = (3, 6, 12, 24, 48)
STAR_SNR = 20.0
STRENGTHS = (0.5, 0.8, 1.2)  # of the other methods, in noise
SOFTENING = 5.0  # noise; of the stretch in which they work: stars must not rule them
Method = Callable[[np.ndarray, float], np.ndarray]


def other_methods() -> dict[str, Method]:
    """Return what smooths a stretched picture (H, W, C) whose noise is 1."""
    from skimage import restoration as r

    def channels(pixels: np.ndarray) -> int | None:
        return -1 if pixels.ndim == 3 else None

    def wavelet(pixels: np.ndarray, strength: float) -> np.ndarray:
        return r.denoise_wavelet(
            pixels, sigma=strength, method="BayesShrink", mode="soft", rescale_sigma=False,
            channel_axis=channels(pixels),
        )  # fmt: skip

    def nl_means(pixels: np.ndarray, strength: float) -> np.ndarray:
        return r.denoise_nl_means(
            pixels, patch_size=5, patch_distance=9, h=0.8 * strength, sigma=strength,
            channel_axis=channels(pixels),
        )  # fmt: skip

    def tv(pixels: np.ndarray, strength: float) -> np.ndarray:
        return r.denoise_tv_chambolle(pixels, weight=strength, channel_axis=channels(pixels))

    methods: dict[str, Method] = {"wavelet": wavelet, "NL-means": nl_means, "TV": tv}
    try:
        import bm3d

        def block_matching(pixels: np.ndarray, strength: float) -> np.ndarray:
            planes = pixels.reshape(*pixels.shape[:2], -1)
            done = [bm3d.bm3d(planes[..., c], strength) for c in range(planes.shape[-1])]
            return np.stack(done, -1).reshape(pixels.shape)

        methods["BM3D"] = block_matching
    except ImportError:
        print("bm3d is missing, its rows too: pip install bm3d", file=sys.stderr)
    return methods


def of_others(observed: np.ndarray, noise: np.ndarray) -> dict[str, np.ndarray]:
    """Return the picture (H, W, C) of each method and strength; they work on an asinh stretch."""
    level = np.median(observed, axis=(0, 1))
    stretched = SOFTENING * np.arcsinh((observed - level) / noise / SOFTENING)
    flat = stretched[..., 0] if observed.shape[-1] == 1 else stretched
    found = {}
    for name, method in other_methods().items():
        for strength in STRENGTHS:
            done = np.reshape(method(flat, strength), observed.shape)
            found[f"{name} {strength}"] = SOFTENING * np.sinh(done / SOFTENING) * noise + level
    return found


def wiener(observed: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return each scale of a picture (H, W, C) weighed by the truth's own local power there."""
    found = np.zeros_like(observed)
    rest, true = observed.astype(float), truth.astype(float)
    grain = observed - truth
    for scale in (0.7, 1.4, 2.8, 5.6, 11.2):
        smooth, smooth_true, smooth_grain = (
            ndimage.gaussian_filter(one, (scale, scale, 0)) for one in (rest, true, grain)
        )
        power = ndimage.gaussian_filter((true - smooth_true) ** 2, (1.5 * scale, 1.5 * scale, 0))
        error = (grain - smooth_grain).var((0, 1))
        found += (rest - smooth) * power / (power + error)
        rest, true, grain = smooth, smooth_true, smooth_grain
    return found + rest


def error(result: np.ndarray, truth: np.ndarray, noise: np.ndarray) -> float:
    """Return the rms error in units of the noise, over 99.5 % of the pixels: not the brightest."""
    dark = truth <= np.quantile(truth, 0.995, axis=(0, 1))
    return float(np.sqrt(np.mean(((result - truth) / noise)[dark] ** 2)))


def light(result: np.ndarray, truth: np.ndarray, observed: np.ndarray | None) -> list[float]:
    """Return the share of the true structure that is left at each scale.

    Where the truth is a deeper frame with noise of its own, the `observed` one is what the result
    is compared with: the noise of both is independent.
    """
    kept = []
    limit = np.quantile(truth, 0.99, axis=(0, 1))
    whole = truth if observed is None else observed
    result, truth, whole = (np.minimum(one, limit) for one in (result, truth, whole))
    for low in SCALES_PX:
        bands = [
            ndimage.gaussian_filter(one, (low / 2.355, low / 2.355, 0))
            - ndimage.gaussian_filter(one, (2 * low / 2.355, 2 * low / 2.355, 0))
            for one in (result, truth, whole)
        ]
        kept.append(float((bands[0] * bands[1]).sum() / (bands[2] * bands[1]).sum()))
    return kept


def _light(result: np.ndarray, truth: np.ndarray, observed: np.ndarray | None) -> str:
    return " ".join(f"{one:.3f}" for one in light(result, truth, observed))


def stars(result: np.ndarray, scene: PictureScene, noise: np.ndarray) -> dict[str, float]:
    """Return biases of flux, colour and width of stars above S/N 20, in per cent."""
    import sep

    radius = 1.5 * scene.fwhm
    beam = np.sqrt(4 * np.pi) * scene.fwhm / 2.355
    bright = (scene.stars["flux"] / (noise * beam)).min(1) > STAR_SNR
    x, y = scene.stars["x"][bright], scene.stars["y"][bright]
    flux, width = [], []
    for c in range(result.shape[-1]):
        planes = [np.ascontiguousarray(one[..., c], float) for one in (result, scene.truth)]
        sums = [sep.sum_circle(one, x, y, radius, bkgann=(2 * radius, 3 * radius))[0]
                for one in planes]  # fmt: skip
        narrow = [sep.sum_circle(one, x, y, radius / 2, bkgann=(2 * radius, 3 * radius))[0]
                  for one in planes]  # fmt: skip
        flux.append(sums[0] / sums[1])
        # the share in a small circle falls with the square of the width, by half for a Gaussian
        width.append(-0.5 * (narrow[0] / sums[0] / (narrow[1] / sums[1]) - 1))
    ratios = np.array(flux)
    found = {"stars": float(len(x)), "flux %": 100 * (np.median(ratios) - 1),
             "width %": 100 * float(np.median(width))}  # fmt: skip
    if len(ratios) > 1:
        found["colour %"] = 100 * (np.median(ratios[0] / ratios[-1]) - 1)
    return {name: float(value) for name, value in found.items()}


def measure(
    name: str, observed: np.ndarray, truth: np.ndarray, *, model: str, scene: Any = None,
    others: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Return one row."""
    # the frame's own noise, of all frequencies; of a pair the deeper frame's is in it
    noise = np.array([np.std((observed - truth)[..., c][truth[..., c] < np.median(truth[..., c])])
                      for c in range(truth.shape[-1])])  # fmt: skip
    whole = observed if scene is None else None
    config = DenoiseConfig(keep="background") if model == "picture" else DenoiseConfig(model=model)
    done = denoise(AstroImage(observed.astype(np.float32), name), config).result.pixels
    row: dict[str, Any] = {"picture": name, "ours": error(done, truth, noise)}
    if others:
        smoothed = of_others(observed, noise)
        found = {n: error(one, truth, noise) for n, one in smoothed.items()}
        best = min(found, key=lambda n: found[n])
        row |= {"best other": found[best], "which": best, "ours / best": row["ours"] / found[best]}
        filtered = wiener(observed, truth)
        row["Wiener filter with the truth"] = error(filtered, truth, noise)
        row["light of the best other"] = _light(smoothed[best], truth, whole)
        row["light of the Wiener filter"] = _light(filtered, truth, whole)
    row["light"] = _light(done, truth, whole)
    if scene is not None:
        row |= stars(done, scene, noise)
    return row


def read_pair(single: Path, deep: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return a frame and the deeper one on its level and scale, both (H, W, C)."""
    one, other = (read_image(path).pixels.astype(float) for path in (single, deep))
    other = np.where(np.isfinite(other) & (other != 0), other, np.nan)
    known = np.isfinite(one).all(-1) & np.isfinite(other).all(-1)
    rows, columns = (np.flatnonzero(known.mean(axis) > 0.98) for axis in (1, 0))
    area = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    one, other = (np.nan_to_num(part[area], nan=float(np.nanmedian(part))) for part in (one, other))
    for c in range(one.shape[-1]):
        smooth = [ndimage.gaussian_filter(part[..., c], 3) for part in (one, other)]
        slope, offset = np.polyfit(smooth[1].ravel(), smooth[0].ravel(), 1)
        other[..., c] = slope * other[..., c] + offset
    return one, other


def print_rows(rows: list[dict[str, Any]]) -> None:
    """Print a Markdown table."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    print("| " + " | ".join(names) + " |\n|" + " --- |" * len(names))
    for row in rows:
        cells = [row.get(name, "") for name in names]
        print("| " + " | ".join(f"{c:.3g}" if isinstance(c, float) else str(c) for c in cells),
              "|")  # fmt: skip


def draw_picture(path: Path) -> None:
    """Draw a development scene: before, denoised and the truth, in one stretch."""
    from common.pictures import write_side_by_side
    from common.screen import auto_stf

    scene = draw_scene("galaxy, colour", 60_003)
    done = denoise(AstroImage(scene.observed), DenoiseConfig(keep="background")).result.pixels
    panels = [(name, pixels[128:448, 128:448]) for name, pixels in
              (("before", scene.observed), ("denoised", done), ("truth", scene.truth))]  # fmt: skip
    write_side_by_side(panels, auto_stf(panels[0][1], linked=False), path, overwrite=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default=f"{FIRST_SEED}:{FIRST_SEED + 2}", help="from:to")
    parser.add_argument("--kinds", default=";".join(KINDS), help="separated by ;")
    parser.add_argument("--pair", type=Path, nargs=2, action="append", metavar=("SINGLE", "DEEP"))
    parser.add_argument("--model", default="picture")
    parser.add_argument("--no-others", action="store_true", help="no other methods")
    parser.add_argument("--json", type=Path, help="write all rows")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw an example, no more")
    args = parser.parse_args()
    if args.picture is not None:
        draw_picture(args.picture)
        return
    rows = []
    if args.pair:
        for single, deep in args.pair:
            one, other = read_pair(single, deep)
            rows.append(
                measure(single.name, one, other, model=args.model, others=not args.no_others)
            )
    else:
        first, last = map(int, args.seeds.split(":"))
        for kind in args.kinds.split(";"):
            for seed in range(first, last):
                scene = draw_scene(kind, seed)
                rows.append(measure(
                    scene.name, scene.observed, scene.truth, model=args.model, scene=scene,
                    others=not args.no_others,
                ))  # fmt: skip
                print(rows[-1], file=sys.stderr)
    print_rows(rows)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
