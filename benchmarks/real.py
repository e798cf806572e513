"""Detections on real frames, denoised and not, at equal false ones on their negated noise.

    python benchmarks/real.py FOLDER [--model optical] [--json FILE] [--pictures DIR]

FOLDER holds the frames of the table below; those that are missing are left out. The sky's noise is
as often negative as positive: what is found on the negated frame is false. Noise of other places
takes the place of its sources first, since no frame has pits there. Beside it, where a catalogue of
the field exists, how many of its sources are found.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from scipy.spatial import cKDTree  # noqa: E402

from bgrem.frame import detect  # noqa: E402
from bgrem.frame.background import whole_image_statistics  # noqa: E402
from bgrem.validation import metrics  # noqa: E402
from bgrem.validation.frames import Planes, own_noise  # noqa: E402
from common.io import read_image  # noqa: E402

FALSE_PER_MEGAPIXEL = (2, 10, 50)
SWEEP, SWEEP_DENOISED, RATIO = (12.0, 1.2), (12.0, 0.02), 1.15
MATCH = 3.0  # px
Finder = Callable[[float], detect.Detections]


@dataclass(frozen=True)
class Frame:
    """A file, and the catalogue of its field: (file, reader) -> x, y."""

    file: str
    truth: str | None = None
    reader: Callable[[Path, Path], np.ndarray] | None = None


def table_positions(truth: Path, frame: Path) -> np.ndarray:
    """Return columns x, y (0-based pixels) of a FITS table, shape (N, 2)."""
    from astropy.table import Table

    table = Table.read(truth)
    return np.column_stack([table["x"], table["y"]]).astype(float)


def galactic_positions(truth: Path, frame: Path) -> np.ndarray:
    """Return pixels of a VOTable of galactic longitudes and latitudes, shape (N, 2)."""
    from astropy.coordinates import SkyCoord
    from astropy.io import fits
    from astropy.table import Table
    from astropy.wcs import WCS

    table = Table.read(truth, format="votable")
    names = {name.lower(): name for name in table.colnames}
    places = SkyCoord(table[names["l"]], table[names["b"]], unit="deg", frame="galactic")
    return np.column_stack(WCS(fits.getheader(frame)).world_to_pixel(places))


FRAMES = {
    "KiDS/VIKING r": Frame("kids_viking_west_r.fits", "kids_viking_west_truth_r.fits",
                           table_positions),
    "KiDS/VIKING Z": Frame("kids_viking_west_Z.fits", "kids_viking_west_truth_Z.fits",
                           table_positions),
    "GLIMPSE 4.5 um": Frame("spitzer_irac_glimpse.fits", "spitzer_irac_glimpse_catalog.xml",
                            galactic_positions),
    "EMMI": Frame("ntt_emmi_galaxies.fits"),
    "DECam r": Frame("decam_tc4_c4d_170522_005829_ooi_r_ls9.N2.fits"),
    "DECam z": Frame("decam_tc4_c4d_150411_035242_ooi_z_ls9.N3.fits"),
    "LMI VR": Frame("lmi_dct_vr_cut.fits"),
    "M13, amateur": Frame("m13_orion_ssdsi_5s_0001.fits"),
}  # fmt: skip


def found_sources(one: detect.Detections, truth: np.ndarray) -> int:
    """Return how many sources of a catalogue have a detection, one to one, nearest first."""
    if not len(one) or not len(truth):
        return 0
    distance, partner = cKDTree(np.column_stack([one.x, one.y])).query(truth)
    return len(set(partner[distance < MATCH].tolist()))


def sweep(
    positive: Finder,
    negative: Finder,
    thresholds: tuple[float, float],
    truth: np.ndarray | None,
    most: float,
) -> np.ndarray:
    """Return rows (threshold, all, of the catalogue, false), the threshold falling."""
    rows = []
    count = 1 + round(np.log(thresholds[0] / thresholds[1]) / np.log(RATIO))
    for threshold in np.geomspace(*thresholds, count):
        found = positive(threshold)
        known = 0 if truth is None else found_sources(found, truth)
        rows.append((threshold, len(found), known, len(negative(threshold))))
        if rows[-1][3] > most:
            break
    return np.array(rows, float)


def negated_noise(pixels: np.ndarray) -> np.ndarray:
    """Return a frame (H, W) with its sign changed over the background, and without sources.

    Noise of other places takes their place, as in `bgrem validate`.
    """
    found = whole_image_statistics(pixels)
    planes = Planes(pixels, pixels, found.background, found.sigma)
    noise = own_noise(planes, np.random.default_rng(0))
    return found.background - found.sigma * noise


def measure(pixels: np.ndarray, truth: np.ndarray | None, denoiser: Any) -> dict[str, np.ndarray]:
    """Return the curve of SExtractor's default settings and that on the denoised frame."""
    import sep

    kept = np.sqrt((detect.SEXTRACTOR_KERNEL**2).sum()) / detect.SEXTRACTOR_KERNEL.sum()

    def both(frame: np.ndarray, denoised: np.ndarray, sigma: np.ndarray) -> tuple[Finder, Finder]:
        missing = ~np.isfinite(frame)
        filled = np.where(missing, 0, frame).astype(np.float64)
        sky = sep.Background(filled, mask=missing, bw=64, bh=64)
        flat = np.where(missing, 0, filled - sky.back())
        return (
            partial(detect.detect_with_sep, flat, noise=kept * sky.rms()),
            partial(detect.detect_with_sep, np.nan_to_num(denoised), noise=sigma,
                    **detect.DENOISED_OPTIONS),
        )  # fmt: skip

    frame = both(pixels, *denoiser(pixels))
    noise = negated_noise(pixels)
    negated = both(noise, *denoiser(noise))
    most = 1.5 * FALSE_PER_MEGAPIXEL[-1] * pixels.size / 1e6 + 2
    names, sweeps = ("SExtractor default", "denoised"), (SWEEP, SWEEP_DENOISED)
    return {
        name: sweep(*finders, thresholds, truth, most)
        for name, thresholds, *finders in zip(names, sweeps, frame, negated, strict=True)
    }


def at_false(curve: np.ndarray, column: int, allowed: float) -> float:
    return metrics.true_at_false(curve[:, [0, column, 3]], allowed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="optical")
    parser.add_argument("--json", type=Path, help="write all curves")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write before and after")
    args = parser.parse_args()
    from bgrem.config import DenoiseConfig
    from bgrem.denoising.flow import denoise
    from bgrem.denoising.pictures import before_after
    from bgrem.inference.run import load_for

    config = DenoiseConfig(model=args.model)
    model = load_for(config)

    def denoiser(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        done = denoise(pixels, config, model=model)
        return done.result.pixels[..., 0], done.sigma[..., 0]

    curves = {}
    head = ("frame", "false per Mpx", "SExtractor default", "denoised", "ratio",
            "of the catalogue")  # fmt: skip
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for name, frame in FRAMES.items():
        path = args.folder / frame.file
        if not path.exists():
            print(f"{path}: missing", file=sys.stderr)
            continue
        image = read_image(path)
        truth = None
        if frame.truth and frame.reader:
            truth = frame.reader(args.folder / frame.truth, path)
        found = curves[name] = measure(image.pixels[..., 0], truth, denoiser)
        for rate in FALSE_PER_MEGAPIXEL:
            allowed = rate * image.pixels.size / 1e6
            plain, ours = (at_false(curve, 1, allowed) for curve in found.values())
            known = "-"
            if truth is not None:
                known = " / ".join(f"{at_false(c, 2, allowed):.0f}" for c in found.values())
                known += f" of {len(truth)}"
            print(f"| {name} | {rate} | {plain:.0f} | {ours:.0f} | "
                  f"{ours / max(plain, 1):.2f} | {known} |", flush=True)  # fmt: skip
        if args.pictures:
            args.pictures.mkdir(parents=True, exist_ok=True)
            picture = args.pictures / f"{path.name.split('.')[0]}.png"
            before_after(image, denoise(image, config, model=model), picture, overwrite=True)
    if args.json:
        plain_curves = {k: {n: c.tolist() for n, c in v.items()} for k, v in curves.items()}
        args.json.write_text(json.dumps(plain_curves), "utf-8")


if __name__ == "__main__":
    main()
