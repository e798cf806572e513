"""Catalogues of fields that no simulator of `bgrem` has drawn: sources, fluxes, errors, widths.

    python benchmarks/catalogue_outside.py [--fields N] [--kinds "2000 stars,gain 6"] [--no-sweeps]

Fields of `outside_fields`. Four tables. Fluxes of unsaturated stars over the truth, by true
signal-to-noise ratio: bias, pull (the width of (flux - truth) / error) and number of stars, of
`bgrem catalog` and SExtractor's default (`sep`), each on its own stars and both on those that both
found. The oracle, a fit at all true places with true sky and profile, of all stars and of those
that `bgrem` found: the latter's bias is that of the selection alone. Peers that fit profiles.
Sources: true ones at equal false ones and at each method's own threshold. Widths: FWHM of stars
above S/N 20 against that of the profile as the pixels see it.
"""

import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import numpy as np  # noqa: E402
from catalogue import photutils  # noqa: E402
from catalogue_peers import PROFILE_PEERS, oracle, true_profile, true_stamp  # noqa: E402
from detection import catalog_finder, draw_outside, field_parser, make_denoiser  # noqa: E402
from outside_fields import DENSE_KINDS, KINDS, OutsideField  # noqa: E402

from bgrem.frame import detect  # noqa: E402
from bgrem.frame.background import sep_mesh  # noqa: E402
from bgrem.validation import metrics  # noqa: E402
from common.robust import mad_sigma  # noqa: E402

FIRST_SEED = 91_000
SHAPE = (768, 768)
CHOSEN = (*DENSE_KINDS, "trailed", "gain 6", "drizzled", "diffraction")
EDGES = (5.0, 10.0, 20.0, 50.0, 200.0, np.inf)  # of the true signal-to-noise ratio
APERTURES = (5.0, 8.0, 20.0)  # px
EDGE_PX = 25  # px; stars nearer to the edge are not judged
SHARE = 0.005  # false detections / sources of the truth list, at which methods are compared
FEW = 8  # stars; from fewer no figure is made


def catalogue_of(field: OutsideField, model: Any) -> tuple[dict[str, np.ndarray], float]:
    """Return the columns of `bgrem catalog`, and its seconds."""
    from bgrem import catalog

    start = time.perf_counter()
    table = catalog(field.observed, gain=field.gain, apertures=APERTURES, model=model).table
    return {name: np.asarray(table[name]) for name in table.colnames}, time.perf_counter() - start


def sextractor_fluxes(field: OutsideField) -> dict[str, np.ndarray]:
    """Return SExtractor's default as `sep` has it: places, apertures, Kron fluxes, errors."""
    import sep

    pixels = np.ascontiguousarray(field.observed, np.float64)
    mesh = sep_mesh(pixels, 64)
    flat, noise = pixels - mesh.back(), mesh.rms()
    kernel = detect.SEXTRACTOR_KERNEL
    filtered = noise * np.sqrt((kernel**2).sum()) / kernel.sum()
    found, segmentation = detect.extract_with_sep(flat, 1.5, noise=filtered)
    x, y = found["x"], found["y"]
    half_turn = np.clip(found["theta"], -1.57, 1.57)  # rounding may lead beyond a right angle
    sizes = [np.maximum(found[name], 0.3) for name in ("a", "b")] + [half_turn]
    number = np.arange(1, len(x) + 1, dtype=np.int32)
    options = {"err": noise, "gain": field.gain}
    columns = {"XWIN_IMAGE": x + 1, "YWIN_IMAGE": y + 1}
    apertures = [sep.sum_circle(flat, x, y, one / 2, segmap=segmentation, seg_id=number, **options)
                 for one in APERTURES]  # fmt: skip
    columns["FLUX_APER"] = np.stack([one[0] for one in apertures], -1)
    columns["FLUXERR_APER"] = np.stack([one[1] for one in apertures], -1)
    radius = np.maximum(2.5 * np.nan_to_num(sep.kron_radius(flat, x, y, *sizes, 6.0)[0]), 3.5)
    flux, error, _ = sep.sum_ellipse(
        flat, x, y, *sizes, radius, segmap=segmentation, seg_id=number, **options
    )
    return columns | {"FLUX_AUTO": flux, "FLUXERR_AUTO": error}


def usable_stars(field: OutsideField) -> np.ndarray:
    """Return which true sources are stars that are judged, bool (N,)."""
    truth = field.catalogue
    inside = [np.minimum(truth[axis], most - 1 - truth[axis]) > EDGE_PX
              for axis, most in zip("yx", field.observed.shape, strict=True)]  # fmt: skip
    return np.asarray(inside[0] & inside[1] & (truth["half_light_radius"] == 0))


def scored(columns: dict[str, np.ndarray], field: OutsideField) -> metrics.Score:
    """Return which true source each row of a catalogue is."""
    kind = "PSF" if "XPSF_IMAGE" in columns else "WIN"
    flux = columns["FLUX_AUTO" if "FLUX_AUTO" in columns else "FLUX_PSF"]
    places = detect.Detections(columns[f"X{kind}_IMAGE"] - 1, columns[f"Y{kind}_IMAGE"] - 1, flux)
    return metrics.score(places, field.catalogue, field.fwhm)


def fluxes(
    columns: dict[str, np.ndarray], field: OutsideField, partner: np.ndarray,
    only: np.ndarray | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return S/N of the stars that were found, and of each flux its ratio and pull.

    Parameters
    ----------
    columns : dict of array
    field : OutsideField
    partner : int array, shape (N,)
        The true source of each row; -1: none.
    only : int array, optional
        True sources that count.
    """
    import sep

    truth, stamp = field.catalogue, true_stamp(field, 65)
    mine = (partner >= 0) & usable_stars(field)[partner]
    if only is not None:
        mine &= np.isin(partner, only)
    source, middle = partner[mine], (len(stamp) - 1) / 2
    found = {"snr": truth["snr"][source]}
    kinds: dict[str, tuple[np.ndarray, ...]] = {}
    for name in ("PSF", "AUTO"):
        if f"FLUX_{name}" in columns:
            kinds[name] = (columns[f"FLUX_{name}"], columns[f"FLUXERR_{name}"],
                           truth["drawn"][source])  # fmt: skip
    for k, size in enumerate(APERTURES if "FLUX_APER" in columns else ()):
        share = sep.sum_circle(stamp, [middle], [middle], size / 2, subpix=0)[0][0]
        flux, error = (columns[f"{one}_APER"][:, k] for one in ("FLUX", "FLUXERR"))
        kinds[f"{size:g} px"] = flux, error, share * truth["flux"][source]
    for name, (flux, error, true) in kinds.items():
        found[f"ratio {name}"] = flux[mine] / true
        found[f"pull {name}"] = (flux[mine] - true) / error[mine]
    if "FWHM_IMAGE" in columns:
        found["fwhm"] = columns["FWHM_IMAGE"][mine] / true_profile(field).width()
    return found


def measure(field: OutsideField, model: Any) -> tuple[dict[str, dict], dict[str, list], float]:
    """Return the fluxes of each method, true and false ones of each, and seconds of ours."""
    columns, seconds = catalogue_of(field, model)
    theirs = sextractor_fluxes(field)
    partner = {"bgrem": scored(columns, field), "SExtractor": scored(theirs, field)}
    counts = {name: [one.true, one.false] for name, one in partner.items()}
    ours, other = (one.partner for one in partner.values())
    both = np.intersect1d(ours[ours >= 0], other[other >= 0])
    every = np.arange(len(field.catalogue["x"]))
    known = oracle(field)
    found = {
        "bgrem": fluxes(columns, field, ours), "SExtractor": fluxes(theirs, field, other),
        "bgrem, same stars": fluxes(columns, field, ours, both),
        "SExtractor, same stars": fluxes(theirs, field, other, both),
        "oracle, all stars": fluxes(known, field, every),
        "oracle, stars of bgrem": fluxes(known, field, every, ours),
    }  # fmt: skip
    for name, peer in PROFILE_PEERS.items():
        try:
            table = peer(field)
        except ImportError:
            continue
        score = scored(table, field)
        found[name] = fluxes(table, field, score.partner)
        counts[name] = [score.true, score.false]
    return found, counts, seconds


def sources(field: OutsideField, denoiser: Any) -> dict[str, float]:
    """Return true detections of each method at equal false ones, and at its own threshold."""
    truth, fwhm = field.catalogue, field.fwhm
    pixels = field.observed.astype(np.float64)
    mesh, kernel = sep_mesh(pixels, 64), detect.SEXTRACTOR_KERNEL
    flat, noise = pixels - mesh.back(), mesh.rms()
    filtered = noise * np.sqrt((kernel**2).sum()) / kernel.sum()
    finders = {
        "SExtractor": (lambda t: detect.detect_with_sep(flat, t, noise=filtered), (12.0, 1.2)),
        "bgrem": (catalog_finder(denoiser(field.observed)), (12.0, 0.02)),
    }
    significance = detect.matched_filter(
        pixels, field.background, np.sqrt(field.variance), field.point_spread
    )
    finders["matched filter"] = lambda t: detect.detect_peaks(significance, t), (12.0, 2.0)
    allowed = SHARE * metrics.listed_number(truth)
    found = {name: metrics.true_at_false(metrics.roc_curve(find, truth, fwhm, ends), allowed)
             for name, (find, ends) in finders.items()}  # fmt: skip
    try:
        x, y, flux, _ = photutils(pixels, fwhm, field.gain)
        own = metrics.score(detect.Detections(x, y, flux), truth, fwhm)
        found |= {"photutils": own.true, "photutils false": own.false}
    except ImportError:
        pass
    return found | {"listed": metrics.listed_number(truth)}


def print_fluxes(kind: str, method: str, rows: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    """Print bias and pull of each flux, by S/N; return them."""
    joined = {name: np.concatenate([one[name] for one in rows]) for name in rows[0]}
    joined = {name: np.asarray(values, float) for name, values in joined.items()}
    figures: dict[str, Any] = {}
    for name in (one.removeprefix("ratio ") for one in joined if one.startswith("ratio ")):
        cells = []
        for low, high in itertools.pairwise(EDGES):
            part = (joined["snr"] >= low) & (joined["snr"] < high)
            ratio, pull = (joined[f"{one} {name}"][part] for one in ("ratio", "pull"))
            ok = np.isfinite(ratio) & np.isfinite(pull)
            if ok.sum() < FEW:
                cells.append("-")
                continue
            middle = float(np.median(ratio[ok]))
            error = 1.2533 * float(mad_sigma(ratio[ok])) / np.sqrt(ok.sum())
            width = float(mad_sigma(pull[ok]))
            figures[f"{name} {low:g}"] = [100 * (middle - 1), 100 * error, width, int(ok.sum())]
            cells.append(f"{100 * (middle - 1):+.1f} ± {100 * error:.1f} ({width:.2f}) {ok.sum()}")
        print(f"| {kind} | {method} | {name} | " + " | ".join(cells) + " |", flush=True)
    if "fwhm" in joined:
        bright = (joined["snr"] > 20) & (joined["fwhm"] > 0)
        figures["fwhm"] = 100 * (float(np.median(joined["fwhm"][bright])) - 1)
    return figures


def main() -> None:
    from bgrem.config import DenoiseConfig
    from bgrem.inference.run import load_for

    kinds = KINDS | DENSE_KINDS
    parser = field_parser(__doc__, FIRST_SEED, kinds)
    parser.set_defaults(kinds=",".join(CHOSEN), fields=2)
    parser.add_argument("--no-sweeps", action="store_true", help="no sources at equal false ones")
    parser.add_argument("--json", type=Path, help="write all figures")
    args = parser.parse_args()
    denoiser, model = make_denoiser(args), load_for(DenoiseConfig(model=args.model))
    catalogue_of(next(iter(draw_outside(args, CHOSEN[0], SHAPE)))[1], model)  # compiles
    results: dict[str, Any] = {}
    lines = []
    bins = " | ".join(f"S/N {low:g} to {high:g}" for low, high in itertools.pairwise(EDGES))
    print(f"| field | method | flux | {bins} |\n|" + " --- |" * (len(EDGES) + 2))
    for kind in args.kinds.split(","):
        counts, seconds, own = [], [], []
        measured: dict[str, list[dict[str, np.ndarray]]] = {}
        for _, field in draw_outside(args, kind, SHAPE):
            found, at_own, taken = measure(field, model)
            seconds.append(taken / field.observed.size * 1e6)
            for name, one in found.items():
                measured.setdefault(name, []).append(one)
            own.append(at_own)
            counts.append({} if args.no_sweeps else sources(field, denoiser))
        results[kind] = {name: print_fluxes(kind, name, rows) for name, rows in measured.items()}
        total = {name: sum(one[name] for one in counts) for name in counts[0]}
        at_own = {name: [sum(one[name][k] for one in own) for k in (0, 1)] for name in own[0]}
        results[kind] |= {"sources": total, "seconds": float(np.median(seconds)), "own": at_own}
        print(f"{kind}: FWHM {results[kind]['bgrem']['fwhm']:+.1f} %, "
              f"{results[kind]['seconds']:.0f} s per Mpx;",
              "; ".join(f"{n} {t} true, {f} false" for n, (t, f) in at_own.items()),
              file=sys.stderr, flush=True)  # fmt: skip
        if args.json:
            args.json.write_text(json.dumps(results, indent=1, default=float) + "\n", "utf-8")
        if args.no_sweeps:
            continue
        peers = ("SExtractor", "matched filter", "photutils", "photutils false")
        others = " | ".join(f"{total[n]:.0f}" if n in total else "-" for n in peers)
        lines.append(
            f"| {kind} | {total['listed']} | {total['bgrem']:.0f} | {others} | "
            f"{total['bgrem'] / total['SExtractor']:.2f} | {results[kind]['bgrem']['fwhm']:+.1f} | "
            f"{results[kind]['seconds']:.1f} |"
        )
    if args.no_sweeps:
        return
    print("\n| field | listed | bgrem | SExtractor | matched filter, true sky | photutils, own "
          "threshold | its false ones | bgrem / SExtractor | FWHM bias, % | s per Mpx |\n|"
          + " --- |" * 10)  # fmt: skip
    print("\n".join(lines))


if __name__ == "__main__":
    main()
