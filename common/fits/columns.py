"""The columns of a binary table, from its raw bytes."""

import re
from dataclasses import dataclass

import numpy as np

from common.fits.geometry import MAX_FIELDS, Values

# bytes of a value of each letter of TFORM; P and Q are descriptors of arrays in the heap
_FORMAT_BYTES = {
    "L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16,
    "P": 8, "Q": 16,
}  # fmt: skip
NUMBER_TYPES = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
_FORMAT = re.compile(r"(\d{0,9})([LXBIJKAEDCMPQ])([BIJKED]?)")  # TFORM: repeat, letter, array of
_ADVICE = "Get the file again."


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a table.

    Attributes
    ----------
    cells : uint8 array, shape (rows, bytes)
        As they are stored.
    letter : str
        Of TFORM.
    item : str
        Letter of the numbers in the heap, for P and Q.
    """

    cells: np.ndarray
    letter: str
    item: str

    def numbers(self, where: str, name: str) -> np.ndarray:
        """Return one number a row; ValueError where it is no such column."""
        kind = NUMBER_TYPES.get(self.letter)
        if kind is None or self.cells.shape[1] != np.dtype(kind).itemsize:
            raise ValueError(f"{where}: {name} is no column of single numbers. {_ADVICE}")
        return np.ascontiguousarray(self.cells).view(kind)[:, 0]

    def texts(self, where: str, name: str) -> np.ndarray:
        """Return one text a row, without trailing blanks; ValueError where it is no such column."""
        if self.letter != "A" or not self.cells.shape[1]:
            raise ValueError(f"{where}: {name} is no column of texts. {_ADVICE}")
        rows = [bytes(row).split(b"\0")[0].decode("latin-1").rstrip() for row in self.cells]
        return np.array(rows, np.str_)


def read_table(data: np.ndarray, values: Values, rows: int) -> tuple[dict[str, Column], np.ndarray]:
    """Return the columns by name, in capitals, and the heap behind the table.

    Parameters
    ----------
    data : uint8 array
        The data of the HDU.
    values : Values
        Of its cards.
    rows : int
        NAXIS2.

    Raises
    ------
    ValueError
        If the columns do not fill the rows, or the rows are more than the data.
    """
    where, width = values.where, values.whole("NAXIS1", 0, 2**31)
    table = rows * width
    heap_start = values.whole("THEAP", table, data.size, table)
    cells = data[:table].reshape(rows, width)
    columns: dict[str, Column] = {}
    place = length = 0
    for number in range(1, values.whole("TFIELDS", 1, MAX_FIELDS) + 1):
        text = values.text(f"TFORM{number}")
        form = _FORMAT.match(text)
        if form is None:
            raise ValueError(f"{where}: TFORM{number} = {text!r} is no format. {_ADVICE}")
        repeat = int(form[1] or 1)
        length = -(-repeat // 8) if form[2] == "X" else repeat * _FORMAT_BYTES[form[2]]
        if place + length > width:
            break
        name = values.text(f"TTYPE{number}").upper()
        columns.setdefault(name, Column(cells[:, place : place + length], form[2], form[3]))
        place += length
        length = 0
    if place != width or length:
        raise ValueError(f"{where}: the columns do not fill rows of {width} bytes. {_ADVICE}")
    return columns, data[heap_start:]
