"""The settings of a command as a form, and back; the command line that runs with them."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.command import Call, Flag, Product
from common.config import settings_of

# flags that the page has already done, or that are not for one image
NOT_PASSED_ON = ("inputs", "preview", "preview_png", "sequence")


def form_of(config: Any, main: Sequence[str]) -> list[dict[str, Any]]:
    """Return the fields of a form for a config; `main` names those that are seen first."""
    fields = []
    for name, one in settings_of(type(config)).items():
        if one.many or one.kind is Path:
            continue
        choices = list(one.declared.get("choices", ()))
        if one.kind is bool:
            choices = [True, False]
        if one.optional and choices:
            choices = [None, *choices]
        fields.append({
            "name": name, "help": one.help(), "choices": choices, "main": name in main,
            "unset": _unset(one.help()),
            "kind": "number" if one.kind in (int, float) else "text",
            "whole": one.kind is int, "optional": one.optional,
            "value": getattr(config, name), "default": one.default,
        })  # fmt: skip
    return sorted(fields, key=lambda one: list(main).index(one["name"]) if one["main"] else 99)


def _unset(text: str) -> str:
    """Return what a help text says of a setting without a value."""
    found = re.search(r"default: ([^;()]+)", text)
    return found[1].strip() if found else "none"


def command_words(call: Call, source: Path, params: Path, *, overwrite: bool) -> list[str]:
    """Return the words that run the command of a call on one file with a parameter file.

    Flags of settings are left out, as they are in the parameter file.
    """
    words = [*call.command.name.split()[1:], str(source)]
    for one in call.command.arguments:
        flag = one if isinstance(one, Flag) else None
        if isinstance(one, Product) and one.help:
            flag = one.flag
        if flag is not None:
            words += _words(flag, call.args)
    words += ["--params", str(params), "--json"]
    return [*words, "--overwrite"] if overwrite else words


def _words(flag: Flag, args: argparse.Namespace) -> list[str]:
    name = flag.names[-1]
    dest = flag.options.get("dest", name.lstrip("-").replace("-", "_"))
    value, action = getattr(args, dest, None), flag.options.get("action")
    if dest in NOT_PASSED_ON or value is None or value == "":
        return []
    if action == "store_true":
        return [name] if value else []
    if action == "store_false":
        return [] if value else [name]
    if action is argparse.BooleanOptionalAction:
        return [name if value else f"--no-{name[2:]}"]
    return [f"{name}={value}"]
