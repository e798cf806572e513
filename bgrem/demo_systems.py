"""Further parts of the demo: a picture, a short exposure made longer, a raw frame's satellites."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bgrem import cli
from bgrem.frame.detect import Detections
from common.image import AstroImage
from common.io import read_image, write_image
from common.pictures import (
    beside,
    caption,
    circle,
    display,
    enlarge,
    save_picture,
    write_side_by_side,
)
from common.progress.steps import shown_command, step
from common.screen import auto_stf

DEMO_SEED = 2024  # of the simulated field
DEMO_EXPOSURE_RATIO = 2  # long / short exposure time
DEMO_STREAK_LENGTHS_PX = (20, 100)  # px; frames without streaks, or with endless ones, show little
DEMO_RAW_SIDE_PX = 448  # px at most, of the raw frame: four windows of 256 px that overlap by 64
DEMO_SATELLITES = 12  # number that is put in
MARK_RADIUS_PX = 7.0  # px; wider than a satellite, narrower than their distance
ZOOM = 2  # of the pictures with circles: a satellite is two pixels wide
MARKED_SIDE_PX = 320  # px; of the part of a survey field: its circles do not cover each other
MARK_COLOR = (255, 200, 60)  # red, green, blue; seen on black and on white
TRUE_COLOR = (90, 220, 90)  # the same, of what was put in
DEMO_NEAR_PX = 2.0  # px; a detection that is farther from a satellite is another thing
DEMO_BAD_FLAGS = 2 + 4 + 16  # at the edge, beside saturated pixels, a hot pixel
DEMO_SATELLITE_PEAK = 8.0  # brightest pixel in units of the frame's noise

PICTURE_STARS = 900  # per megapixel
PICTURE_TINTS = ((1.0, 0.35, 0.3), (0.25, 0.5, 1.0))  # red, green, blue: of emission, of dust
PICTURE_NEBULA = 10.0  # noise of the dark sky; of the brightest parts of each
PICTURE_LIGHT = 40.0  # noise of the dark sky: light that doubles the variance


def picture_demo(folder: Path, side: int) -> int:
    """Simulate a colour picture of a nebula, take its noise out by command; return the exit code.

    Writes nebula.fits, nebula_denoised.fits and picture.png.
    """
    with step("simulate a colour picture of a nebula"):
        image = AstroImage(draw_picture((side * 2 // 3, side)).astype(np.float32))
        write_image(folder / "nebula.fits", image, overwrite=True)
    command = ["denoise", str(folder / "nebula.fits"), "-o", str(folder), "--overwrite", "--quiet"]
    return _run([*command, "--before-after", str(folder / "picture.png")])


def draw_picture(shape: tuple[int, int]) -> np.ndarray:
    """Return a colour picture of a nebula with stars, a gradient and noise, shape (H, W, 3)."""
    from bgrem.simulate.picture import draw_nebula

    rng = np.random.default_rng(DEMO_SEED)
    light = np.zeros((*shape, 3))
    for tint in PICTURE_TINTS:
        nebula = np.zeros(shape)
        while not nebula.any():  # a part of the simulated scenes has none
            nebula = draw_nebula(rng, shape)
        light += PICTURE_NEBULA * (nebula / np.quantile(nebula, 0.99))[..., None] * np.array(tint)
    rows, columns = np.indices(shape)
    reach = 12
    for _ in range(round(PICTURE_STARS * shape[0] * shape[1] / 1e6)):
        row, column = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        part = np.s_[max(0, int(row) - reach) : int(row) + reach,
                     max(0, int(column) - reach) : int(column) + reach]  # fmt: skip
        square = (rows[part] - row) ** 2 + (columns[part] - column) ** 2
        colour = np.clip(rng.normal(1, 0.25) ** np.array([1, 0, -1]), 0.4, 2.5)
        peak = min(5 * rng.pareto(0.9), 2000)
        light[part] += peak * ((1 + square / 2.2**2) ** -2.5)[..., None] * colour
    light += (6 * rows / shape[0] + 3 * columns / shape[1])[..., None]
    noise = np.sqrt(1 + light / PICTURE_LIGHT) * rng.standard_normal(light.shape)
    return 500 + light + noise


def draw_sources(observed: np.ndarray, found: Sequence[tuple[str, Detections]], path: Path) -> None:
    """Draw the middle of a field (H, W) once for each caption, its detections circled."""
    top, left = (max(0, (length - MARKED_SIDE_PX) // 2) for length in observed.shape)
    pixels = observed[..., None].astype(np.float32)
    shown = display(pixels, auto_stf(pixels))
    part = shown[top : top + MARKED_SIDE_PX, left : left + MARKED_SIDE_PX]
    panels = []
    for text, one in found:
        places = np.column_stack([one.x - left, one.y - top])
        panels.append(caption(_marked(part, places), text))
    save_picture(beside(panels), path, overwrite=True)


def _marked(
    panel: np.ndarray, places: np.ndarray, radius: float = MARK_RADIUS_PX,
    colour: tuple[int, int, int] = MARK_COLOR,
) -> np.ndarray:  # fmt: skip
    """Return a panel enlarged, with circles around places (N, 2) of x and y from 0."""
    return circle(enlarge(panel, ZOOM), _enlarged(places), ZOOM * radius, colour)


def _enlarged(places: np.ndarray) -> np.ndarray:
    """Return where places (N, 2) lie in an enlarged panel."""
    return ZOOM * (places + 0.5) - 0.5


def enhance_demo(folder: Path, side: int) -> int:
    """Simulate a long exposure and a short one, enhance that by command; return the exit code.

    Writes long.fits, short.fits (electrons), short_enhanced.fits and enhanced.png.
    """
    from bgrem.simulate.hubble import long_exposure, short_exposure, simulate_hubble_field

    with step(f"simulate a long exposure and one {DEMO_EXPOSURE_RATIO} times shorter"):
        field = simulate_hubble_field(DEMO_SEED, (side, side), kind="cluster")
        rng = np.random.default_rng(DEMO_SEED)
        long = long_exposure(field.sources + field.sky, field.exposure, rng)
        short = short_exposure(long, DEMO_EXPOSURE_RATIO, field.exposure, rng)
        for name, pixels in (("long", long), ("short", short)):
            cards = (("BUNIT", "electrons", ""),)
            image = AstroImage(pixels.astype(np.float32), cards=cards)
            write_image(folder / f"{name}.fits", image, overwrite=True)
    command = [
        "enhance",
        str(folder / "short.fits"),
        "--ratio",
        str(DEMO_EXPOSURE_RATIO),
        "-o",
        str(folder),
    ]
    code = _run([*command, "--overwrite", "--quiet"])
    if code:
        return code
    enhanced = read_image(folder / "short_enhanced.fits").pixels * DEMO_EXPOSURE_RATIO
    panels = [
        (f"the exposure, 1/{DEMO_EXPOSURE_RATIO} as long", short[..., None] * DEMO_EXPOSURE_RATIO),
        ("enhanced", enhanced),
        ("the long exposure", long[..., None]),
    ]
    stretch = auto_stf(long[..., None].astype(np.float32), linked=False)
    write_side_by_side(panels, stretch, folder / "enhanced.png", overwrite=True)
    return 0


def noisemap_demo(folder: Path, side: int) -> int:
    """Simulate a raw frame with satellites and map its structures by command; return the exit code.

    It has at most `DEMO_RAW_SIDE_PX` px a side: a map costs three times as much as denoising.

    Writes raw.fits, raw_residual.fits, raw_map.fits, raw_deviation.fits, raw_rms.fits,
    raw_detections.ecsv and noisemap.png, with circles around what was put in and what was found.
    """
    from astropy.table import Table

    from bgrem.simulate.staring import draw_noise, simulate_staring_frame
    from bgrem.simulate.trails import add_satellites

    with step(f"simulate a raw frame with star streaks and {DEMO_SATELLITES} satellites"):
        side = min(side, DEMO_RAW_SIDE_PX)
        low, high = DEMO_STREAK_LENGTHS_PX
        frames = (simulate_staring_frame(seed, (side, side)) for seed in itertools.count(DEMO_SEED))
        frame = next(one for one in frames if low < one.length < high)
        rng = np.random.default_rng(DEMO_SEED)
        noise = draw_noise(frame.sigma, frame.hot_pixels, frame.gain, frame.read_noise, rng)
        peaks = np.full(DEMO_SATELLITES, DEMO_SATELLITE_PEAK * float(np.median(frame.sigma)))
        raw, satellites = add_satellites(frame.structure + noise, peaks, rng)
        write_image(folder / "raw.fits", AstroImage(raw.astype(np.float32)), overwrite=True)
    listed = folder / "raw_detections.ecsv"
    command = ["noisemap", str(folder / "raw.fits"), "-o", str(folder), "--overwrite", "--quiet"]
    code = _run([*command, "--detections", str(listed)])
    if code:
        return code
    image, residual, found = (
        read_image(folder / f"raw{word}.fits").pixels for word in ("", "_residual", "_map")
    )
    stretch = auto_stf(image, linked=False)
    level = np.nanmedian(image) - np.nanmedian(residual)
    put = np.column_stack([satellites["x"], satellites["y"]])
    table = Table.read(listed, format="ascii.ecsv")
    table = table[table["FLAGS"] & DEMO_BAD_FLAGS == 0]
    detected = np.column_stack([table["X_IMAGE"] - 1, table["Y_IMAGE"] - 1])
    apart = np.hypot(*(put[:, None] - detected[None]).transpose(2, 0, 1))
    true = int((apart.min(1, initial=np.inf) < DEMO_NEAR_PX).sum())
    remains = _marked(display(residual + level, stretch), put, 1.5 * MARK_RADIUS_PX, TRUE_COLOR)
    remains = circle(remains, _enlarged(detected), ZOOM * MARK_RADIUS_PX, MARK_COLOR)
    panels = [
        caption(_marked(display(image, stretch), put), "raw frame; circles: satellites put in"),
        caption(_marked(display(found, stretch), put[:0]), "map of its structures"),
        caption(remains, f"what remains: {true} of {len(put)} satellites (green) are detected; "
                         f"{len(detected)} detections (orange)"),
    ]  # fmt: skip
    save_picture(beside(panels), folder / "noisemap.png", overwrite=True)
    return 0


def _run(command: list[str]) -> int:
    with step(shown_command("bgrem", command)):
        return cli.main(command)
