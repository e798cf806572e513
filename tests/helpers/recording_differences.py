"""How two recordings of `tests/compare_outputs.py` differ: one line for each difference."""

import difflib
import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from astropy.io import fits

MAX_LINES_OF_FILE = 20  # differences of one file that are shown; the rest is counted
MAX_WIDTH = 110  # characters of a value that are shown
NOT_COMPARED = ("seconds.json",)  # what the cases took
INPUTS, ENVIRONMENT = "inputs", "environment.json"  # beside the folders of the cases
SECONDS = "seconds"  # key of JSON, column of CSV: what a run took
KEYS_NOT_COMPARED = (SECONDS, "commit")  # the commit is that of environment.json
CREATION_TIME = "XISF:CreationTime"
FITS = (".fits", ".fit", ".fts", ".fz", ".gz", ".ldac", ".cat")
PICTURES = (".png", ".gif")
TEXT = (".txt", ".html", ".csv", ".reg", ".vot", ".xml", ".ecsv")
PROGRESS_EVENT = '{"event": "progress"'  # how such a line begins


def compare_recordings(
    before: Path, after: Path, only: Collection[str] | None = None
) -> tuple[list[str], int]:
    """Return a line for each difference of two folders, and the number of files in both.

    Of `only` some cases, their inputs are compared as far as both recordings have them.
    """
    names = [_compared_files(folder, only) for folder in (before, after)]
    if only is not None:
        names = [{n for n in one if _top(n) != INPUTS or n in names[0] & names[1]} for one in names]
    tops = [{_top(name) for name in one} for one in names]
    found = [
        f"{top}: only {'before' if top in tops[0] else 'after'}"
        for top in sorted(tops[0] ^ tops[1])
    ]
    for name in sorted(one for one in names[0] | names[1] if _top(one) in tops[0] & tops[1]):
        if name in names[0] & names[1]:
            lines = list(compare_files(before / name, after / name))
            more = len(lines) - MAX_LINES_OF_FILE
            found += [f"{name}{line}" for line in lines[:MAX_LINES_OF_FILE]]
            found += [f"{name}: and {more} more differences"] if more > 0 else []
        else:
            found.append(f"{name}: only {'before' if name in names[0] else 'after'}")
    return found, len(names[0] & names[1])


def _top(name: str) -> str:
    return name.partition("/")[0]


def _compared_files(folder: Path, only: Collection[str] | None) -> set[str]:
    names = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    names -= set(NOT_COMPARED)
    wanted = None if only is None else {INPUTS, ENVIRONMENT, *only}
    return names if wanted is None else {name for name in names if _top(name) in wanted}


def compare_files(before: Path, after: Path) -> Iterator[str]:
    """Give what differs in two files of one kind, to be put behind the name."""
    one, two = before.read_bytes(), after.read_bytes()
    if one == two:
        return
    compare = next((c for endings, c in KINDS if before.name.lower().endswith(endings)), _bytes)
    try:
        yield from compare(one, two)
    except Exception as error:  # a file that its own kind cannot read: its bytes are compared
        yield from (f"{line} (not readable: {error!r})" for line in _bytes(one, two))


def _bytes(one: bytes, two: bytes) -> Iterator[str]:
    if one != two:
        number = sum(a != b for a, b in zip(one, two, strict=False))
        yield f": {number} bytes differ, sizes {len(one)} and {len(two)}"


def _short(value: Any) -> str:
    shown = str(value)
    return shown if len(shown) <= MAX_WIDTH else f"{shown[:MAX_WIDTH]}..."


def _sequences(one: list[str], two: list[str], what: str) -> Iterator[str]:
    """Give each change of a sequence of lines or cards."""
    for kind, a, b, c, d in difflib.SequenceMatcher(None, one, two, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        for i in range(max(b - a, d - c)):
            left = one[a + i] if a + i < b else None
            right = two[c + i] if c + i < d else None
            yield f"{what}: {_change(left, right)}"


def _change(left: str | None, right: str | None) -> str:
    """Return both sides from a little before their first difference on."""
    if left is None or right is None:
        return (
            f"only after: {_short(right)!r}" if left is None else f"only before: {_short(left)!r}"
        )
    place = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b),
                 min(len(left), len(right)))  # fmt: skip
    start = max(0, place - 60) if max(len(left), len(right)) > MAX_WIDTH else 0
    return f"{_short(left[start:])!r} is now {_short(right[start:])!r}"


def count_pixels(one: np.ndarray, two: np.ndarray) -> str | None:
    """Return how many values differ, in words; None for none. NaN equals NaN, 0 is not -0."""
    if one.shape != two.shape or one.dtype != two.dtype:
        return f"{one.dtype} {one.shape} is now {two.dtype} {two.shape}"
    if one.tobytes() == two.tobytes():
        return None
    if one.dtype.kind == "f":
        unsigned = np.dtype(f"{one.dtype.byteorder}u{one.dtype.itemsize}")
        unequal = (one.view(unsigned) != two.view(unsigned)) & ~(np.isnan(one) & np.isnan(two))
        with np.errstate(invalid="ignore"):
            largest = np.abs(one[unequal].astype(float) - two[unequal].astype(float))
        known = largest[np.isfinite(largest)]
        most = f", by {known.max():.6g} at most" if known.size else ""
    else:
        unequal, most = one != two, ""
    number = int(unequal.sum())
    return f"{number} of {one.size} pixels differ{most}" if number else None


def _fits(one: bytes, two: bytes) -> Iterator[str]:
    both = [_hdus(content) for content in (one, two)]
    if len(both[0]) != len(both[1]):
        yield f": {len(both[0])} HDUs are now {len(both[1])}"
    for number, (left, right) in enumerate(zip(*both, strict=False)):
        what = f"[{number} {left[0]}]"
        yield from _sequences(left[1], right[1], what)
        if left[2] != right[2]:
            yield from _fits_data(left[3], right[3], what, (left[2], right[2]))


def _hdus(content: bytes) -> list[tuple[str, list[str], bytes, Any]]:
    """Return name, cards, raw data, and data as array of each HDU."""
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    raw = {"memmap": False, "disable_image_compression": True, "do_not_scale_image_data": True}
    found = []
    with fits.open(io.BytesIO(content), **raw) as hdus:
        for hdu in hdus:
            place = hdu.fileinfo()
            head, start = place["hdrLoc"], place["datLoc"]
            text = content[head:start].decode("latin-1")
            cards = [text[i : i + 80].rstrip() for i in range(0, len(text), 80)]
            found.append((hdu.name, cards, content[start : start + place["datSpan"]], hdu.data))
    return found


def _fits_data(one: Any, two: Any, what: str, raw: tuple[bytes, bytes]) -> Iterator[str]:
    if getattr(one, "names", None) and getattr(two, "names", None):
        columns = list(dict.fromkeys([*one.names, *two.names]))
        changed = [name for name in columns if not _same_column(one, two, name)]
        for name in changed:
            yield f"{what}: column {name} differs"
        if not changed:  # padding, or the order in the heap
            yield from (f"{what}{line}" for line in _bytes(*raw))
    elif isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        words = count_pixels(one, two)
        if words:
            yield f"{what}: {words}"
    else:
        yield from (f"{what}{line}" for line in _bytes(*raw))


def _same_column(one: Any, two: Any, name: str) -> bool:
    if name not in one.names or name not in two.names:
        return False
    left, right = np.asarray(one[name]), np.asarray(two[name])
    if left.dtype == object:
        return len(left) == len(right) and all(map(np.array_equal, left, right))
    return left.shape == right.shape and left.dtype == right.dtype and (
        left.tobytes() == right.tobytes()
    )  # fmt: skip


def _xisf(one: bytes, two: bytes) -> Iterator[str]:
    both = [_xisf_header(content) for content in (one, two)]
    yield from _sequences(both[0][0], both[1][0], "[header]")
    for number, (left, right) in enumerate(zip(both[0][1], both[1][1], strict=False)):
        yield from (f"[block {number}]{line}" for line in _bytes(left, right))


def _xisf_header(content: bytes) -> tuple[list[str], list[bytes]]:
    """Return the elements of the header, a line each, and the attached blocks."""
    length = int.from_bytes(content[8:12], "little")
    header = content[16 : 16 + length].rstrip(b"\0").decode()
    lines, blocks = [], []
    for element in ElementTree.fromstring(header).iter():  # noqa: S314, our own file
        attributes = dict(element.attrib)
        if attributes.get("id") == CREATION_TIME:
            attributes["value"] = "(not compared)"
        name, text = element.tag.rpartition("}")[2], (element.text or "").strip()
        lines.append(f"{name} {attributes} {text}")
        kind, *place = attributes.get("location", "").split(":")
        if kind == "attachment":
            blocks.append(content[int(place[0]) : int(place[0]) + int(place[1])])
    # the rest of the text: declaration, comments, order and white space
    text = re.sub(rf'(id="{CREATION_TIME}"[^>]*?value=")[^"]*', r"\1", header)
    return [*lines, *text.splitlines()], blocks


def _picture(one: bytes, two: bytes) -> Iterator[str]:
    from PIL import Image, ImageSequence

    both = []
    for content in (one, two):
        with Image.open(io.BytesIO(content)) as image:
            frames = [np.asarray(frame.convert("RGBA")) for frame in ImageSequence.Iterator(image)]
            both.append((frames, {k: str(v) for k, v in image.info.items()}, image.mode))
    (frames, *facts), (others, *other_facts) = both
    if facts != other_facts:
        yield f": {_short(facts)} is now {_short(other_facts)}"
    if len(frames) != len(others):
        yield f": {len(frames)} frames are now {len(others)}"
    for number, (left, right) in enumerate(zip(frames, others, strict=False)):
        words = count_pixels(left, right)
        if words:
            yield f"[frame {number}]: {words}"


def compare_values(one: Any, two: Any, place: str = "") -> Iterator[str]:
    """Give the keys of JSON whose values differ; `KEYS_NOT_COMPARED` are left out."""
    if isinstance(one, dict) and isinstance(two, dict):
        if list(one) != list(two) and sorted(one) == sorted(two):
            yield f"{place or '.'}: order of keys {_short(list(one))} is now {_short(list(two))}"
        for key in dict.fromkeys([*one, *two]):
            if key in KEYS_NOT_COMPARED and key in one and key in two:
                continue
            if key not in one or key not in two:
                yield f"{place}.{key}: only {'before' if key in one else 'after'}"
            else:
                yield from compare_values(one[key], two[key], f"{place}.{key}")
    elif isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        for number, (left, right) in enumerate(zip(one, two, strict=True)):
            yield from compare_values(left, right, f"{place}[{number}]")
    elif type(one) is not type(two) or (one != two and not (one != one and two != two)):
        yield f"{place}: {_short(repr(one))} is now {_short(repr(two))}"


def _json(one: bytes, two: bytes) -> Iterator[str]:
    left, right = one.decode(), two.decode()
    values = [json.loads(text) for text in (left, right)]
    changes = list(compare_values(*values))
    yield from (f": {change}" for change in changes)
    if not changes and _laid_out(left) != _laid_out(right):
        yield ": the same values are laid out in another way"


def _laid_out(text: str) -> str:
    """Return JSON with 0 in place of what is not compared."""
    return re.sub(rf'("({"|".join(KEYS_NOT_COMPARED)})": )("[^"]*"|[0-9.e+-]+)', r"\g<1>0", text)


def _text(one: bytes, two: bytes) -> Iterator[str]:
    both = [_lines(content.decode("utf-8", "replace")) for content in (one, two)]
    left, right = both
    if len(left) == len(right):
        for number, lines in enumerate(zip(left, right, strict=True), 1):
            if lines[0] != lines[1]:
                yield from _text_line(*lines, f"[line {number}]")
    else:
        yield from _sequences(left, right, "")


def _text_line(left: str, right: str, what: str) -> Iterator[str]:
    try:  # what --json wrote
        values = json.loads(left), json.loads(right)
    except ValueError:
        yield f"{what}: {_change(left, right)}"
        return
    yield from (f"{what}: {change}" for change in compare_values(*values))


def _lines(text: str) -> list[str]:
    """Return the lines that are compared: a traceback without what moves with the source.

    Events of progress are left out: how many there are depends on the machine's load.
    """
    lines, inside = [], False
    for line in text.split("\n"):  # a carriage return is a difference, too
        if line.startswith(PROGRESS_EVENT):
            continue
        inside = line.startswith("  ") if inside else inside
        if not inside:
            lines.append(_laid_out(line))
        inside = inside or line.startswith("Traceback (most recent call last)")
    head = lines[0].rstrip("\r").split(",")
    if SECONDS in head:  # a table as CSV
        column = head.index(SECONDS)
        rows = [line.partition("\r") for line in lines]
        cells = [row.split(",") for row, *_ in rows]
        kept = [",".join(row[:column] + row[column + 1 :]) for row in cells]
        lines = [line + end for line, (_, end, _) in zip(kept, rows, strict=True)]
    return lines


def _archive(one: bytes, two: bytes) -> Iterator[str]:
    """Compare the arrays of .npz files; a text in one is JSON."""
    both = [_members(content) for content in (one, two)]
    for name in sorted({*both[0], *both[1]}):
        if name not in both[0] or name not in both[1]:
            yield f"[{name}]: only {'before' if name in both[0] else 'after'}"
            continue
        left, right = both[0][name], both[1][name]
        if left.dtype.kind == right.dtype.kind == "U" and left.ndim == right.ndim == 0:
            values = json.loads(str(left)), json.loads(str(right))
            yield from (f"[{name}]: {change}" for change in compare_values(*values))
        else:
            words = count_pixels(left, right)
            if words:
                yield f"[{name}]: {words}"
    orders = [list(one) for one in both]
    if sorted(orders[0]) == sorted(orders[1]) and orders[0] != orders[1]:
        yield ": the arrays have another order"


def _members(content: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
                for name in archive.namelist()}  # fmt: skip


def _array(one: bytes, two: bytes) -> Iterator[str]:
    words = count_pixels(*(np.load(io.BytesIO(c), allow_pickle=False) for c in (one, two)))
    if words:
        yield f": {words}"


# endings of names -> how such files are compared; others byte for byte
KINDS: list[tuple[tuple[str, ...], Callable[[bytes, bytes], Iterator[str]]]] = [
    (FITS, _fits),
    ((".xisf",), _xisf),
    (PICTURES, _picture),
    ((".json",), _json),
    ((".npz",), _archive),
    ((".npy",), _array),
    (TEXT, _text),
]
