"""`bgrem reproduce`: run again what made a file, and compare the pixels or the rows."""

import dataclasses
import hashlib
import itertools
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bgrem.commands.base import read_input
from bgrem.commands.compare_files import compare, describe
from bgrem.config import InputConfig
from bgrem.models import WEIGHTS_FILE, find_model, is_exported, read_description
from common import cli
from common.atomic import scratch_folder
from common.command import Call, Command
from common.config import from_texts, to_arguments
from common.fits.parts import read_headers
from common.header import header_of
from common.io import read_image, split_suffix
from common.progress import events
from common.provenance import datasum, parse_history

# keyword -> what must be the same for the same pixels
SAME_PIXELS_NEED = {"BGVERS": "version", "BGDEVICE": "device", "BGENGINE": "software"}
# files that cannot say how they were made
SUFFIXES_WITHOUT_HEADER = (".csv", ".reg", ".ecsv", ".vot", ".xml", ".json", ".png")
# keyword of a file that the run needed beside its input -> flag
FURTHER_INPUTS = {"BGCALIB": "calibration", "BGDENOIS": "denoised"}


@dataclass(frozen=True)
class Replay:
    """What a file says of the run that made it.

    Attributes
    ----------
    command : Command
        What made it.
    cards : dict
        The keywords that begin with BG.
    settings : dict
        Config of each type that the command has.
    """

    command: Command
    cards: dict[str, Any]
    settings: dict[type, Any]

    @property
    def main_part(self) -> str:
        """What ``--output`` names."""
        return next(iter(self.command.products))

    @property
    def part(self) -> str:
        """The option that names this file on the command line."""
        return str(self.cards.get("BGPART", self.main_part))

    @property
    def model(self) -> str | None:
        """Name or folder, None where the command has no network."""
        return next((one.model for one in self.settings.values() if hasattr(one, "model")), None)

    def arguments(self) -> list[str]:
        """Return the command's arguments that differ from their defaults, but for file names."""
        titles = self.command.configs
        last = sorted(self.settings, key=lambda config: titles[config] == "")
        return [word for config in last for word in to_arguments(self.settings[config])]


def run(call: Call) -> int:
    """Run again what made a file; exit code 0 for identical pixels, 1 for others."""
    args = call.args
    replay = read_replay(args.file, call.commands)
    source = _find(args.input, args.file, replay.cards.get("BGINPUT"), "input", "--input")
    check_source(source, replay)
    words = [*replay.command.name.split(), str(source), *replay.arguments()]
    command = shlex.join([*words, *_file_arguments(replay, _new_name(args.file), args.file)])
    if args.only_print:
        cli.put(command)
        return cli.EXIT_DONE
    call.say(command)
    with scratch_folder() as folder:
        again = folder / f"again{_suffix(args.file)}"
        code = call.run_words([*words[1:], *_file_arguments(replay, again, args.file), "--quiet"])
        if code:
            return code
        hdu = replay.command.products[replay.part].hdu
        outcome = compare(args.file, again, hdu, replay.settings[InputConfig])
        outcome["differs"] = _changes(replay, again)
    outcome |= {"file": args.file, "command": command}
    if args.json:
        events.emit("result", outcome)
    else:
        call.say("\n".join(describe(outcome)))
    return cli.EXIT_DONE if outcome["identical"] else cli.EXIT_SOME_FAILED


def read_replay(path: Path, commands: Mapping[str, Command]) -> Replay:
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
    known = {one.name: one for one in commands.values() if one.reproducible}
    name = str(header.get("BGTOOL", ""))
    if name not in known:
        raise ValueError(f"{path}: is not a file of {', '.join(known)} (BGTOOL is {name!r}).")
    try:
        lines = [str(line) for line in header.get("HISTORY", ())]
        settings = _read_settings(known[name].configs, parse_history(lines, name)[2])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    cards = {name: header[name] for name in header if str(name).startswith("BG")}
    replay = Replay(known[name], cards, settings)
    if replay.part not in replay.command.reproducible:
        raise ValueError(f"{path}: BGPART is {replay.part!r}, which {name} does not write.")
    return replay


def _read_settings(configs: Iterable[type], texts: dict[str, str]) -> dict[type, Any]:
    """Return one config of each type; what belongs to none of them is the last one's error."""
    *first, last = configs
    found: dict[type, Any] = {}
    for config in first:
        names = [one.name for one in dataclasses.fields(config) if one.name in texts]
        found[config] = from_texts(config, {name: texts.pop(name) for name in names}, "HISTORY")
    return found | {last: from_texts(last, texts, "HISTORY")}


def _file_arguments(replay: Replay, output: Path, file: Path) -> list[str]:
    """Return the arguments that name the outputs: `output` for the part that `file` is."""
    found = ["--output", str(output)]
    if replay.part != replay.main_part:
        stem = output.name.removesuffix(_suffix(output))
        result = output.with_name(f"{stem}_{replay.main_part}{_suffix(output)}")
        found = ["--output", str(result), f"--{replay.part}", str(output)]
    for keyword, flag in FURTHER_INPUTS.items():
        if replay.cards.get(keyword):
            name = _find(None, file, replay.cards[keyword], flag, "its place")
            found += [f"--{flag}", str(name)]
    return found


def _new_name(file: Path) -> Path:
    """Return a name beside a file that no file has."""
    suffix = _suffix(file)
    stem = file.name.removesuffix(suffix)
    names = (file.with_name(f"{stem}_again{number or ''}{suffix}") for number in itertools.count())
    return next(name for name in names if not name.exists())


def _changes(replay: Replay, again: Path) -> dict[str, list[Any]]:
    """Return what the same pixels need and has changed: what -> then, now."""
    now = _header(again)
    return {
        what: [replay.cards.get(name), now.get(name)]
        for name, what in SAME_PIXELS_NEED.items()
        if replay.cards.get(name) != now.get(name)
    }


def check_source(source: Path, replay: Replay) -> None:
    """Raise ValueError where the input's pixels or the model's weights are others than the file's.

    Weights are compared by the SHA-256 of their file, pixels by DATASUM.
    """
    pixels = read_input(source, replay.settings[InputConfig]).pixels
    found, expected = str(datasum(pixels)), str(replay.cards.get("BGDATSUM"))
    if found != expected:
        raise ValueError(
            f"{source}: DATASUM of the pixels is {found}, that of the file's input was {expected}. "
            "Name the right one with --input."
        )
    if replay.cards.get("BGDENOIS") or replay.model is None:
        return  # no network ran
    weights = find_model(replay.model)
    if is_exported(weights):  # its card names the weights that are in it
        sha256 = read_description(weights)["sha256"]
    else:
        weights /= WEIGHTS_FILE
        sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    if sha256 != replay.cards.get("BGMODEL"):
        raise ValueError(
            f"{weights}: SHA-256 {sha256[:12]}… is not the file's "
            f"{str(replay.cards.get('BGMODEL'))[:12]}…: the model has changed. Get the older one."
        )


def _header(path: Path) -> Any:
    """Return the header with BGTOOL, or that of the image where there is none."""
    if _suffix(path).lower() == ".xisf":
        return header_of(read_image(path, zeros="data"))
    headers = read_headers(path)
    return next((one for one in headers if "BGTOOL" in one), headers[0])


def _suffix(path: Path) -> str:
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
