"""Figures of merit: detections against a truth list, curves at equal false positives, pixels."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from bgrem.frame.detect import Detections

MIN_LISTED_SNR = 3.0  # S/N (matched filter, isolated) from which a source is in the truth list
MATCH_RADIUS_FWHM = 0.75  # FWHM; neighbours shift isophotal centroids by more than half of it
MIN_IGNORED_SNR = 1.0  # S/N; from here to the list, finding a source is neither true nor false
MIN_TRUE_SHARE = 0.8  # of the most true detections; a sweep ends where fewer are left
FALSE_SHARES = (0.005, 0.02, 0.05)  # false detections / sources of the truth list


@dataclass(frozen=True)
class Score:
    """Numbers of true and false positives.

    `partner` is the truth that each detection has (-1: none), `wrong` whether it is a false one;
    both of shape (N,).
    """

    true: int
    false: int
    partner: np.ndarray
    wrong: np.ndarray


def score(found: Detections, truth: Mapping[str, np.ndarray], fwhm: float) -> Score:
    """Match detections with the sources that a simulation put in.

    One to one, nearest first, within `MATCH_RADIUS_FWHM` (at least 2 px; for galaxies half the
    half-light radius if that is more). A second detection of a listed source is false.

    Parameters
    ----------
    found : Detections
    truth : mapping of array
        x, y, snr and half_light_radius of `SimulatedField.catalogue`.
    fwhm : float
        Of the point-spread function, in pixels.
    """
    partner = np.full(len(found), -1)
    visible = np.flatnonzero(truth["snr"] >= MIN_IGNORED_SNR)
    if not len(found) or not len(visible):
        return Score(0, len(found), partner, partner < 0)
    radius = np.maximum(
        max(MATCH_RADIUS_FWHM * fwhm, 2.0), 0.5 * truth["half_light_radius"][visible]
    )
    places = np.column_stack([truth["x"][visible], truth["y"][visible]])
    listed = truth["snr"][visible] >= MIN_LISTED_SNR
    tree = cKDTree(np.column_stack([found.x, found.y]))
    pairs = tree.query_ball_point(places, radius)
    source = np.repeat(np.arange(len(visible)), [len(one) for one in pairs])
    detection = np.array([k for one in pairs for k in one], int)
    distance = np.hypot(*(places[source] - tree.data[detection]).T) / radius[source]
    excused = np.zeros(len(found), bool)
    excused[detection[~listed[source]]] = True
    taken = np.zeros(len(visible), bool)
    for k in np.argsort(distance, kind="stable"):
        if listed[source[k]] and not taken[source[k]] and partner[detection[k]] < 0:
            taken[source[k]] = True
            partner[detection[k]] = visible[source[k]]
    wrong = (partner < 0) & ~excused
    return Score(int((partner >= 0).sum()), int(wrong.sum()), partner, wrong)


def listed_number(truth: Mapping[str, np.ndarray]) -> int:
    """Return the length of the truth list."""
    return int((truth["snr"] >= MIN_LISTED_SNR).sum())


def sweep(
    count: Callable[[float], tuple[Any, Any]],
    thresholds: tuple[float, float],
    ratio: float,
    false: float,
) -> list[tuple[float, Any, Any]]:
    """Return (threshold, true, false) of falling thresholds, as far down as they count.

    The sweep ends at twice as many false detections as are of interest, or where detections that
    flow into each other cost a fifth of the true ones.

    Parameters
    ----------
    count : callable
        Threshold -> numbers of true and of false detections: whole numbers, or arrays of parts of
        the frame, whose sums decide.
    thresholds : tuple of float
        Highest and lowest.
    ratio : float
        Of neighbouring thresholds.
    false : float
        False detections that are of interest.
    """
    rows: list[tuple[float, Any, Any]] = []
    number = 1 + round(np.log(thresholds[0] / thresholds[1]) / np.log(ratio))
    for threshold in np.geomspace(*thresholds, number):
        rows.append((float(threshold), *count(float(threshold))))
        most = max(np.sum(true) for _, true, _ in rows)
        if np.sum(rows[-1][2]) > 2 * false or np.sum(rows[-1][1]) < MIN_TRUE_SHARE * most:
            break
    return rows


def roc_curve(
    detect: Callable[[float], Detections],
    truth: Mapping[str, np.ndarray],
    fwhm: float,
    thresholds: tuple[float, float],
    *,
    ratio: float = 1.3,
    fine: int = 3,
) -> np.ndarray:
    """Return rows (threshold, true, false), the threshold falling: a sweep, finer where it counts.

    Parameters
    ----------
    detect : callable
        Threshold -> Detections.
    thresholds : tuple of float
        Highest and lowest.
    ratio : float
        Of neighbouring thresholds. `sweep` ends by the highest of `FALSE_SHARES`.
    fine : int
        Further thresholds in each interval that holds one of `FALSE_SHARES`.
    """
    number = listed_number(truth)

    def row(threshold: float) -> tuple[float, int, int]:
        result = score(detect(threshold), truth, fwhm)
        return float(threshold), result.true, result.false

    rows = sweep(lambda t: row(t)[1:], thresholds, ratio, FALSE_SHARES[-1] * number)
    for upper, lower in itertools.pairwise(rows):
        if any(upper[2] <= share * number < lower[2] for share in FALSE_SHARES):
            rows += [row(t) for t in np.geomspace(upper[0], lower[0], fine + 2)[1:-1]]
    return np.array(sorted(rows, reverse=True))


def true_at_false(curve: np.ndarray, allowed: float) -> float:
    """Return the true positives where the false ones reach `allowed`, between the thresholds."""
    true, false = curve[:, 1], np.maximum.accumulate(curve[:, 2])
    over = np.flatnonzero(false > allowed)
    if not over.size:
        return float(true.max())
    k = over[0]
    best = true[:k].max() if k else 0.0
    if k == 0:
        return 0.0
    share = (allowed - false[k - 1]) / (false[k] - false[k - 1])
    return float(max(best, true[k - 1] + share * (true[k] - true[k - 1])))


def threshold_at_false(curve: np.ndarray, allowed: float) -> float:
    """Return the threshold where the false positives of a curve reach `allowed`."""
    false = np.maximum.accumulate(curve[:, 2])
    return float(np.exp(np.interp(allowed, false, np.log(curve[:, 0]))))


def peak_signal_to_noise(truth: np.ndarray, image: np.ndarray) -> float:
    """Return the PSNR of an image in dB (Astro U-net, equations 12 and 13)."""
    error = float(np.mean((truth - image) ** 2))
    return float(10 * np.log10(float(truth.max()) ** 2 / error)) if error else float("inf")


def structural_similarity(truth: np.ndarray, image: np.ndarray, dynamic_range: float) -> float:
    """Return the SSIM (Wang et al. 2004; Astro U-net, equation 21)."""
    from skimage.metrics import structural_similarity as ssim

    return float(ssim(truth, image, data_range=dynamic_range))


def histogram_divergence(
    truth: np.ndarray, image: np.ndarray, *, low: float, high: float, bins: int = 200
) -> float:
    """Return the Kullback-Leibler divergence of the pixel histograms (Astro U-net, equation 9).

    In bins of equal width from `low` to `high`, pixels beyond in the outermost. Half a pixel is
    added to each bin: the divergence is finite where the image leaves one empty.
    """
    edges = np.linspace(low, high, bins + 1)
    p, q = (np.histogram(np.clip(one, low, high), edges)[0] + 0.5 for one in (truth, image))
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())


def f_measure(true: int, false: int, missed: int) -> float:
    """Return the harmonic mean of precision and recall (Astro U-net, equation 24)."""
    return 2 * true / (2 * true + false + missed) if true else 0.0


def mean_signal_to_noise(flux: np.ndarray, error: np.ndarray, background: float) -> float:
    """Return the mean signal-to-noise ratio of stars (Astro U-net, equation 26).

    Parameters
    ----------
    flux, error : array, shape (N,)
    background : float
        Of the image that they were measured on.
    """
    return float(np.mean(flux / np.hypot(error, background)))
