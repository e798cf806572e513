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
from recording_scripts import API_NAMES, API_RUNS

SEED = 20_240_229  # of all inputs; another one makes all recordings incomparable
GAIN, READ_NOISE, SATURATION = 1.6, 5.0, 60_000.0  # electrons per count, electrons, counts
WCS = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.1, "CRVAL2": 2.2, "CRPIX1": 128.5,
    "CRPIX2": 144.5, "CD1_1": -1.2e-4, "CD1_2": 3e-6, "CD2_1": 3e-6, "CD2_2": 1.2e-4,
    "CUNIT1": "deg", "CUNIT2": "deg", "RADESYS": "ICRS",
}  # fmt: skip
CAMERA = {
    "GAIN": GAIN, "EGAIN": GAIN, "RDNOISE": READ_NOISE, "SATURATE": SATURATION, "BUNIT": "adu",
    "EXPTIME": 60.0, "MAGZERO": 25.3, "DATE-OBS": "2024-02-29T01:02:03.4", "FILTER": "r",
    "OBJECT": "made field", "OBSERVER": "O'Neil & daughters",
}  # fmt: skip
Sources = list[tuple[float, float, float, str, float, float, float]]


def rng_of(name: str) -> np.random.Generator:
    return np.random.default_rng([SEED, *name.encode()])


def grid(shape):
    return np.mgrid[: shape[0], : shape[1]].astype(np.float64)


def draw_sources(rng, shape, stars, galaxies, brightest) -> Sources:
    """Return x, y, peak, kind, half-light radius, axis ratio, angle of each source."""
    found: Sources = []
    for kind, number in (("star", stars), ("galaxy", galaxies)):
        for _ in range(number):
            y, x = rng.uniform(0, shape[0] - 1), rng.uniform(0, shape[1] - 1)
            peak = float(20 * (brightest / 20) ** (rng.uniform() ** 3))
            radius, ratio = (
                (0.0, 1.0) if kind == "star" else (rng.uniform(2, 5), rng.uniform(0.3, 1))
            )
            found.append((x, y, peak, kind, radius, ratio, rng.uniform(-90, 90)))
    return found


def paint(shape, sources: Sources, fwhm=3.2, beta=3.0):
    """Return the light of Moffat stars and of exponential galaxies."""
    rows, columns = grid(shape)
    light = np.zeros(shape)
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    for x, y, peak, kind, radius, ratio, angle in sources:
        turn = np.radians(angle)
        u = (columns - x) * np.cos(turn) + (rows - y) * np.sin(turn)
        v = (rows - y) * np.cos(turn) - (columns - x) * np.sin(turn)
        if kind == "star":
            light += peak * (1 + (u**2 + v**2) / alpha**2) ** -beta
        else:
            distance = np.sqrt(u**2 + (v / ratio) ** 2 + 1)
            light += peak * np.exp(-1.68 * distance / radius)
    return light


def field_parts(name, shape=(288, 256), stars=70, galaxies=15, sky=400.0, brightest=30_000.0):
    """Return sources, their light, smooth background and noise, in counts."""
    rng = rng_of(name)
    rows, columns = grid(shape)
    sources = draw_sources(rng, shape, stars, galaxies, brightest)
    light = paint(shape, sources)
    background = sky * (1 + 0.1 * columns / shape[1] + 0.05 * np.sin(rows / 90))
    electrons = rng.poisson((light + background) * GAIN) + rng.normal(0, READ_NOISE, shape)
    return sources, light, background, electrons / GAIN - light - background


def field_pixels(name, **parts):
    _, light, background, noise = field_parts(name, **parts)
    return np.minimum(light + background + noise, SATURATION).astype(np.float32)


def full_header(**more) -> fits.Header:
    """Return a header with cards of every kind that has to survive."""
    header = fits.Header()
    for key, value in {**CAMERA, **WCS, **more}.items():
        header[key] = value
    header["HIERARCH ESO DET CHIP NAME"] = ("Marlene", "a keyword of eight letters and more")
    header["LONGTEXT"] = "words that do not fit one card, so that it goes on in the next: " * 3
    header["FLAG"], header["NUMBER"], header["UNDEF"] = True, 12345678901, fits.card.Undefined()
    header.add_comment("a comment of the camera")
    header.add_history("bias and flat were taken off")
    return header


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


def colour_pixels():
    """Three channels of one sky, (3, H, W)."""
    shape = (192, 208)
    rng = rng_of("colour")
    sources = draw_sources(rng, shape, 45, 8, 15_000.0)
    light, (rows, columns) = paint(shape, sources), grid(shape)
    planes = []
    for share, sky in ((1.0, 300), (0.8, 380), (0.6, 500)):
        mean = share * light + sky + 0.2 * sky * (columns + 0.5 * rows) / 300
        planes.append(rng.poisson(mean * GAIN) / GAIN + rng.normal(0, 3, shape))
    return np.stack(planes).astype(np.float32)


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


def hubble_pixels(name):
    """An exposure in electrons: sharp stars, dark sky, cosmic rays."""
    shape, rng = (256, 272), rng_of(name)
    light = paint(shape, draw_sources(rng, shape, 60, 20, 8000.0), fwhm=1.8, beta=2.6)
    pixels = rng.poisson(light + 22) + rng.normal(0, 3.1, shape)
    for _ in range(25):
        row, column = rng.integers(2, shape[0] - 8), rng.integers(2, shape[1] - 8)
        for step in range(int(rng.integers(1, 6))):
            pixels[row + step, column + step // 2] += rng.uniform(200, 3000)
    return pixels.astype(np.float32)


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


def staring(path: Path, length: float, stars: int) -> None:
    """A raw frame of 16 bits: streaks of one direction, banding, satellites, a trail across."""
    shape, rng = (304, 320), rng_of(path.name)
    rows, columns = grid(shape)
    light = np.zeros(shape)

    def streak(x, y, angle, size, width, peak):
        u = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        v = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
        along = np.maximum(np.abs(u) - size / 2, 0)
        light.__iadd__(peak * np.exp(-0.5 * (v**2 + along**2) / width**2))

    for _ in range(stars):
        place = rng.uniform(-20, 340), rng.uniform(-20, 324)
        streak(*place, 0.35, length, 1.2, float(60 * 100 ** rng.uniform()))
    for _ in range(7):
        streak(rng.uniform(20, 300), rng.uniform(20, 280), 0.0, 0.0, 0.7, rng.uniform(150, 600))
    streak(190, 120, 1.9, 90.0, 1.1, 350.0)
    level = 900 + 0.5 * columns + 60 * np.sin(rows / 70)
    bands = rng.normal(0, 9, (shape[0], 1)) + 25 * (columns > 160)
    pixels = rng.poisson(light + level) + bands + rng.normal(0, 6, shape)
    header = fits.Header([("EXPTIME", 10.0), ("DATE-OBS", "2024-02-29T01:02:03"), *WCS.items()])
    counts = np.clip(np.round(pixels), 0, 65535).astype(np.uint16)
    save(path, [fits.PrimaryHDU(counts, header)])


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


def nebula_pixels(name, shape=(200, 296), channels=1):
    """A nebula and stars under a gradient, (channels, H, W)."""
    rng, (rows, columns) = rng_of(name), grid(shape)
    light = paint(shape, draw_sources(rng, shape, 90, 5, 12_000.0), fwhm=2.8)
    cloud = 260 * np.exp(-(((rows - 110) / 32) ** 2 + ((columns - 170) / 45) ** 2))
    cloud *= 1 + 0.4 * np.sin(columns / 7) * np.cos(rows / 9)
    planes = []
    for share in (1.0, 0.7, 0.5)[:channels]:
        sky = 900 * share + 1.2 * columns - 0.8 * rows + 0.004 * (columns - 90) ** 2
        planes.append(share * (light + cloud) + sky + rng.normal(0, 12, shape))
    return np.stack(planes).astype(np.float32)


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
    "streaks.fits": lambda path: staring(path, 70.0, 45),
    "short_streaks.fits": lambda path: staring(path, 9.0, 90),
    "no_streaks.fits": lambda path: staring(path, 0.0, 60),
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
