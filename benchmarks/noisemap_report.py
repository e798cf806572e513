"""Figures and tables of all ways to map staring frames (noisemap.py)."""

import sys
from typing import Any

import numpy as np

KINDS = {"frame": 0.0, "3": 3.0, "5": 5.0, "8": 8.0}  # peaks in units of the noise; 0: SNR 1
ALARMS = 1.0  # false ones per frame
LIGHTS = {"2 to 10": (2, 10), "10 to 50": (10, 50), "above 50": (50, np.inf)}  # streaks, noise = 1
BANDS = {"low": (1, 16), "middle": (16, 64), "high": (64, 256)}  # waves in 512 px
STAGES = (
    "difference",
    "before",
    "after",
)  # with - without; frame and residual against no structure
SHIFT = 0.2  # px, wanted at most
Row = dict[str, Any]


def summarise(frames: list[dict[str, Row]], name: str) -> Row:
    """Return the figures of one way over all frames."""
    rows = [row for frame in frames for row in frame[name]["satellites"]]
    line: Row = {"seconds": float(np.median([frame[name]["seconds"] for frame in frames]))}
    for kind in KINDS:
        line |= {f"{kind}: {key}": value for key, value in gains(select(rows, kind=kind)).items()}
        line[f"{kind}: detected"] = detected(frames, name, kind, pooled=True)
        line[f"{kind}: detected, own threshold"] = detected(frames, name, kind, pooled=False)
    for place in ("on", "off"):
        for prefix, part in ((place, rows), (f"frame, {place}", select(rows, kind="frame"))):
            found = gains(select(part, place=place))
            line |= {f"{prefix}: {key}": value for key, value in found.items()}
    for name_of, (low, high) in LIGHTS.items():
        part = [row for row in rows if low < row["light"] <= high]
        line |= {f"{name_of}: {key}": value for key, value in gains(part).items()}
    return line | {f"trail {key}": value for key, value in trail_figures(frames, name).items()}


def select(rows: list[Row], **wanted: str) -> list[Row]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def gains(rows: list[Row]) -> Row:
    """Return SNR gains and shares of flux of these satellites."""
    if not rows:
        return {}
    table = {key: np.array([row[key] for row in rows]) for key in ("gain", "hot", "whole", "kept")}
    measured = np.array([row["measured"] for row in rows])
    return {
        "satellites": len(rows), "mean gain": table["gain"].mean(),
        "median gain": np.median(table["gain"]), "share above 60 %": (table["gain"] >= 0.6).mean(),
        "mean gain, hot pixels in": table["hot"].mean(),
        "mean gain, whole frame": table["whole"].mean(),
        "median gain, whole frame": np.median(table["whole"]),
        "ratio of measured SNR - 1": measured[:, 1].mean() / measured[:, 0].mean() - 1,
        "flux kept": table["kept"].mean(), "flux kept, 10 %": np.quantile(table["kept"], 0.1),
        "share with 90 % of flux": (table["kept"] >= 0.9).mean(),
    }  # fmt: skip


def detected(frames: list[dict[str, Row]], name: str, kind: str, *, pooled: bool) -> float:
    """Return the share of satellites above the threshold with one false alarm per frame.

    `pooled`: one threshold for all frames, and the alarms are an average; else each frame has its
    own threshold.
    """
    false = [np.array(frame[name]["false"]) for frame in frames]
    number = int(ALARMS * len(frames))
    everything = np.sort(np.concatenate(false))[::-1]
    common = everything[min(number, len(everything) - 1)]
    hits = []
    for frame, peaks in zip(frames, false, strict=True):
        threshold = common if pooled else peaks[min(int(ALARMS), len(peaks) - 1)]
        for row, peak in zip(frame[name]["satellites"], frame[name]["found"], strict=True):
            if row["kind"] == kind:
                hits.append(peak > threshold)
    return float(np.mean(hits))


def trail_figures(frames: list[dict[str, Row]], name: str) -> Row:
    rows = [row for frame in frames for row in frame[name]["trails"]]
    result: Row = {}
    for place, parallel in (("across", False), ("parallel", True)):
        part = [row for row in rows if row["parallel"] is parallel]
        if not part:
            continue
        kept = np.array([row["kept"] for row in part])
        result |= {f"{place}: trails": len(part), f"{place}: flux kept": kept.mean(),
                   f"{place}: flux kept, 10 %": np.quantile(kept, 0.1)}  # fmt: skip
        for stage in STAGES:
            for key in ("length", "width", "ends"):
                values = np.array([row[stage][key] for row in part])
                values[np.isnan(values)] = np.inf  # no fit
                middle = float(np.median(values))
                result[f"{place}: {stage}: {key}"] = middle if np.isfinite(middle) else None
                share = float((values <= SHIFT).mean())
                result[f"{place}: {stage}: {key} within {SHIFT:g}"] = share
    return result


def band_ratios(frames: list[dict[str, Row]], name: str) -> dict[str, list[float]]:
    """Return for each band medians over frames: power before, after, of the map (noise = 1)."""
    result = {}
    for band, (low, high) in BANDS.items():
        powers = [[spectrum[low:high].mean() for spectrum in frame[name]["spectra"]]
                  for frame in frames]  # fmt: skip
        result[band] = [float(value) for value in np.median(powers, 0)]
    return result


def percent(value: float | None, sign: str = "") -> str:
    return "-" if value is None or not np.isfinite(value) else f"{100 * value:{sign}.0f} %"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def print_table(head: list[str], rows: list[list[str]]) -> None:
    print("\n| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    sys.stdout.flush()


def print_report(summary: dict[str, Row], bands: dict[str, Any]) -> None:
    """Print the tables of all ways."""
    print_table(
        ["SNR gain", "mean", "median", "on a streak, median", "off, median", "whole frame, median",
         "hot pixels in, mean", "measured", "peak 5, median", "peak 8, median", "s"],
        [[name, *(percent(line.get(key), "+") for key in (
            "frame: mean gain", "frame: median gain", "frame, on: median gain",
            "frame, off: median gain", "frame: median gain, whole frame",
            "frame: mean gain, hot pixels in", "frame: ratio of measured SNR - 1",
            "5: median gain", "8: median gain")), f"{line['seconds']:.2f}"]
         for name, line in summary.items()])  # fmt: skip
    print_table(
        ["flux kept", *(f"{place}, {key}" for place in ("on a streak", "off")
                        for key in ("mean", "10 % quantile", "with 90 %")),
         *(f"streak of {light} sigma" for light in LIGHTS)],
        [[name, *(percent(line.get(f"{place}: {key}")) for place in ("on", "off")
                  for key in ("flux kept", "flux kept, 10 %", "share with 90 % of flux")),
          *(percent(line.get(f"{light}: flux kept")) for light in LIGHTS)]
         for name, line in summary.items()])  # fmt: skip
    print_table(
        ["detected", *(f"peak {kind}{rest}" for rest in ("", ", own threshold")
                       for kind in ("3", "5", "8"))],
        [[name, *(percent(line[f"{kind}: detected{rest}"]) for rest in ("", ", own threshold")
                  for kind in ("3", "5", "8"))]
         for name, line in summary.items()])  # fmt: skip
    for place in ("across", "parallel"):
        print_trails(summary, place)
    print_table(
        ["power, white noise = 1", *(f"{band}: {what}" for band in BANDS
                                     for what in ("before", "after", "map"))],
        [[name, *(f"{value:.3g}" for band in BANDS for value in bands[name][band])]
         for name in bands])  # fmt: skip


def print_trails(summary: dict[str, Row], place: str) -> None:
    """Print what becomes of the trails across the streaks, or parallel to them: medians, px."""
    keys = [f"{stage}: {key}" for stage in STAGES for key in ("length", "width", "ends")]
    shares = [f"{stage}: ends within {SHIFT:g}" for stage in ("difference", "after")]
    print_table(
        [f"trails {place}", "flux kept", "10 % quantile", *keys,
         *(f"{share} px" for share in shares)],
        [[name, *(percent(line.get(f"trail {place}: {key}"))
                  for key in ("flux kept", "flux kept, 10 %")),
          *(number(line.get(f"trail {place}: {key}")) for key in keys),
          *(percent(line.get(f"trail {place}: {share}")) for share in shares)]
         for name, line in summary.items()])  # fmt: skip
