import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from common.atomic import atomic_write, check_writable
from common.image import AstroImage
from common.io import IMAGE_FORMATS, mark_missing, read_image, split_suffix, write_image

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sky() -> np.ndarray:
    return np.random.default_rng(1).normal(100, 5, (30, 40)).astype(np.float32)


@pytest.mark.parametrize("suffix", IMAGE_FORMATS)
@pytest.mark.parametrize("shape", [(30, 40, 1), (30, 40, 3)])
def test_every_format_makes_the_round_trip_bit_for_bit(tmp_path, suffix, shape):
    pixels = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    write_image(tmp_path / f"a{suffix}", AstroImage(pixels))
    image = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(image.pixels, pixels)
    write_image(tmp_path / f"b{suffix}", image)
    np.testing.assert_array_equal(read_image(tmp_path / f"b{suffix}").pixels, pixels)


def test_fits_to_xisf_and_back_keeps_the_sky_and_its_cards(tmp_path, sky):
    header = fits.Header([("OBJECT", "M31"), ("ROWORDER", "TOP-DOWN")])
    fits.PrimaryHDU(sky, header).writeto(tmp_path / "a.fits")
    write_image(tmp_path / "a.xisf", read_image(tmp_path / "a.fits"))
    image = read_image(tmp_path / "a.xisf")
    image = image.with_pixels(image.pixels, cards=[("BGTOOL", "x", "")], history=["done"])
    write_image(tmp_path / "b.fits", image)
    with fits.open(tmp_path / "b.fits") as hdulist:
        np.testing.assert_array_equal(hdulist[0].data, sky)
        assert hdulist[0].header["OBJECT"] == "M31"
        assert hdulist[0].header["BGTOOL"] == "x"
        assert "done" in list(hdulist[0].header["HISTORY"])


@pytest.mark.parametrize(
    ("name", "stem", "suffix"),
    [
        ("night.3.FITS", "night.3", ".FITS"),
        ("a.fits.fz", "a", ".fits.fz"),
        ("a.Fit.GZ", "a", ".Fit.GZ"),
        ("dir.fits/a.xisf", "dir.fits/a", ".xisf"),
    ],
)
def test_suffixes_are_split_whatever_their_case(name, stem, suffix):
    assert split_suffix(name) == (Path(stem), suffix)


@pytest.mark.parametrize("name", ["a.png", "a.gz", "fits", ".fits", "a.fits.txt"])
def test_other_suffixes_are_refused(name):
    with pytest.raises(ValueError, match=r"not that of an image file\. Use one of \.fits"):
        split_suffix(name)


def test_what_is_no_image_file_gives_one_clear_line(tmp_path):
    (tmp_path / "empty.fits").touch()
    (tmp_path / "folder.fits").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no\.fits: there is no such file"):
        read_image(tmp_path / "no.fits")
    with pytest.raises(ValueError, match=r"empty\.fits: the file is empty"):
        read_image(tmp_path / "empty.fits")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_image(tmp_path / "folder.fits")


def test_an_upper_case_suffix_is_read(tmp_path, sky):
    fits.PrimaryHDU(sky).writeto(tmp_path / "A.FTS")
    np.testing.assert_array_equal(read_image(tmp_path / "A.FTS").pixels[..., 0], sky)


# --- zeros -------------------------------------------------------------------------------------


@pytest.fixture
def bordered(sky) -> np.ndarray:
    """A registered colour frame: a zero corner, a zero island, lone zeros, one zero channel."""
    image = np.stack([sky, sky + 1, sky + 2], axis=-1)
    image[:6, :8] = 0  # corner: border
    image[15:19, 15:19] = 0  # hole: missing
    image[25, 30] = 0  # lone: data
    image[20:, :5, 0] = 0  # one channel only: missing there
    return image


def test_border_zeros_become_nan_and_come_back_as_zeros(tmp_path, bordered):
    fits.PrimaryHDU(np.moveaxis(bordered, -1, 0)).writeto(tmp_path / "a.fits")
    image = read_image(tmp_path / "a.fits")
    expected = np.zeros(bordered.shape, bool)
    expected[:6, :8] = expected[15:19, 15:19] = expected[20:, :5, 0] = True
    np.testing.assert_array_equal(image.missing, expected)
    np.testing.assert_array_equal(image.zero_border, expected)
    write_image(tmp_path / "b.fits", image.with_pixels(image.pixels * 2))
    np.testing.assert_array_equal(
        np.moveaxis(fits.getdata(tmp_path / "b.fits"), 0, -1), bordered * 2
    )


def test_all_zeros_or_none_can_be_missing(bordered):
    image = mark_missing(AstroImage(bordered.copy()), "all")
    np.testing.assert_array_equal(image.missing, bordered == 0)
    assert not mark_missing(AstroImage(bordered.copy()), "data").missing.any()


def test_sparse_counts_keep_their_zeros(tmp_path):
    counts = np.random.default_rng(5).poisson(0.05, (60, 60)).astype(np.float32)
    fits.PrimaryHDU(counts).writeto(tmp_path / "a.fits")
    assert not read_image(tmp_path / "a.fits").missing.any()


def test_an_unknown_zero_mode_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Use border, all or data"):
        read_image(tmp_path / "a.fits", zeros="none")


# --- writing -----------------------------------------------------------------------------------


def test_an_existing_file_is_replaced_only_on_demand(tmp_path, sky):
    path = tmp_path / "a.fits"
    write_image(path, AstroImage(sky))
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"a\.fits: exists already.*--overwrite"):
        write_image(path, AstroImage(sky + 1))
    assert path.read_bytes() == before
    write_image(path, AstroImage(sky + 1), overwrite=True)
    np.testing.assert_array_equal(read_image(path).pixels[..., 0], sky + 1)


def test_a_file_may_replace_its_own_source(tmp_path, sky):
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(sky), fits.ImageHDU(sky, name="ERR")]).writeto(path)
    image = read_image(path)
    write_image(path, image.with_pixels(image.pixels + 1), overwrite=True)
    np.testing.assert_array_equal(fits.getdata(path), sky + 1)
    np.testing.assert_array_equal(fits.getdata(path, "ERR"), sky)


def test_outputs_that_cannot_be_written_are_refused_before_the_work(tmp_path):
    (tmp_path / "old.fits").write_text("old")
    with pytest.raises(FileExistsError, match="--overwrite"):
        check_writable(tmp_path / "old.fits")
    with pytest.raises(FileNotFoundError, match=r"does not exist\. Create it"):
        check_writable(tmp_path / "no" / "a.fits")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_writable(tmp_path, overwrite=True)
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        check_writable(tmp_path / "old.fits" / "a.fits")
    assert check_writable(tmp_path / "new.fits") == tmp_path / "new.fits"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="is not writable"):
        check_writable(tmp_path / "a.fits")


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, SystemExit])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.fits"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path, overwrite=True) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(FileExistsError, match="meanwhile"), atomic_write(path) as temporary:
        temporary.write_text("ours")
        path.write_text("theirs")
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_keeps_the_suffix_and_usual_permissions(tmp_path):
    with atomic_write(tmp_path / "a.fits.fz") as temporary:
        assert temporary.name.endswith(".fits.fz")
        assert temporary.parents[2] == tmp_path
    usual = tmp_path / "usual"
    usual.touch()
    assert (tmp_path / "a.fits.fz").stat().st_mode == usual.stat().st_mode


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_writer_leaves_the_old_file(tmp_path, kill):
    path = tmp_path / "a.fits"
    path.write_text("old")
    script = """
import sys, time
from common.atomic import atomic_write
from common.cli import run

def main(arguments):
    with atomic_write(arguments[0], overwrite=True) as temporary:
        temporary.write_text("half")
        print("half", flush=True)
        time.sleep(60)

sys.exit(run(main))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        time.sleep(0.05)
        process.send_signal(kill)
        process.communicate(timeout=20)
    assert path.read_text() == "old"
    if kill == signal.SIGTERM:
        assert process.returncode == 143
        assert list(tmp_path.iterdir()) == [path]
