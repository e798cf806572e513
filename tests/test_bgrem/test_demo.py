"""`make demo`: a simulated field, the command, a picture and a table."""

from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
from PIL import Image

from bgrem.demo import main
from bgrem.training.pairs import read_pair
from common.io import read_image

SIDE = 384
pytestmark = pytest.mark.slow  # all of `make demo`, with the networks of the package


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Folder of a demo of a small field, and what it printed."""
    folder = tmp_path_factory.mktemp("demo") / "denoise"
    with redirect_stdout(StringIO()) as printed:
        assert main([str(folder), "--side", str(SIDE)]) == 0
    return folder, printed.getvalue()


def test_it_leaves_the_field_with_truth_the_denoised_one_and_a_picture(demo):
    folder, _ = demo
    observed, sources = read_pair(folder / "field.fits")
    result = read_image(folder / "field_denoised.fits").pixels[..., 0]
    # the median pixel has sky only; the error left is 0.06 of the noise
    noise = observed - sources - np.median(observed - sources)
    assert np.median(np.abs(result - sources)) < 0.15 * np.median(np.abs(noise))
    with Image.open(folder / "before_after.png") as picture:
        assert picture.width > 3 * SIDE


def test_the_table_is_printed_and_more_is_found_after_at_equal_false_positives(demo):
    folder, printed = demo
    text = (folder / "table.txt").read_text("utf-8")
    assert text in printed
    assert "s for the command" in text
    for row in text.splitlines()[1:4]:
        _, before, after, _ = row.rsplit(maxsplit=3)
        assert int(after) > int(before) > 100


def test_the_other_systems_leave_their_files_and_pictures(demo):
    folder, printed = demo
    for name in (
        "nebula_denoised.fits",
        "short_enhanced.fits",
        "raw_residual.fits",
        "raw_map.fits",
        "raw_deviation.fits",
        "raw_rms.fits",
        "raw_detections.ecsv",
    ):
        assert (folder / name).exists()
    for name in ("picture.png", "enhanced.png", "noisemap.png"):
        with Image.open(folder / name) as picture:
            assert picture.width > 3 * SIDE
        assert name in printed


def test_the_enhanced_exposure_is_nearer_to_the_long_one(demo):
    folder, _ = demo
    long, short, enhanced = (
        read_image(folder / f"{name}.fits").pixels for name in ("long", "short", "short_enhanced")
    )
    before, after = (np.abs(2 * one - long).mean() for one in (short, enhanced))
    assert after < 0.85 * before
