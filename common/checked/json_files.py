"""JSON files: one reader, and checks of type and range that name file and key."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MAX_JSON_BYTES = 20_000_000  # bytes; a card with calibration and all coverage has 10 kilobytes
MAX_JSON_INTEGER = 2**64  # what NumPy and FITS hold; larger ones overflow as floats
_MISSING = object()  # an entry without default
_KIND_NAMES = {
    int: "a whole number", float: "a number", str: "a text", bool: "true or false",
    dict: "an object", list: "a list",
}  # fmt: skip


def read_json(path: Path, refusal: str, *, constants: bool = False) -> Any:
    """Return the content of a JSON file.

    Parameters
    ----------
    path : path
    refusal : str
        What a message says of a file that is none, behind its name: "is not a readable model".
    constants : bool, optional
        Whether NaN and Infinity are allowed, which are no JSON but which Python writes.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no JSON, or has repeated keys, huge numbers, or text that is no Unicode.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise type(error)(f"{path}: {refusal} ({reason}).") from None
    if len(content) > MAX_JSON_BYTES:
        raise ValueError(f"{path}: {refusal} (more than {MAX_JSON_BYTES} bytes).")
    return parse_json(content, f"{path}: {refusal}", constants=constants)


def parse_json(content: bytes | str, refusal: str, *, constants: bool = False) -> Any:
    """Return the value of a JSON text; `refusal` begins the message where it is none."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            repeated = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"{repeated!r} stands there twice")
        return found

    def whole(text: str) -> int:
        if len(text) > 20 or abs(int(text)) > MAX_JSON_INTEGER:
            raise ValueError(f"a number of {len(text)} digits")
        return int(text)

    def real(text: str) -> float:
        if not math.isfinite(number := float(text)):
            raise ValueError(f"the number {text[:40]} is too large")
        return number

    def constant(text: str) -> float:
        if not constants:
            raise ValueError(f"{text} is no number")
        return float(text)

    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        value = json.loads(
            text, object_pairs_hook=unique, parse_int=whole, parse_float=real,
            parse_constant=constant,
        )  # fmt: skip
        if "\\u" in text:  # half of a pair of surrogates cannot be printed or written
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError(f"{refusal} (too deeply nested).") from None
    except ValueError as error:  # JSON and Unicode errors, and those of the hooks
        raise ValueError(f"{refusal} ({error}).") from None
    return value


def entry(
    values: Any,
    key: str,
    kind: type,
    where: str,
    *,
    default: Any = _MISSING,
    least: float = -math.inf,
    most: float = math.inf,
) -> Any:
    """Return an entry of an object, of the type and within the limits that it must have.

    Parameters
    ----------
    values : object
        What was read; it may turn out to be no object.
    key : str
    kind : {int, float, str, bool, dict, list}
        A whole number is a float, too; true and false are no numbers.
    where : str
        File, for messages.
    default : object, optional
        Returned where the entry is missing or null.
    least, most : float, optional
        Of numbers; NaN is never within. Of texts and lists: of their length.

    Raises
    ------
    ValueError
        If it is missing or another thing.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: expected an object with {key}, got {shown(values)}.")
    value = values.get(key)
    if value is None:
        if default is _MISSING:
            raise ValueError(f"{where}: has no {key}.")
        return default
    allowed = (int, float) if kind is float else kind
    fits = isinstance(value, allowed) and isinstance(value, bool) == (kind is bool)
    size = len(value) if isinstance(value, (str, list, dict)) else value
    if not fits or not least <= size <= most:
        limits = "" if (least, most) == (-math.inf, math.inf) else f" from {least:g} to {most:g}"
        if kind in (str, list, dict) and limits:
            limits = f" of length {limits.removeprefix(' ')}"
        raise ValueError(f"{where}: {key} is {shown(value)}, expected {_KIND_NAMES[kind]}{limits}.")
    return kind(value) if kind is float else value


def number_list(
    values: Any, key: str, where: str, *, least: float = -math.inf, most: float = math.inf,
    length: int | None = None, default: Any = _MISSING,
) -> Any:  # fmt: skip
    """Return an entry that is a list of numbers within limits; as `entry`."""
    found = entry(values, key, list, where, default=default)
    if found is default:
        return default
    if length is not None and len(found) != length:
        raise ValueError(f"{where}: {key} has {len(found)} entries, expected {length}.")
    named = {f"{key}[{place}]": value for place, value in enumerate(found)}
    return [entry(named, name, float, where, least=least, most=most) for name in named]


def shown(value: Any) -> str:
    """Return a value as a message shows it: short."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def refuse_unknown(values: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Raise ValueError for keys that are not among the known ones."""
    unknown = [key for key in values if key not in known]
    if unknown:
        raise ValueError(
            f"{where}: unknown keys {', '.join(unknown)}. Known are {', '.join(known)}."
        )
