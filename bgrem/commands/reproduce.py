"""`bgrem reproduce`: run again what made a file, and compare the pixels or the rows."""

import argparse
import dataclasses
import hashlib
import itertools
import shlex
import tempfile
from pathlib import Path
from typing import Any

from bgrem.commands.base import INPUT_FLAGS, read_input
from bgrem.commands.compare_files import TABLE_ROWS, compare, describe
from bgrem.config import CatalogConfig, DenoiseConfig, EnhanceConfig, NoiseMapConfig
from common import cli
from common.config import from_texts, to_arguments
from common.provenance import datasum, parse_history

MAX_HISTORY_VALUE = 60  # characters of a value in HISTORY that is read as a number
# keyword -> what must be the same for the same pixels
SAME_PIXELS_NEED = {"BGVERS": "version", "BGDEVICE": "device", "BGENGINE": "software"}
# files that cannot say how they were made
SUFFIXES_WITHOUT_HEADER = (".csv", ".reg", ".ecsv", ".vot", ".xml", ".json", ".png")
# keyword of a file that the run needed beside its input -> flag
FURTHER_INPUTS = {"BGCALIB": "calibration", "BGDENOIS": "denoised"}


@dataclasses.dataclass(frozen=True)
class Replay:
    """How the files of one command are made again.

    Attributes
    ----------
    configs : tuple of type
        The dataclasses whose fields its HISTORY lists, beside the `INPUT_FLAGS`.
    parts : dict
        BGPART -> the HDU with the pixels or rows, None: that of the input. The first one is the
        command's ``--output``.
    """

    configs: tuple[type, ...]
    parts: dict[str, str | None]

    @property
    def main_part(self) -> str:
        """What ``--output`` names."""
        return next(iter(self.parts))


@dataclasses.dataclass(frozen=True)
class Record:
    """What a file says of the run that made it: command, keywords, settings, input flags."""

    command: str
    cards: dict[str, Any]
    configs: tuple[Any, ...]
    flags: dict[str, Any]

    @property
    def part(self) -> str:
        """The option that names this file on the command line."""
        return str(self.cards.get("BGPART", REPLAYS[self.command].main_part))

    @property
    def model(self) -> str:
        """Name or folder."""
        return next(one.model for one in self.configs if hasattr(one, "model"))

    def arguments(self) -> list[str]:
        """Return the command's arguments that differ from their defaults, but for file names."""
        found = [word for config in self.configs for word in to_arguments(config)]
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
    command = shlex.join([*words, *_file_arguments(record, _new_name(args.file), args.file)])
    if args.only_print:
        print(command)
        return cli.EXIT_DONE
    if not (args.quiet or args.json):
        print(command, flush=True)
    from bgrem.cli import main

    with tempfile.TemporaryDirectory(prefix="bgrem-") as folder:
        again = Path(folder) / f"again{_suffix(args.file)}"
        arguments = [*record.command.split()[1:], str(source), *record.arguments()]
        code = main([*arguments, *_file_arguments(record, again, args.file), "--quiet"])
        if code:
            return code
        hdu = REPLAYS[record.command].parts[record.part]
        outcome = compare(args.file, again, hdu, record.flags)
        outcome["differs"] = _changes(record, again)
    outcome |= {"file": args.file, "command": command}
    if args.json:
        cli.emit_json(outcome)
    elif not args.quiet:
        print("\n".join(describe(outcome)))
    return cli.EXIT_DONE if outcome["identical"] else cli.EXIT_SOME_FAILED


def read_record(path: Path) -> Record:
    """Return what a file says of its run.

    Raises
    ------
    ValueError
        If it says nothing, or another version's command has settings that this one lacks.
    """
    if _suffix(path).lower() in SUFFIXES_WITHOUT_HEADER:
        raise ValueError(
            f"{path}: {_suffix(path)} has no header that says how it was made. Run its command "
            "with --params and the …Params.json beside it."
        )
    header = _header(path)
    command = str(header.get("BGTOOL", ""))
    if command not in REPLAYS:
        raise ValueError(f"{path}: is not a file of {', '.join(REPLAYS)} (BGTOOL is {command!r}).")
    try:
        _, _, texts = parse_history([str(line) for line in header.get("HISTORY", ())], command)
        flags = {name: _flag_value(name, texts.pop(name, "None")) for name in INPUT_FLAGS}
        configs = _parse_configs(REPLAYS[command].configs, texts)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    cards = {name: header[name] for name in header if str(name).startswith("BG")}
    record = Record(command, cards, configs, flags)
    if record.part not in REPLAYS[command].parts:
        raise ValueError(f"{path}: BGPART is {record.part!r}, which {command} does not write.")
    return record


def _parse_configs(configs: tuple[type, ...], texts: dict[str, str]) -> tuple[Any, ...]:
    """Return one config of each type; what belongs to none of them is the last one's error."""
    found: list[Any] = []
    for config in configs[:-1]:
        names = [one.name for one in dataclasses.fields(config) if one.name in texts]
        found.append(from_texts(config, {name: texts.pop(name) for name in names}, "HISTORY"))
    return (*found, from_texts(configs[-1], texts, "HISTORY"))


def _flag_value(name: str, text: str) -> Any:
    """Return the value of an input flag: None, a boolean, plane numbers, or its text."""
    if text == "None":
        return None
    if name == "verify":
        return text == "True"
    if name != "channels":
        return text
    numbers = [one.strip() for one in text.strip("()").split(",") if one.strip()]
    if not numbers or not all(one.isdecimal() for one in numbers):
        raise ValueError(
            f"HISTORY has channels = {text[:MAX_HISTORY_VALUE]}, which are no numbers."
        )
    return tuple(map(int, numbers))


def _as_arguments(flag: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-", 1)]
    if isinstance(value, (tuple, list)):
        value = ",".join(map(str, value))
    return [f"{flag}={value}"] if str(value).startswith("-") else [flag, str(value)]


def _file_arguments(record: Record, output: Path, file: Path) -> list[str]:
    """Return the arguments that name the outputs: `output` for the part that `file` is."""
    found = ["--output", str(output)]
    if record.part != (main_part := REPLAYS[record.command].main_part):
        stem = output.name.removesuffix(_suffix(output))
        result = output.with_name(f"{stem}_{main_part}{_suffix(output)}")
        found = ["--output", str(result), f"--{record.part}", str(output)]
    for keyword, flag in FURTHER_INPUTS.items():
        if record.cards.get(keyword):
            name = _find(None, file, record.cards[keyword], flag, "its place")
            found += [f"--{flag}", str(name)]
    return found


def _new_name(file: Path) -> Path:
    """Return a name beside a file that no file has."""
    suffix = _suffix(file)
    stem = file.name.removesuffix(suffix)
    names = (file.with_name(f"{stem}_again{number or ''}{suffix}") for number in itertools.count())
    return next(name for name in names if not name.exists())


def _changes(record: Record, again: Path) -> dict[str, list[Any]]:
    """Return what the same pixels need and has changed: what -> then, now."""
    now = _header(again)
    return {
        what: [record.cards.get(name), now.get(name)]
        for name, what in SAME_PIXELS_NEED.items()
        if record.cards.get(name) != now.get(name)
    }


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
    if record.cards.get("BGDENOIS"):
        return  # no network ran
    from bgrem.models import WEIGHTS_FILE, find_model

    weights = find_model(record.model) / WEIGHTS_FILE
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    if sha256 != record.cards.get("BGMODEL"):
        raise ValueError(
            f"{weights}: SHA-256 {sha256[:12]}… is not the file's "
            f"{str(record.cards.get('BGMODEL'))[:12]}…: the model has changed. Get the older one."
        )


def _header(path: Path) -> Any:
    """Return the header with BGTOOL, or that of the image where there is none."""
    from common.header import header_of
    from common.io import read_image

    if _suffix(path).lower() == ".xisf":
        return header_of(read_image(path, zeros="data"))
    from astropy.io import fits

    with fits.open(path) as hdus:
        headers = [hdu.header.copy() for hdu in hdus]
    return next((one for one in headers if "BGTOOL" in one), headers[0])


def _suffix(path: Path) -> str:
    from common.io import split_suffix

    catalogue = path.suffix.lower() in (".ldac", ".cat", *SUFFIXES_WITHOUT_HEADER)
    return path.suffix if catalogue else split_suffix(path)[1]


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
        (DenoiseConfig,),
        {
            "result": None, "background": None, "residual": None, "bundle": "SCI",
            "uncertainty": "SIGMA68", "quality": "DQ",
        },
    ),
    "bgrem enhance": Replay((EnhanceConfig,), {"result": None}),
    "bgrem noisemap": Replay(
        (NoiseMapConfig,), {"result": None, "map": None, "deviation": None, "rms": None}
    ),
    "bgrem catalog": Replay(
        (CatalogConfig, DenoiseConfig), {"catalogue": TABLE_ROWS, "segmentation": "SEGMENTATION"}
    ),
}  # fmt: skip
