"""A command over its inputs: read, work, report."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.atomic import write_together
from common.batch.chips import ALL_HDUS, run_on_all_hdus
from common.batch.loop import run_over_inputs
from common.batch.outputs import (
    Files,
    name_products,
    prepare_outputs,
    refuse_one_name,
    remove_empty,
)
from common.command import Call


def run_over_files(
    call: Call,
    read: Callable[[Path], Any],
    work: Callable[[Path, Any, Files], Mapping[str, Any]],
    *,
    name: Callable[[Call, Path], Files] = name_products,
    refuse_several: Callable[[Call, int], None] = refuse_one_name,
    timed: bool = True,
    made_with: str = "",
) -> int:
    """Run a command over its inputs and return the exit code; each is done or fails on its own.

    Inputs whose files would replace each other are refused before any work. Nothing of an input
    is written before all of its files could be; then all appear together.

    Parameters
    ----------
    read : callable
        Takes the path, returns what `work` needs.
    work : callable
        Takes path, what was read, and files; computes and writes. Returns what ``--json`` says
        beside input, outputs and seconds.
    name : callable
        Takes call and path, returns the files.
    refuse_several : callable
        Takes call and number of inputs, raises ValueError where they would go into one file.
    timed : bool, optional
        Whether the seconds are reported.
    made_with : str, optional
        The SHA-256 of a model's weights; with another model nothing is done already.
    """
    args = call.args
    if any(getattr(one, "hdu", None) == ALL_HDUS for one in call.settings.values()):
        return run_on_all_hdus(call)

    def run_one(path: Path) -> None:
        start = time.perf_counter()
        call.reporter.status("reading", "Reading", input=path)
        found = read(path)
        files = name(call, path)
        made = prepare_outputs(
            path, files, make_folder=args.output is not None, overwrite=args.overwrite
        )
        try:
            call.reporter.status("running", f"Running {call.command.name}", input=path)
            with write_together():
                outcome = {"input": path, "outputs": files, **work(path, found, files)}
        except BaseException:
            remove_empty(made)
            raise
        seconds = round(time.perf_counter() - start, 3)
        call.report(outcome | ({"seconds": seconds} if timed else {}))

    return run_over_inputs(
        call, run_one, lambda path: name(call, path), refuse_several=refuse_several,
        made_with=made_with,
    )  # fmt: skip
