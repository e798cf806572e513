"""Catalogues beside their truth: completeness, purity, flux bias, centroids, time.

    python benchmarks/catalogue.py [--fields N] [--kinds survey,crowded] [--real DIR] [--json FILE]

`bgrem catalog` with both engines, SExtractor alone and photutils, on simulated fields and, with
--real, on frames with a table of their sources (see real.py). `docs/results/catalog.md` says more.
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import numpy as np  # noqa: E402
from detection import SHAPE, draw_fields, field_parser  # noqa: E402
from real import FRAMES, MATCH, found_sources, negated_noise  # noqa: E402
from scipy.spatial import cKDTree  # noqa: E402

from bgrem.frame import detect, sextractor_run  # noqa: E402
from bgrem.simulate.optical import PointSpread, SimulatedField  # noqa: E402
from bgrem.validation import metrics  # noqa: E402
from common.robust import mad_sigma  # noqa: E402

FIRST_SEED = 78_000
KINDS = ("survey", "crowded", "galaxies")
APERTURE = 5.0  # px; SExtractor's default
EDGES = (3.0, 5.0, 10.0, 30.0, 100.0, np.inf)  # of the true signal-to-noise ratio
BRIGHT = 10.0  # signal-to-noise ratio from which centroids are compared
REAL = ("KiDS/VIKING r", "KiDS/VIKING Z", "GLIMPSE 4.5 um")
REAL_FLUX = {"KiDS/VIKING r": "flux_r_ap4", "KiDS/VIKING Z": "flux_Z_ap4", "GLIMPSE 4.5 um": "f4_5"}


@dataclass(frozen=True)
class Found:
    """What a method gives: positions (0-based), the flux in `APERTURE`, the Kron flux, seconds."""

    x: np.ndarray
    y: np.ndarray
    aperture: np.ndarray
    kron: np.ndarray
    seconds: float


Method = Callable[[np.ndarray, float, float], tuple[np.ndarray, ...]]


def ours(engine: str, denoising: Any, model: Any) -> Method:
    """Return `bgrem catalog`, denoising included."""
    from bgrem import catalog

    def method(pixels: np.ndarray, fwhm: float, gain: float) -> tuple[np.ndarray, ...]:
        table = catalog(
            pixels, engine=engine, denoising=denoising, model=model, apertures=(APERTURE,),
            gain=gain or None,
        ).table  # fmt: skip
        kind = "PSF" if "XPSF_IMAGE" in table.colnames else "WIN"
        return (table[f"X{kind}_IMAGE"] - 1, table[f"Y{kind}_IMAGE"] - 1, table["FLUX_APER"][:, 0],
                table["FLUX_AUTO"])  # fmt: skip

    return method


def sextractor(pixels: np.ndarray, fwhm: float, gain: float) -> tuple[np.ndarray, ...]:
    """SExtractor alone: every setting its default, but the gain."""
    import tempfile

    names = ["XWIN_IMAGE", "YWIN_IMAGE", "FLUX_APER(1)", "FLUX_AUTO"]
    options = {"DETECT_THRESH": "1.5", "GAIN": f"{gain:g}", "PHOT_APERTURES": f"{APERTURE:g}"}
    filled = np.nan_to_num(pixels, nan=float(np.nanmedian(pixels)))
    with tempfile.TemporaryDirectory() as folder:
        table = sextractor_run.run_sextractor(
            Path(folder), [filled], names, options, kernel=detect.SEXTRACTOR_KERNEL
        )
    x, y, aperture, kron = (table[n.split("(")[0]].astype(float).ravel() for n in names)
    return x - 1, y - 1, aperture, kron


def photutils(pixels: np.ndarray, fwhm: float, gain: float) -> tuple[np.ndarray, ...]:
    """Photutils as its guide has it, with the true seeing as filter; the mesh as SExtractor's.

    SourceFinder with SExtractor's contrast and area at 1.5 sigma; Kron fluxes of SourceCatalog,
    circular apertures on its windowed centroids.
    """
    from astropy.convolution import convolve_fft
    from photutils.aperture import CircularAperture, aperture_photometry
    from photutils.background import Background2D, SExtractorBackground
    from photutils.segmentation import SourceCatalog, SourceFinder

    missing = ~np.isfinite(pixels)
    # crowded and masked boxes count too: where all have few free pixels it would refuse
    sky = Background2D(
        pixels, 64, mask=missing, bkg_estimator=SExtractorBackground(), exclude_percentile=90
    )
    flat = np.where(missing, 0, pixels - sky.background)
    smooth = convolve_fft(flat, detect.gaussian_kernel(fwhm), normalize_kernel=True)
    finder = SourceFinder(
        n_pixels=detect.SEXTRACTOR_MIN_AREA, contrast=detect.SEXTRACTOR_CONTRAST, progress_bar=False
    )
    segments = finder(smooth, 1.5 * sky.background_rms)
    if segments is None:
        return (np.zeros(0),) * 4
    table = SourceCatalog(flat, segments, convolved_data=smooth)
    places = np.column_stack([table.x_centroid_win, table.y_centroid_win])
    sums = aperture_photometry(flat, CircularAperture(places, APERTURE / 2))["aperture_sum"]
    return places[:, 0], places[:, 1], np.asarray(sums), np.asarray(table.kron_flux)


def run(method: Method, pixels: np.ndarray, fwhm: float, gain: float) -> Found:
    start = time.perf_counter()
    values = method(pixels, fwhm, gain)
    columns = (np.asarray(one, float) for one in values)
    return Found(*columns, seconds=time.perf_counter() - start)


def inside_aperture(field: SimulatedField) -> np.ndarray:
    """Return the part of each truth's light within `APERTURE`, were it a star; shape (N,)."""
    import sep

    # the same draws as in `simulate_field`: width and shape vary over the field
    rng = np.random.default_rng([field.config.seed, 7])
    spread = PointSpread(field.config, field.instrument, rng)
    shape, share = field.observed.shape, []
    for x, y in zip(field.catalogue["x"], field.catalogue["y"], strict=True):
        row, column, stamp = spread.stamp(x, y, shape, 65)
        inside = sep.sum_circle(
            np.ascontiguousarray(stamp), [x - column], [y - row], APERTURE / 2, subpix=0
        )
        share.append(inside[0][0])
    return np.array(share)


def judge(found: Found, field: SimulatedField, share: np.ndarray) -> dict[str, Any]:
    """Return counts, and for unsaturated stars flux ratios and offsets with their S/N."""
    truth = field.catalogue
    outcome = metrics.score(detect.Detections(found.x, found.y, found.kron), truth, field.fwhm)
    camera = field.instrument
    full = 0.9 * (camera.saturation / camera.gain + camera.bias)
    row, column = (
        np.clip(np.round(truth[axis]).astype(int), 0, most - 1)
        for axis, most in zip("yx", field.observed.shape, strict=True)
    )
    star = (truth["kind"] == "star") & (field.observed[row, column] < full)
    edge = np.minimum(
        np.minimum(truth["x"], field.observed.shape[1] - 1 - truth["x"]),
        np.minimum(truth["y"], field.observed.shape[0] - 1 - truth["y"]),
    )
    usable = (outcome.partner >= 0) & (star & (edge > 20))[outcome.partner]
    mine = outcome.partner[usable]
    return {
        "true": outcome.true, "false": outcome.false, "listed": metrics.listed_number(truth),
        "seconds": found.seconds, "snr": truth["snr"][mine],
        "aperture": found.aperture[usable] / share[mine] / truth["flux"][mine],
        "kron": found.kron[usable] / truth["flux"][mine],
        "dx": found.x[usable] - truth["x"][mine], "dy": found.y[usable] - truth["y"][mine],
    }  # fmt: skip


def summarise(fields: list[dict[str, Any]], megapixels: float) -> dict[str, Any]:
    """Return one row of the tables over all fields of a kind."""
    true, false, listed = (sum(one[n] for one in fields) for n in ("true", "false", "listed"))
    joined = {n: np.concatenate([one[n] for one in fields]) for n in
              ("snr", "aperture", "kron", "dx", "dy")}  # fmt: skip
    snr, bright = joined["snr"], joined["snr"] > BRIGHT

    def bias(values: np.ndarray, chosen: np.ndarray) -> tuple[float, float]:
        if chosen.sum() < 5:
            return float("nan"), float("nan")
        middle = np.median(values[chosen])
        spread = mad_sigma(values[chosen], middle)
        return float(100 * (middle - 1)), float(100 * 1.2533 * spread / np.sqrt(chosen.sum()))

    bins = [(snr >= low) & (snr < high) for low, high in itertools.pairwise(EDGES)]
    offsets = np.concatenate([joined["dx"][bright], joined["dy"][bright]])
    return {
        "completeness": true / listed, "purity": true / max(true + false, 1),
        "false": false / megapixels, "aperture": [bias(joined["aperture"], one) for one in bins],
        "aperture_bright": bias(joined["aperture"], bright), "kron": bias(joined["kron"], bright),
        "centroid": float(np.sqrt(np.mean(offsets**2))) if len(offsets) else float("nan"),
        "seconds": sum(one["seconds"] for one in fields) / megapixels,
    }  # fmt: skip


def print_simulated(rows: dict[str, dict[str, dict[str, Any]]]) -> None:
    bins = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(EDGES)]
    head = [
        "field",
        "method",
        "complete",
        "pure",
        "false per Mpx",
        "centroid rms, px",
        *(f"bias %, S/N {one}" for one in bins),
        "bias %, S/N > 10",
        "Kron bias %",
        "s per Mpx",
    ]
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for kind, methods in rows.items():
        for name, row in methods.items():
            biases = [*row["aperture"], row["aperture_bright"], row["kron"]]
            complete, pure = (f"{100 * row[n]:.1f} %" for n in ("completeness", "purity"))
            cells = [kind, name, complete, pure,
                     f"{row['false']:.0f}", f"{row['centroid']:.2f}",
                     *(f"{value:+.1f} ± {error:.1f}" for value, error in biases),
                     f"{row['seconds']:.1f}"]  # fmt: skip
            print("| " + " | ".join(cells) + " |")


def measure_real(name: str, folder: Path, methods: dict[str, Method]) -> list[dict[str, Any]]:
    """Return a row for each method on a real frame and its negated noise."""
    from astropy.table import Table

    from bgrem.frame.domain import measure_frame
    from common.io import read_image

    frame = FRAMES[name]
    path = folder / frame.file
    image = read_image(path)
    pixels = image.pixels[..., 0].astype(np.float64)
    truth = frame.reader(folder / frame.truth, path)  # type: ignore[misc, operator]
    flux = np.asarray(Table.read(folder / frame.truth)[REAL_FLUX[name]], float)  # type: ignore[operator]
    fwhm = measure_frame(image).fwhm
    noise = negated_noise(pixels)
    rows = []
    for label, method in methods.items():
        found, negative = (run(method, one, fwhm, 0.0) for one in (pixels, noise))
        known = found_sources(detect.Detections(found.x, found.y, found.kron), truth)
        distance, partner = cKDTree(np.column_stack([found.x, found.y])).query(truth)
        both = (distance < MATCH) & (flux > np.median(flux)) & (found.aperture[partner] > 0)
        ratio = np.log(found.aperture[partner[both]] / flux[both])
        rows.append({
            "frame": name, "method": label, "found": len(found.x), "known": known,
            "listed": len(truth), "false": len(negative.x) / pixels.size * 1e6,
            "scatter": float(mad_sigma(ratio)),
            "seconds": found.seconds / pixels.size * 1e6,
        })  # fmt: skip
    return rows


def print_real(rows: list[dict[str, Any]], *, title: bool) -> None:
    head = ("frame", "method", "found", "of the table", "false on negated noise, per Mpx",
            "flux scatter, brighter half", "s per Mpx")  # fmt: skip
    if title:
        print("\n| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for row in rows:
        print(f"| {row['frame']} | {row['method']} | {row['found']} | {row['known']} of "
              f"{row['listed']} | {row['false']:.0f} | {100 * row['scatter']:.1f} % | "
              f"{row['seconds']:.1f} |", flush=True)  # fmt: skip


def all_methods(model: str) -> dict[str, Method]:
    """Return the methods that this machine can run; what is missing is said."""
    from bgrem.config import DenoiseConfig
    from bgrem.inference.run import load_for

    denoising = DenoiseConfig(model=model)
    loaded = load_for(denoising)
    methods: dict[str, Method] = {"ours, sep": ours("sep", denoising, loaded)}
    if sextractor_run.find_sextractor() is None:
        print(
            f"SExtractor is missing, its rows too: {sextractor_run.INSTALL_SEXTRACTOR}",
            file=sys.stderr,
        )
    else:
        methods["ours, SExtractor"] = ours("sextractor", denoising, loaded)
        methods["SExtractor alone"] = sextractor
    try:
        import photutils as _  # noqa: F401
    except ImportError:
        print("photutils is missing, its rows too: pip install photutils", file=sys.stderr)
    else:
        methods["photutils"] = photutils
    methods["ours, sep"](np.random.default_rng(0).normal(100, 5, SHAPE), 4.0, 0.0)  # compiles
    return methods


def main() -> None:
    parser = field_parser(__doc__, FIRST_SEED, KINDS)
    parser.add_argument("--real", type=Path, metavar="DIR", help="with the frames of real.py")
    parser.add_argument("--json", type=Path, help="write the tables")
    args = parser.parse_args()
    methods = all_methods(args.model)
    simulated: dict[str, dict[str, dict[str, Any]]] = {}
    megapixels = args.fields * SHAPE[0] * SHAPE[1] / 1e6
    for kind in args.kinds.split(",") if args.fields else []:
        judged: dict[str, list[dict[str, Any]]] = {name: [] for name in methods}
        for seed, field in draw_fields(args, kind, SHAPE):
            share = inside_aperture(field)
            for name, method in methods.items():
                found = run(method, field.observed, field.fwhm, field.instrument.gain)
                judged[name].append(judge(found, field, share))
                print(f"{kind} {seed}, {name}: {found.seconds:.0f} s", file=sys.stderr)
        simulated[kind] = {name: summarise(one, megapixels) for name, one in judged.items()}
    if simulated:
        print_simulated(simulated)
    real: list[dict[str, Any]] = []
    for name in REAL if args.real else ():
        if (args.real / FRAMES[name].file).exists():
            rows = measure_real(name, args.real, methods)
            print_real(rows, title=not real)
            real += rows
        else:
            print(f"{args.real / FRAMES[name].file}: missing", file=sys.stderr)
    if args.json:
        args.json.write_text(json.dumps({"simulated": simulated, "real": real}), "utf-8")


if __name__ == "__main__":
    main()
