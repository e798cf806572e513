"""Counts maps of other telescopes: sources at equal false detections, and the light of all.

    python benchmarks/gamma_outside.py [--maps N] [--model gamma] [--seeds FIRST] [--json FILE]

Maps of 256x256 px with Poisson noise, drawn with GalSim; nothing of `bgrem.simulate` is imported.
Rows are the width of the point-spread function and the counts per pixel between the sources.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import galsim  # noqa: E402
import numpy as np  # noqa: E402
from gamma import find_with_sep, print_table, subtract_mesh  # noqa: E402
from scipy import ndimage, signal  # noqa: E402

from bgrem.frame import detect  # noqa: E402
from bgrem.validation import metrics  # noqa: E402

SIDE = 256  # px
FIRST_SEED = 95_000
FWHM_PX = (1.5, 3.0, 6.0)
LEVELS = (0.03, 0.3, 3.0, 30.0)  # counts per pixel
PER_BEAM = 0.012  # sources above S/N 3 per square FWHM
SLOPE = 1.2  # d ln N / d ln S, cumulative
FALSE_SHARES = (0.02, 0.05)
WIDTHS = (0.7, 1.0, 1.5)  # of a tuned filter, in FWHM
MESHES = (32, 64, 128)


def draw_map(seed: int, fwhm: float, level: float) -> dict[str, Any]:
    """Return a map: observed, sources, emission (H, W) and the catalogue.

    The profile is a core with wide wings, as X-ray mirrors have it; the level is vignetted and
    has cirrus; one corner of every second map is outside of the exposure.
    """
    rng = np.random.default_rng([seed, 31])
    core = galsim.Moffat(beta=rng.uniform(1.8, 4), fwhm=fwhm).shear(g1=rng.uniform(0, 0.15))
    stamp = core.drawImage(nx=65, ny=65, scale=1.0).array.astype(float)
    stamp /= stamp.sum()
    y, x = np.meshgrid(*2 * [np.linspace(-1, 1, SIDE)], indexing="ij")
    exposure = 1 - 0.3 * ((x - 0.2) ** 2 + (y + 0.1) ** 2) / 2
    if seed % 2:
        exposure = np.where(x + y > 1.2, 0, exposure)
    cloud = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 25)
    emission = level * exposure * np.exp(0.3 * cloud / cloud.std())
    noise = np.sqrt(level / (stamp**2).sum())
    least, listed = 1 * noise + 1.5, 3 * noise + 3
    number = rng.poisson(PER_BEAM * SIDE**2 / fwhm**2 * (least / listed) ** -SLOPE)
    flux = least * rng.uniform((200.0) ** -SLOPE, 1, number) ** (-1 / SLOPE)
    place = rng.uniform(0, SIDE - 1, (2, number))
    fine = 5
    grid = np.zeros((SIDE * fine, SIDE * fine))
    np.add.at(grid, tuple(np.rint(place * fine + fine // 2).astype(int)), flux)
    kernel = core.drawImage(nx=65 * fine, ny=65 * fine, scale=1 / fine, method="no_pixel").array
    light = signal.fftconvolve(grid, kernel / kernel.sum(), mode="same")
    box = ndimage.uniform_filter(light, fine, mode="constant")[fine // 2 :: fine, fine // 2 :: fine]
    sources = np.maximum(box * fine**2, 0) * (exposure > 0)
    inside = exposure[tuple(np.rint(place).astype(int))] > 0
    observed = rng.poisson(sources + emission).astype(np.float32)
    local = np.maximum(emission[tuple(np.rint(place).astype(int))], 1e-9)
    signal_to_noise = flux / np.sqrt(local / (stamp**2).sum() + flux)
    return {
        "observed": observed, "sources": sources, "emission": emission, "stamp": stamp,
        "truth": {
            "x": place[1][inside], "y": place[0][inside], "snr": signal_to_noise[inside],
            "half_light_radius": np.zeros(inside.sum()),
        },
    }  # fmt: skip


def methods_of(one: dict[str, Any], fwhm: float, denoised: tuple[np.ndarray, np.ndarray]) -> Any:
    """Return ours, the library sep by default and tuned, and the oracle."""
    observed, emission = one["observed"], np.maximum(one["emission"], 1e-4)
    found = {
        "ours": find_with_sep([denoised], detect.SEXTRACTOR_KERNEL),
        "default": find_with_sep([subtract_mesh(observed, 64)], detect.SEXTRACTOR_KERNEL),
    }
    for mesh in MESHES:
        for width in WIDTHS:
            kernel = detect.gaussian_kernel(max(width * fwhm, 1.0))
            part = [subtract_mesh(observed, mesh)]
            found[f"tuned {mesh} {width}"] = find_with_sep(part, kernel)
    peaks = detect.matched_filter(observed, emission, np.sqrt(emission), one["stamp"])
    found["matched filter"] = lambda t: detect.detect_peaks(peaks, t)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maps", type=int, default=4, help="of each row")
    parser.add_argument("--seeds", type=int, default=FIRST_SEED, help="first seed")
    parser.add_argument("--model", default="gamma")
    parser.add_argument("--precision", default="auto", help="auto, float32 or bfloat16")
    parser.add_argument("--json", type=Path, help="write the table")
    args = parser.parse_args()
    from bgrem.config import DenoiseConfig
    from bgrem.denoising.flow import denoise
    from bgrem.inference.run import load_for

    config = DenoiseConfig(model=args.model, precision=args.precision)
    model = load_for(config)
    rows = []
    for fwhm in FWHM_PX:
        for level in LEVELS:
            true: dict[str, np.ndarray] = {}
            light, number = np.zeros(2), 0
            for seed in range(args.seeds, args.seeds + args.maps):
                one = draw_map(seed, fwhm, level)
                done = denoise(one["observed"], config, model=model)
                result = done.result.pixels[..., 0], done.sigma[..., 0]
                listed = metrics.listed_number(one["truth"])
                for name, find in methods_of(one, fwhm, result).items():
                    curve = metrics.roc_curve(find, one["truth"], fwhm, (30.0, 0.03))
                    at = [metrics.true_at_false(curve, s * listed) for s in FALSE_SHARES]
                    true[name] = true.get(name, 0) + np.array(at)
                light += result[0].sum(), one["sources"].sum()
                number += listed
            tuned = np.max([value for name, value in true.items() if "tuned" in name], axis=0)
            for k, share in enumerate(FALSE_SHARES):
                rows.append({
                    "FWHM": fwhm, "level": level, "false": f"{100 * share:g} %", "listed": number,
                    "ours": true["ours"][k], "default": true["default"][k], "tuned": tuned[k],
                    "matched filter with the truth": true["matched filter"][k],
                    "light / truth": light[0] / light[1],
                })  # fmt: skip
    print_table("counts maps of other telescopes", rows)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1), "utf-8")


if __name__ == "__main__":
    main()
