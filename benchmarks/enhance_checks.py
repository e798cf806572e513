"""What enhance.py checks beside the metrics: invented sources, fluxes, windows."""

import itertools
import time
from dataclasses import replace

import numpy as np
from exposures import (
    INPUT,
    OURS,
    SETTINGS,
    Denoiser,
    Pair,
    Row,
    draw_pair,
    find_sources,
    keep_noise,
    light_in_circles,
    our_denoiser,
    print_cells,
    print_head,
    with_error,
)

from bgrem.config import EnhanceConfig
from bgrem.simulate.hubble import HubbleField
from bgrem.simulate.hubble_scene import WFC3_SATURATION
from common.robust import mad_sigma

LONG = "long exposure"
EDGES = (3.0, 5.0, 10.0, 30.0, 100.0, np.inf)  # S/N in the long exposure
APERTURE, RING = 3.0, (8.0, 14.0)  # px, radii
ALONE = 0.9  # own share of the light in the aperture
FEWEST = 5  # stars in a bin
FINDABLE = "stars that the input shows, %"
# S/N; maxima of noise filtered with a profile of FWHM 1.8 px that are higher: one per megapixel
ONE_FALSE_SIGMA = 5.0


def four_images(pair: Pair, ours: Denoiser, noise: float) -> dict[str, np.ndarray]:
    """Return the two exposures and ours with and without noise, electrons of the long one."""
    clean = ours(pair)
    return {
        LONG: pair.long, INPUT: pair.short * pair.ratio,
        f"{OURS}, noise {noise:g}": keep_noise(pair, clean, noise), f"{OURS}, noise 0": clean,
    }  # fmt: skip


def noise_only(fields: list[HubbleField], ratio: float, ours: Denoiser, noise: float) -> list[Row]:
    """Return false detections per megapixel on the sky of fields, all their sources left out.

    At 1.5 sigma of SExtractor's own noise, and of the long exposure's whatever the image's is.
    """
    settings = SETTINGS["default"]
    counts: dict[str, list[tuple[int, int]]] = {}
    for field in fields:
        pair = draw_pair(field, ratio, field.sky)
        fixed = settings.threshold * float(np.median(pair.long_sigma))
        for name, image in four_images(pair, ours, noise).items():
            found = find_sources(image, settings)
            above = find_sources(image, settings, level=fixed)
            counts.setdefault(name, []).append((len(found["x"]), len(above["x"])))
    megapixels = sum(field.sky.size for field in fields) / 1e6
    return [
        {"ratio": ratio, "image": name, "own": own, "fixed": fixed}
        for name, (own, fixed) in
        ((name, np.sum(one, axis=0) / megapixels) for name, one in counts.items())
    ]  # fmt: skip


def print_noise_only(rows: list[Row]) -> None:
    print_head(("ratio", "sky without any source", "false per Mpx at 1.5 sigma of its own",
                "at 1.5 sigma of the long exposure"))  # fmt: skip
    for row in rows:
        print_cells([f"{row['ratio']:g}", row["image"], f"{row['own']:.1f}", f"{row['fixed']:.1f}"])


def flux_bias(fields: list[HubbleField], ratio: float, ours: Denoiser, noise: float) -> list[Row]:
    """Return the bias of isolated stars' fluxes in bins of S/N, whether they are found or not.

    Light in a circle over that of a ring around it, on the image and on the light without noise.
    The last row has the share of stars that a matched filter with the truth finds on the input at
    one false detection per megapixel (%): of the others no method knows that they are there.
    """
    measured: dict[str, list[np.ndarray]] = {}
    snr, true, seen = [], [], []
    for field in fields:
        pair = draw_pair(field, ratio)
        chosen, x, y = isolated_stars(pair)
        snr.append(pair.snr()[chosen])
        seen.append(100.0 * (pair.short_snr()[chosen] >= ONE_FALSE_SIGMA))
        true.append(light_in_circles(pair.sources, x, y, APERTURE, RING))
        for name, image in four_images(pair, ours, noise).items():
            measured.setdefault(name, []).append(light_in_circles(image, x, y, APERTURE, RING))
    level, exact = np.concatenate(snr), np.concatenate(true)
    rows = []
    for name, parts in measured.items():
        error = 100 * (np.concatenate(parts) / exact - 1)
        inside = [(level >= low) & (level < high) for low, high in itertools.pairwise(EDGES)]
        bins = [_middle(error[one]) for one in inside]
        rows.append({"ratio": ratio, "image": name, "bins": bins})
    known = np.concatenate(seen)
    shares = [(int(one.sum()), float(known[one].mean()) if one.any() else np.nan,
               float(known[one].std() / np.sqrt(max(one.sum(), 1)))) for one in inside]  # fmt: skip
    return [*rows, {"ratio": ratio, "image": FINDABLE, "bins": shares}]


def isolated_stars(pair: Pair) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return index and place of stars that have nearly all light in their circle, unsaturated."""
    catalogue, sources = pair.field.catalogue, pair.sources
    x, y = catalogue["x"], catalogue["y"]
    height, width = sources.shape
    edge = np.minimum(np.minimum(x, width - 1 - x), np.minimum(y, height - 1 - y))
    star = (catalogue["kind"] == "star") & (edge > RING[1]) & (pair.snr() >= EDGES[0])
    chosen = np.flatnonzero(star)
    inside = light_in_circles(sources, x[chosen], y[chosen], APERTURE, None)
    own = catalogue["flux"][chosen] * pair.field.exposure
    row, column = (np.round(one[chosen]).astype(int) for one in (y, x))
    full = pair.long[row, column] > 0.9 * WFC3_SATURATION
    # a circle holds less than the whole star: if it holds more, others are in it
    chosen = chosen[(inside * ALONE < own) & ~full]
    return chosen, x[chosen], y[chosen]


def _middle(values: np.ndarray) -> tuple[int, float, float]:
    """Return number, median and its standard error."""
    if len(values) < FEWEST:
        return len(values), float("nan"), float("nan")
    middle = float(np.median(values))
    spread = float(mad_sigma(values, middle))
    return len(values), middle, 1.2533 * spread / float(np.sqrt(len(values)))


def print_fluxes(rows: list[Row]) -> None:
    bins = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(EDGES)]
    counts = [number for number, _, _ in rows[0]["bins"]]
    print_head(("ratio", "flux bias %", *(
        f"S/N {one} ({count})" for one, count in zip(bins, counts, strict=True))))  # fmt: skip
    for row in rows:
        cells = [with_error(middle, error) for _, middle, error in row["bins"]]
        print_cells([f"{row['ratio']:g}", row["image"], *cells])


def strides(pair: Pair, config: EnhanceConfig, chosen: tuple[int, ...]) -> list[Row]:
    """Return time and difference from the smallest stride, in units of the long noise."""
    rows: list[Row] = []
    finest = None
    for stride in chosen:
        denoiser = our_denoiser(replace(config, stride=stride))
        denoiser(pair)  # compiles
        start = time.perf_counter()
        image = denoiser(pair)
        seconds = time.perf_counter() - start
        finest = image if finest is None else finest
        error = (image - finest) / pair.long_sigma
        rows.append({
            "stride": stride, "seconds": seconds / image.size * 1e6,
            "rms": float(np.sqrt(np.mean(error**2))), "typical": float(np.median(abs(error))),
            "most": float(abs(error).max()),
        })  # fmt: skip
    return rows


def print_strides(rows: list[Row]) -> None:
    print_head(("stride, px", "s per Mpx", f"rms from stride {rows[0]['stride']}, noise = 1",
                "median", "most"))  # fmt: skip
    for row in rows:
        print_cells([f"{row['stride']}", f"{row['seconds']:.1f}", f"{row['rms']:.4f}",
                     f"{row['typical']:.4f}", f"{row['most']:.2f}"])  # fmt: skip
