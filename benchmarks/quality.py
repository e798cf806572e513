"""What denoising does to pixels and fluxes, on simulated fields.

    python benchmarks/quality.py [--fields N] [--json FILE] [--picture PNG]

Mean absolute error against the number of steps; light of galaxies that is kept; flux bias of stars
per magnitude; detections on frames without any source; what bfloat16 changes; a figure with pixel
histograms and images.
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

import numpy as np  # noqa: E402
from detection import KINDS, SHAPE  # noqa: E402

from bgrem.frame import detect  # noqa: E402
from bgrem.simulate.optical import SimulatedField, simulate_field  # noqa: E402
from bgrem.validation import metrics  # noqa: E402

FIRST_SEED = 75_000
STEPS = tuple(range(1, 16))
APERTURE = 1.5  # FWHM; radius for stars
BRIGHT_GALAXY = 20.0  # signal-to-noise ratio
CROWDING = 0.1  # others' share of an aperture's light above which a source is left out
NOISE_THRESHOLDS = {"SExtractor default": (1.0, 1.2, 1.5), "denoised": (0.7, 1.0, 1.3)}
Denoiser = Any


def apertures(field: SimulatedField, result: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return rows (S/N, magnitude, measured, true, own flux inside) of isolated sources.

    The measured light is that of the denoised image in a circle, the true light that of all
    sources there.
    """
    import sep

    truth = field.catalogue
    x, y = truth["x"][chosen], truth["y"][chosen]
    seeing = APERTURE * field.fwhm
    radius = np.hypot(seeing, 3 * truth["half_light_radius"][chosen])
    height, width = result.shape
    inside = (np.minimum(x, y) > radius) & (x < width - 1 - radius) & (y < height - 1 - radius)
    chosen, x, y, radius = chosen[inside], x[inside], y[inside], radius[inside]
    measured = sep.sum_circle(result.astype(float), x, y, radius)[0]
    true = sep.sum_circle(field.sources.astype(float), x, y, radius)[0]
    # the source's own light in the circle: Moffat stars by their profile, galaxies nearly all
    centre = field.point_spread.shape[0] // 2
    grid = np.hypot(*(np.indices(field.point_spread.shape) - centre))
    own_share = np.where(
        truth["kind"][chosen] == "star", field.point_spread[grid <= seeing].sum(), 0.9
    )
    own = own_share * truth["flux"][chosen]
    alone = np.abs(true - own) < CROWDING * true
    instrument = field.instrument
    zero = instrument.zero_point + 2.5 * np.log10(instrument.exposure / instrument.gain)
    magnitude = zero - 2.5 * np.log10(truth["flux"][chosen])
    return np.column_stack([truth["snr"][chosen], magnitude, measured, true])[alone]


def measured(field: SimulatedField) -> np.ndarray:
    """Return where no pixel is saturated: what was cut off there nobody can give back."""
    electrons = (field.observed - field.instrument.bias) * field.instrument.gain
    return electrons < 0.98 * field.instrument.saturation


def galaxy_light(fields: list[SimulatedField], results: list[np.ndarray]) -> dict[str, float]:
    rows = []
    for field, result in zip(fields, results, strict=True):
        kind, snr = field.catalogue["kind"], field.catalogue["snr"]
        chosen = np.flatnonzero((kind == "galaxy") & (snr > BRIGHT_GALAXY))
        rows.append(apertures(field, result, chosen))
    table = np.concatenate(rows)
    kept = table[:, 2] / table[:, 3]
    return {
        "galaxies": len(kept), "of all light": float(table[:, 2].sum() / table[:, 3].sum()),
        "median": float(np.median(kept)), "10th percentile": float(np.quantile(kept, 0.1)),
        "with 90 % or more": float((kept >= 0.9).mean()),
    }  # fmt: skip


def star_bias(fields: list[SimulatedField], results: list[np.ndarray]) -> list[dict[str, float]]:
    table = np.concatenate([
        apertures(field, result, np.flatnonzero(
            (field.catalogue["kind"] == "star") & (field.catalogue["snr"] > 3)))
        for field, result in zip(fields, results, strict=True)
    ])  # fmt: skip
    rows = []
    for low in np.arange(np.floor(table[:, 1].min()), table[:, 1].max(), 1.0):
        part = table[(table[:, 1] >= low) & (table[:, 1] < low + 1)]
        if len(part) >= 5:
            ratio = part[:, 2] / part[:, 3]
            rows.append({
                "magnitude": low + 0.5, "stars": len(part), "snr": float(np.median(part[:, 0])),
                "median ratio": float(np.median(ratio)),
                "ratio of sums": float(part[:, 2].sum() / part[:, 3].sum()),
            })  # fmt: skip
    return rows


def noise_only(denoiser: Denoiser, number: int, stars: SimulatedField) -> list[dict[str, Any]]:
    """Return false detections per megapixel of nothing but sky, and true ones in `stars`."""
    import sep

    megapixel = SHAPE[0] * SHAPE[1] / 1e6
    empty = [
        simulate_field(
            shape=SHAPE, seed=FIRST_SEED + 900 + k, stars=1e-3, galaxies=0.0, faint_structures=0.0
        )
        for k in range(number)
    ]
    rows = [{"detector": name, "threshold": t, "false": 0.0, "true": 0.0}
            for name, thresholds in NOISE_THRESHOLDS.items() for t in thresholds]  # fmt: skip
    for field in (*empty, stars):
        pixels = field.observed.astype(float)
        sky = sep.Background(pixels, bw=64, bh=64)
        result, sigma = denoiser(field.observed)
        for row in rows:
            if row["detector"] == "denoised":
                found = detect.detect_with_sep(
                    result, row["threshold"], noise=sigma, **detect.DENOISED_OPTIONS
                )
            else:
                found = detect.detect_with_sep(
                    pixels - sky.back(), row["threshold"], noise=sky.rms()
                )
            if field is stars:
                true = metrics.score(found, stars.catalogue, stars.fwhm).true
                row["true"] = true / megapixel
            else:
                row["false"] += len(found) / number / megapixel
    return rows


def draw(field: SimulatedField, result: np.ndarray, sigma: float, path: Path) -> None:
    """Write images and pixel histograms of one field."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 2.7), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.25))
    area = np.s_[300:556, 300:556]
    flat = field.observed - field.background
    for axes, (title, pixels) in zip(
        panels, (("observed", flat), ("denoised", result), ("truth", field.sources)), strict=False
    ):
        axes.imshow(
            np.arcsinh(pixels[area] / sigma), origin="lower", cmap="gray", vmin=-1.5, vmax=4
        )
        axes.set_title(title, fontsize=10)
        axes.set(xticks=[], yticks=[])
    edges = np.linspace(-5, 15, 161)
    for title, pixels in (("observed", flat), ("denoised", result), ("truth", field.sources)):
        panels[3].hist(pixels.ravel() / sigma, edges, histtype="step", label=title)
    panels[3].set(xlabel="pixel / noise", ylabel="pixels", yscale="log")
    panels[3].legend(fontsize=8)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=2, help="of each kind")
    parser.add_argument("--model", default="optical")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path, metavar="PNG")
    args = parser.parse_args()
    from bgrem.config import DenoiseConfig
    from bgrem.denoising.flow import denoise
    from bgrem.inference.run import load_for
    from bgrem.models import load_model

    config = DenoiseConfig(model=args.model)
    model = load_for(config)

    def denoiser(pixels: np.ndarray, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
        done = denoise(pixels, config, **({"model": model} | settings))
        return done.result.pixels[..., 0], done.sigma[..., 0]

    kinds = ("survey", "galaxies", "sharp")
    fields = {
        kind: [simulate_field(shape=SHAPE, seed=FIRST_SEED + 10 * k + n, **KINDS[kind])
               for n in range(args.fields)]
        for k, kind in enumerate(kinds)
    }  # fmt: skip
    errors = {}
    for steps in STEPS:
        mean = []
        for kind in kinds:
            result, sigma = denoiser(fields[kind][0].observed, steps=steps)
            error = np.abs((result - fields[kind][0].sources) / sigma)
            mean.append(error[measured(fields[kind][0])].mean())
        errors[steps] = float(np.mean(mean))
    print("mean absolute error of unsaturated pixels against steps (noise = 1):")
    print("  " + ", ".join(f"{steps}: {error:.4f}" for steps, error in errors.items()))
    results = {kind: [denoiser(one.observed)[0] for one in fields[kind]] for kind in kinds}
    light = galaxy_light(fields["galaxies"], results["galaxies"])
    print(f"light of {light['galaxies']} galaxies with S/N > {BRIGHT_GALAXY:g}: kept "
          f"{light['of all light']:.3f} of all, median {light['median']:.3f}, 10th percentile "
          f"{light['10th percentile']:.3f}; {100 * light['with 90 % or more']:.0f} % of them keep "
          "90 % or more")  # fmt: skip
    bias = {kind: star_bias(fields[kind], results[kind]) for kind in ("survey", "sharp")}
    for kind, rows in bias.items():
        print(f"flux of isolated stars, denoised : true, {kind}:")
        for row in rows:
            print(f"  mag {row['magnitude']:.1f} (S/N {row['snr']:.0f}, {row['stars']} stars): "
                  f"median {row['median ratio']:.3f}, sums {row['ratio of sums']:.3f}")  # fmt: skip
    false = noise_only(denoiser, args.fields, fields["survey"][0])
    print("detections per megapixel without any source (true ones in a survey field):")
    for row in false:
        print(f"  {row['detector']} above {row['threshold']:g} sigma: {row['false']:.1f} "
              f"({row['true']:.0f})")  # fmt: skip
    plain = load_model(args.model)
    first = fields["survey"][0].observed
    sigma = denoiser(first)[1]
    apart = (denoiser(first, model=plain)[0] - results["survey"][0]) / sigma
    print(f"float32 minus this machine's precision (noise = 1): rms {apart.std():.4f}, "
          f"largest {np.abs(apart).max():.3f}")  # fmt: skip
    if args.picture:
        one = fields["galaxies"][0]
        sigma = float(np.median(denoiser(one.observed)[1]))
        draw(one, results["galaxies"][0], sigma, args.picture)
    if args.json:
        report = {"steps": errors, "galaxies": light, "stars": bias, "noise only": false,
                  "precision rms": float(apart.std())}  # fmt: skip
        args.json.write_text(json.dumps(report), "utf-8")


if __name__ == "__main__":
    main()
