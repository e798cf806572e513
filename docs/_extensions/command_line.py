"""Option tables of the commands, made from their argparse parsers while the pages are built.

The directive `command-line` takes the name of a tool and makes a section for it, or one for each of
its commands, with the label "bgrem-denoise". A tool is one row of `PARSERS`: whatever builds the
parser, its options are in the table.
"""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

PARSERS = {"bgrem": "bgrem.cli:_parser", "bgoptimizer": "bgoptimizer.cli:_parser"}
# what stands behind a help text: "(unit: px; default: 64)", "(required)", "; default: measured"
NOTES = re.compile(
    r"\s*\((?:unit: (?P<unit>[^;()]+))?(?:; )?(?:default: (?P<default>[^()]+)|(?P<required>required))?\)$"
    r"|; default: (?P<measured>[^;()]+)$"
)
HEAD = ("option", "what", "default")


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


class CommandLine(SphinxDirective):
    """Sections with the usage, the description and the options of a tool's commands."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        parsers = commands_of(load_parser(self.arguments[0]))
        return [self._section(name, parser) for name, parser in parsers.items()]

    def _section(self, name: str, parser: argparse.ArgumentParser) -> nodes.section:
        label = nodes.make_id(name)
        section = nodes.section(ids=[label], names=[label])
        section += nodes.title("", "", nodes.literal("", name))
        standard = self.env.domains["std"]
        standard.anonlabels[label] = (self.env.docname, label)  # type: ignore[attr-defined]
        standard.labels[label] = (self.env.docname, label, name)  # type: ignore[attr-defined]
        if parser.description:
            section += nodes.paragraph("", parser.description)
        for title, options in option_tables(parser):
            section += nodes.rubric("", title)
            rows = [(nodes.literal("", one.flags), one.what, one.default) for one in options]
            section += make_table(HEAD, rows, widths=(30, 52, 18))
        return section


def make_table(
    head: tuple[str, ...], rows: list[tuple[Any, ...]], *, widths: tuple[int, ...]
) -> nodes.table:
    """Return a table; a cell is text or a node."""
    group = nodes.tgroup("", cols=len(widths))
    group += [nodes.colspec(colwidth=width) for width in widths]
    group += nodes.thead("", _row(head))
    group += nodes.tbody("", *(_row(row) for row in rows))
    table = nodes.table("", group)
    table["classes"].append("colwidths-given")
    return table


def _row(cells: tuple[Any, ...]) -> nodes.row:
    entries = []
    for cell in cells:
        inside = cell if isinstance(cell, nodes.Node) else nodes.Text(str(cell))
        entries.append(nodes.entry("", nodes.paragraph("", "", inside)))
    return nodes.row("", *entries)


def setup(app: Any) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("command-line", CommandLine)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
