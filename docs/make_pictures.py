"""Make the pictures of the README from the files of `make demo`.

`python docs/make_pictures.py demo/denoise docs` writes enhanced.png, noisemap.png and catalog.png.
noisemap.png is that of `make demo`, made smaller. The others come from elsewhere: before_after.png
is that of `make demo` (bgoptimizer), made smaller, denoised.png that of
`benchmarks/quality.py --picture`, and picture.png that of `benchmarks/pictures.py --picture`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from scipy.spatial import cKDTree

from common import read_image
from common.screen import apply_stf, auto_stf

WIDTH = 11.0  # inches; 100 dots each: GitHub shows about 1000 pixels
COLOURS = 128  # of the PNG's palette, which keeps a noisy picture below 400 kB
CATALOG_PART = (170, 300)  # rows, columns of the part of a frame that is shown
ENHANCED_PART = (200, 200)
NOISEMAP_SHRINK = 2  # the demo enlarges its frame by as much
SEARCH_RADIUS = 0.75  # FWHM; within it a detection is taken to be the source
FAINTEST = 1.0  # signal-to-noise ratio of a source that a detection may be


def main(argv: Sequence[str] | None = None) -> None:
    """Write the three pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path, help="folder with the files of `make demo`")
    parser.add_argument("output", type=Path, help="folder for the pictures")
    args = parser.parse_args(argv)
    draw_enhanced(args.demo, args.output / "enhanced.png")
    draw_noisemap(args.demo, args.output / "noisemap.png")
    draw_catalog(args.demo, args.output / "catalog.png")


def draw_enhanced(demo: Path, path: Path) -> None:
    """Draw a short exposure, the enhanced one and a long exposure of the same field."""
    long = _read(demo / "long.fits")
    ratio = fits.getheader(demo / "short_enhanced.fits")["BGRATIO"]
    panels = [
        (f"exposure, 1/{ratio:g} as long", ratio * _read(demo / "short.fits")),
        ("bgrem enhance", ratio * _read(demo / "short_enhanced.fits")),
        ("a long exposure", long),
    ]
    _draw([(title, pixels, []) for title, pixels in panels], long, path, ENHANCED_PART)


def draw_noisemap(demo: Path, path: Path) -> None:
    """Write the demo's picture with its circles, smaller."""
    with Image.open(demo / "noisemap.png") as picture:
        size = (picture.width // NOISEMAP_SHRINK, picture.height // NOISEMAP_SHRINK)
        smaller = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    # its octree keeps the few pixels of a circle in their colour
    few = smaller.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def draw_catalog(demo: Path, path: Path) -> None:
    """Draw what SExtractor's defaults and `bgrem catalog` find in one field, beside the truth."""
    import sep

    from bgrem import catalog

    with fits.open(demo / "field.fits") as hdus:
        truth, fwhm = np.array(hdus["CATALOGUE"].data), hdus["OBSERVED"].header["FWHM"]
    image = read_image(demo / "field.fits", hdu="OBSERVED")
    pixels = image.pixels[..., 0].astype(np.float64)
    background = sep.Background(pixels, bw=64, bh=64, fw=3, fh=3)
    found = sep.extract(pixels - background.back(), 1.5, err=background.rms())
    table = catalog(image).table
    panels = []
    for title, x, y in (
        ("SExtractor's defaults (sep)", found["x"], found["y"]),
        ("bgrem catalog", np.array(table["XPSF_IMAGE"]) - 1, np.array(table["YPSF_IMAGE"]) - 1),
    ):
        true = _lies_on_a_source(x, y, truth, fwhm)
        title = f"{title}: {len(x)} sources, {int((~true).sum())} false"
        panels.append(
            (title, pixels, [(x[true], y[true], "yellow"), (x[~true], y[~true], "orangered")])
        )
    _draw(panels, pixels, path, CATALOG_PART)


def _lies_on_a_source(x: np.ndarray, y: np.ndarray, truth: np.ndarray, fwhm: float) -> np.ndarray:
    """Return which detections (0-based) lie on a simulated source, shape (N,)."""
    listed = truth[truth["SNR_TRUE"] >= FAINTEST]
    tree = cKDTree(np.column_stack([listed["X_IMAGE"] - 1, listed["Y_IMAGE"] - 1]))
    return np.asarray(tree.query(np.column_stack([x, y]))[0] < SEARCH_RADIUS * fwhm)


def _read(path: Path) -> np.ndarray:
    return np.asarray(read_image(path).pixels[..., 0])


def _draw(
    panels: Sequence[tuple[str, np.ndarray, Sequence[tuple[np.ndarray, np.ndarray, str]]]],
    stretched_as: np.ndarray,
    path: Path,
    part: tuple[int, int],
) -> None:
    """Draw (title, pixels, marks) beside each other in one stretch, the middle of each."""
    from PIL import Image

    stretch = auto_stf(stretched_as[..., None].astype(np.float32))
    height = WIDTH / len(panels) * part[0] / part[1] + 0.3
    figure = Figure(figsize=(WIDTH, height), layout="constrained", dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes: Any
    for axes, (title, pixels, marks) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        low = [max(0, (whole - side) // 2) for whole, side in zip(pixels.shape, part, strict=True)]
        shown = apply_stf(pixels[..., None].astype(np.float32), stretch)[..., 0]
        axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        for x, y, colour in marks:
            axes.scatter(x, y, s=35, facecolors="none", edgecolors=colour, linewidths=0.8)
        axes.set(xlim=(low[1], low[1] + part[1]), ylim=(low[0], low[0] + part[0]))
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=10)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
