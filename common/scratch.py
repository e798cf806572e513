"""Arrays of large frames lie in temporary files, and are worked on in blocks of rows.

So the memory that a run needs does not grow with the frame: a page of such an array is in memory
only while its rows are worked on. Small arrays are ordinary ones, and one block has all of their
rows.
"""

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import DTypeLike

from common.progress.stopping import stop_if_asked

# bytes; larger arrays lie in a file. 4096 x 4096 pixels of float32 are still in memory
MAX_MEMORY_BYTES = 1 << 26
MAX_BLOCK_PIXELS = 1 << 22  # pixels of a block of rows: 32 MB of float64
# pixels that stand for a larger frame where a median is asked for; it is then good to some
# 0.0003 of the spread, and a frame of 4096 x 4096 pixels still stands for itself
MAX_SAMPLE_PIXELS = 1 << 24
SAMPLE_BAND_ROWS = 128  # rows of each part of a sample: whole meshes and blocks


class _Pages(mmap.mmap):
    """The pages of one array; a class of its own, so that no other map is ever touched."""


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Return a new array whose values are not set; a large one lies in a temporary file.

    The file has no name and is gone with the array. Where the folder for temporary files (TMPDIR)
    has no room the array is in memory.
    """
    kind = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    if size <= MAX_MEMORY_BYTES:
        return np.empty(shape, kind)
    try:
        with tempfile.TemporaryFile() as file:
            if hasattr(os, "posix_fallocate"):  # else a full disk would end the process
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            return np.ndarray(shape, kind, _Pages(file.fileno(), size))
    except OSError:
        return np.empty(shape, kind)


def release(*arrays: np.ndarray | None) -> None:
    """Take the pages of arrays of `empty` out of memory; they come back when they are read."""
    for array in arrays:
        owner = array
        while isinstance(owner, np.ndarray):
            owner = owner.base
        if isinstance(owner, _Pages) and hasattr(mmap, "MADV_DONTNEED"):
            owner.madvise(mmap.MADV_DONTNEED)


def row_blocks(
    shape: tuple[int, ...], *arrays: np.ndarray | None, multiple: int = 1,
    pixels: int | None = None,
) -> Iterator[slice]:  # fmt: skip
    """Give the rows of a frame in blocks, from the top; between two of them a run can be stopped.

    Parameters
    ----------
    shape : tuple of int
        (H, W) or (H, W, C).
    *arrays : array
        What is worked on: after each block its pages are released.
    multiple : int, optional
        Rows of a block are a multiple of this; the last block has the rest.
    pixels : int, optional
        Of a block, at most, but for frames so wide that one row has more; default:
        `MAX_BLOCK_PIXELS`.
    """
    height, per_row = shape[0], int(np.prod(shape[1:], dtype=np.int64))
    rows = max(1, (pixels or MAX_BLOCK_PIXELS) // max(1, per_row) // multiple) * multiple
    for top in range(0, height, rows):
        stop_if_asked()
        yield slice(top, min(top + rows, height))
        release(*arrays)


def with_halo(rows: slice, halo: int, height: int) -> tuple[slice, slice]:
    """Return rows with `halo` more on each side that there are, and where `rows` lie in them."""
    first, last = max(0, rows.start - halo), min(height, rows.stop + halo)
    return slice(first, last), slice(rows.start - first, rows.stop - first)


def map_rows(
    function: Callable[..., np.ndarray], *arrays: np.ndarray, dtype: DTypeLike = np.float64,
    halo: int = 0, shape: tuple[int, ...] | None = None,
) -> np.ndarray:  # fmt: skip
    """Return a function of the rows of arrays, block by block, as an array of `empty`.

    Parameters
    ----------
    function : callable
        Takes rows of all arrays, returns as many; they are cast to `dtype`.
    *arrays : array, shape (H, W) or (H, W, C)
    dtype : dtype, optional
        Of the result.
    halo : int, optional
        Further rows on each side that a filter needs; the function returns them, too.
    shape : tuple of int, optional
        Of the result; default: that of the first array.
    """
    found = empty(shape or arrays[0].shape, dtype)
    for rows in row_blocks(found.shape, found, *arrays):
        wide, inner = with_halo(rows, halo, len(found))
        found[rows] = function(*(array[wide] for array in arrays))[inner]
    return found


def sample_bands(shape: tuple[int, ...]) -> list[slice]:
    """Return bands of rows, evenly spread, that stand for a large frame; all rows of others."""
    height, per_row = shape[0], int(np.prod(shape[1:], dtype=np.int64))
    if height * per_row <= MAX_SAMPLE_PIXELS:
        return [slice(0, height)]
    number = max(1, MAX_SAMPLE_PIXELS // (SAMPLE_BAND_ROWS * per_row))
    starts = np.linspace(0, max(0, height - SAMPLE_BAND_ROWS), number).astype(int)
    return [slice(int(top), int(top) + SAMPLE_BAND_ROWS) for top in starts]


def sample_of(array: np.ndarray) -> np.ndarray:
    """Return the bands of `sample_bands` under each other; the array itself where it is small."""
    bands = sample_bands(array.shape)
    if len(bands) == 1 and bands[0] == slice(0, len(array)):
        return array
    found = np.concatenate([array[rows] for rows in bands])
    release(array)
    return found


def stack_channels(planes: Sequence[np.ndarray]) -> np.ndarray:
    """Return planes (H, W) as channels (H, W, C); a single one is not copied."""
    if len(planes) == 1:
        return planes[0][..., None]
    shape = (*planes[0].shape, len(planes))
    found = empty(shape, np.result_type(*planes))
    for channel, plane in enumerate(planes):
        for rows in row_blocks(shape, found, plane):
            found[rows, :, channel] = plane[rows]
    return found
