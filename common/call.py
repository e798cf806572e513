"""One call of a command: its settings, what its files say, and the loop over its inputs."""

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from common import cli
from common.batch import (
    expand_inputs,
    is_image_name,
    leave_out_files_of,
    prepare_outputs,
    run_batch,
)
from common.command import Command
from common.config import config_from_args, settings_of
from common.image import AstroImage, Card
from common.io import split_suffix
from common.provenance import history_lines, provenance_cards, read_params, write_params

Files = dict[str, Path]  # option of a product -> file


@dataclass(frozen=True)
class Call:
    """One call of a command.

    Attributes
    ----------
    command : Command
    args : argparse.Namespace
        What the user typed.
    version : str
        Of the program.
    commands : dict
        The table that the command stands in.
    run_words : callable
        Runs another command line of the program, without its name.
    """

    command: Command
    args: argparse.Namespace
    version: str
    commands: Mapping[str, Command]
    run_words: Callable[[list[str]], int]

    def run(self) -> int:
        """Run the command and return its exit code."""
        module, _, function = self.command.run.partition(":")
        return getattr(import_module(module), function)(self)

    @cached_property
    def settings(self) -> dict[type, Any]:
        """A config of each type in `Command.configs`, from flags and ``--params``."""
        configs = self.command.configs
        replayed, origin = {}, getattr(self.args, "params", None)
        if origin:
            inputs_first = sorted(configs, key=lambda config: configs[config] != "")
            known = [name for config in inputs_first for name in settings_of(config)]
            replayed = read_params(origin, self.command.name, known=known)
        found: dict[type, Any] = {}
        for config in configs:
            mine = {name: replayed[name] for name in settings_of(config) if name in replayed}
            found[config] = config_from_args(self.args, config, mine, str(origin))
        return found

    @property
    def parameters(self) -> dict[str, Any]:
        """All settings by name, as HISTORY and parameter files list them."""
        found: dict[str, Any] = {}
        for config in self.settings.values():
            found |= dataclasses.asdict(config)
        return found

    def record(
        self, source: str | Path, pixels: np.ndarray, *, cards: Iterable[Card] = (),
        notes: Iterable[str] = (), **made: Any,
    ) -> "RunRecord":  # fmt: skip
        """Return what the files of one input say of how they were made.

        Parameters
        ----------
        source : path
            The input.
        pixels : array, shape (H, W, C)
            As they were read.
        cards : iterable of card
            Further keywords.
        notes : iterable of str
            Further lines of HISTORY.
        **made
            As `common.provenance.provenance_cards` takes them: model_sha256, seed, ...
        """
        own = provenance_cards(self.command.name, self.version, source, pixels=pixels, **made)
        return RunRecord(
            self.command, self.version, source, self.parameters, (*own, *cards), tuple(notes),
            self.args.overwrite,
        )  # fmt: skip

    def report(self, outcome: Mapping[str, Any]) -> None:
        """Say what was written, as ``--json`` and ``--quiet`` want it."""
        if self.args.json:
            cli.emit_json(outcome)
        elif not self.args.quiet:
            written = ", ".join(str(file) for file in outcome["outputs"].values())
            notes = "".join(f" ({note})" for note in outcome.get("notes", ()))
            print(f"{outcome['input']}: wrote {written}{notes}")

    def say(self, line: str) -> None:
        """Print a line of what goes on, unless ``--json`` or ``--quiet`` is given."""
        if not (self.args.quiet or self.args.json):
            print(line, flush=True)


@dataclass(frozen=True)
class RunRecord:
    """What made the files of one input: keywords and HISTORY of each, and a parameter file."""

    command: Command
    version: str
    source: str | Path
    parameters: Mapping[str, Any]
    cards: tuple[Card, ...]
    notes: tuple[str, ...]
    overwrite: bool

    def cards_of(self, option: str) -> tuple[Card, ...]:
        """Return the keywords of one product."""
        if not self.command.products[option].reproducible:
            return self.cards
        return (*self.cards, ("BGPART", option, "which of the run's files this is"))

    def history_of(self, option: str, sentence: str = "") -> list[str]:
        """Return the HISTORY lines of one product; `sentence` in place of its own."""
        sentence = sentence or self.command.products[option].sentence
        notes = [*self.notes, sentence] if sentence else self.notes
        return history_lines(
            self.command.name, self.version, self.source, self.parameters, notes=notes
        )

    def carried(self, option: str, image: AstroImage, sentence: str = "") -> AstroImage:
        """Return an image with the keywords and the HISTORY of a product's file."""
        return image.with_pixels(
            image.pixels, cards=self.cards_of(option), history=self.history_of(option, sentence)
        )

    def write_parameters(self, path: Path) -> None:
        """Write the parameter file."""
        write_params(
            path, self.command.name, self.version, self.source, self.parameters,
            overwrite=self.overwrite,
        )  # fmt: skip


@dataclass(frozen=True)
class OutputPlace:
    """Folder, first part of the name and suffix of the outputs; the result that -o names."""

    folder: Path
    stem: str
    suffix: str
    result: Path | None

    @classmethod
    def of(cls, path: Path, args: argparse.Namespace) -> "OutputPlace":
        """Return the place of the outputs of one input: by -o and -p, else the present folder."""
        if args.output is not None and is_image_name(args.output):
            base, suffix = split_suffix(args.output)
            return cls(base.parent, base.name, suffix, args.output)
        stem, suffix = split_suffix(path)
        prefix = getattr(args, "prefix", "")
        return cls(args.output or Path("."), prefix + stem.name, suffix, None)

    def file(self, ending: str, suffix: str | None = None) -> Path:
        """Return the file whose name ends so."""
        return self.folder / f"{self.stem}_{ending}{self.suffix if suffix is None else suffix}"


def name_products(call: Call, path: Path) -> Files:
    """Return the files of one input: what is always written, the parameters, what was asked for."""
    place, products = OutputPlace.of(path, call.args), call.command.products.values()
    given = {one.option: getattr(call.args, one.option) for one in products if one.help}
    always = {one.option: one.word for one in products if one.word}
    main = next(iter(always))
    files = {option: given.get(option) or place.file(word) for option, word in always.items()}
    files[main] = place.result or files[main]
    files["parameters"] = place.file(f"{always[main]}Params", ".json")
    return files | {option: file for option, file in given.items() if file}


def refuse_one_name(call: Call, number: int) -> None:
    """Raise ValueError where several inputs would go into one file."""
    args = call.args
    if args.output is not None and is_image_name(args.output):
        raise ValueError(f"--output {args.output}: {number} inputs need a folder.")
    products = [one.option for one in call.command.products.values() if one.help]
    for option in (*call.command.single_files, *products):
        if getattr(args, option):
            raise ValueError(f"--{option.replace('_', '-')} names one file, {number} inputs.")


def run_over_files(
    call: Call,
    read: Callable[[Path], Any],
    work: Callable[[Path, Any, Files], Mapping[str, Any]],
    *,
    name: Callable[[Call, Path], Files] = name_products,
    refuse_several: Callable[[Call, int], None] = refuse_one_name,
    timed: bool = True,
) -> int:
    """Run a command over its inputs and return the exit code; each is done or fails on its own.

    Nothing of an input is written before all of its files could be.

    Parameters
    ----------
    call : Call
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
    """
    args, command = call.args, call.command

    def run_one(path: Path) -> None:
        start = time.perf_counter()
        found = read(path)
        files = name(call, path)
        prepare_outputs(path, files, make_folder=args.output is not None, overwrite=args.overwrite)
        outcome = {"input": path, "outputs": files, **work(path, found, files)}
        seconds = {"seconds": round(time.perf_counter() - start, 3)} if timed else {}
        call.report(outcome | seconds)

    left_out = leave_out_files_of((command.name, *command.skips), command.program, quiet=args.quiet)
    paths = expand_inputs(args.inputs, left_out)
    if len(paths) == 1:  # its error is the command's
        run_one(paths[0])
        return cli.EXIT_DONE
    refuse_several(call, len(paths))
    with cli.Progress(len(paths), command.program, quiet=args.quiet or args.json) as bar:

        def done(path: Path, failure: Exception | None) -> None:
            bar.update()
            if failure is not None:
                message = cli.describe_error(failure)[1]
                print(f"{command.program}: error: {message}", file=sys.stderr)

        return run_batch(paths, run_one, progress=done).exit_code
