"""Make the picture of the live page: page.png, from a simulated frame.

`python docs/make_page_picture.py docs` needs chromium and the package playwright.
"""

import argparse
import io
import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from bgoptimizer import __version__, make_scene
from bgoptimizer.cli import COMMAND, build_parser
from bgoptimizer.page.bench import make_bench
from common import AstroImage, read_image, write_image
from common.command import Call
from common.page.server import PageServer
from common.page.session import Session

SCENE = 3  # seed of the frame
SHAPE = (900, 1200)  # px; rows, columns
SIZE = {"width": 1280, "height": 720}  # px; of the window
COLOURS = 256  # of the PNG's palette, which keeps a noisy picture below 500 kB
NOTHING_GIVEN = {"mask": None, "samples": None, "objects": None, "reference": None}


def main(argv: Sequence[str] | None = None) -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="folder for the picture")
    folder = parser.parse_args(argv).output
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "night3.fits"
        scene = make_scene(SCENE, shape=SHAPE, channels=3, objects="nebula")
        write_image(path, AstroImage(scene.observed))
        args = build_parser().parse_args([str(path), "-o", scratch, "--preview"])
        call = Call(COMMAND, args, __version__, {}, lambda words: 0)
        bench = make_bench(call, path, read_image(path), NOTHING_GIVEN)
        with PageServer(Session(bench)) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            picture = _photograph(server.url)
            server.shutdown()
    shown = Image.open(io.BytesIO(picture)).convert("RGB")
    # this method keeps the flat colours of the controls as they are
    palette = shown.quantize(COLOURS, Image.Quantize.FASTOCTREE)
    shown.quantize(palette=palette).save(folder / "page.png", optimize=True)


def _photograph(url: str) -> bytes:
    """Return a PNG of the page after a fit, split, with an area and a point."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport=SIZE)
        page.goto(url)
        page.wait_for_selector("body[data-ready=yes]")
        page.click("#run")
        page.wait_for_selector("#views button:has-text('Result')", timeout=120_000)
        page.click("[data-tool=ellipse]")
        page.mouse.move(345, 90)
        page.mouse.down()
        page.mouse.move(850, 345, steps=4)
        page.mouse.up()
        page.click("[data-tool=point]")
        for place in ([160, 620], [790, 560]):
            page.mouse.click(*place)
        page.click("[data-tool=move]")
        page.keyboard.press("d")
        page.evaluate("document.activeElement.blur()")
        page.wait_for_timeout(500)
        picture = page.screenshot()
        browser.close()
    return picture


if __name__ == "__main__":
    main()
