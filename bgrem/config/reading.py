"""How the pixels of a file are read."""

from dataclasses import dataclass

from common.config import check, option, plane_numbers


@dataclass(frozen=True, kw_only=True)
class InputConfig:
    """How the pixels of a file are read: recorded and replayed with the settings of the command."""

    hdu: str | None = option(
        None,
        "HDU number or EXTNAME (FITS), all for each image HDU, image number (XISF)",
        "-i",
        "--hdu",
    )
    channels: tuple[int, ...] | None = option(
        None, "planes to read, one or three", metavar="0,1,2", convert=plane_numbers, least=0
    )
    zeros: str = option(
        "border", "which exact zeros are missing pixels", choices=("border", "all", "data")
    )
    verify: bool = option(True, "read despite wrong checksums", "--no-verify", last=True)
    bayer: bool | None = option(
        None, "whether a mono image is a mosaic of colour filters (default: as the header says)"
    )
    dq: str | None = option(None, "HDU of a data quality plane; not 0: missing", metavar="HDU")

    def __post_init__(self) -> None:
        check(self)
