"""A command on each image HDU of its inputs."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.atomic import atomic_write, scratch_folder, write_together
from common.batch.loop import run_over_inputs
from common.batch.outputs import Files, OutputPlace, prepare_outputs
from common.command import Call
from common.progress import Reporter

ALL_HDUS = "all"  # value of --hdu: each image HDU


@dataclass(frozen=True)
class _ChipCall(Call):
    """The call for one HDU of an input: what it reports is kept."""

    parent: Call
    outcomes: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def reporter(self) -> Reporter:  # type: ignore[override]
        """The reporter of all HDUs."""
        return self.parent.reporter

    def report(self, outcome: Mapping[str, Any]) -> None:
        self.outcomes.append(outcome)


def run_on_all_hdus(call: Call) -> int:
    """Run a command on each image HDU of its inputs and return the exit code.

    FITS images go into one file with all HDUs. Other files, such as catalogues and pictures, are
    one for each HDU, with its name.
    """

    def name(path: Path) -> Files:
        return {"result": OutputPlace.of(path, call.args).file("")}

    if call.args.resume is not None:
        raise ValueError("--resume: not with --hdu all. Leave out one of the two.")
    return run_over_inputs(call, lambda path: _run_chips(call, path), name)


def _run_chips(call: Call, path: Path) -> None:
    """Run a command on each image HDU of one input."""
    from common.fits import chips
    from common.fits.hdus import image_hdus
    from common.io import split_suffix

    if split_suffix(path)[1].lower() == ".xisf":
        raise ValueError(f"{path}: --hdu all is for FITS. Give the number of one image.")
    hdus = chips.read_hdus(path)
    output = call.args.output
    named = output is not None and output.suffix != "" and not output.is_dir()
    target = (output.parent if named else output) or Path(".")
    outcomes: dict[int, Mapping[str, Any]] = {}
    wanted = {one.index: one for one in image_hdus(hdus)}
    given = {one.option: file for one in call.command.products.values()
             if one.help and (file := getattr(call.args, one.option, None))}  # fmt: skip
    parent = target if target.is_dir() else None
    with scratch_folder(parent) as scratch:
        for number, index in enumerate(wanted):
            folder = scratch / str(index)
            folder.mkdir(parents=True)
            args = argparse.Namespace(**vars(call.args))
            args.hdu, args.inputs, args.overwrite = str(index), [str(path)], True
            args.shard = args.jobs = args.scheduler = None
            args.watch = False
            args.output = folder / output.name if named else folder
            for option, file in given.items():
                setattr(args, option, folder / file.name)
            one = _ChipCall(call.command, args, call.version, call.commands, call.run_words, call)
            with call.reporter.part(number / len(wanted), (number + 1) / len(wanted)):
                one.run()
            outcomes[index] = one.outcomes[0]
        files: dict[str, dict[int, tuple[Path, Path]]] = {}  # option -> HDU -> made, final
        for index, outcome in outcomes.items():
            for option, made in outcome["outputs"].items():
                file = given.get(option) or target / Path(made).name
                files.setdefault(option, {})[index] = Path(made), file
        outputs = _place_chips(call, path, hdus, wanted, files)
    rest = [{"hdu": index} | {key: value for key, value in outcome.items()
                              if key not in ("input", "outputs")}
            for index, outcome in outcomes.items()]  # fmt: skip
    call.report({"input": path, "outputs": outputs, "hdus": rest})


def _place_chips(
    call: Call, path: Path, hdus: Sequence[Any], wanted: Mapping[int, Any],
    files: Mapping[str, Mapping[int, tuple[Path, Path]]],
) -> Files:  # fmt: skip
    """Write the results of all HDUs where they belong; return option -> file."""
    from common.fits import chips
    from common.fits.hdus import label_of

    outputs: Files = {}
    plan: list[tuple[str, Path, Mapping[int, Path]]] = []
    for option, found in files.items():
        made: Mapping[int, Path] = {index: one for index, (one, _) in found.items()}
        final = next(file for _, file in found.values())
        whole = option == "parameters" or all(
            chips.holds_chip(one, wanted[index]) for index, one in made.items()
        )
        if whole:
            outputs[option] = final
            plan.append((option, final, made))
            continue
        for index, one in made.items():
            label = label_of(wanted[index], list(hdus))
            stem, dot, suffix = final.name.partition(".")
            outputs[f"{option}_{label}"] = file = final.with_name(f"{stem}_{label}{dot}{suffix}")
            plan.append(("", file, {index: one}))
    overwrite = call.args.overwrite
    prepare_outputs(path, outputs, make_folder=call.args.output is not None, overwrite=overwrite)
    with write_together():
        for option, file, made in plan:
            content = next(iter(made.values())).read_bytes()
            if option == "parameters":
                record = json.loads(content)
                record["parameters"]["hdu"] = ALL_HDUS
                content = (json.dumps(record, indent=2) + "\n").encode()
            elif option:
                chips.merge_chips(made, len(hdus), file, overwrite=overwrite)
                continue
            with atomic_write(file, overwrite) as temporary:
                temporary.write_bytes(content)
    return outputs
