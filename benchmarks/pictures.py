"""Denoised pictures against their truth: errors, light at each scale, stars, and other methods.

    python benchmarks/pictures.py [--seeds 70000:70002] [--kinds "galaxy, colour"] [--json FILE]
    python benchmarks/pictures.py --pair SINGLE.fits DEEP.fits     # the deeper frame is the truth
    python benchmarks/pictures.py --pair ONE.fits B.fits C.fits D.fits  # the median, by their WCS
    python benchmarks/pictures.py --blind FOLDER [--pair …]        # crops without names, and a key

Errors are rms in units of the noise that the picture had (1: nothing was gained). The settings of
the other methods are chosen for each picture by its truth, and so is that of "ours, best of three"
(`--strength`); "ours" has the defaults. "Light" is the share of the true light's structure that is
left between scales of 3 to 6, 6 to 12, … px. Stars are those above S/N 20. The Wiener filter knows
the truth's local power on each scale; it is no bound. Of a pair, "noiseless" is the error that a
picture without any noise would have: the noise of the deeper frame alone.
"""

import argparse
import json
import os
import random
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
from bgrem.frame.picture.level import picture_statistics  # noqa: E402
from common import AstroImage, read_image  # noqa: E402

FIRST_SEED = 70_000  # of the table; choices were made on seeds from 60,000
SCALES_PX = (3, 6, 12, 24, 48)
STAR_SNR = 20.0
STRENGTHS = (0.5, 0.8, 1.2)  # of the other methods, in noise
OUR_STRENGTHS = (0.8, 0.9, 1.0)  # values of --strength
CROP_PX, CROP_TIMES = 160, 3  # px; side of a crop of --blind, and how much it is enlarged
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
    others: bool = True, blind: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return one row; `blind`: folder for crops."""
    # the frame's own noise, of all frequencies; of a pair the deeper frame's is in it
    noise = np.array([np.std((observed - truth)[..., c][truth[..., c] < np.median(truth[..., c])])
                      for c in range(truth.shape[-1])])  # fmt: skip
    whole = observed if scene is None else None
    config = DenoiseConfig(keep="background") if model == "picture" else DenoiseConfig(model=model)
    done = denoise(AstroImage(observed.astype(np.float32), name), config).result.pixels
    row: dict[str, Any] = {"picture": name, "ours": error(done, truth, noise)}
    if others:
        row["ours, best of three"] = min(
            error(observed + part * (done - observed), truth, noise) for part in OUR_STRENGTHS
        )
        smoothed = of_others(observed, noise)
        found = {n: error(one, truth, noise) for n, one in smoothed.items()}
        for method in dict.fromkeys(n.rpartition(" ")[0] for n in found):
            row[method] = min(found[n] for n in found if n.startswith(method))
        best = min(found, key=lambda n: found[n])
        row |= {"best other": found[best], "which": best, "ours / best": row["ours"] / found[best]}
        filtered = wiener(observed, truth)
        row["Wiener filter with the truth"] = error(filtered, truth, noise)
        row["light of the best other"] = _light(smoothed[best], truth, whole)
        row["light of the Wiener filter"] = _light(filtered, truth, whole)
    row["light"] = _light(done, truth, whole)
    if scene is not None:
        row |= stars(done, scene, noise)
    else:
        row |= without_deep_noise(row, truth, noise)
    if blind is not None:
        second = smoothed[best] if others else observed
        draw_blind(blind, name, {"ours": done, row.get("which", "input"): second, "truth": truth})
    return row


def without_deep_noise(row: dict[str, Any], truth: np.ndarray, noise: np.ndarray) -> dict[str, Any]:
    """Return the error of a picture without noise, and errors without the deeper frame's noise.

    That noise is measured on the deeper frame, from second differences over 3 px; it is
    independent of the single frame, so its square is subtracted from the squares of the errors.
    """
    deep = [np.median(picture_statistics(truth[..., c]).sigma) for c in range(truth.shape[-1])]
    own = float(np.sqrt(np.mean((np.array(deep) / noise) ** 2)))

    def rest(value: float) -> float:
        return float(np.sqrt(max(value**2 - own**2, 0)))

    found = {"noiseless": own}
    # `noise` is that of the difference of both frames
    alone = float(np.sqrt(max(1 - own**2, 1e-6)))
    for name in ("ours", "best other"):
        if name in row:
            found[f"{name} without the deep noise"] = rest(row[name]) / alone
    return found


def read_pair(single: Path, deep: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Return a frame and the deeper one on its level and scale, both (H, W, C).

    One deeper frame is on the same grid already; several are moved by their WCS, and the truth is
    their median.
    """
    one = read_image(single).pixels.astype(float)
    if len(deep) == 1:
        planes = [_on_level(one, read_image(deep[0]).pixels.astype(float))]
    else:
        planes = [_on_level(one, _on_grid(single, path)) for path in deep]
    other = np.median(planes, axis=0)
    known = np.isfinite(one).all(-1) & np.isfinite(other).all(-1)
    shares = known.mean(1), known.mean(0)
    rows, columns = (np.flatnonzero(share > 0.98 * share.max()) for share in shares)
    area = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    one, other = (np.nan_to_num(part[area], nan=np.nanmedian(part)) for part in (one, other))
    return one, other


def _on_level(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return another frame (H, W, C) with the level and scale of the first, NaN where missing."""
    other = np.where(np.isfinite(other) & (other != 0), other, np.nan)
    known = np.isfinite(one) & np.isfinite(other)
    for c in range(one.shape[-1]):
        good = known[..., c]
        smooth = [
            ndimage.gaussian_filter(np.where(good, part, np.median(part[good])), 3)[good]
            for part in (one[..., c], other[..., c])
        ]
        slope, offset = np.polyfit(smooth[1], smooth[0], 1)
        other[..., c] = slope * other[..., c] + offset
    return other


def _on_grid(single: Path, path: Path) -> np.ndarray:
    """Return a frame (H, W, 1) moved onto the pixels of another by the WCS of both."""
    from astropy.io import fits
    from astropy.wcs import WCS

    def planes(file: Path) -> tuple[np.ndarray, WCS]:
        with fits.open(file) as hdus:
            image = next(one for one in hdus if one.data is not None and one.data.ndim == 2)
            return image.data.astype(float), WCS(image.header)

    target, there = planes(single)
    source, here = planes(path)
    rows, columns = np.indices(target.shape)
    x, y = here.all_world2pix(*there.all_pix2world(columns, rows, 0), 0)
    return ndimage.map_coordinates(source, [y, x], order=1, cval=np.nan)[..., None]


def print_rows(rows: list[dict[str, Any]]) -> None:
    """Print a Markdown table."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    print("| " + " | ".join(names) + " |\n|" + " --- |" * len(names))
    for row in rows:
        cells = [row.get(name, "") for name in names]
        print("| " + " | ".join(f"{c:.3g}" if isinstance(c, float) else str(c) for c in cells),
              "|")  # fmt: skip


def means_by_kind(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for each kind of scene: means over its seeds."""
    found = []
    for kind in dict.fromkeys(row["picture"].rpartition(" ")[0] for row in rows):
        own = [row for row in rows if row["picture"].rpartition(" ")[0] == kind]
        mean: dict[str, Any] = {"picture": kind, "scenes": len(own)}
        for name, value in own[0].items():
            if isinstance(value, float):
                mean[name] = float(np.mean([row[name] for row in own if name in row]))
            elif name.startswith("light"):
                scales = np.mean([[float(x) for x in row[name].split()] for row in own], axis=0)
                mean[name] = " ".join(f"{one:.3f}" for one in scales)
        if "best other" in mean:
            mean["ours / best"] = mean["ours"] / mean["best other"]
        found.append(mean)
    return found


def draw_blind(folder: Path, name: str, pictures: dict[str, np.ndarray]) -> None:
    """Draw the same crop of pictures (H, W, C) side by side, without names, in random order.

    The crop is where the truth has most structure. `key.json` has the order from left to right.
    """
    from common.pictures import beside, display, enlarge, save_picture
    from common.screen import auto_stf

    truth = pictures["truth"]
    plane = ndimage.gaussian_filter(truth.mean(-1), 2)
    plane = np.minimum(plane, np.quantile(plane, 0.98))
    spread = ndimage.uniform_filter(np.abs(plane - ndimage.gaussian_filter(plane, 8)), CROP_PX)
    half = CROP_PX // 2
    inner = spread[half:-half, half:-half]
    row, column = np.unravel_index(np.argmax(inner), inner.shape)
    crop = np.s_[row : row + CROP_PX, column : column + CROP_PX]
    order = list(pictures)
    random.SystemRandom().shuffle(order)
    stf = auto_stf(truth[crop], linked=False)
    panels = [enlarge(display(pictures[one][crop], stf), CROP_TIMES) for one in order]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "key.json"
    key = json.loads(file.read_text("utf-8")) if file.exists() else {}
    number = f"{1 + len(key):02d}.png"
    save_picture(beside(panels), folder / number, overwrite=True)
    file.write_text(
        json.dumps(key | {number: {"picture": name, "order": order}}, indent=1), "utf-8"
    )


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
    parser.add_argument("--pair", type=Path, nargs="+", action="append", metavar="FRAME",
                        help="a frame and a deeper one, or several that make one")  # fmt: skip
    parser.add_argument("--model", default="picture")
    parser.add_argument("--no-others", action="store_true", help="no other methods")
    parser.add_argument("--json", type=Path, help="write all rows")
    parser.add_argument("--blind", type=Path, metavar="FOLDER", help="draw crops without names")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw an example, no more")
    args = parser.parse_args()
    if args.picture is not None:
        draw_picture(args.picture)
        return
    rows = []
    if args.pair:
        for single, *deep in args.pair:
            if not deep:
                parser.error(f"--pair {single}: give a deeper frame, too.")
            one, other = read_pair(single, deep)
            rows.append(measure(
                single.name, one, other, model=args.model, others=not args.no_others,
                blind=args.blind,
            ))  # fmt: skip
    else:
        first, last = map(int, args.seeds.split(":"))
        for kind in args.kinds.split(";"):
            for seed in range(first, last):
                scene = draw_scene(kind, seed)
                rows.append(measure(
                    scene.name, scene.observed, scene.truth, model=args.model, scene=scene,
                    others=not args.no_others, blind=args.blind,
                ))  # fmt: skip
                print(rows[-1], file=sys.stderr)
    print_rows(rows)
    if not args.pair:
        print()
        print_rows(means_by_kind(rows))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
