"""Options of the commands, read from their argparse parsers: for the tables of the reference.

A tool is one row of `PARSERS`: whatever builds the parser, its options are in the table. Imports no
Sphinx: the tests of the documentation use it too.
"""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

PARSERS = {"bgrem": "bgrem.cli:build_parser", "bgoptimizer": "bgoptimizer.cli:build_parser"}
# what stands behind a help text: "(unit: px; default: 64)", "(required)", "; default: measured"
NOTES = re.compile(
    r"\s*\((?:unit: (?P<unit>[^;()]+))?(?:; )?"
    r"(?:default: (?P<default>[^()]+)|(?P<required>required))?\)$"
    r"|; default: (?P<measured>[^;()]+)$"
)


@dataclass(frozen=True)
class Option:
    """One line of a table: flags with their value, what it does, its default."""

    flags: str
    what: str
    default: str


def load_parser(tool: str) -> argparse.ArgumentParser:
    """Return the parser of a tool."""
    module, _, name = PARSERS[tool].partition(":")
    parser: argparse.ArgumentParser = getattr(import_module(module), name)()
    return parser


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return name -> parser of all commands; of a tool without commands the tool itself."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return {f"{parser.prog} {name}": one for name, one in action.choices.items()}
    return {parser.prog: parser}


def option_tables(parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[Option]]]:
    """Give (title, options) of each group of a parser that has any."""
    formatter = parser._get_formatter()
    for group in parser._action_groups:
        rows = [
            make_option(one, formatter)
            for one in group._group_actions
            if one.help is not argparse.SUPPRESS and not isinstance(one, argparse._HelpAction)
        ]
        if rows:
            yield (group.title or "").capitalize(), rows


def make_option(action: argparse.Action, formatter: argparse.HelpFormatter) -> Option:
    """Return the line of one option."""
    value = ""
    if action.nargs != 0 and not isinstance(action, argparse.BooleanOptionalAction):
        value = str(action.metavar or "")
        if not value and action.choices:
            value = "{" + ",".join(map(str, action.choices)) + "}"
        value = value or action.dest.upper()
    flags = f"{', '.join(action.option_strings)} {value}".strip()
    text = formatter._expand_help(action) if action.help else ""
    default, unit = "required" if action.required and action.option_strings else "", ""
    while notes := NOTES.search(text):
        text = text[: notes.start()]
        unit = f" (unit: {notes['unit']})" if notes["unit"] else unit
        found = notes["default"] or notes["required"] or notes["measured"]
        default = found or default
    return Option(flags, text + unit, default)
