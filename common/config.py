"""Settings are frozen dataclasses: their fields declare ranges, flags, and how text is read.

`bgrem.config` and `bgoptimizer.config` hold them. Imports neither numpy nor astropy, so that
``--help`` answers at once.
"""

import argparse
import ast
import dataclasses
import math
import operator
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

MAX_TEXT_VALUE = 60  # characters of a text that is read as a number; a header may say anything
# what a field may declare for its flag
FLAG_DECLARATIONS = ("unit", "metavar", "convert", "last")
# limits that a field may declare: words, comparison
LIMITS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "least": ("{} or more", operator.ge),
    "above": ("above {}", operator.gt),
    "most": ("{} or less", operator.le),
    "below": ("below {}", operator.lt),
}
# what a field may declare for `check`
RULE_DECLARATIONS = (*LIMITS, "choices", "finite", "multiple_of", "refusal")
Config = TypeVar("Config")
Rule = tuple[str, Callable[[Any], bool]]  # words of the refusal, whether a value is allowed


def option(default: Any, help_text: str, *flags: str, **declared: Any) -> Any:
    """Return a dataclass field with its default, its help, and what it declares.

    Parameters
    ----------
    default : object
    help_text : str
    *flags : str
        Such as "-s", "--steps"; the default is the field's name. A flag "--no-x" sets False.
    **declared
        For the flag: `unit`; `metavar` and `convert`, name and reader of its text; `last`, True for
        one behind the others. For `check`: `choices`; `least`, `most`, `above`, `below`, to which
        all items of a tuple are held, which is not empty then; `multiple_of` for positive
        multiples; `finite`, True to refuse NaN and infinity; `refusal`, words in place of those
        that are made of limits and choices.
    """
    if unknown := declared.keys() - {*FLAG_DECLARATIONS, *RULE_DECLARATIONS}:
        raise TypeError(f"a setting declares no {', '.join(sorted(unknown))}.")
    given = {"flags": flags} if flags else {}
    return dataclasses.field(default=default, metadata={"help": help_text} | given | declared)


@dataclasses.dataclass(frozen=True)
class Setting:
    """One field of a config.

    Attributes
    ----------
    name : str
    kind : type
        Of its value, or of the items of a tuple.
    many : bool
        Whether it is a tuple.
    optional : bool
        Whether it may be None.
    default : object
    declared : mapping
        As `option` has it.
    """

    name: str
    kind: Any
    many: bool
    optional: bool
    default: Any
    declared: Mapping[str, Any]

    @property
    def flags(self) -> tuple[str, ...]:
        """On the command line."""
        return self.declared.get("flags", (f"--{self.name.replace('_', '-')}",))

    @property
    def about(self) -> str:
        """What it does, in words."""
        return self.declared.get("help", "")

    @property
    def sets_false(self) -> bool:
        """Whether it has the flag --no-x alone."""
        return self.flags[0].startswith("--no-")

    @property
    def shown_default(self) -> str | None:
        """As help shows it; None where there is none, or the help names it itself."""
        if self.default is None or self.sets_false or "default:" in self.about:
            return None
        return ",".join(map(str, self.default)) if self.many else str(self.default)

    def help(self) -> str:
        """Return the help with unit and default."""
        notes = [f"unit: {self.declared['unit']}"] if "unit" in self.declared else []
        if self.shown_default is not None:
            notes.append(f"default: {self.shown_default}")
        return f"{self.about} ({'; '.join(notes)})".strip() if notes else self.about

    def row(self) -> tuple[str, str, str, str]:
        """Return flags, what it does, default and unit, for documentation."""
        opposite = self.kind is bool and not self.sets_false
        flags = (*self.flags, f"--no-{self.flags[-1][2:]}") if opposite else self.flags
        unit = self.declared.get("unit", "")
        return ", ".join(flags), self.about, self.shown_default or "", unit

    def flag_options(self) -> dict[str, Any]:
        """Return what `ArgumentParser.add_argument` takes beside the flags."""
        common = {"dest": self.name, "default": argparse.SUPPRESS,
                  "help": self.help().replace("%", "%%")}  # fmt: skip
        if self.kind is bool:
            both = argparse.BooleanOptionalAction
            return common | {"action": "store_false" if self.sets_false else both}
        if choices := self.declared.get("choices"):
            return common | {"choices": list(choices), "type": self.kind}
        names = {} if self.many else {int: "N", float: "X", Path: "FILE"}
        convert = _list_reader(self.kind) if self.many else self.kind
        return common | {
            "type": self.declared.get("convert", convert),
            "metavar": self.declared.get("metavar", names.get(self.kind, self.name.upper())),
        }

    def check(self, value: Any) -> None:
        """Raise ValueError for a value that is not one of those it declares."""
        if value is None and self.optional:
            return
        items = value if self.many else (value,)
        for words, allows in _rules(self.declared):
            if not items or not all(map(allows, items)):
                raise ValueError(f"{self.name} {words}. Received: {value}")

    def fit(self, value: Any) -> Any:
        """Return a value of JSON as one of its type; TypeError says what it is not."""
        if value is None and self.optional:
            return None
        if not self.many:
            return _fit(value, self.kind)
        if isinstance(value, (list, tuple)):
            return tuple(_fit(one, self.kind) for one in value)
        raise TypeError("are no numbers" if self.kind in (int, float) else "is no list")

    def read(self, text: str) -> Any:
        """Return the value of a text; one that is no value of its type stays a text."""
        if self.optional and text == "None":
            return None
        if self.many:
            inner = text.strip()
            if inner[:1] + inner[-1:] not in ("()", "[]"):
                return text
            parts = [part.strip() for part in inner[1:-1].split(",") if part.strip()]
            values = tuple(_literal(part, self.kind) for part in parts)
            return inner[1:-1] if None in values else values
        value = text if self.kind in (str, Path) else _literal(text, self.kind)
        return text if value is None else value

    def arguments(self, value: Any) -> list[str]:
        """Return the words of a command line for a value."""
        flag = self.flags[-1]
        if self.kind is bool:
            return [flag if value or self.sets_false else flag.replace("--", "--no-", 1)]
        text = ",".join(map(str, value)) if self.many else str(value)
        return [f"{flag}={text}"] if text.startswith("-") else [flag, text]


def settings_of(config: Any) -> dict[str, Setting]:
    """Return name -> setting of all fields of a config."""
    found, hints = {}, typing.get_type_hints(config)
    for one in dataclasses.fields(config):
        hint = hints[one.name]
        kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        kind = next(kind for kind in kinds if kind is not type(None))
        origin = typing.get_origin(kind)
        factory = one.default_factory
        found[one.name] = Setting(
            one.name, typing.get_args(kind)[0] if origin is tuple else origin or kind,
            origin is tuple, type(None) in kinds,
            one.default if factory is dataclasses.MISSING else factory(), one.metadata,
        )  # fmt: skip
    return found


def flagged_settings(config: type) -> list[Setting]:
    """Return the settings that have flags, in the order of the help."""
    found = [one for one in settings_of(config).values() if one.flags]
    return sorted(found, key=lambda one: "last" in one.declared)


def check(config: Any) -> None:
    """Raise ValueError for the first field whose value is not one of those it declares.

    For `__post_init__`; rules between fields are the class's own.
    """
    for name, one in settings_of(type(config)).items():
        one.check(getattr(config, name))


def add_config_flags(parser: argparse._ActionsContainer, config: type) -> None:
    """Add the flags of a config dataclass: ``--x`` and ``--no-x`` of booleans, ``1,2,3`` of tuples.

    A flag that is not given leaves no attribute in the parsed arguments: `config_from_args` fills
    in the parameter file's or the dataclass's value.
    """
    for one in flagged_settings(config):
        parser.add_argument(*one.flags, **one.flag_options())


def config_from_args(
    args: argparse.Namespace,
    config: type[Config],
    replayed: Mapping[str, Any] | None = None,
    origin: str = "the parameters",
) -> Config:
    """Return the config: flags given, else the replayed parameters, else the defaults.

    `args` is of a parser with `add_config_flags`; `replayed` is what
    `common.provenance.read_params` gives, `origin` its file for messages. Errors are those of
    `from_mapping`.
    """
    given = {name: getattr(args, name) for name in settings_of(config) if hasattr(args, name)}
    if replayed:
        try:
            from_mapping(config, replayed, origin)
        except ValueError as error:  # a value out of its range names no file
            raise ValueError(f"{origin}: {error}" if origin not in str(error) else error) from None
    return from_mapping(config, {**(replayed or {}), **given}, origin)


def from_mapping(config: type[Config], values: Mapping[str, Any], origin: str) -> Config:
    """Return a config of values as JSON has them: lists for tuples, 1 for 1.0, text for paths.

    Fields that are not in `values` have their default; `origin` is what has them, for messages.

    Raises
    ------
    ValueError
        If a name is unknown, a value is not of its field's type, or the config refuses it.
    """
    known = settings_of(config)
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ValueError(f"unknown parameters {', '.join(unknown)}. Known are {', '.join(known)}.")
    fitted = {}
    for name, value in values.items():
        try:
            fitted[name] = known[name].fit(value)
        except TypeError as error:
            raise ValueError(f"{origin} has {name} = {value}, which {error}.") from None
    return config(**fitted)


def from_texts(config: type[Config], texts: Mapping[str, str], origin: str) -> Config:
    """Return a config from the text of its values, as HISTORY has them; errors as `from_mapping`.

    Nothing of a text is run: it is a literal, a list of literals, or the text itself.
    """
    known = settings_of(config)
    unknown = [name for name in texts if name not in known]
    if unknown:
        raise ValueError(f"{origin} has settings unknown to this version: {', '.join(unknown)}.")
    values = {name: known[name].read(text) for name, text in texts.items()}
    return from_mapping(config, values, origin)


def to_arguments(config: Any) -> list[str]:
    """Return the words of a command line for all values that differ from their defaults."""
    settings = settings_of(type(config)).values()
    pairs = [(one, getattr(config, one.name)) for one in settings]
    return [word for one, value in pairs if value != one.default for word in one.arguments(value)]


def plane_numbers(text: str) -> tuple[int, ...]:
    """Return the planes of ``--channels 0,1,2``."""
    if not all(part.strip().isdecimal() for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"expected planes such as 0,1,2, got {text!r}")
    return tuple(int(part) for part in text.split(","))


def _rules(declared: Mapping[str, Any]) -> Iterator[Rule]:
    words = declared.get("refusal")
    if declared.get("finite"):
        yield "must be a finite number", math.isfinite
    if choices := declared.get("choices"):
        yield words or f"must be one of {', '.join(map(str, choices))}", choices.__contains__
    if limits := {name: declared[name] for name in LIMITS if name in declared}:
        made = " and ".join(LIMITS[name][0].format(one) for name, one in limits.items())
        if limits.keys() == {"least", "most"}:
            made = f"from {limits['least']} to {limits['most']}"
        elif limits == {"above": 0}:
            made = "positive"
        tests = [(LIMITS[name][1], limit) for name, limit in limits.items()]
        yield words or f"must be {made}", lambda value: all(f(value, one) for f, one in tests)
    if step := declared.get("multiple_of"):
        made = words or f"must be a multiple of {step}"
        yield made, lambda value: value > 0 and value % step == 0


def _list_reader(kind: type) -> Callable[[str], tuple[Any, ...]]:
    def sequence(text: str) -> tuple[Any, ...]:
        return tuple(kind(part) for part in text.split(","))

    sequence.__name__ = f"list of {kind.__name__}"  # argparse names it in its message
    return sequence


def _fit(value: Any, kind: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind in (float, str) and type(value) in (int, float):  # JSON elsewhere has 1 for 1.0
        return kind(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"is no {kind.__name__}")
    return value


def _literal(text: str, kind: Any) -> Any:
    """Return the value of a literal; None where it is none of this type."""
    try:
        return _fit(ast.literal_eval(text[:MAX_TEXT_VALUE]), kind)
    except (TypeError, ValueError, SyntaxError):
        return None
