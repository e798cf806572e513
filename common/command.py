"""A command is one record and one function: parser, files, HISTORY, replays are in the record.

`bgrem.commands` has the records of `bgrem`, `bgoptimizer.cli` the one of `bgoptimizer`;
`common.batch` runs one over its inputs. Imports neither numpy nor astropy, so that ``--help``
answers at once.
"""

import argparse
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import cli
from common.config import add_config_flags, config_from_args, flagged_settings, settings_of
from common.progress import Reporter, events

if TYPE_CHECKING:
    import numpy as np

    from common.image import AstroImage, Card

# what shtab calls for names of files in each shell
COMPLETED_BY = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}
TABLE_ROWS = "the table"  # in place of an HDU's name: the rows of the last table


class Flag:
    """An argument that is no setting: what `ArgumentParser.add_argument` takes."""

    def __init__(self, *names: str, **options: Any) -> None:
        self.names, self.options = names, options

    def row(self) -> tuple[str, str, str, str]:
        """Return its names and what it does; default and unit are among the words."""
        return ", ".join(self.names), self.options.get("help", ""), "", ""


@dataclass(frozen=True)
class Product:
    """One file that a command writes.

    Attributes
    ----------
    option : str
        Its name in ``--json`` and BGPART, and of its flag. The flag of the first product of a
        command is ``--output``.
    sentence : str
        What it says of itself in HISTORY.
    word : str
        What its name ends in, where it is always written; "": only on request of its flag.
    hdu : str, optional
        The HDU that `bgrem reproduce` compares, or `TABLE_ROWS`; None: that of the input.
    reproducible : bool
        Whether its header says how it was made.
    help, metavar : str
        Of its flag; without help it has none.
    """

    option: str
    sentence: str = ""
    _: KW_ONLY
    word: str = ""
    hdu: str | None = None
    reproducible: bool = True
    help: str = ""
    metavar: str = "FILE"

    @property
    def flag(self) -> Flag:
        """The flag that names the file."""
        name = f"--{self.option.replace('_', '-')}"
        return Flag(name, type=Path, metavar=self.metavar, help=self.help)


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
    single_files : tuple of str
        Arguments that are one file and not for several inputs, as the flags of products are not.
    """

    name: str
    about: str
    run: str
    arguments: tuple[Flag | Product | type, ...] = ()
    configs: Mapping[type, str] = field(default_factory=dict)
    replayable: bool = True
    skips: tuple[str, ...] = ()
    single_files: tuple[str, ...] = ()

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
        elif isinstance(one, Flag) or one.help:
            given = one if isinstance(one, Flag) else one.flag
            action = parser.add_argument(*given.names, **given.options)
            if action.type is Path or action.dest in ("inputs", "input"):
                action.complete = COMPLETED_BY  # type: ignore[attr-defined]
    for config, title in command.configs.items():
        if title:
            add_config_flags(parser.add_argument_group(title), config)
    cli.add_common_flags(parser, version, replays=command.replayable)


def option_rows(command: Command) -> list[tuple[str, str, str, str]]:
    """Return flags, what it does, default and unit of each option, for documentation."""
    rows: list[tuple[str, str, str, str]] = []
    for one in (*command.arguments, *(c for c, title in command.configs.items() if title)):
        if isinstance(one, type):
            rows += [setting.row() for setting in flagged_settings(one)]
        elif isinstance(one, Flag) or one.help:
            rows.append(one.row() if isinstance(one, Flag) else one.flag.row())
    return rows


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
    keep_work : callable, optional
        In a worker: takes what is done with one input, in place of the loop over inputs.
    """

    command: Command
    args: argparse.Namespace
    version: str
    commands: Mapping[str, Command]
    run_words: Callable[[list[str]], int]
    _: KW_ONLY
    keep_work: Callable[[Callable[[Path], None]], int] | None = None

    def run(self) -> int:
        """Run the command and return its exit code."""
        module, _, function = self.command.run.partition(":")
        return getattr(import_module(module), function)(self)

    @cached_property
    def reporter(self) -> Reporter:
        """What tells of the progress of the run."""
        return Reporter(self.command.name, bar=not self.args.quiet)

    @cached_property
    def settings(self) -> dict[type, Any]:
        """A config of each type in `Command.configs`, from flags and ``--params``."""
        configs = self.command.configs
        replayed, origin = {}, getattr(self.args, "params", None)
        if origin:
            from common.provenance import read_params

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
        self, source: str | Path, pixels: "np.ndarray", *, cards: Iterable["Card"] = (),
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
        from common.provenance import provenance_cards

        own = provenance_cards(self.command.name, self.version, source, pixels=pixels, **made)
        return RunRecord(
            self.command, self.version, source, self.parameters, (*own, *cards), tuple(notes),
            self.args.overwrite,
        )  # fmt: skip

    def report(self, outcome: Mapping[str, Any]) -> None:
        """Say what was written, as ``--json`` and ``--quiet`` want it."""
        if self.args.json:  # not where another command runs this one
            events.emit("result", outcome)
        elif not self.args.quiet:
            written = ", ".join(str(file) for file in outcome["outputs"].values())
            notes = "".join(f" ({note})" for note in outcome.get("notes", ()))
            cli.put(f"{outcome['input']}: wrote {written}{notes}")

    def say(self, line: str, *, event: bool = True) -> None:
        """Print a line of what goes on; with ``--json`` an `event`, with ``--quiet`` nothing."""
        if event:
            events.emit("status", phase="running", message=line)
        if not (self.args.quiet or self.args.json):
            cli.put(line)

    def warn(self, text: str, kind: str = "warning") -> None:
        """Print a warning, or a line of kind "info", on stderr, unless ``--quiet`` is given."""
        cli.warn(self.command.program, text, quiet=self.args.quiet, kind=kind)


@dataclass(frozen=True)
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
