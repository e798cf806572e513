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
Config = TypeVar("Config")
Rule = tuple[str, Callable[[Any], bool]]  # words of the refusal, whether a value is allowed
# what a field may declare: words of its limit, comparison with it
LIMITS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "least": ("{} or more", operator.ge),
    "above": ("above {}", operator.gt),
    "most": ("{} or less", operator.le),
    "below": ("below {}", operator.lt),
}


def option(
    default: Any,
    help_text: str,
    *flags: str,
    choices: tuple[Any, ...] | None = None,
    unit: str | None = None,
    metavar: str | None = None,
    convert: Callable[[str], Any] | None = None,
    finite: bool = False,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    multiple_of: int | None = None,
    refusal: str | None = None,
    last: bool = False,
) -> Any:
    """Return a dataclass field with a default, its help, and what `check` allows.

    Parameters
    ----------
    default : object
    help_text : str
    *flags : str
        Such as "-s", "--steps"; the default is the field's name. A flag "--no-x" sets False.
    choices : tuple, optional
        The values that are allowed.
    unit : str, optional
        Shown in the help.
    metavar, convert : optional
        Name of the value in the help, and its reader, where those of the type do not fit.
    finite : bool, optional
        Whether NaN and infinity are refused by these words.
    least, most, above, below : float, optional
        Limits, the first two included. All items of a tuple are held to them, and it is not empty.
    multiple_of : int, optional
        The value must be a positive multiple.
    refusal : str, optional
        Words of the refusal, in place of those that `check` makes of limits and choices.
    last : bool, optional
        Whether its flag comes after those of the other fields.
    """
    declared = {
        "help": help_text, "flags": flags or None, "choices": choices, "unit": unit,
        "metavar": metavar, "convert": convert, "finite": finite or None, "least": least,
        "most": most, "above": above, "below": below, "multiple_of": multiple_of,
        "refusal": refusal, "last": last or None,
    }  # fmt: skip
    metadata = {name: value for name, value in declared.items() if value is not None}
    return dataclasses.field(default=default, metadata=metadata)


def check(config: Any) -> None:
    """Raise ValueError for the first field whose value is not one of those it declares.

    For `__post_init__`; rules between fields are the class's own.
    """
    for one, kind, optional in _typed_fields(type(config)):
        value = getattr(config, one.name)
        if value is None and optional:
            continue
        items = (value,) if _item_kind(kind) is None else value
        for words, allows in _rules(one.metadata):
            if not items or not all(map(allows, items)):
                raise ValueError(f"{one.name} {words}. Received: {value}")


def _rules(declared: Mapping[str, Any]) -> Iterator[Rule]:
    words = declared.get("refusal")
    if declared.get("finite"):
        yield "must be a finite number", math.isfinite
    if choices := declared.get("choices"):
        yield words or f"must be one of {', '.join(map(str, choices))}", choices.__contains__
    limits = {name: declared[name] for name in LIMITS if name in declared}
    if limits:
        range_words = " and ".join(LIMITS[name][0].format(one) for name, one in limits.items())
        if limits.keys() == {"least", "most"}:
            range_words = f"from {limits['least']} to {limits['most']}"
        elif limits == {"above": 0}:
            range_words = "positive"
        yield (
            words or f"must be {range_words}",
            lambda value: all(LIMITS[name][1](value, limit) for name, limit in limits.items()),
        )
    if step := declared.get("multiple_of"):
        yield (
            words or f"must be a multiple of {step}",
            lambda value: value > 0 and value % step == 0,
        )


def add_config_flags(parser: argparse._ActionsContainer, config: type) -> None:
    """Add one flag for each field of a config dataclass.

    `option` says what a field declares; flags that are an empty tuple give none. Booleans get
    ``--x`` and ``--no-x``, tuples take ``1,2,3``. A flag that is not given leaves no attribute in
    the parsed arguments: `config_from_args` fills in the parameter file's or the dataclass's value.
    """
    for one, kind, flags in _fields_with_flags(config):
        options: dict[str, Any] = {"dest": one.name, "default": argparse.SUPPRESS}
        options["help"] = _help(one).replace("%", "%%")
        choices = one.metadata.get("choices") or (
            typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else None
        )
        if kind is bool:
            both = _has_opposite(one, kind)
            options["action"] = argparse.BooleanOptionalAction if both else "store_false"
        elif choices:
            options |= {"choices": list(choices), "type": type(choices[0])}
        else:
            names = {int: "N", float: "X", Path: "FILE"}
            options["metavar"] = one.metadata.get("metavar", names.get(kind, one.name.upper()))
            options["type"] = one.metadata.get("convert") or _converter(kind)
        parser.add_argument(*flags, **options)


def flags_of(one: dataclasses.Field) -> tuple[str, ...]:
    """Return the flags of a field."""
    return one.metadata.get("flags", (f"--{one.name.replace('_', '-')}",))


def field_rows(config: type) -> list[tuple[str, str, str, str]]:
    """Return flags, help, default and unit of each field that has flags, for documentation."""
    rows = []
    for one, kind, flags in _fields_with_flags(config):
        if _has_opposite(one, kind):
            flags = (*flags, flags[-1].replace("--", "--no-", 1))
        text, unit = one.metadata.get("help", ""), one.metadata.get("unit", "")
        rows.append((", ".join(flags), text, _shown_default(one) or "", unit))
    return rows


def config_from_args(
    args: argparse.Namespace,
    config: type[Config],
    replayed: Mapping[str, Any] | None = None,
    origin: str = "the parameters",
) -> Config:
    """Return the config: flags given, else the replayed parameters, else the defaults.

    Parameters
    ----------
    args : argparse.Namespace
        Of a parser with `add_config_flags`.
    config : type
        The dataclass.
    replayed : mapping, optional
        Parameters of ``--params``, as `common.provenance.read_params` gives them.
    origin : str
        Of `replayed`, for messages.

    Raises
    ------
    ValueError
        As `from_mapping`.
    """
    given = {one.name for one in dataclasses.fields(config) if hasattr(args, one.name)}  # type: ignore[arg-type]
    return from_mapping(
        config, dict(replayed or {}) | {name: getattr(args, name) for name in given}, origin
    )


def from_mapping(config: type[Config], values: Mapping[str, Any], origin: str) -> Config:
    """Return a config of values as JSON has them: lists for tuples, 1 for 1.0, text for paths.

    Parameters
    ----------
    config : type
        The dataclass; fields that are not in `values` have their default.
    values : mapping
    origin : str
        What has the values, for messages.

    Raises
    ------
    ValueError
        If a name is unknown, a required value is missing, a value is not of its field's type, or
        the config refuses it.
    """
    known = {one.name: (one, kind, optional) for one, kind, optional in _typed_fields(config)}
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ValueError(f"unknown parameters {', '.join(unknown)}. Known are {', '.join(known)}.")
    fitted = {}
    for name, value in values.items():
        _, kind, optional = known[name]
        try:
            fitted[name] = None if value is None and optional else _as_kind(value, kind)
        except TypeError as error:
            raise ValueError(f"{origin} has {name} = {value}, which {error}.") from None
    missing = [
        f"--{name.replace('_', '-')}"
        for name, (one, *_) in known.items()
        if name not in values and _default(one) is dataclasses.MISSING and one.init
    ]
    if missing:
        raise ValueError(f"missing {', '.join(missing)}.")
    return config(**fitted)


def from_texts(config: type[Config], texts: Mapping[str, str], origin: str) -> Config:
    """Return a config from the text of its values, as HISTORY has them; errors as `from_mapping`.

    Nothing of a text is run: it is a literal, a list of literals, or the text itself.
    """
    kinds = {one.name: (kind, optional) for one, kind, optional in _typed_fields(config)}
    unknown = [name for name in texts if name not in kinds]
    if unknown:
        raise ValueError(f"{origin} has settings unknown to this version: {', '.join(unknown)}.")
    values = {name: _read_text(text, *kinds[name]) for name, text in texts.items()}
    return from_mapping(config, values, origin)


def to_arguments(config: Any) -> list[str]:
    """Return the words of a command line for all values that differ from their defaults."""
    words = []
    for one in dataclasses.fields(config):
        value = getattr(config, one.name)
        if value == one.default:
            continue
        flag = flags_of(one)[-1]
        if isinstance(value, bool):
            positive = value or flag.startswith("--no-")
            words.append(flag if positive else flag.replace("--", "--no-", 1))
            continue
        text = ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
        words += [f"{flag}={text}"] if text.startswith("-") else [flag, text]
    return words


def plane_numbers(text: str) -> tuple[int, ...]:
    """Return the planes of ``--channels 0,1,2``."""
    if not all(part.strip().isdecimal() for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"expected planes such as 0,1,2, got {text!r}")
    return tuple(int(part) for part in text.split(","))


def _typed_fields(config: type) -> Iterator[tuple[dataclasses.Field, Any, bool]]:
    """Give each field with its type, `X | None` as X, and whether None is one of its values."""
    hints = typing.get_type_hints(config)
    for one in dataclasses.fields(config):
        kind, optional = hints[one.name], False
        if typing.get_origin(kind) in (typing.Union, types.UnionType):
            kinds = [part for part in typing.get_args(kind) if part is not type(None)]
            optional = len(kinds) < len(typing.get_args(kind))
            kind = kinds[0] if len(kinds) == 1 else str
        yield one, kind, optional


def _fields_with_flags(config: type) -> Iterator[tuple[dataclasses.Field, Any, tuple[str, ...]]]:
    """Give each field that has flags, with its type and them, in the order of the help."""
    for one, kind, _ in sorted(_typed_fields(config), key=lambda row: "last" in row[0].metadata):
        if flags := flags_of(one):
            yield one, kind, flags


def _default(one: dataclasses.Field) -> Any:
    factory = one.default_factory
    return one.default if factory is dataclasses.MISSING else factory()


def _has_opposite(one: dataclasses.Field, kind: Any) -> bool:
    """Return whether a field has the flags --x and --no-x."""
    return kind is bool and not flags_of(one)[0].startswith("--no-")


def _shown_default(one: dataclasses.Field) -> str | None:
    """Return the default as help shows it; None if there is none, or the help names it itself."""
    default = _default(one)
    if default is None or "default:" in one.metadata.get("help", ""):
        return None
    if default is dataclasses.MISSING or flags_of(one)[0].startswith("--no-"):
        return None
    return ",".join(map(str, default)) if isinstance(default, (tuple, list)) else str(default)


def _help(one: dataclasses.Field) -> str:
    """Return the help of a field with its unit and default."""
    text, unit, default = (
        one.metadata.get("help", ""),
        one.metadata.get("unit"),
        _shown_default(one),
    )
    notes = [f"unit: {unit}"] if unit else []
    notes += ["required"] if _default(one) is dataclasses.MISSING else []
    notes += [f"default: {default}"] if default is not None else []
    return (f"{text} ({'; '.join(notes)})" if notes else text).strip()


def _item_kind(kind: Any) -> Any:
    """Return the type of a tuple's items; None for other types."""
    if kind is tuple or typing.get_origin(kind) is tuple:
        return next(iter(typing.get_args(kind)), str)
    return None


def _converter(kind: Any) -> Callable[[str], Any]:
    """Return what turns the text of a flag into a value."""
    item = _item_kind(kind)
    if item is None:
        return kind if callable(kind) else str

    def sequence(text: str) -> tuple[Any, ...]:
        return tuple(item(part) for part in text.split(","))

    sequence.__name__ = f"list of {item.__name__}"  # argparse names it in its message
    return sequence


def _as_kind(value: Any, kind: Any) -> Any:
    """Return a value as one of a type; TypeError says what it is not."""
    if (item := _item_kind(kind)) is not None:
        if isinstance(value, (list, tuple)):
            return tuple(_as_kind(one, item) for one in value)
        raise TypeError("are no numbers" if item in (int, float) else "is no list")
    if typing.get_origin(kind) is typing.Literal or kind is Any:
        return value
    kind = typing.get_origin(kind) or kind
    if kind is Path and isinstance(value, str):
        return Path(value)
    if (kind, type(value)) in (
        (float, int),
        (str, int),
        (str, float),
    ):  # JSON elsewhere has 1 for 1.0
        return kind(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"is no {kind.__name__}")
    return value


def _read_text(text: str, kind: Any, optional: bool) -> Any:
    """Return the value of a text; one that is no value of its type stays a text."""
    if optional and text == "None":
        return None
    if (item := _item_kind(kind)) is not None:
        inner = text.strip()
        if inner[:1] + inner[-1:] not in ("()", "[]"):
            return text
        inner = inner[1:-1]
        values = tuple(_literal(part.strip(), item) for part in inner.split(",") if part.strip())
        return inner if None in values else values
    if kind in (str, Path) or typing.get_origin(kind) is typing.Literal:
        return text
    value = _literal(text, kind)
    return text if value is None else value


def _literal(text: str, kind: Any) -> Any:
    """Return the value of a literal; None where it is none of this type."""
    try:
        return _as_kind(ast.literal_eval(text[:MAX_TEXT_VALUE]), kind)
    except (TypeError, ValueError, SyntaxError):
        return None
