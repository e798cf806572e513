"""Small fixed inputs for `tests/compare_outputs.py`, made with NumPy and Astropy alone.

The project's simulators are not used: they may change, and the inputs must not.
"""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits
from recording_pixels import (
    GAIN,
    WCS,
    colour_pixels,
    field_parts,
    field_pixels,
    full_header,
    grid,
    hubble_pixels,
    nebula_pixels,
    rng_of,
    staring_pixels,
)  # fmt: skip
from recording_scripts import API_NAMES, API_RUNS


def simple(pixels, **more) -> list:
    return [fits.PrimaryHDU(pixels, full_header(**more))]


def save(path: Path, hdus, **options) -> None:
    fits.HDUList(hdus).writeto(path, checksum=False, **options)


def field(path: Path) -> None:
    save(path, simple(field_pixels("field")))


def field_without_cards(path: Path) -> None:
    save(path, [fits.PrimaryHDU(field_pixels("field"))])


def unsigned(path: Path) -> None:
    """A raw frame of 16 bits without sign: BZERO is 32768."""
    save(path, simple(np.round(field_pixels("unsigned", shape=(256, 240))).astype(np.uint16)))


def signed(path: Path) -> None:
    """Integers with BSCALE and BLANK."""
    hdu = simple(np.round(field_pixels("signed", shape=(208, 224), brightest=4000)))[0]
    hdu.header["BLANK"] = -32768
    hdu.scale("int16", bscale=0.5, bzero=100)
    hdu.data[5:9, 7:12] = -32768
    save(path, [hdu])


def double(path: Path) -> None:
    save(path, simple(field_pixels("double", shape=(192, 200)).astype(np.float64)))


def border(path: Path) -> None:
    """Missing pixels: NaN, black borders of a registration, single zeros that are data."""
    pixels = field_pixels("border", shape=(256, 256))
    pixels[:9], pixels[:, -14:] = 0, 0
    pixels[100:112, 60:75] = np.nan
    pixels[200:203, 30:200] = np.nan
    pixels[40, 50], pixels[150, 77] = 0, 0
    save(path, simple(pixels))


def extensions(path: Path) -> None:
    """A file of several HDUs: image, errors, quality plane, table."""
    rng = rng_of("extensions")
    pixels = field_pixels("extensions", shape=(224, 256))
    quality = (rng.uniform(size=pixels.shape) < 0.002) * 16 + (
        rng.uniform(size=pixels.shape) < 0.001
    )
    quality[60:66, 100:140] = 4
    pixels[quality > 0] = rng.uniform(-500, 60_000, int((quality > 0).sum()))
    science = full_header()
    primary = fits.Header([("TELESCOP", "made"), ("INSTRUME", "two chips"), ("EXPTIME", 60.0)])
    columns = [fits.Column("time", "D", array=np.arange(5.0)),
               fits.Column("word", "6A", array=["ab"] * 5)]  # fmt: skip
    table = fits.BinTableHDU.from_columns(columns, name="LOG")
    save(path, [
        fits.PrimaryHDU(header=primary),
        fits.ImageHDU(pixels, science, name="SCI"),
        fits.ImageHDU(np.sqrt(np.abs(pixels)), name="ERR"),
        fits.ImageHDU(quality.astype(np.int16), name="DQ"),
        table,
    ])  # fmt: skip


def colour(path: Path) -> None:
    save(path, simple(colour_pixels()))


def colour_xisf(path: Path) -> None:
    """An XISF file built byte by byte, with elements that no reader needs to understand."""
    pixels = colour_pixels() / np.float32(65535)
    block, other = pixels.astype("<f4").tobytes(), np.arange(48, dtype="<u2").tobytes()
    channels, rows, columns = pixels.shape
    places = (4096, 4096 + len(block))
    keywords = "".join(
        f'<FITSKeyword name="{name}" value="{value}" comment="of the camera"/>'
        for name, value in (("GAIN", 1.6), ("EXPTIME", 60.0), ("OBJECT", "'made'"), ("RDNOISE", 5))
    )
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!-- made by hand -->\n'
        '<xisf version="1.0" xmlns="http://www.pixinsight.com/xisf">'
        '<Metadata><Property id="XISF:CreationTime" type="TimePoint" value="2024-02-29T01:02:03Z"/>'
        '<Property id="XISF:CreatorApplication" type="String">a hand</Property></Metadata>'
        f'<Image id="main" geometry="{columns}:{rows}:{channels}" sampleFormat="Float32" '
        f'bounds="0:1" colorSpace="RGB" location="attachment:{places[0]}:{len(block)}">{keywords}'
        '<Property id="Observation:Object:Name" type="String">made</Property>'
        '<Resolution horizontal="72" vertical="72" unit="inch"/><Unheard of="1">text</Unheard>'
        "</Image>"
        '<Image id="small" geometry="8:6:1" sampleFormat="UInt16" colorSpace="Gray" '
        f'location="attachment:{places[1]}:{len(other)}"/></xisf>'
    ).encode()
    head = b"XISF0100" + len(xml).to_bytes(4, "little") + bytes(4) + xml
    path.write_bytes(head.ljust(places[0], b"\0") + block + other)


def crowded(path: Path) -> None:
    save(path, simple(field_pixels("crowded", shape=(256, 256), stars=450, galaxies=20)))


def compressed(path: Path) -> None:
    """A tile-compressed file, without loss."""
    hdu = fits.CompImageHDU(
        field_pixels("compressed", shape=(200, 216)), full_header(), compression_type="GZIP_2"
    )
    save(path, [fits.PrimaryHDU(), hdu])


def zipped(path: Path) -> None:
    file = io.BytesIO()
    save(file, simple(field_pixels("zipped", shape=(200, 208))))
    with path.open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as out:
        out.write(file.getvalue())


def pair(number: int) -> Callable[[Path], None]:
    """A field with its truth, in the layout of `bgrem simulate`."""

    def make(path: Path) -> None:
        sources, light, background, noise = field_parts(
            f"pair {number}", shape=(256, 256), stars=60 + 20 * number, galaxies=20
        )
        planes = {"OBSERVED": light + background + noise, "SOURCES": light,
                  "BACKGROUND": background, "NOISE": noise}  # fmt: skip
        hdus = [
            fits.ImageHDU(v.astype(np.float32), full_header(), name=n) for n, v in planes.items()
        ]
        x, y, peak, kind, radius, ratio, angle = (
            np.array(column) for column in zip(*sources, strict=True)
        )
        flux = peak * np.where(kind == "star", 16.0, 2 * np.pi * ratio * (radius / 1.68) ** 2)
        columns = {
            "X_IMAGE": ("D", x + 1), "Y_IMAGE": ("D", y + 1), "FLUX_TRUE": ("D", flux),
            "SNR_TRUE": ("E", flux / 60), "KIND": ("9A", kind), "HALF_LIGHT_RADIUS": ("E", radius),
            "SERSIC": ("E", np.where(kind == "star", 0, 1)), "AXIS_RATIO": ("E", ratio),
            "THETA_IMAGE": ("E", angle),
        }  # fmt: skip
        table = [fits.Column(name, form, array=values) for name, (form, values) in columns.items()]
        catalogue = fits.BinTableHDU.from_columns(table, name="CATALOGUE")
        save(path, [fits.PrimaryHDU(header=fits.Header([("GAIN", GAIN)])), *hdus, catalogue])

    return make


def hubble(path: Path) -> None:
    pixels = hubble_pixels("hubble")
    quality = np.zeros(pixels.shape, np.int16)
    quality[90:93, 120:150], quality[30, :] = 16, 4
    primary = fits.Header([
        ("TELESCOP", "HST"), ("INSTRUME", "WFC3"), ("DETECTOR", "UVIS"), ("FILTER", "F606W"),
        ("EXPTIME", 350.0), ("CCDGAIN", 1.5), ("READNSEA", 3.1),
    ])  # fmt: skip
    science = fits.Header([("BUNIT", "ELECTRONS"), *WCS.items()])
    save(path, [
        fits.PrimaryHDU(header=primary), fits.ImageHDU(pixels, science, name="SCI"),
        fits.ImageHDU(np.sqrt(np.abs(pixels)), name="ERR"), fits.ImageHDU(quality, name="DQ"),
    ])  # fmt: skip


def hubble_rate(path: Path) -> None:
    """Counts per second without a gain: two flags have to say what they are."""
    pixels = hubble_pixels("hubble rate") / np.float32(1.5 * 350)
    save(path, [fits.PrimaryHDU(pixels, fits.Header([("BUNIT", "counts/s"), *WCS.items()]))])


def staring(length: float, stars: int) -> Callable[[Path], None]:
    """A raw frame of 16 bits."""

    def make(path: Path) -> None:
        header = fits.Header([("EXPTIME", 10.0), ("DATE-OBS", "2024-02-29T01:02:03"), *WCS.items()])
        counts = np.clip(np.round(staring_pixels(path.name, length, stars)), 0, 65535)
        save(path, [fits.PrimaryHDU(counts.astype(np.uint16), header)])

    return make


def counts(path: Path) -> None:
    """A map of counts: clouds, point sources, Poisson noise."""
    shape, rng = (144, 160), rng_of("counts")
    rows, columns = grid(shape)
    mean = 2 + 12 * np.exp(-(((rows - 70) / 25) ** 2)) * (1 + 0.5 * np.sin(columns / 17))
    for _ in range(25):
        x, y, flux = rng.uniform(0, 160), rng.uniform(0, 144), 40 * 30 ** rng.uniform()
        mean += flux / (2 * np.pi * 1.5**2) * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 4.5)
    header = fits.Header([("BUNIT", "counts"), ("TELESCOP", "made"), *WCS.items()])
    save(path, [fits.PrimaryHDU(rng.poisson(mean).astype(np.float32), header)])


def nebula(path: Path) -> None:
    save(path, simple(nebula_pixels("nebula")[0]))


def nebula_border(path: Path) -> None:
    pixels = nebula_pixels("nebula border")[0]
    pixels[:12], pixels[:, :17] = 0, 0
    pixels[60:70, 200:230] = np.nan
    save(path, simple(pixels))


def nebula_colour(path: Path) -> None:
    save(path, simple(nebula_pixels("nebula colour", channels=3)))


def vignetted(path: Path) -> None:
    pixels = nebula_pixels("vignetted")[0]
    rows, columns = grid(pixels.shape)
    shade = 1 - 0.35 * (((rows - 100) / 150) ** 2 + ((columns - 148) / 190) ** 2)
    save(path, simple((pixels * shade).astype(np.float32)))


def mosaic(path: Path) -> None:
    """A Bayer mosaic as a camera writes it."""
    red, green, blue = nebula_pixels("mosaic", channels=3)
    pixels = green.copy()
    pixels[::2, ::2], pixels[1::2, 1::2] = red[::2, ::2], blue[1::2, 1::2]
    save(path, simple(np.round(pixels).astype(np.uint16), BAYERPAT="RGGB"))


def mask(path: Path) -> None:
    rows, columns = grid((200, 296))
    weights = ((rows - 110) ** 2 + (columns - 170) ** 2 > 60**2).astype(np.float32)
    weights[:, 200:] *= 0.5
    save(path, [fits.PrimaryHDU(weights)])


def damaged(path: Path) -> None:
    """CHECKSUM and DATASUM of other pixels."""
    hdu = fits.PrimaryHDU(field_pixels("damaged", shape=(96, 96)), fits.Header([("GAIN", 1.6)]))
    hdu.add_checksum(when="of other pixels")
    hdu.data[10, 10] += 1
    save(path, [hdu])


def cut_short(path: Path) -> None:
    file = io.BytesIO()
    save(file, simple(field_pixels("damaged", shape=(96, 96))))
    path.write_bytes(file.getvalue()[:20_000])


def four_planes(path: Path) -> None:
    planes = field_pixels("damaged", shape=(96, 96)) + np.arange(4, dtype=np.float32)[:, None, None]
    save(path, simple(planes))


def only_table(path: Path) -> None:
    save(
        path,
        [fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])],
    )


def plane(value: float, shape=(96, 96)) -> Callable[[Path], None]:
    return lambda path: save(path, simple(np.full(shape, value, np.float32)))


def text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content, encoding="utf-8")


def params(tool: str, **parameters) -> Callable[[Path], None]:
    content = {"tool": tool, "version": "0.1.0", "input": "x.fits", "parameters": parameters}
    return text(json.dumps(content))


INPUTS: dict[str, Callable[[Path], None]] = {
    "field.fits": field,
    "bare.fits": field_without_cards,
    "unsigned.fits": unsigned,
    "signed.fits": signed,
    "double.fits": double,
    "border.fits": border,
    "extensions.fits": extensions,
    "colour.fits": colour,
    "colour.xisf": colour_xisf,
    "crowded.fits": crowded,
    "compressed.fits.fz": compressed,
    "zipped.fits.gz": zipped,
    "pair1.fits": pair(1),
    "pair2.fits": pair(2),
    "pair3.fits": pair(3),
    "pair4.fits": pair(4),
    "hubble.fits": hubble,
    "hubble_rate.fits": hubble_rate,
    "streaks.fits": staring(70.0, 45),
    "short_streaks.fits": staring(9.0, 90),
    "no_streaks.fits": staring(0.0, 60),
    "counts.fits": counts,
    "nebula.fits": nebula,
    "nebula_border.fits": nebula_border,
    "nebula_colour.fits": nebula_colour,
    "vignetted.fits": vignetted,
    "mosaic.fits": mosaic,
    "mask.fits": mask,
    "damaged.fits": damaged,
    "cut_short.fits": cut_short,
    "four_planes.fits": four_planes,
    "only_table.fits": only_table,
    "constant.fits": plane(100.0),
    "missing.fits": plane(np.nan),
    "tiny.fits": plane(100.0, (6, 6)),
    "words.fits": text("these are no pixels\n"),
    "words.xisf": text("these are no pixels\n"),
    "broken.json": text('{"tool": '),
    "foreign.json": params("gimp", steps=3),
    "unknown.json": params("bgrem denoise", stepps=3),
    "api_names.py": text(API_NAMES),
    "api_runs.py": text(API_RUNS),
    "config.json": text(json.dumps({"epochs": 1, "tile": 32, "surprise": 3})),
}
