"""Files with several images: one line without --hdu, all of them with --hdu all."""

import json

import numpy as np
import pytest
from astropy.io import fits
from printed_events import results_of

from bgoptimizer.cli import main
from common import read_image
from common.fits.chips import merge_chips
from common.reading.notice import FileWarning


def chip(level, shape=(48, 60)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    noise = np.random.default_rng(level).normal(0, 3, shape)
    return (level + 0.5 * level * (x / shape[1] + y / shape[0]) + noise).astype(np.float32)


@pytest.fixture
def chips(tmp_path):
    hdus = [fits.ImageHDU(chip(100 * k), name=f"CHIP{k}") for k in (1, 2, 3)]
    table = fits.BinTableHDU.from_columns([fits.Column("A", "E", array=[1.0, 2.0])], name="LOG")
    quality = fits.ImageHDU(np.zeros((48, 60), np.uint8), name="DQ")
    fits.HDUList([fits.PrimaryHDU(), *hdus, table, quality]).writeto(tmp_path / "chips.fits")
    return tmp_path / "chips.fits"


def test_one_line_says_which_image_of_several_is_read(chips):
    with pytest.warns(FileWarning, match=r"chips\.fits: HDU 1 of 3 images is read") as found:
        image = read_image(chips)
    assert len(found) == 1
    np.testing.assert_array_equal(image.pixels[..., 0], chip(100))


@pytest.mark.filterwarnings("error::common.reading.notice.FileWarning")
def test_no_line_where_one_is_chosen_or_the_others_belong_to_it(chips, tmp_path):
    read_image(chips, hdu="CHIP2")
    planes = [fits.ImageHDU(chip(5), name=name) for name in ("SCI", "ERR", "WHT")]
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(tmp_path / "hst.fits")
    read_image(tmp_path / "hst.fits")


def test_all_images_go_into_one_file_as_one_by_one(chips, tmp_path, capsys):
    folder = tmp_path / "all"
    assert main([str(chips), "-o", str(folder), "--hdu", "all", "--json"]) == 0
    (outcome,) = results_of(capsys.readouterr().out)
    assert [one["hdu"] for one in outcome["hdus"]] == [1, 2, 3]
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "chips_bgSubtracted.fits",
        "chips_bgModel.fits",
        "chips_bgMask.fits",
        "chips_bgParams.json",
        *(f"chips_bgMask_CHIP{k}.png" for k in (1, 2, 3)),
    }
    assert json.loads((folder / "chips_bgParams.json").read_text())["parameters"]["hdu"] == "all"
    for k in (1, 2, 3):
        one = tmp_path / f"one{k}"
        assert main([str(chips), "-o", str(one), "--hdu", str(k), "--quiet"]) == 0
        for name in ("chips_bgSubtracted.fits", "chips_bgModel.fits"):
            with fits.open(one / name) as alone, fits.open(folder / name, checksum=True) as whole:
                np.testing.assert_array_equal(whole[k].data, alone[k].data)
                assert whole[k].header == alone[k].header
                assert [hdu.name for hdu in whole] == [hdu.name for hdu in alone]
                np.testing.assert_array_equal(whole["LOG"].data["A"], [1, 2])
                assert (whole["DQ"].data == 0).all()


def test_parameters_replay_all_images(chips, tmp_path):
    assert main([str(chips), "-o", str(tmp_path / "a"), "--hdu", "all", "--quiet"]) == 0
    params = tmp_path / "a" / "chips_bgParams.json"
    assert main([str(chips), "-o", str(tmp_path / "b"), "--params", str(params), "--quiet"]) == 0
    for path in (tmp_path / "a").iterdir():
        assert (tmp_path / "b" / path.name).read_bytes() == path.read_bytes()


def test_packed_files_and_own_names(chips, tmp_path):
    for name in ("r.fits.fz", "r.fits.gz"):
        assert (
            main(
                [
                    str(chips),
                    "-o",
                    str(tmp_path / name),
                    "--hdu",
                    "all",
                    "--quiet",
                    "--overwrite",
                    "--before-after",
                    str(tmp_path / "picture.png"),
                ]
            )
            == 0
        )
        assert abs(np.median(read_image(tmp_path / name, hdu="CHIP3").pixels) - 450) < 5
    assert {path.name for path in tmp_path.glob("picture*")} == {
        f"picture_CHIP{k}.png" for k in (1, 2, 3)
    }


def test_nothing_is_written_where_a_file_is_in_the_way(chips, tmp_path, capsys):
    folder = tmp_path / "all"
    folder.mkdir()
    (folder / "chips_bgModel.fits").write_bytes(b"mine")
    assert main([str(chips), "-o", str(folder), "--hdu", "all"]) == 2
    assert "chips_bgModel.fits: exists already" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["chips_bgModel.fits"]


def test_a_damaged_chip_leaves_nothing(chips, tmp_path, capsys):
    with fits.open(chips, mode="update") as hdus:
        hdus["CHIP2"].data[:] = 7
    assert main([str(chips), "-o", str(tmp_path / "all"), "--hdu", "all"]) == 2
    assert "constant" in capsys.readouterr().err
    assert list((tmp_path / "all").glob("*")) == []


def test_names_that_are_taken_count_on(tmp_path):
    for k in (0, 1):
        fits.HDUList(
            [
                fits.PrimaryHDU(chip(5)),
                fits.ImageHDU(chip(6), name="A"),
                fits.ImageHDU(chip(7 + k), name="SIGMA"),
            ]
        ).writeto(tmp_path / f"{k}.fits")
    merge_chips(
        {0: tmp_path / "0.fits", 1: tmp_path / "1.fits"}, 2, tmp_path / "m.fits", overwrite=False
    )
    with fits.open(tmp_path / "m.fits", checksum=True) as hdus:
        assert [(one.name, one.ver) for one in hdus] == [
            ("PRIMARY", 1),
            ("A", 1),
            ("SIGMA", 1),
            ("SIGMA", 2),
        ]
        np.testing.assert_array_equal(hdus["SIGMA", 2].data, chip(8))


def test_xisf_is_refused(tmp_path, capsys):
    assert main([str(tmp_path / "a.xisf"), "-o", str(tmp_path / "b"), "--hdu", "all"]) == 2
    assert "a.xisf: --hdu all is for FITS" in capsys.readouterr().err


def xisf(path, *ids):
    images = "".join(
        f'<Image id="{name}" geometry="2:2:1" sampleFormat="Float32" bounds="0:1" '
        f'colorSpace="Gray" location="inline:hex">{"0000003f" * 4}</Image>'
        for name in ids
    )
    header = f'<xisf version="1.0" xmlns="http://www.pixinsight.com/xisf">{images}</xisf>'.encode()
    path.write_bytes(b"XISF0100" + len(header).to_bytes(4, "little") + bytes(4) + header)
    return path


def test_one_line_for_several_images_in_xisf(tmp_path):
    with pytest.warns(FileWarning, match=r"a\.xisf: image 1 of 2 is read"):
        read_image(xisf(tmp_path / "a.xisf", "first", "second"))


@pytest.mark.filterwarnings("error::common.reading.notice.FileWarning")
def test_no_line_for_the_maps_of_an_integration(tmp_path):
    path = xisf(tmp_path / "a.xisf", "integration", "rejection_low", "rejection_high")
    assert read_image(path).shape == (2, 2, 1)
    read_image(xisf(tmp_path / "b.xisf", "first", "second"), hdu="second")
