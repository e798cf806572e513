"""Tables that are read from the source while the pages are built, so that they cannot be wrong.

| directive | what it makes |
|---|---|
| `public-names` | the documentation of a package's public names |
| `config-fields` | the fields of a config dataclass: name, default, meaning |
| `catalogue-columns` | the columns of `bgrem catalog`, or the keywords of its header |
| `model-cards` | what the models of the package were trained for |
| `rooms` | the modules of a package, with the first sentence of each |
"""

import ast
import dataclasses
from importlib import import_module
from pathlib import Path
from typing import Any

from command_line import make_table
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]
COLUMNS = "bgrem.cataloguing.columns:CATALOG_COLUMNS"  # name: (type, unit, meaning)
KEYWORDS = "bgrem.cataloguing.columns:CATALOG_META"  # keyword: meaning
SHOWN_ENTRY = 90  # characters of a default


def load(place: str) -> Any:
    """Return the object of "module:name"."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


class PublicNames(SphinxDirective):
    """A summary of all public names of a package, then each with its docstring (reST only)."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the parsed directives of autosummary and autodoc."""
        package = self.arguments[0]
        module = import_module(package)
        names = sorted(module.__all__, key=str.lower)
        lines = [".. autosummary::", "", *(f"   {package}.{name}" for name in names), ""]
        for name in names:
            is_class = isinstance(getattr(module, name), type)
            lines += [f".. auto{'class' if is_class else 'function'}:: {package}.{name}"]
            lines += ["   :members:", ""] if is_class else [""]
        parent = nodes.Element()
        self.state.nested_parse(StringList(lines, package), self.content_offset, parent)
        return parent.children


class ConfigFields(SphinxDirective):
    """The fields of a config dataclass."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a table."""
        package, _, name = self.arguments[0].rpartition(".")
        rows = []
        for one in dataclasses.fields(load(f"{package}:{name}")):
            default = one.default
            if one.default_factory is not dataclasses.MISSING:
                default = one.default_factory()
            unit = one.metadata.get("unit")
            what = one.metadata.get("help", "") + (f" (unit: {unit})" if unit else "")
            rows.append((nodes.literal("", one.name), what, nodes.literal("", repr(default))))
        return [make_table(("field", "what", "default"), rows, widths=(25, 55, 20))]


class CatalogueColumns(SphinxDirective):
    """The columns of a catalogue, or with the argument "keywords" those of its header."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a table."""
        if self.arguments:
            rows = [(nodes.literal("", key), what) for key, what in load(KEYWORDS).items()]
            return [make_table(("keyword", "what"), rows, widths=(25, 75))]
        rows = [
            (nodes.literal("", name), "that of the pixels" if unit == "flux" else unit or "–", what)
            for name, (_, unit, what) in load(COLUMNS).items()
        ]
        return [make_table(("column", "unit", "what"), rows, widths=(28, 20, 52))]


class ModelCards(SphinxDirective):
    """One table for each model of the package."""

    def run(self) -> list[nodes.Node]:
        """Return rubrics and tables."""
        found: list[nodes.Node] = []
        for name, card in load("bgrem:list_models")().items():
            task = card.get("task", "denoise")
            found.append(nodes.rubric("", "", nodes.literal("", f"{name} (bgrem {task})")))
            rows = []
            for key, value in card["domain"].items():
                shown = f"{value[0]} to {value[1]}" if isinstance(value, list) else value
                rows.append((nodes.literal("", key), shown))
            found.append(make_table(("entry of domain", "value"), rows, widths=(35, 65)))
        return found


class Rooms(SphinxDirective):
    """The modules of a package, folder by folder, with the first line of their docstrings."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a table; nothing is imported."""
        rows = []
        for file in sorted((ROOT / self.arguments[0]).rglob("*.py"), key=_folders_first):
            text = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
            if text:
                where = file.relative_to(ROOT).as_posix()
                rows.append((nodes.literal("", where), text.splitlines()[0]))
        return [make_table(("file", "role"), rows, widths=(35, 65))]


def _folders_first(file: Path) -> tuple[str, bool, str]:
    return file.parent.as_posix(), file.name != "__init__.py", file.name


def setup(app: Any) -> dict[str, Any]:
    """Register the directives."""
    for name, directive in (
        ("public-names", PublicNames),
        ("config-fields", ConfigFields),
        ("catalogue-columns", CatalogueColumns),
        ("model-cards", ModelCards),
        ("rooms", Rooms),
    ):
        app.add_directive(name, directive)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
