"""Files with several images (chips): which they are, and their results put into one file."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from common.atomic import atomic_write
from common.fits import cards as fits_cards
from common.fits.hdus import Hdu, copy_bytes, plain_file, scan
from common.fits.parts import scanned_file
from common.fits.write import open_sink


def read_hdus(path: Path) -> list[Hdu]:
    """Return all HDUs of a FITS file, compressed or not."""
    with scanned_file(path) as (_, hdus):
        return hdus


def holds_chip(path: Path, chip: Hdu) -> bool:
    """Return whether a file is FITS and has an image of the chip's size where the chip is."""
    try:
        hdus = read_hdus(path)
    except ValueError:
        return False
    return chip.index < len(hdus) and hdus[chip.index].core[-2:] == chip.core[-2:] != ()


def merge_chips(parts: Mapping[int, Path], count: int, file: Path, *, overwrite: bool) -> None:
    """Write one FITS file of several that each have the result of one HDU.

    Parameters
    ----------
    parts : mapping
        Number of the HDU -> file with its result; all files begin with the HDUs of one source.
    count : int
        HDUs of the source. What follows in a part (quality, uncertainty) comes at the end. Where
        a name is taken EXTVER counts on.
    file : path
    overwrite : bool
        Whether an existing file may be replaced.
    """
    with atomic_write(file, overwrite) as temporary:
        with open_sink(temporary, gzipped=temporary.suffix.lower() == ".gz") as sink:
            for chunk in _merged(parts, count):
                sink.write(chunk)


def _merged(parts: Mapping[int, Path], count: int) -> Iterator[bytes]:
    first = next(iter(parts.values()))
    places = [(parts.get(index, first), index) for index in range(count)]
    places += [(path, index) for path in parts.values()
               for index in range(count, len(read_hdus(path)))]  # fmt: skip
    taken: dict[str, int] = {}
    for path, index in places:
        with plain_file(path) as plain:
            one = scan(plain, str(path))[index]
            if one.name and one.version <= taken.get(one.name, 0):
                taken[one.name] += 1
                yield from _with_version(plain, one, taken[one.name])
            else:
                taken[one.name] = one.version
                yield from copy_bytes(plain, one.start, one.end)


def _with_version(plain: Path, one: Hdu, version: int) -> Iterator[bytes]:
    """Give an HDU with another EXTVER."""
    cards = [card for card in one.cards
             if fits_cards.keyword_of(card) not in ("DATASUM", "CHECKSUM")]  # fmt: skip
    cards = fits_cards.add_cards(cards, [("EXTVER", version, "")], ())
    data_sum = 0
    for chunk in copy_bytes(plain, one.data, one.end):
        data_sum = fits_cards.ones_sum(chunk, data_sum)
    yield fits_cards.close_header(cards, data_sum)
    yield from copy_bytes(plain, one.data, one.end)
