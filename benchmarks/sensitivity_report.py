"""Tables of what constants change, and the rule that judges them (sensitivity.py)."""

from pathlib import Path
from typing import Any

import numpy as np
from sensitivity_constants import FACTORS, constants_of, variants
from sensitivity_figures import MEASURES
from sensitivity_groups import SWITCHED_OFF

SIGNIFICANT = 2.5  # standard errors over frames, of a change that decides
SMALL = 0.2  # of a figure's limit; a mean change below it is nothing
WRONG = 5.0  # limits; by so much single frames may change where the mean does not
Row = dict[str, Any]


def summarise(group: str, rows: list[Row]) -> Row:
    """Return the changes that every constant makes, paired frame by frame.

    Returns
    -------
    dict
        "frames", "seconds" (CPU), "figures" {name: unit, limit, mean, error of the unchanged
        constants}, "constants": a list of rows with "changes" {figure: one dict for each factor}.
    """
    how = MEASURES[group]
    base = {row["frame"]: row["measured"] for row in rows if not row["constant"]}
    unchanged = how.per_frame(list(base.values()))
    figures = {}
    for one in how.figures:
        values = one.scale * unchanged[one.name]
        figures[one.name] = {
            "unit": one.unit, "limit": one.limit,
            "mean": float(np.nanmean(values)), "error": standard_error(values),
        }  # fmt: skip
    found = []
    for constant in constants_of(group):
        new = variants(constant)
        row: Row = {"constant": constant.label, "module": constant.module, "value": constant.value,
                    "new": [str(new.get(factor, "-")) for factor in (*FACTORS, SWITCHED_OFF)],
                    "frames changed": [], "changes": {name: [] for name in figures}}  # fmt: skip
        for factor in (*FACTORS, SWITCHED_OFF):
            mine = {
                one["frame"]: one["measured"] for one in rows
                if (one["constant"], one["factor"], one.get("value"))
                == (constant.label, factor, constant.value)
                and one["module"].rpartition(".")[2] == constant.module.rpartition(".")[2]
            }  # fmt: skip
            _add_changes(row, how, base, mine)
        found.append(row | {"verdict": verdict(row, figures, slice(2)),
                            "off": verdict(row, figures, slice(2, 3))})  # fmt: skip
    return {"frames": len(base), "seconds": sum(row["seconds"] for row in rows),
            "figures": figures, "constants": found}  # fmt: skip


def _add_changes(row: Row, how: Any, base: dict[str, Row], mine: dict[str, Row]) -> None:
    """Append one factor's changes to a constant's row; None where it has no other value."""
    if not mine:
        row["frames changed"].append(None)
        for one in how.figures:
            row["changes"][one.name].append(None)
        return
    names = [name for name in base if name in mine]
    before, after = (how.per_frame([rows[name] for name in names]) for rows in (base, mine))
    row["frames changed"].append(sum(base[n]["digest"] != mine[n]["digest"] for n in names))
    for one in how.figures:
        change = one.scale * (after[one.name] - before[one.name])
        change = change[np.isfinite(change)] if np.isfinite(change).any() else np.zeros(1)
        row["changes"][one.name].append({
            "mean": float(change.mean()), "error": standard_error(change),
            "largest": float(change[np.abs(change).argmax()]),
        })  # fmt: skip


def standard_error(values: np.ndarray) -> float:
    """Return the standard error of the mean over frames."""
    values = values[np.isfinite(values)]
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def verdict(row: Row, figures: dict[str, Row], which: slice) -> str:
    """Return what a constant does: "same pixels", "nothing", "little", "single frames", "decides".

    It decides where a figure's mean changes by its limit and by `SIGNIFICANT` standard errors. It
    does nothing where no mean changes by `SMALL` limits and no frame's figure by a limit. What is
    between is little, but for figures of one frame that change by `WRONG` limits.

    Parameters
    ----------
    row : dict
        Of a constant; see `summarise`.
    figures : dict
        Their limits.
    which : slice
        Of the variants: -20 %, +25 %, off.
    """
    frames = row["frames changed"][which]
    if all(one is None for one in frames):
        return "-"
    if not any(frames):
        return "same pixels"
    found = {"nothing"}
    for name, changes in row["changes"].items():
        limit = figures[name]["limit"]
        for change in (one for one in changes[which] if one):
            mean, largest = abs(change["mean"]), abs(change["largest"])
            if mean >= limit and mean >= SIGNIFICANT * (change["error"] or 0):
                found.add("decides")
            if largest >= WRONG * limit:
                found.add("single frames")
            if mean >= SMALL * limit or largest >= limit:
                found.add("little")
    return next(one for one in ("decides", "single frames", "little", "nothing") if one in found)


def table(summary: Row) -> str:
    """Return a Markdown table: mean change (in standard errors) of every variant."""
    heads = [f"{name}, {one['unit']}" for name, one in summary["figures"].items()]
    lines = [_line(["constant", "in", "value", *heads, "frames", "-20 / +25 %", "off"]),
             _line(["---"] * (6 + len(heads)))]  # fmt: skip
    means = [f"{one['mean']:.3g} ± {one['error']:.2g}" for one in summary["figures"].values()]
    lines.append(_line(["as it is", "", "", *means, str(summary["frames"]), "", ""]))
    for row in summary["constants"]:
        cells = [_joined([_change(one) for one in row["changes"][name]])
                 for name in summary["figures"]]  # fmt: skip
        frames = _joined(["-" if one is None else str(one) for one in row["frames changed"]])
        file = row["module"].rpartition(".")[2] + ".py"
        lines.append(_line([f"`{row['constant']}`", f"`{file}`", f"{row['value']:.4g}", *cells,
                            frames, row["verdict"], row["off"]]))  # fmt: skip
    return "\n".join(lines)


def _change(one: Row | None) -> str:
    if one is None:
        return "-"
    if not one["largest"]:
        return "0"
    ratio = one["mean"] / one["error"] if one["error"] else 0.0
    return f"{one['mean']:+.2g} ({abs(ratio):.1f})"


def _joined(cells: list[str]) -> str:
    """Return -20 % / +25 % / off, without the last where there is none."""
    return " / ".join(cells[:2] if cells[2] == "-" else cells)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def write_report(path: Path, summaries: dict[str, Row]) -> None:
    """Put the tables between the comments of a Markdown file that name their group."""
    text = path.read_text("utf-8")
    for group, summary in summaries.items():
        begin, end = f"<!-- begin {group} -->\n", f"<!-- end {group} -->"
        head, rest = text.split(begin)
        text = head + begin + "\n" + table(summary) + "\n\n" + end + rest.split(end)[1]
    path.write_text(text, "utf-8")
