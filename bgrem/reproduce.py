"""`bgrem reproduce`: run again what made a file, and compare the pixels."""

import argparse
import ast
import dataclasses
import hashlib
import shlex
import tempfile
import types
import typing
from pathlib import Path
from typing import Any

import numpy as np

from bgrem.commands import INPUT_FLAGS, read_input
from bgrem.config import DenoiseConfig
from common import cli
from common.provenance import datasum, parse_history

LONGEST = 60  # characters of a value in HISTORY that is read as a number
SAME_PIXELS_NEED = {"BGVERS": "version", "BGDEVICE": "device", "BGENGINE": "software"}


@dataclasses.dataclass(frozen=True)
class Replay:
    """How the files of one command are made again.

    Attributes
    ----------
    config : type
        The dataclass whose fields its HISTORY lists, beside the `INPUT_FLAGS`.
    parts : dict
        BGPART -> the HDU with the pixels, None: that of the input.
    """

    config: type
    parts: dict[str, str | None]


@dataclasses.dataclass(frozen=True)
class Record:
    """What a file says of the run that made it: command, keywords, settings, input flags."""

    command: str
    cards: dict[str, Any]
    config: Any
    flags: dict[str, Any]

    @property
    def part(self) -> str:
        """The option that names this file on the command line."""
        return str(self.cards.get("BGPART", "result"))

    def arguments(self) -> list[str]:
        """Return the command's arguments that differ from their defaults, but for file names."""
        found = []
        for one in dataclasses.fields(self.config):
            value = getattr(self.config, one.name)
            if value != one.default:
                flag = one.metadata.get("flags", (f"--{one.name.replace('_', '-')}",))[-1]
                found += _as_arguments(flag, value)
        for name, value in self.flags.items():
            if value is not None and (name, value) not in (("zeros", "border"), ("verify", True)):
                found += _as_arguments(f"--{name}", value)
        return found


def reproduce_file(args: argparse.Namespace) -> int:
    """`bgrem reproduce`: exit code 0 for identical pixels, 1 for others."""
    record = read_record(args.file)
    source = _find(args.input, args.file, record.cards.get("BGINPUT"), "input", "--input")
    check_source(source, record)
    words = [*record.command.split(), str(source), *record.arguments()]
    command = shlex.join([*words, *_file_arguments(record, args.file, args.file)])
    if args.only_print:
        print(command)
        return cli.DONE
    if not (args.quiet or args.json):
        print(command, flush=True)
    from bgrem.cli import main

    with tempfile.TemporaryDirectory(prefix="bgrem-") as folder:
        again = Path(folder) / f"again{_suffix(args.file)}"
        arguments = [*record.command.split()[1:], str(source), *record.arguments()]
        code = main([*arguments, *_file_arguments(record, again, args.file), "--quiet"])
        if code:
            return code
        outcome = compare(args.file, again, record)
    outcome |= {"file": args.file, "command": command}
    if args.json:
        cli.emit_json(outcome)
    elif not args.quiet:
        print("\n".join(describe(outcome)))
    return cli.DONE if outcome["identical"] else cli.SOME_FAILED


def read_record(path: Path) -> Record:
    """Return what a file says of its run.

    Raises
    ------
    ValueError
        If it says nothing, or another version's command has settings that this one lacks.
    """
    header = _header(path)
    command = str(header.get("BGTOOL", ""))
    if command not in REPLAYS:
        raise ValueError(f"{path}: is not a file of {', '.join(REPLAYS)} (BGTOOL is {command!r}).")
    try:
        _, _, texts = parse_history([str(line) for line in header.get("HISTORY", ())], command)
        flags = {name: _flag_value(name, texts.pop(name, "None")) for name in INPUT_FLAGS}
        config = parse_config(REPLAYS[command].config, texts)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    cards = {name: header[name] for name in header if str(name).startswith("BG")}
    record = Record(command, cards, config, flags)
    if record.part not in REPLAYS[command].parts:
        raise ValueError(f"{path}: BGPART is {record.part!r}, which {command} does not write.")
    return record


def parse_config(config: type, texts: dict[str, str]) -> Any:
    """Return a config from the text of its values; fields that are not there have their default.

    Raises
    ------
    ValueError
        If a name is unknown or a text is no value of the field's type.
    """
    hints = typing.get_type_hints(config)
    unknown = [name for name in texts if name not in hints]
    if unknown:
        raise ValueError(f"HISTORY has settings unknown to this version: {', '.join(unknown)}.")
    values: dict[str, Any] = {}
    for name, text in texts.items():
        kinds = typing.get_args(hints[name]) or (hints[name],)
        optional = isinstance(hints[name], types.UnionType) and type(None) in kinds
        if text == "None" and optional:
            values[name] = None
        elif str in kinds:
            values[name] = text
        else:
            values[name] = _literal(name, text, kinds)
    return config(**values)


def _literal(name: str, text: str, kinds: tuple[Any, ...]) -> Any:
    try:
        value = ast.literal_eval(text[:LONGEST])
    except (ValueError, SyntaxError):
        value = None
    if float in kinds and type(value) is int:
        value = float(value)
    if type(value) not in kinds:
        raise ValueError(f"HISTORY has {name} = {text}, which is no {kinds[0].__name__}.")
    return value


def _flag_value(name: str, text: str) -> Any:
    """Return the value of an input flag: None, a boolean, plane numbers, or its text."""
    if text == "None":
        return None
    if name == "verify":
        return _literal(name, text, (bool,))
    if name != "channels":
        return text
    numbers = [one.strip() for one in text.strip("()").split(",") if one.strip()]
    if not numbers or not all(one.isdecimal() for one in numbers):
        raise ValueError(f"HISTORY has channels = {text[:LONGEST]}, which are no numbers.")
    return tuple(map(int, numbers))


def _as_arguments(flag: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-", 1)]
    if isinstance(value, (tuple, list)):
        value = ",".join(map(str, value))
    return [f"{flag}={value}"] if str(value).startswith("-") else [flag, str(value)]


def _file_arguments(record: Record, output: Path, file: Path) -> list[str]:
    """Return the arguments that name the outputs: `output` for the part that `file` is."""
    if record.part == "result":
        return ["--output", str(output)]
    found = ["--output", str(output.with_name("result" + _suffix(output)))]
    found += [f"--{record.part}", str(output)]
    if record.cards.get("BGCALIB"):
        name = _find(None, file, record.cards["BGCALIB"], "calibration", "its place")
        found += ["--calibration", str(name)]
    return found


def check_source(source: Path, record: Record) -> None:
    """Raise ValueError where the input's pixels or the model's weights are others than the file's.

    Weights are compared by the SHA-256 of their file, pixels by DATASUM.
    """
    pixels = read_input(source, argparse.Namespace(**record.flags)).pixels
    found, expected = str(datasum(pixels)), str(record.cards.get("BGDATSUM"))
    if found != expected:
        raise ValueError(
            f"{source}: DATASUM of the pixels is {found}, that of the file's input was {expected}. "
            "Name the right one with --input."
        )
    from bgrem.models import ARRAYS, find_model

    weights = find_model(record.config.model) / ARRAYS
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    if sha256 != record.cards.get("BGMODEL"):
        raise ValueError(
            f"{weights}: SHA-256 {sha256[:12]}… is not the file's "
            f"{str(record.cards.get('BGMODEL'))[:12]}…: the model has changed. Get the older one."
        )


def compare(file: Path, again: Path, record: Record) -> dict[str, Any]:
    """Return whether the pixels of two files are identical, their difference, what else differs."""
    hdu = REPLAYS[record.command].parts[record.part]
    first, second = (_part_pixels(one, hdu, record) for one in (file, again))
    sums = [datasum(one) for one in (first, second)]
    same = first.shape == second.shape
    identical, difference = same and np.array_equal(first, second, equal_nan=True), None
    if same and np.array_equal(np.isfinite(first), np.isfinite(second)):
        both = np.isfinite(first)
        apart = np.abs(np.where(both, first, 0) - np.where(both, second, 0))
        difference = float(apart.max(initial=0))
    now = _header(again)
    changed = {
        what: [record.cards.get(name), now.get(name)]
        for name, what in SAME_PIXELS_NEED.items()
        if record.cards.get(name) != now.get(name)
    }
    return {
        "identical": identical, "datasum": sums,
        "largest_difference": difference, "differs": changed,
    }  # fmt: skip


def describe(outcome: dict[str, Any]) -> list[str]:
    """Return the lines that say how two runs compare."""
    lines = [f"{what}: {old}, now {new}" for what, (old, new) in outcome["differs"].items()]
    first, second = outcome["datasum"]
    if outcome["identical"]:
        return [*lines, f"identical (DATASUM {first})"]
    difference = outcome["largest_difference"]
    apart = "shapes or missing pixels differ"
    if difference is not None:
        apart = f"largest difference {difference:g}"
    return [*lines, f"not identical: {apart} (DATASUM {first}, now {second})"]


def _part_pixels(path: Path, hdu: str | None, record: Record) -> np.ndarray:
    from common.io import read_image

    chosen, channels = (hdu, None) if hdu else (record.flags["hdu"], record.flags["channels"])
    if hdu and not _suffix(path).lower().endswith((".fits", ".fit", ".fts")):
        chosen = None  # one image only
    return read_image(path, hdu=chosen, channels=channels, zeros="data", verify=False).pixels


def _header(path: Path) -> Any:
    """Return the header with BGTOOL, or that of the image where there is none."""
    from bgrem.exposure import header_of
    from common.io import read_image

    if _suffix(path).lower() == ".xisf":
        return header_of(read_image(path, zeros="data"))
    from astropy.io import fits

    with fits.open(path) as hdus:
        headers = [hdu.header.copy() for hdu in hdus]
    return next((one for one in headers if "BGTOOL" in one), headers[0])


def _suffix(path: Path) -> str:
    from common.io import split_suffix

    return split_suffix(path)[1]


def _find(given: Path | None, file: Path, name: Any, what: str, flag: str) -> Path:
    """Return the file that was given, or the one of this name beside `file` or in this folder.

    A header may say anything: only a bare name is looked for.
    """
    if given is None and (Path(str(name)).name != str(name) or name in ("", ".", "..")):
        raise ValueError(f"{file}: {str(name)!r} is no file name. Name the {what} with {flag}.")
    places = [given] if given else [file.parent / str(name), Path(str(name))]
    for place in places:
        if place.is_file():
            return place.resolve()
    raise ValueError(f"{places[0]}: the {what} of {file.name} is not there. Name it with {flag}.")


# command -> how its files are made again; a further command is one row
REPLAYS: dict[str, Replay] = {
    "bgrem denoise": Replay(
        DenoiseConfig,
        {
            "result": None, "background": None, "residual": None, "bundle": "SCI",
            "uncertainty": "SIGMA68", "quality": "DQ",
        },
    ),
}  # fmt: skip
