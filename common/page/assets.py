"""The page's files: for the server one by one, for a notebook's widget as one module."""

import re
from functools import cache
from pathlib import Path

STATIC = Path(__file__).with_name("static")
IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w.]+)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)
BODY = re.compile(r"<body[^>]*>(.*)</body>", re.DOTALL)


@cache
def modules_of(name: str) -> tuple[str, ...]:
    """Return the names of a module and of all that it imports, each after those that it imports."""
    found: list[str] = []
    for other in IMPORT.findall((STATIC / name).read_text("utf-8")):
        found += [one for one in modules_of(other) if one not in found]
    return (*found, name)


@cache
def joined_module(name: str) -> str:
    """Return a module with all that it imports as one: a widget's module has no address.

    The files share their names then; the browser refuses a name that stands in two of them.
    """
    texts = [(STATIC / one).read_text("utf-8") for one in modules_of(name)]
    return "\n".join(EXPORT.sub("", IMPORT.sub("", text)) for text in texts)


@cache
def body() -> str:
    """Return the elements of the page."""
    found = BODY.search((STATIC / "page.html").read_text("utf-8"))
    return found[1] if found else ""


@cache
def styles() -> str:
    """Return the style sheet of the page."""
    return (STATIC / "page.css").read_text("utf-8")
