"""Further parts of the demo: a short exposure made longer, a raw frame without its streaks."""

import itertools
from pathlib import Path

import numpy as np

from bgrem import cli
from common.image import AstroImage
from common.io import read_image, write_image
from common.pictures import beside, caption, display, draw_circles, save_picture, write_side_by_side
from common.screen import auto_stf

DEMO_SEED = 2024  # of the simulated field
DEMO_EXPOSURE_RATIO = 2  # long / short exposure time
DEMO_STREAK_LENGTHS_PX = (20, 100)  # px; frames without streaks, or with endless ones, show little
DEMO_RAW_SIDE_PX = 448  # px at most, of the raw frame: four windows of 256 px that overlap by 64
DEMO_SATELLITES = 12  # number that is put in
DEMO_BAD_FLAGS = 2 + 4 + 16  # at the edge, beside saturated pixels, a hot pixel
DEMO_SATELLITE_PEAK = 8.0  # brightest pixel in units of the frame's noise


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

    Writes raw.fits, raw_residual.fits, raw_map.fits, raw_deviation.fits, raw_rms.fits,
    raw_detections.ecsv and noisemap.png, with circles around what was put in and what was found.
    """
    from astropy.table import Table

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
    raw, injected = add_satellites(frame.structure + noise, peaks, rng)
    write_image(folder / "raw.fits", AstroImage(raw.astype(np.float32)), overwrite=True)
    list_path = folder / "raw_detections.ecsv"
    command = ["noisemap", str(folder / "raw.fits"), "-o", str(folder)]
    code = _run([*command, "--detections", str(list_path), "--overwrite", "--quiet"])
    if code:
        return code
    image, residual, found = (
        read_image(folder / f"raw{word}.fits").pixels for word in ("", "_residual", "_map")
    )
    level = np.nanmedian(image)
    stretch = auto_stf(image, linked=False)
    remains = display(residual - np.nanmedian(residual) + level, stretch)
    table = Table.read(list_path, format="ascii.ecsv")
    table = table[table["FLAGS"] & DEMO_BAD_FLAGS == 0]
    detected = np.column_stack([table["X_IMAGE"] - 1, table["Y_IMAGE"] - 1])
    put = np.column_stack([injected["x"], injected["y"]])
    remains = draw_circles(remains, put, 9, (90, 220, 90))
    remains = draw_circles(remains, detected, 6, (250, 170, 40))
    near = np.hypot(*(put[:, None] - detected[None]).transpose(2, 0, 1)).min(1, initial=np.inf) < 2
    text = (
        f"what remains: {len(put)} satellites put in (green), "
        f"{near.sum()} of them among {len(detected)} unflagged detections (orange)"
    )
    panels = [
        caption(display(image, stretch), "raw frame"),
        caption(display(found, stretch), "map of its structures"),
        caption(remains, text),
    ]
    save_picture(beside(panels), folder / "noisemap.png", overwrite=True)
    return 0


def _run(command: list[str]) -> int:
    print("bgrem", *command)
    return cli.main(command)
