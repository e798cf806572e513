"""Further parts of the demo: a picture, a short exposure made longer, a raw frame's satellites."""

import itertools
from pathlib import Path

import numpy as np

from bgrem import cli
from common.image import AstroImage
from common.io import read_image, write_image
from common.pictures import write_side_by_side
from common.screen import auto_stf

DEMO_SEED = 2024  # of the simulated field
DEMO_EXPOSURE_RATIO = 2  # long / short exposure time
DEMO_STREAK_LENGTHS_PX = (20, 100)  # px; frames without streaks, or with endless ones, show little
DEMO_RAW_SIDE_PX = 448  # px at most, of the raw frame: four windows of 256 px that overlap by 64
DEMO_SATELLITES = 12  # number that is put in
DEMO_SATELLITE_PEAK = 8.0  # brightest pixel in units of the frame's noise

PICTURE_STARS = 900  # per megapixel
PICTURE_TINTS = ((1.0, 0.35, 0.3), (0.25, 0.5, 1.0))  # red, green, blue: of emission, of dust
PICTURE_NEBULA = 10.0  # noise of the dark sky; of the brightest parts of each
PICTURE_LIGHT = 40.0  # noise of the dark sky: light that doubles the variance


def picture_demo(folder: Path, side: int) -> int:
    """Simulate a colour picture of a nebula, take its noise out by command; return the exit code.

    Writes nebula.fits, nebula_denoised.fits and picture.png.
    """
    picture = draw_picture((side * 2 // 3, side))
    image = AstroImage(picture.astype(np.float32))
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


def enhance_demo(folder: Path, side: int) -> int:
    """Simulate a long exposure and a short one, enhance that by command; return the exit code.

    Writes long.fits, short.fits (electrons), short_enhanced.fits and enhanced.png.
    """
    from bgrem.simulate.hubble import long_exposure, short_exposure, simulate_hubble_field

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

    Writes raw.fits, raw_residual.fits, raw_map.fits, raw_deviation.fits, raw_rms.fits and
    noisemap.png.
    """
    from bgrem.simulate.staring import draw_noise, simulate_staring_frame
    from bgrem.simulate.trails import add_satellites

    side = min(side, DEMO_RAW_SIDE_PX)
    frames = (simulate_staring_frame(seed, (side, side)) for seed in itertools.count(DEMO_SEED))
    frame = next(
        one for one in frames if DEMO_STREAK_LENGTHS_PX[0] < one.length < DEMO_STREAK_LENGTHS_PX[1]
    )
    rng = np.random.default_rng(DEMO_SEED)
    noise = draw_noise(frame.sigma, frame.hot_pixels, frame.gain, frame.read_noise, rng)
    peaks = np.full(DEMO_SATELLITES, DEMO_SATELLITE_PEAK * float(np.median(frame.sigma)))
    raw, _ = add_satellites(frame.structure + noise, peaks, rng)
    write_image(folder / "raw.fits", AstroImage(raw.astype(np.float32)), overwrite=True)
    code = _run(["noisemap", str(folder / "raw.fits"), "-o", str(folder), "--overwrite", "--quiet"])
    if code:
        return code
    image, residual, found = (
        read_image(folder / f"raw{word}.fits").pixels for word in ("", "_residual", "_map")
    )
    level = np.nanmedian(image)
    panels = [
        ("raw frame", image), ("map of its structures", found),
        ("what remains", residual - np.nanmedian(residual) + level),
    ]  # fmt: skip
    write_side_by_side(
        panels, auto_stf(image, linked=False), folder / "noisemap.png", overwrite=True
    )
    return 0


def _run(command: list[str]) -> int:
    print("bgrem", *command)
    return cli.main(command)
