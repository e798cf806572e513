"""A command is one record and one function: parser, files, HISTORY, replays are in the record.

`bgrem.commands.records` has the records of `bgrem`, `bgoptimizer.cli` the one of `bgoptimizer`;
`common.call` runs one. Imports neither numpy nor astropy, so that ``--help`` answers at once.
"""

import argparse
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

from common import cli
from common.config import add_config_flags, flagged_settings

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
            parser.add_argument(*given.names, **given.options)
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
