"""What each tuned constant changes: at -20 %, +25 % and switched off, on development seeds.

    python benchmarks/sensitivity.py [--groups "noise map,threshold"] [--frames N] [--rows FILE]
    python benchmarks/sensitivity.py --report docs/development/sensitivity.md --json FILE

What is measured is kept line by line in `--rows`; a run that was stopped goes on from there, and a
constant whose value has changed is measured anew. `sensitivity_constants.py` has the table of
constants, `sensitivity_figures.py` the frames and figures.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from sensitivity_constants import Constant, changed, constants_of, variants  # noqa: E402
from sensitivity_figures import MEASURES  # noqa: E402
from sensitivity_groups import GROUPS  # noqa: E402
from sensitivity_memory import remembered  # noqa: E402
from sensitivity_report import summarise, table, write_report  # noqa: E402

ROWS = Path("sensitivity.jsonl")
FRAMES = 12  # of each kind at most; the kinds say how many there are
Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """Return what a former run has measured."""
    return (
        [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    )


def measure(group: str, frames: int, path: Path, names: set[str] | None = None) -> None:
    """Measure what is not among the rows yet, frame by frame, and append it.

    Parameters
    ----------
    group : str
    frames : int
        Of each kind, at most.
    path : Path
        JSON lines.
    names : set of str, optional
        Labels of the constants; default: all.
    """
    how, constants = MEASURES[group], constants_of(group)
    done = {identity(row) for row in read_rows(path)}
    for frame in how.frames(frames):
        missing: list[tuple[Constant | None, float, Any]] = [(None, 1.0, None)]
        missing += [(one, factor, new) for one in constants for factor, new in variants(one).items()
                 if names is None or one.label in names]  # fmt: skip
        missing = [one for one in missing if identity(row_of(group, frame, *one)) not in done]
        if not missing:
            continue
        prepared = how.prepare(frame)
        with remembered(group), path.open("a", encoding="utf-8") as file:
            how.measure(prepared)  # imports and compiles everything
            for constant, factor, new in missing:
                start = time.process_time()
                if constant is None:
                    found = how.measure(prepared)
                else:
                    with changed(constant, new):
                        found = how.measure(prepared)
                row = row_of(group, frame, constant, factor, new) | {
                    "seconds": time.process_time() - start, "measured": found}  # fmt: skip
                file.write(json.dumps(row) + "\n")
                file.flush()
        print(f"{group}, {frame}: {len(missing)} runs", file=sys.stderr, flush=True)


def row_of(group: str, frame: str, constant: Constant | None, factor: float, new: Any) -> Row:
    if constant is None:
        return {"group": group, "frame": frame, "module": "", "constant": "", "factor": 1.0}
    return {"group": group, "frame": frame, "module": constant.module, "constant": constant.label,
            "factor": factor, "value": constant.value, "new": new}  # fmt: skip


def identity(row: Row) -> tuple:
    """Return what makes a row the same as another; a module's path may change."""
    module = row["module"].rpartition(".")[2]
    return (row["group"], row["frame"], module, row["constant"], row["factor"], row.get("value"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--groups", default=",".join(GROUPS), help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--frames", type=int, default=FRAMES, help="of each kind, at most")
    parser.add_argument("--constants", help="labels, separated by commas; default: all")
    parser.add_argument("--rows", type=Path, default=ROWS, help="JSON lines to go on with")
    parser.add_argument("--no-measuring", action="store_true", help="only the tables of --rows")
    parser.add_argument("--report", type=Path, metavar="MD", help="write the tables into this file")
    parser.add_argument("--json", type=Path, help="write the tables' figures")
    args = parser.parse_args()
    summaries = {}
    for group in args.groups.split(","):
        if not args.no_measuring:
            names = set(args.constants.split(",")) if args.constants else None
            measure(group, args.frames, args.rows, names)
        names_of = set(MEASURES[group].frames(args.frames))
        rows = [one for one in read_rows(args.rows)
                if one["group"] == group and one["frame"] in names_of]  # fmt: skip
        summaries[group] = summarise(group, rows)
        print(f"\n## {group}\n\n{table(summaries[group])}", flush=True)
    if args.report:
        write_report(args.report, summaries)
    if args.json:
        args.json.write_text(json.dumps(summaries, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
