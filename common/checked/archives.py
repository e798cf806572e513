"""Archives of NumPy arrays (.npz): read so that no member takes more memory than it has to.

`numpy.load` believes the sizes that an archive declares and raises a dozen kinds of error for
damaged ones. Here a member's declared array is compared with its bytes before any is read.
"""

import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

MAX_MEMBERS = 10_000  # arrays; the networks have some hundred weights
MAX_NAME = 500  # characters; the weights have 60
MAX_DEFLATE_RATIO = 1040  # unpacked bytes / packed ones; deflate reaches 1032
MAX_ARRAY_HEADER_BYTES = 4096  # bytes; those of `numpy.save` have 128
MAX_ARRAY_AXES = 32  # axes of an array
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what `numpy.savez` writes
_ENCRYPTED = 1  # bit of a member's flags
# what `numpy.save` writes of an array: numbers, booleans or text, in C or Fortran order
_ARRAY_HEADER = re.compile(
    r"\{'descr': '([<>|=]?(?:f[248]|[iu][1248]|b1)|[<>=]U\d{1,9})', 'fortran_order': (True|False), "
    r"'shape': \(((?:\d{1,18}, ?)*(?:\d{1,18})?)\),? ?\} *\n?",
    re.ASCII,
)
_DAMAGE = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, OverflowError,
    NotImplementedError, RuntimeError, ValueError, KeyError, IndexError, UnicodeError,
)  # fmt: skip


def read_arrays(file: Path | IO[bytes], where: str, what: str = "an archive") -> dict[str, Any]:
    """Return all arrays of an .npz archive by their names.

    Parameters
    ----------
    file : path or binary file
    where : str
        The file as messages call it.
    what : str, optional
        What it should be, for messages.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no such archive, is damaged, or holds what is no array of numbers or text.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS:
                raise ValueError(f"{len(members)} members")
            names = [one.filename.removesuffix(".npy") for one in members]
            if not all(name.isprintable() and len(name) < MAX_NAME for name in names):
                raise ValueError("a member with an unprintable or very long name")
            if len(set(names)) < len(names):
                raise ValueError("two members of one name")
            # members that lie over each other would unpack the same bytes again and again
            stored = archive.fp.seek(0, os.SEEK_END) if archive.fp else 0
            if sum(one.compress_size for one in members) > stored:
                raise ValueError(f"its members declare more than its {stored} bytes")
            return {
                name: _read_member(archive, one) for name, one in zip(names, members, strict=True)
            }
    except OSError as error:
        if error.filename is None:  # a place within the file that it does not have
            raise ValueError(f"{where}: is not {what}, or damaged. Get the file again.") from None
        raise type(error)(f"{where}: is not {what} that can be read ({error.strerror}).") from None
    except _DAMAGE as error:
        raise ValueError(
            f"{where}: is not {what}, or damaged ({error or type(error).__name__}). "
            "Get the file again."
        ) from None


def _read_member(archive: zipfile.ZipFile, one: zipfile.ZipInfo) -> np.ndarray:
    """Return one array; its size is checked before it is allocated."""
    name = one.filename
    if not name.endswith(".npy"):
        raise ValueError(f"{name!r} is no array")
    if one.compress_type not in _COMPRESSIONS or one.flag_bits & _ENCRYPTED:
        raise ValueError(f"{name} is encrypted or packed in an unknown way")
    if one.file_size > MAX_DEFLATE_RATIO * (one.compress_size + 64):
        raise ValueError(f"{name} declares {one.file_size} bytes of {one.compress_size}")
    with archive.open(one) as member:
        dtype, fortran, shape, header = _read_array_header(member, name)
        size = math.prod(shape) * dtype.itemsize
        if header + size != one.file_size:
            raise ValueError(f"{name} has {one.file_size - header} bytes, its shape needs {size}")
        array = np.empty(math.prod(shape), dtype)
        bytes_of_array = array.view(np.uint8).data if size else memoryview(b"")
        filled = 0
        while filled < size and (count := member.readinto(bytes_of_array[filled:])):  # type: ignore[attr-defined]
            filled += count
        if filled < size or member.read(1):  # reading the end compares the checksum
            raise ValueError(f"{name} has {filled} bytes of {size}")
    if dtype.kind == "U" and size and array.view(f"{dtype.byteorder}u4").max() > 0x10FFFF:
        raise ValueError(f"{name} is no Unicode text")
    if dtype.kind == "b" and size and array.view(np.uint8).max() > 1:
        raise ValueError(f"{name} is neither true nor false")
    return array.reshape(shape, order="F" if fortran else "C")


def _read_array_header(member: IO[bytes], name: str) -> tuple[np.dtype, bool, tuple[int, ...], int]:
    """Return type, order and shape of an array, and the bytes of its header."""
    start = member.read(8)
    if start[:6] != b"\x93NUMPY" or start[6:] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise ValueError(f"{name} is no array of NumPy")
    digits = 2 if start[6] == 1 else 4
    length = int.from_bytes(member.read(digits), "little")
    if length > MAX_ARRAY_HEADER_BYTES:
        raise ValueError(f"{name} has a header of {length} bytes")
    text = member.read(length).decode("latin-1")
    found = _ARRAY_HEADER.fullmatch(text)
    shape = tuple(int(part) for part in found[3].split(",") if part.strip()) if found else ()
    if found is None or len(shape) > MAX_ARRAY_AXES:
        raise ValueError(f"{name} declares no array of numbers: {text.strip()[:80]!r}")
    return np.dtype(found[1]), found[2] == "True", shape, 8 + digits + length


def planes_of(arrays: Mapping[str, Any], names: Sequence[str], where: str) -> list[np.ndarray]:
    """Return planes (H, W) of finite numbers, all of one shape; ValueError where one is none."""
    planes = [_array_of(arrays, name, where, axes=2) for name in names]
    if len({plane.shape for plane in planes}) > 1:
        shapes = ", ".join(str(plane.shape) for plane in planes)
        raise ValueError(f"{where}: {', '.join(names)} have the shapes {shapes}, expected one.")
    return planes


def _array_of(arrays: Mapping[str, Any], name: str, where: str, axes: int) -> np.ndarray:
    """Return an array of finite real numbers with so many axes; ValueError where it is none."""
    array = arrays.get(name)
    if array is None:
        raise ValueError(f"{where}: has no {name}. Found: {', '.join(arrays) or 'nothing'}.")
    if array.ndim != axes or array.dtype.kind not in "fiub" or 0 in array.shape:
        raise ValueError(
            f"{where}: {name} is {array.dtype} of shape {array.shape}, expected numbers with "
            f"{axes} axes."
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{where}: {name} has NaN or infinite values.")
    return array


def number_of(
    arrays: Mapping[str, Any], name: str, where: str, *, least: float = -math.inf,
    most: float = math.inf,
) -> float:  # fmt: skip
    """Return a single number within limits; ValueError where it is none."""
    value = float(_array_of(arrays, name, where, axes=0))
    if not least <= value <= most:
        raise ValueError(f"{where}: {name} is {value:g}, expected {least:g} to {most:g}.")
    return value
