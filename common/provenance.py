"""What was done to an image: HISTORY lines, keywords and a parameter file that can be replayed."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.atomic import atomic_write
from common.checked.json_files import read_json, refuse_unknown
from common.image import Card

if TYPE_CHECKING:
    import numpy as np

HISTORY_CHARACTERS = 72  # characters of a HISTORY card
_RECORD_KEYS = ("tool", "version", "input", "parameters")  # of a parameter file


def history_lines(
    tool: str,
    version: str,
    input: str | os.PathLike[str],
    parameters: Mapping[str, Any],
    *,
    notes: Iterable[str] = (),
) -> list[str]:
    """Return the HISTORY lines of one run: tool and input, each parameter, then the notes.

    They hold no time, and paths among the parameters are cut to file names, so that the same run
    writes the same file everywhere. A text stays as it was given: also a model's folder.
    """
    lines = [f"{tool} {version} on {Path(input).name}"]
    for name, value in parameters.items():
        shown = Path(value).name if isinstance(value, os.PathLike) else value
        lines.append(f"{tool}: {name} = {shown}")
    return lines + [f"{tool}: {note}" for note in notes]


def provenance_cards(
    tool: str,
    version: str,
    input: str | os.PathLike[str],
    *,
    pixels: "np.ndarray | None" = None,
    model_sha256: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    engine: str | None = None,
) -> tuple[Card, ...]:
    """Return the keywords of one run: BGTOOL, BGVERS, BGINPUT, and those below that are given.

    Parameters
    ----------
    tool, version : str
        Who made the file.
    input : path
        The input; only its name is kept.
    pixels : array, shape (H, W, C), optional
        The input's pixels, for `datasum`: BGDATSUM.
    model_sha256 : str, optional
        Hash of the weights: BGMODEL.
    seed : int, optional
        Seed of the random numbers: BGSEED.
    device, engine : str, optional
        Processor or GPU with its precision, and the software that computes: BGDEVICE, BGENGINE.
    """
    cards: list[Card] = [
        ("BGTOOL", tool, "program that made this image"),
        ("BGVERS", version, "its version"),
        ("BGINPUT", Path(input).name, "its input file"),
    ]
    if pixels is not None:
        cards.append(("BGDATSUM", str(datasum(pixels)), "DATASUM of the input pixels"))
    if model_sha256 is not None:
        cards.append(("BGMODEL", model_sha256, ""))
    if seed is not None:
        cards.append(("BGSEED", int(seed), "seed of the random numbers"))
    if device is not None:
        cards.append(("BGDEVICE", device, ""))
    if engine is not None:
        cards.append(("BGENGINE", engine, ""))
    return tuple(cards)


def tool_of(path: str | os.PathLike[str]) -> str | None:
    """Return BGTOOL of an image file: the tool that made it; None where there is none.

    Only headers are read. A file that cannot be read has none: reading it says what is wrong.
    """
    path = Path(path)
    try:
        if path.suffix.lower() == ".xisf":
            from common.xisf.blocks import parse_header, read_header

            with path.open("rb") as file:
                root = parse_header(read_header(file, str(path)), str(path))
            keywords = [one for image in root.find("Image") for one in image.find("FITSKeyword")]
            values = [one.attributes.get("value", "") for one in keywords
                      if one.attributes.get("name") == "BGTOOL"]  # fmt: skip
            return values[0].strip(" '") if values else None
        from common.fits.parts import read_keywords

        return next(iter(read_keywords(path, "BGTOOL")), None)
    except (OSError, ValueError):
        return None


def parse_history(lines: Iterable[str], tool: str) -> tuple[str, str, dict[str, str]]:
    """Return version, input and parameters of the last run of a tool, from `history_lines`.

    Parameters
    ----------
    lines : iterable of str
        Values of HISTORY cards in order; lines longer than a card are put together again.
    tool : str

    Raises
    ------
    ValueError
        If no run of this tool is among them.
    """
    whole: list[str] = []
    width = 0  # of the last card
    for line in lines:
        # a blank at the end of a card is lost
        if width >= HISTORY_CHARACTERS - 1 and not line.startswith((f"{tool}: ", f"{tool} ")):
            whole[-1] += " " * (HISTORY_CHARACTERS - width) + line
        else:
            whole.append(line)
        width = len(line)
    starts = [k for k, line in enumerate(whole) if line.startswith(f"{tool} ") and " on " in line]
    if not starts:
        raise ValueError(f"no HISTORY of {tool} that says how the file was made.")
    version, _, name = whole[starts[-1]].removeprefix(f"{tool} ").partition(" on ")
    parameters = {}
    for line in whole[starts[-1] + 1 :]:
        if not line.startswith(f"{tool}: "):
            break
        key, found, value = line.removeprefix(f"{tool}: ").partition(" = ")
        if found and key.isidentifier():
            parameters[key] = value
    return version, name, parameters


def datasum(pixels: "np.ndarray") -> int:
    """Return the FITS DATASUM of pixels of shape (H, W, C), stored as (C, H, W) floats.

    For a float32 or float64 FITS image without scaling it equals the DATASUM of its HDU.
    """
    import numpy as np

    from common.fits.cards import ones_sum

    pixels = np.asarray(pixels)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    total = 0
    rows = 256  # converted at once: no second copy of a large image
    for channel in range(pixels.shape[2]):
        for top in range(0, pixels.shape[0], rows):
            block = pixels[top : top + rows, :, channel]
            total = ones_sum(block.astype(block.dtype.newbyteorder(">"), order="C").data, total)
    return total


def write_params(
    path: str | os.PathLike[str],
    tool: str,
    version: str,
    input: str | os.PathLike[str],
    parameters: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> None:
    """Write the parameters of a run as JSON, which `read_params` and `--params` replay.

    Raises
    ------
    ValueError
        If a parameter is not a number, text, list, mapping or path.
    """
    text = params_text(path, tool, version, input, parameters)
    with atomic_write(path, overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def params_text(
    path: str | os.PathLike[str],
    tool: str,
    version: str,
    input: str | os.PathLike[str],
    parameters: Mapping[str, Any],
) -> str:
    """Return what `write_params` writes; `path` is for its errors."""
    content = {
        "tool": tool,
        "version": version,
        "input": Path(input).name,
        "parameters": dict(parameters),
    }

    def plain(value: Any) -> Any:
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        if hasattr(value, "tolist"):  # numpy scalars and arrays
            return value.tolist()
        raise ValueError(f"{path}: the parameter {value!r} cannot be written as JSON.")

    return json.dumps(content, indent=2, default=plain) + "\n"


def read_params(
    path: str | os.PathLike[str], tool: str, *, known: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return the parameters of a parameter file.

    Parameters
    ----------
    path : path
        A file of `write_params`.
    tool : str
        The tool that is to run; the file of another tool is refused.
    known : iterable of str, optional
        The names of the tool's parameters; others in the file are refused.

    Raises
    ------
    ValueError
        If the file is not a parameter file of this tool, or has unknown keys.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such parameter file.")
    content = read_json(path, "is not a parameter file in JSON", constants=True)
    if not isinstance(content, dict) or not isinstance(content.get("parameters"), dict):
        raise ValueError(f'{path}: expected an object with "parameters", as a run writes it.')
    refuse_unknown(content, _RECORD_KEYS, str(path))
    if content.get("tool") != tool:
        raise ValueError(f"{path}: is a parameter file of {content.get('tool')}, not of {tool}.")
    parameters = content["parameters"]
    if known is not None:
        refuse_unknown(parameters, list(known), str(path))
    return parameters
