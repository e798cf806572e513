"""What several exposures of one field give together: stacks, their denoised forms, and the limit.

    python benchmarks/joint.py [--fields N] [--exposures 4] [--json FILE]

Each field has exposures of its own sky, seeing and noise, with tracks of cosmic rays and a trail of
a satellite, drawn by GalSim alone (`outside_fields`). They are aligned. Depth is the S/N (in the
stack, isolated) at which half of the sources is found, in magnitudes beyond SExtractor's default on
the clipped mean. The limit is a matched filter that knows sky, noise, point-spread function and
artefacts of each exposure: no sum of exposures separates a point from Gaussian noise better.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import detection  # noqa: E402
import numpy as np  # noqa: E402
import outside_fields  # noqa: E402
from scipy import ndimage, optimize, signal, special  # noqa: E402

from bgrem.frame import detect  # noqa: E402
from bgrem.frame.background import sep_mesh, whole_image_statistics  # noqa: E402
from bgrem.validation import metrics  # noqa: E402

SHAPE = (768, 768)
READ_NOISE = 5.0  # electrons
CLIP = 4.0  # noise of a pixel; what differs so much from the median of the exposures is left out
RATES = (0.005, 0.02)  # false detections / sources of the truth list
SEEING = {"equal": (3.0, 3.0), "varied": (2.4, 4.4)}  # px; FWHM from .. to over the exposures


@dataclass(frozen=True, eq=False)
class Night:
    """Exposures of one field: images (N, H, W) in electrons, kernels, truth of the stack."""

    images: np.ndarray
    skies: np.ndarray
    variances: np.ndarray
    artefacts: np.ndarray
    kernels: list[np.ndarray]
    catalogue: dict[str, np.ndarray]
    fwhm: float


def draw_night(kind: str, number: int, seed: int) -> Night:
    """Return `number` exposures of a field; the same seed gives the same pixels."""
    rng = np.random.default_rng([seed, 31])
    levels = rng.uniform(200, 1200, number)
    noise = float(1 / np.sqrt((1 / (levels + READ_NOISE**2)).mean() * number))  # of the mean
    widths = np.linspace(*SEEING[kind], number)
    middle = outside_fields.stamp(outside_fields.moffat(float(np.median(widths))))
    conditions = outside_fields.Conditions(optics=lambda: None, stars=3000.0)
    images, artefacts, kernels = [], [], []
    for width, level in zip(widths, levels, strict=True):
        light, profile = np.zeros(SHAPE), outside_fields.moffat(float(width))
        catalogue = outside_fields.draw_sources(
            light, profile, middle, conditions, noise, np.random.default_rng([seed, 32])
        )
        tracks = outside_fields.cosmic_rays(light, float(np.sqrt(level)), rng)
        tracks += _trail(float(np.sqrt(level)), rng)
        electrons = rng.poisson(light + level) + rng.normal(0, READ_NOISE, SHAPE) + tracks
        images.append(electrons)
        artefacts.append(tracks > 0)
        kernels.append(outside_fields.stamp(profile))
    planes = np.ones((number, *SHAPE)) * levels[:, None, None]
    return Night(
        np.array(images), planes, planes + READ_NOISE**2, np.array(artefacts), kernels, catalogue,
        float(np.median(widths)),
    )  # fmt: skip


def _trail(noise: float, rng: np.random.Generator) -> np.ndarray:
    """Return a straight trail across the frame, of 15 noise and a width of 3 px."""
    y, x = np.indices(SHAPE)
    angle, middle = rng.uniform(0, np.pi), rng.uniform(0.3, 0.7, 2) * SHAPE
    away = (x - middle[1]) * np.sin(angle) - (y - middle[0]) * np.cos(angle)
    return np.where(np.abs(away) < 6, 15 * noise * np.exp(-0.5 * (away / 1.5) ** 2), 0)


def stack(night: Night) -> dict[str, np.ndarray]:
    """Return the plain and the clipped mean of a night, (H, W).

    The latter leaves out what stands out of the median of the exposures, weighs each exposure
    by its own noise, and takes off its own smooth background: all from the images.
    """
    found = [whole_image_statistics(image) for image in night.images]
    flat = np.stack([image - one.background
                     for image, one in zip(night.images, found, strict=True)])  # fmt: skip
    noise = np.stack([one.sigma for one in found])
    middle = np.median(flat, 0)
    light = np.maximum(middle, 0)  # one electron is one count here
    bad = np.abs(flat - middle) > CLIP * np.sqrt(noise**2 + light) + 0.5 * light
    bad = ndimage.binary_dilation(bad, np.ones((1, 3, 3)))
    weights = np.where(bad, 0, 1 / noise**2)
    weights[:, weights.sum(0) == 0] = 1e-9
    return {
        "mean": night.images.mean(0),
        "clipped mean": (weights * flat).sum(0) / weights.sum(0)
        + np.mean([o.background for o in found]),
    }


def joint_filter(night: Night) -> np.ndarray:
    """Return the significance of a point at each pixel, from all exposures and the truth."""
    top, bottom = np.zeros(SHAPE), np.zeros(SHAPE)
    for image, sky, variance, bad, kernel in zip(
        night.images, night.skies, night.variances, night.artefacts, night.kernels, strict=True
    ):
        weight = np.where(bad, 0, 1 / variance)
        top += signal.fftconvolve((image - sky) * weight, kernel[::-1, ::-1], "same")
        bottom += signal.fftconvolve(weight, kernel[::-1, ::-1] ** 2, "same")
    return top / np.sqrt(np.maximum(bottom, 1e-12))


def finders_of(night: Night, denoiser: Any) -> dict[str, tuple[Any, tuple[float, float]]]:
    """Return each method's detections as a function of its threshold, and the thresholds' ends."""
    finders: dict[str, tuple[Any, tuple[float, float]]] = {}
    for name, pixels in stack(night).items():
        grid, kernel = sep_mesh(pixels, 64), detect.SEXTRACTOR_KERNEL
        flat, filtered = pixels - grid.back(), np.sqrt((kernel**2).sum()) / kernel.sum()

        noise = grid.rms() * filtered

        def classic(t: float, flat: Any = flat, noise: Any = noise) -> Any:
            return detect.detect_with_sep(flat, t, noise=noise)

        finders[f"{name}, SExtractor"] = classic, detection.SWEEP
        cleaned = detection.catalog_finder(denoiser(pixels.astype(np.float32)))
        finders[f"{name}, bgrem"] = cleaned, detection.SWEEP_DENOISED
    significance = joint_filter(night)
    finders["limit"] = lambda t: detect.detect_peaks(significance, t), (12.0, 2.0)
    return finders


def measure(night: Night, denoiser: Any) -> dict[str, dict[str, Any]]:
    """Return which sources each method finds, by rate of false detections."""
    truth, found = night.catalogue, {}
    for name, (finder, ends) in finders_of(night, denoiser).items():
        curve = metrics.roc_curve(finder, truth, night.fwhm, ends)
        allowed = [rate * metrics.listed_number(truth) for rate in RATES]
        row = {f"true at {100 * rate:g} %": metrics.true_at_false(curve, most)
               for rate, most in zip(RATES, allowed, strict=True)}  # fmt: skip
        one = finder(metrics.threshold_at_false(curve, allowed[-1]))
        partner = metrics.score(one, truth, night.fwhm).partner
        found[name] = {
            "snr": truth["snr"],
            "found": np.isin(np.arange(len(truth["snr"])), partner[partner >= 0]),
            **row,
        }
    return found


def half_found(snr: np.ndarray, found: np.ndarray) -> float:
    """Return the S/N at which half of the sources is found, by a logistic curve of its log."""
    place = np.log(snr)

    def loss(ends: np.ndarray) -> float:
        chance = special.expit((place - ends[0]) / np.exp(ends[1]))
        return -float(np.log(np.where(found, chance, 1 - chance) + 1e-12).sum())

    return float(np.exp(optimize.minimize(loss, (np.log(6), -1.5), method="Nelder-Mead").x[0]))


def main() -> None:
    parser = detection.field_parser(__doc__, detection.FIRST_OUTSIDE_SEED, SEEING)
    parser.add_argument("--exposures", type=int, default=4)
    parser.add_argument("--json", type=Path, help="write the table")
    args = parser.parse_args()
    denoiser = detection.make_denoiser(args)
    rows: list[dict[str, Any]] = []
    for kind in args.kinds.split(","):
        seeds = range(args.first_seed, args.first_seed + args.fields)
        fields = [measure(draw_night(kind, args.exposures, seed), denoiser) for seed in seeds]
        base = float("nan")
        for name in ("clipped mean, SExtractor", *fields[0]):
            every = {key: np.concatenate([np.atleast_1d(one[name][key]) for one in fields])
                     for key in fields[0][name]}  # fmt: skip
            snr = half_found(every["snr"], every["found"])
            if not np.isfinite(base):  # the first one is what the others are compared with
                base = snr
                continue
            row = {"seeing": kind, "method": name, "S/N": snr}
            row["deeper by, mag"] = float(2.5 * np.log10(base / snr))
            row |= {key: float(every[key].sum()) for key in every if key.startswith("true")}
            rows.append(row)
            cells = [one if isinstance(one, str) else f"{one:.2f}" for one in row.values()]
            if len(rows) == 1:
                print("| " + " | ".join(row) + " |\n|" + " --- |" * len(row))
            print("| " + " | ".join(cells) + " |", flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
