"""Fit the uncertainty of a model to fields with truth, and measure how often it holds.

Fields are split: weights, shifts and coverage are of different ones, so that no star and no
background is in two of them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import optimize

from bgrem.config import DenoiseConfig
from bgrem.denoising.flow import denoise
from bgrem.denoising.uncertainty import (
    CALIBRATED_SETTINGS,
    INTERVAL_LEVELS,
    SIGNAL_EDGES,
    Calibration,
    describe_surroundings,
    design,
)
from bgrem.models import Model
from common import cli

# pixels of each field and range: bright ones are rare, all ranges count the same
FIT_PIXELS_PER_RANGE = 150
CHECK_PIXELS_PER_RANGE = 3000  # pixels of each field and range, weighted by how often they occur
MIN_ERROR = 1e-4  # sigma; keeps logarithms finite
PINBALL_SOFTNESS = 0.05  # log of the error; rounds the kink of the pinball loss for the optimiser
RIDGE_PENALTY = 1e-5  # keeps the weights of similar features from growing against each other
CALIBRATION_FIELD_SHAPE = (384, 384)  # px; many small fields differ more than few large ones
# pixels that a range needs for its own shift; others take the nearest range's
MIN_PIXELS_PER_RANGE = 100
MIN_CALIBRATION_FIELDS = 4  # fields; half of them fit, half check
Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Sample:
    """Pixels of one field: features (F, N), signal (N,), |error| (N,) in sigma, weight (N,)."""

    features: np.ndarray
    signal: np.ndarray
    error: np.ndarray
    weight: np.ndarray


def simulated_pairs(number: int, first_seed: int) -> Iterator[Pair]:
    """Give observed and true pixels of simulated fields as the training's tiles are varied.

    Star densities are changed by up to a factor of two both ways (blends, scaled fluxes), and in
    three of ten fields the noise is correlated. What saturates is full in the truth too.
    """
    from bgrem.simulate.conditions import random_conditions
    from bgrem.simulate.noise import correlate_noise
    from bgrem.simulate.optical import simulate_field

    for seed in range(first_seed, first_seed + number):
        rng = np.random.default_rng([seed, 23])
        conditions = random_conditions(seed, CALIBRATION_FIELD_SHAPE)
        density = float(np.exp(rng.uniform(-0.7, 0.7)))
        field = simulate_field(replace(conditions, stars=(conditions.stars or 0) * density))
        observed, truth = field.observed, saturated_truth(field)
        if rng.uniform() < 0.3:
            noise = correlate_noise(rng, field.noise)
            observed = np.minimum(truth + field.background + noise, field.observed.max())
        yield observed.astype(np.float32), truth


def saturated_truth(field: Any) -> np.ndarray:
    """Return the sources of a simulated field as far as the detector can hold them."""
    instrument = field.instrument
    full = instrument.saturation / instrument.gain + instrument.bias
    return np.minimum(field.sources, full - field.background)


def sample_pair(
    pair: Pair, config: DenoiseConfig, model: Model, *, number: int, seed: int
) -> Sample:
    """Denoise a field and draw `number` pixels at most of each range of its signal."""
    observed, truth = pair
    done = denoise(observed, config, model=model, twin=True)
    features, signal = describe_surroundings(done)
    error = np.abs(truth - done.result.pixels[..., 0]) / done.sigma[..., 0]
    ranges = np.digitize(signal, SIGNAL_EDGES)
    rng = np.random.default_rng([seed, 29])
    chosen, weight = [], []
    for one in range(len(SIGNAL_EDGES) + 1):
        places = np.flatnonzero(ranges == one)
        drawn = rng.permutation(places)[:number]
        chosen.append(drawn)
        weight.append(np.full(len(drawn), len(places) / max(len(drawn), 1)))
    flat = np.concatenate(chosen)
    return Sample(
        features.reshape(len(features), -1)[:, flat].astype(float), signal.ravel()[flat],
        error.ravel()[flat].astype(float), np.concatenate(weight),
    )  # fmt: skip


def fit_calibration(samples: Iterable[Sample], config: DenoiseConfig) -> Calibration:
    """Return the calibration of fields that were denoised with `config`.

    Weights minimise the pinball loss of the logarithm of the error, by which quantiles are fitted
    (Koenker and Bassett 1978); the shifts are the conformal quantiles of what they leave.
    """
    samples = list(samples)
    features, _, target = _join(samples[::2])
    middle, spread = features.mean(1), np.maximum(features.std(1), 1e-6)
    terms = design((features - middle[:, None]) / spread[:, None])
    weights = np.stack([_fit_quantile(terms, target, level) for level in INTERVAL_LEVELS])
    # the shifts from the other fields, or they would be right for those of the weights alone
    features, signal, target = _join(samples[1::2])
    terms = design((features - middle[:, None]) / spread[:, None])
    ranges = np.digitize(signal, SIGNAL_EDGES)
    inside = [
        ranges == one
        for one in range(len(SIGNAL_EDGES) + 1)
        if (ranges == one).sum() >= MIN_PIXELS_PER_RANGE
    ]
    return Calibration(
        settings={name: getattr(config, name) for name in CALIBRATED_SETTINGS},
        middle=middle, spread=spread, weights=weights,
        centres=np.array([np.log(np.maximum(np.median(signal[k]), 1e-9)) for k in inside]),
        shifts=np.array([
            [_conformal_quantile((target - w @ terms)[k], level) for k in inside]
            for w, level in zip(weights, INTERVAL_LEVELS, strict=True)
        ]),
        notes={"fields": len(samples)},
    )  # fmt: skip


def _join(samples: list[Sample]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features (F, N), signal and logarithm of the error (N,) of all samples."""
    signal, error = (
        np.concatenate([getattr(one, name) for one in samples]) for name in ("signal", "error")
    )
    features = np.concatenate([one.features for one in samples], 1)
    return features, signal, np.log(error + MIN_ERROR)


def _fit_quantile(terms: np.ndarray, target: np.ndarray, level: float) -> np.ndarray:
    """Return the weights whose sum has `level` of the targets below it, shape (T,)."""

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        left = (target - weights @ terms) / PINBALL_SOFTNESS
        value = PINBALL_SOFTNESS * np.mean(level * left + np.logaddexp(0, -left))
        slope = level - 1 / (1 + np.exp(np.clip(left, -50, 50)))
        ridge = RIDGE_PENALTY * weights
        return value + ridge @ weights / 2, ridge - terms @ slope / len(target)

    start = np.zeros(len(terms))
    start[0] = np.quantile(target, level)
    return optimize.minimize(loss, start, jac=True, method="L-BFGS-B").x


def _conformal_quantile(scores: np.ndarray, level: float) -> float:
    """Return the score that `level` of new ones stay below: a little above the sample's."""
    return float(np.quantile(scores, min(level * (1 + 1 / len(scores)), 1.0)))


def coverage_table(samples: Iterable[Sample], calibration: Calibration) -> list[dict[str, Any]]:
    """Return rows for all pixels and each range: share of pixels, coverage at both levels.

    A field counts as one, however many pixels it has in a range: those of one field share its
    undetected stars and the error of its background, so fields are what is drawn independently
    (Dunn, Wasserman and Ramdas 2022). Beside the mean over fields is their standard deviation.
    Fractions of 1; ranges that no field has `MIN_PIXELS_PER_RANGE` pixels in are left out.
    """
    ranges = [None, *range(len(SIGNAL_EDGES) + 1)]
    bounds = [0.0, *SIGNAL_EDGES, np.inf]
    found: dict[int | None, list[np.ndarray]] = {one: [] for one in ranges}
    pixels = dict.fromkeys(ranges, 0.0)
    for sample in samples:
        inside = sample.error <= calibration.half_widths(sample.features, sample.signal)
        place = np.digitize(sample.signal, SIGNAL_EDGES)
        for one in ranges:
            chosen = place >= 0 if one is None else place == one
            weight = sample.weight[chosen]
            pixels[one] += weight.sum()
            if len(weight) >= MIN_PIXELS_PER_RANGE:
                found[one].append((inside[:, chosen] * weight).sum(1) / weight.sum())
    return [
        {
            "signal": "all" if one is None else f"{bounds[one]:g} to {bounds[one + 1]:g} sigma",
            "share": round(float(pixels[one] / pixels[None]), 6),
            "fields": len(covers),
            **{name: round(float(value), 4) for name, value in zip(
                ("68", "95", "68_std", "95_std"),
                (*np.mean(covers, 0), *np.std(covers, 0)), strict=True,
            )},
        }
        for one, covers in found.items() if covers
    ]  # fmt: skip


def calibrate(
    pairs: Iterable[Pair], config: DenoiseConfig, model: Model, *, progress: Any = None
) -> tuple[Calibration, list[dict[str, Any]]]:
    """Return the calibration of one half of the fields and its coverage on the other half.

    Parameters
    ----------
    pairs : iterable of (observed, truth)
        Arrays of shape (H, W), in any unit.
    config : DenoiseConfig
        How they are denoised, with the whole strength.
    model : Model
    progress : callable, optional
        Called after each field.

    Raises
    ------
    ValueError
        If there are fewer than `MIN_CALIBRATION_FIELDS` fields, or hardly a pixel.
    """
    halves: tuple[list[Sample], list[Sample]] = ([], [])
    for index, pair in enumerate(pairs):
        number = CHECK_PIXELS_PER_RANGE if index % 2 else FIT_PIXELS_PER_RANGE
        sample = sample_pair(pair, config, model, number=number, seed=index)
        halves[index % 2].append(sample)
        if progress is not None:
            progress()
    if len(halves[1]) < MIN_CALIBRATION_FIELDS // 2:
        raise ValueError(
            f"{len(halves[0]) + len(halves[1])} fields: expected {MIN_CALIBRATION_FIELDS} or "
            f"more. Add some."
        )
    fitted = fit_calibration(halves[0], config)
    if not len(fitted.centres):
        raise ValueError(
            f"the fields have fewer than {MIN_PIXELS_PER_RANGE} pixels. Add larger ones."
        )
    rows = coverage_table(halves[1], fitted)
    notes = fitted.notes | {"checked_fields": len(halves[1]), "coverage": rows}
    return replace(fitted, notes=notes), rows


def print_coverage(rows: list[dict[str, Any]], title: str = "signal") -> None:
    """Print the rows of `coverage_table` in per cent: mean and standard deviation over fields."""
    cli.put(f"| {title} | pixels | fields | within SIGMA68 | within SIGMA95 |")
    cli.put("| --- | --- | --- | --- | --- |")
    for row in rows:
        both = (f"{100 * row[n]:.1f} ± {100 * row[f'{n}_std']:.1f}" for n in ("68", "95"))
        cells = (row["signal"], f"{100 * row['share']:.2f} %", str(row["fields"]), *both)
        cli.put(f"| {' | '.join(cells)} |")
