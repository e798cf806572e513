"""Light of low surface brightness: how much of an injected halo is left, against its scale."""

import itertools
from typing import Any

import numpy as np

from bgrem.validation.checks.result import (
    NOT_MEASURED,
    CheckResult,
    Measure,
    log_ticks,
    new_figure,
    style_axes,
)
from bgrem.validation.frames import Examination, Planes
from bgrem.validation.injection import Halo, with_photon_noise

HALO_SCALES_PX = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0)  # px; scale lengths of exponential discs
HALO_PEAKS_SIGMA = (0.3, 1.0, 3.0)  # central brightness in the noise of a pixel
HALO_COLOURS = {0.3: "#2c6fbb", 1.0: "#c0392b", 3.0: "#2e8b57"}  # peak -> colour of its curve
# of each scale: small ones contain more noise relative to their light
HALOS_PER_SCALE = (6, 6, 4, 2, 1, 1, 1)
HALO_RADIUS_SCALES = 3.0  # scale lengths; contain 80 % of the light
MAX_HALO_RADIUS_SHARE = 0.45  # of the frame's side; larger halos do not fit
MAX_HALO_FRAMES = 4  # frames: each is denoised anew
HALO_PLACE_TRIALS = 60  # random places tried for each halo
MIN_HALO_LIGHT_KEPT = 0.9  # share of the light that defines the limit in the summary
HALO_DISTANCE_RADII = 1.3  # sum of two radii; the least distance between centres


def check_halos(exam: Examination) -> list[CheckResult]:
    """Return the recovered light of halos."""
    if not exam.config.halos:
        return []
    frames = _pack(exam)
    rows = [row for number, halos in enumerate(frames) for row in _recover(exam, halos, number)]
    table = _summary(rows)
    measures = [_kept_up_to(table, peak) for peak in HALO_PEAKS_SIGMA]
    return [
        CheckResult(
            "halos",
            "Light of low surface brightness",
            "Round exponential discs were injected into the frame away from its border, with a "
            f"central brightness of {', '.join(f'{p:g}' for p in HALO_PEAKS_SIGMA)} times the "
            f"noise of a pixel. The light within {HALO_RADIUS_SCALES:g} scale lengths in the "
            "denoised frame, less the same without the halo, is compared with what was put in; "
            "the part that the smooth background took is given beside it. What neither has was "
            "taken for noise.",
            measures,
            _draw(table),
            "Solid: light kept in the denoised frame. Dotted: light in the smooth background. "
            "Bars are standard errors from the copies of a halo; without copies there is none. "
            "Halos that share a frame change each other's background: its part is uncertain for "
            "small ones.",
            [("part of the light", [_row(one) for one in table])],
            {"halos": rows},
        )
    ]


def _kept_up_to(table: list[dict[str, float]], peak: float) -> Measure:
    """Return the largest scale up to which, and on all smaller ones, enough light is left."""
    name = (
        f"{100 * MIN_HALO_LIGHT_KEPT:g} % of the light kept up to a scale of, centre {peak:g} sigma"
    )
    ordered = sorted((one["scale"], one["denoised"]) for one in table if one["peak"] == peak)
    kept = [
        scale
        for scale, _ in itertools.takewhile(lambda one: one[1] >= MIN_HALO_LIGHT_KEPT, ordered)
    ]
    value = kept[-1] if kept else float("nan")
    return Measure(name, value, "px", unknown="at no scale" if ordered else NOT_MEASURED)


def _pack(exam: Examination) -> list[list[Halo]]:
    """Return halos for each frame, none on another, the widest first."""
    rng, shape = exam.rng(5), exam.planes.pixels.shape
    frames: list[list[Halo]] = [[]]
    # one brightness after the other, so that all scales get some where room is short
    wanted = [(scale, peak) for scale, copies in zip(HALO_SCALES_PX, HALOS_PER_SCALE, strict=True)
              for peak in HALO_PEAKS_SIGMA for _ in range(copies)]  # fmt: skip
    for scale, peak in reversed(wanted):
        reach = HALO_RADIUS_SCALES * scale
        if reach > MAX_HALO_RADIUS_SHARE * min(shape):
            continue
        for frame in range(MAX_HALO_FRAMES):
            if frame == len(frames):
                frames.append([])
            halo = _place(frames[frame], scale, peak, reach, exam, rng)
            if halo is not None:
                frames[frame].append(halo)
                break
    return [one for one in frames if one]


def _place(
    others: list[Halo], scale: float, peak: float, reach: float, exam: Examination,
    rng: np.random.Generator,
) -> Halo | None:  # fmt: skip
    """Return a halo at a free place, or None."""
    planes = exam.planes
    height, width = planes.pixels.shape
    for _ in range(HALO_PLACE_TRIALS):
        x, y = rng.uniform(reach, width - 1 - reach), rng.uniform(reach, height - 1 - reach)
        apart = all(
            np.hypot(x - h.x, y - h.y) > HALO_DISTANCE_RADII * (reach + h.reach) for h in others
        )
        if apart and not planes.missing[round(y), round(x)]:
            sigma = float(planes.sigma[round(y), round(x)])
            return Halo(x, y, scale, peak * sigma, reach)
    return None


def _recover(exam: Examination, halos: list[Halo], number: int) -> list[dict[str, float]]:
    """Return what is left of each halo of one frame."""
    shape, planes = exam.planes.pixels.shape, exam.planes
    lights = [halo.light((shape[0], shape[1])) for halo in halos]
    total = np.sum(lights, axis=0)
    photons = with_photon_noise(total, exam.gain, exam.rng(6, number))
    after = exam.denoise(planes.pixels + photons)
    rows = []
    for halo, light in zip(halos, lights, strict=True):
        area = (light > 0) & ~planes.missing
        true = light[area].sum()
        sigma = planes.sigma[round(halo.y), round(halo.x)]
        rows.append({
            "scale": halo.scale, "peak": round(float(halo.peak / sigma), 3),
            "denoised": _gain(after, planes, "clean", area) / true,
            "background": _gain(after, planes, "background", area) / true,
        })  # fmt: skip
    return rows


def _gain(after: Planes, before: Planes, name: str, area: np.ndarray) -> float:
    """Return by how much the light of a plane grew in an area."""
    return float((getattr(after, name) - getattr(before, name))[area].sum())


def _summary(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """Return one row for each scale and brightness: means and their scatter."""
    found = []
    for peak in HALO_PEAKS_SIGMA:
        for scale in HALO_SCALES_PX:
            some = [one for one in rows if one["peak"] == peak and one["scale"] == scale]
            if some:
                kept = np.array([one["denoised"] for one in some])
                taken = np.array([one["background"] for one in some])
                error = float(kept.std(ddof=1) / np.sqrt(len(kept))) if len(kept) > 1 else np.nan
                found.append({"scale": scale, "peak": peak, "copies": float(len(some)),
                              "denoised": float(kept.mean()), "error": error,
                              "background": float(taken.mean())})  # fmt: skip
    return found


def _row(one: dict[str, float]) -> dict[str, Any]:
    error = f" ± {one['error']:.2f}" if np.isfinite(one["error"]) else ""
    return {
        "centre (sigma)": f"{one['peak']:g}", "scale length (px)": f"{one['scale']:g}",
        "halos": f"{one['copies']:.0f}", "kept in the denoised": f"{one['denoised']:.2f}{error}",
        "in the background": f"{one['background']:.2f}",
        "taken for noise": f"{1 - one['denoised'] - one['background']:.2f}",
    }  # fmt: skip


def _draw(table: list[dict[str, float]]) -> Any:
    figure, axes = new_figure(1)
    for peak in HALO_PEAKS_SIGMA:
        some = [one for one in table if one["peak"] == peak]
        x, kept, error, taken = (
            np.array([one[k] for one in some]) for k in ("scale", "denoised", "error", "background")
        )
        axes.errorbar(x, kept, np.nan_to_num(error), color=HALO_COLOURS[peak], marker="o", ms=4,
                      label=f"centre {peak:g} sigma: denoised")  # fmt: skip
        axes.plot(x, taken, color=HALO_COLOURS[peak], ls=":", marker="s", ms=3,
                  label=f"centre {peak:g} sigma: background")  # fmt: skip
    axes.axhline(1, color="k", lw=0.6)
    axes.axhline(0, color="k", lw=0.6)
    style_axes(axes, "light of injected exponential halos", "scale length (px)",
               "part of the light", xscale="log", ylim=(-0.6, 1.6), xlim=(1.7, 120))  # fmt: skip
    log_ticks(axes, *HALO_SCALES_PX)
    figure.legend(fontsize=9, ncols=3, loc="outside lower center")
    return figure
