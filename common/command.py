"""A command is one record and one function: parser, files, HISTORY, replays are in the record.

`bgrem.commands.records` has the records of `bgrem`, `bgoptimizer.cli` the one of `bgoptimizer`.
Imports neither numpy nor astropy, so that ``--help`` answers at once.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import cli
from common.config import add_config_flags, config_from_args, field_rows

if TYPE_CHECKING:
    import numpy as np

    from common.image import AstroImage, Card

TABLE_ROWS = "the table"  # in place of an HDU's name: the rows of the last table
Files = dict[str, Path]  # option of a product -> file


@dataclass(frozen=True)
class Flag:
    """An argument that is no setting: names and what `ArgumentParser.add_argument` takes."""

    names: tuple[str, ...]
    options: Mapping[str, Any]


def flag(*names: str, **options: Any) -> Flag:
    """Return a `Flag`."""
    return Flag(names, options)


@dataclass(frozen=True, kw_only=True)
class Product:
    """One file that a command writes.

    Attributes
    ----------
    option : str
        Its name in ``--json`` and BGPART, and of its flag. The flag of the first product of a
        command is ``--output``.
    word : str
        What its name ends in, where it is always written; "": only on request of its flag.
    sentence : str
        What it says of itself in HISTORY.
    hdu : str, optional
        The HDU that `bgrem reproduce` compares, or `TABLE_ROWS`; None: that of the input.
    reproducible : bool
        Whether its header says how it was made.
    help, metavar : str
        Of its flag; without help it has none.
    """

    option: str
    word: str = ""
    sentence: str = ""
    hdu: str | None = None
    reproducible: bool = True
    help: str = ""
    metavar: str = "FILE"

    @property
    def flag(self) -> Flag:
        """The flag that names the file."""
        name = f"--{self.option.replace('_', '-')}"
        return flag(name, type=Path, metavar=self.metavar, help=self.help)


@dataclass(frozen=True, kw_only=True)
class Command:
    """All that there is to say of one command.

    Attributes
    ----------
    name : str
        As the user types it and BGTOOL has it: "bgrem denoise".
    about : str
        Its ``--help``; the first sentence is the line in the list of commands.
    run : str
        "module:function", imported when the command runs; takes a `Call`, returns the exit code.
    arguments : tuple
        `Flag`, `Product` or config without a title, in the order of the usage line.
    configs : dict
        Dataclass of settings -> title of its group of flags ("": it stands in `arguments`), in the
        order of HISTORY and parameter files.
    replayable : bool
        Whether it writes a parameter file and takes one with ``--params``.
    skips : tuple of str
        Further commands whose files in a folder are no inputs, as its own are not.
    """

    name: str
    about: str
    run: str
    arguments: tuple[Flag | Product | type, ...] = ()
    configs: Mapping[type, str] = field(default_factory=dict)
    replayable: bool = True
    skips: tuple[str, ...] = ()

    @property
    def program(self) -> str:
        """The first word of the name."""
        return self.name.split()[0]

    @property
    def word(self) -> str:
        """The last word of the name."""
        return self.name.split()[-1]

    @property
    def products(self) -> dict[str, Product]:
        """Option -> product."""
        return {one.option: one for one in self.arguments if isinstance(one, Product)}

    @property
    def reproducible(self) -> dict[str, Product]:
        """Option -> product that can be made again from its header."""
        return {option: one for option, one in self.products.items() if one.reproducible}


def add_arguments(parser: argparse.ArgumentParser, command: Command, version: str) -> None:
    """Add all flags of a command."""
    for one in command.arguments:
        if isinstance(one, type):
            add_config_flags(parser, one)
        elif isinstance(one, Flag):
            parser.add_argument(*one.names, **one.options)
        elif one.help:
            parser.add_argument(*one.flag.names, **one.flag.options)
    for config, title in command.configs.items():
        if title:
            add_config_flags(parser.add_argument_group(title), config)
    cli.add_common_flags(parser, version, replays=command.replayable)


def option_rows(command: Command) -> list[tuple[str, str, str, str]]:
    """Return a row of each option, for documentation: flags, what it does, default, unit."""
    rows = []
    for one in (*command.arguments, *(c for c, title in command.configs.items() if title)):
        if isinstance(one, type):
            rows += field_rows(one)
        elif isinstance(one, Flag) or one.help:
            given = one if isinstance(one, Flag) else one.flag
            rows.append((", ".join(given.names), given.options.get("help", ""), "", ""))
    return rows


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
        names = {config: [one.name for one in dataclasses.fields(config)] for config in configs}
        if origin:
            from common.provenance import read_params

            known = sorted(configs, key=lambda config: configs[config] != "")
            replayed = read_params(
                origin, self.command.name, known=[n for c in known for n in names[c]]
            )
        return {
            config: config_from_args(
                self.args, config, {n: replayed[n] for n in mine if n in replayed}, str(origin)
            )
            for config, mine in names.items()
        }

    @property
    def parameters(self) -> dict[str, Any]:
        """All settings by name, as HISTORY and parameter files list them."""
        found: dict[str, Any] = {}
        for config in self.settings.values():
            found |= dataclasses.asdict(config)
        return found

    def record(
        self, source: str | Path, pixels: "np.ndarray", *, cards: Iterable["Card"] = (),
        first_cards: Iterable["Card"] = (), notes: Iterable[str] = (),
        **made: Any,
    ) -> "RunRecord":  # fmt: skip
        """Return what the files of one input say of how they were made.

        Parameters
        ----------
        source : path
            The input.
        pixels : array, shape (H, W, C)
            As they were read.
        cards, first_cards : iterable of card
            Keywords after and before those of `common.provenance.provenance_cards`.
        notes : iterable of str
            Further lines of HISTORY.
        **made
            As `provenance_cards` takes them: model_sha256, seed, device, engine.
        """
        from common.provenance import provenance_cards

        own = provenance_cards(self.command.name, self.version, source, pixels=pixels, **made)
        return RunRecord(
            command=self.command, version=self.version, source=source,
            parameters=self.parameters,
            cards=(*first_cards, *own, *cards), notes=tuple(notes), overwrite=self.args.overwrite,
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


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What made the files of one input: keywords and HISTORY of each, and a parameter file."""

    command: Command
    version: str
    source: str | Path
    parameters: Mapping[str, Any]
    cards: tuple["Card", ...]
    notes: tuple[str, ...]
    overwrite: bool

    def cards_of(self, option: str) -> tuple["Card", ...]:
        """Return the keywords of one product."""
        if not self.command.products[option].reproducible:
            return self.cards
        return (*self.cards, ("BGPART", option, "which of the run's files this is"))

    def history_of(self, option: str, sentence: str = "") -> list[str]:
        """Return the HISTORY lines of one product; `sentence` in place of its own."""
        from common.provenance import history_lines

        sentence = sentence or self.command.products[option].sentence
        notes = [*self.notes, sentence] if sentence else self.notes
        return history_lines(
            self.command.name, self.version, self.source, self.parameters, notes=notes
        )

    def carried(self, option: str, image: "AstroImage", sentence: str = "") -> "AstroImage":
        """Return an image with the keywords and the HISTORY of a product's file."""
        return image.with_pixels(
            image.pixels, cards=self.cards_of(option), history=self.history_of(option, sentence)
        )

    def write_parameters(self, path: Path) -> None:
        """Write the parameter file."""
        from common.provenance import write_params

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
        from common.batch import is_image_name
        from common.io import split_suffix

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


def run_over_files(
    call: Call,
    read: Callable[[Path], Any],
    work: Callable[[Path, Any, Files], Mapping[str, Any]],
    *,
    name: Callable[[Call, Path], Files] = name_products,
    inputs: Iterable[str | Path] | None = None,
    single: Iterable[str] | None = None,
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
    inputs : iterable of path, optional
        In place of those of the arguments.
    single : iterable of str, optional
        Arguments that are one file each, and not for several inputs; the default is the flags of
        the products.
    timed : bool, optional
        Whether the seconds are reported.
    """
    from common.batch import prepare_outputs, run_files

    args, command = call.args, call.command

    def run_one(path: Path) -> None:
        start = time.perf_counter()
        found = read(path)
        files = name(call, path)
        prepare_outputs(path, files, make_folder=args.output is not None, overwrite=args.overwrite)
        outcome = {"input": path, "outputs": files, **work(path, found, files)}
        seconds = {"seconds": round(time.perf_counter() - start, 3)} if timed else {}
        call.report(outcome | seconds)

    if single is None:
        single = [one.option for one in command.products.values() if one.help]
    return run_files(
        command.program, args.inputs if inputs is None else inputs, args, run_one, single,
        makers=(command.name, *command.skips),
    )  # fmt: skip


def build_parser(
    program: str, about: str, version: str, commands: Mapping[str, Command]
) -> argparse.ArgumentParser:
    """Return the parser of a program with subcommands."""
    parser = cli.Parser(prog=program, description=about)
    parser.add_argument("--version", action="version", version=f"%(prog)s {version}")
    group = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, command in commands.items():
        first = command.about.split(". ")[0].rstrip(".")
        add_arguments(
            group.add_parser(name, help=first, description=command.about), command, version
        )
    return parser


def run_words(
    words: list[str],
    parser: argparse.ArgumentParser,
    version: str,
    commands: Mapping[str, Command],
) -> int:
    """Run the subcommand that the words of a command line name; without one print the help."""
    args = parser.parse_args(words)
    if args.command is None:
        parser.print_help()
        return cli.EXIT_DONE

    def run_again(others: list[str]) -> int:
        return run_words(others, parser, version, commands)

    return Call(commands[args.command], args, version, commands, run_again).run()
