"""The directive `command-line`: option tables of a tool, made while the pages are built.

It takes the name of a tool and makes a section for it, or one for each of its commands, with the
label "bgrem-denoise".
"""

import argparse
from typing import Any

from docutils import nodes
from option_tables import commands_of, load_parser, option_tables
from sphinx.util.docutils import SphinxDirective

HEAD = ("option", "what", "default")


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
