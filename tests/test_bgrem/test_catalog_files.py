"""The command `bgrem catalog`, and the files that it writes."""

import shutil
import subprocess
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from printed_events import results_of

from bgrem.cataloguing.files import CATALOG_FORMATS
from bgrem.cli import main
from bgrem.simulate.optical import simulate_field
from bgrem.simulate.write import write_field


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    """A field with WCS, GAIN, SATURATE and MAGZPT, and its sources as a denoised image."""
    folder = tmp_path_factory.mktemp("frames")
    field = simulate_field(shape=(160, 150), seed=63_010, stars=1500.0, galaxies=100.0)
    write_field(folder / "all.fits", field)
    with fits.open(folder / "all.fits") as hdus:
        for name, part in (("night3", "OBSERVED"), ("clean", "SOURCES")):
            hdu = fits.PrimaryHDU(hdus[part].data, hdus[part].header)
            hdu.writeto(folder / f"{name}.fits", checksum=True)
    return folder / "night3.fits"


@pytest.fixture
def run(frame):
    """Run the command on the frame, detecting on the denoised image that is there."""

    def run_on(*arguments, source=frame):
        clean = frame.with_name("clean.fits")
        return main(["catalog", str(source), "--denoised", str(clean), *map(str, arguments)])

    return run_on


def check_fits(path):
    """Assert that checksums hold and, where it is installed, that fitsverify finds no fault."""
    with fits.open(path, checksum=True) as hdus:  # wrong ones warn, which is an error here
        assert all("CHECKSUM" in hdu.header and "DATASUM" in hdu.header for hdu in hdus)
    if shutil.which("fitsverify"):
        ended = subprocess.run(["fitsverify", "-e", path], capture_output=True, text=True)
        assert "0 error(s)" in ended.stdout, ended.stdout


def rows_of(path):
    suffix = path.suffix
    if suffix == ".reg":
        return [line for line in path.read_text().splitlines() if line.startswith("ellipse")]
    if suffix in (".ldac", ".cat", ".fits", ".fit"):
        return Table.read(path, hdu=2 if suffix in (".ldac", ".cat") else 1)
    kind = {".vot": "votable", ".xml": "votable", ".ecsv": "ascii.ecsv", ".csv": "ascii.csv"}
    return Table.read(path, format=kind[suffix])


@pytest.mark.parametrize("suffix", CATALOG_FORMATS)
def test_every_format_has_all_sources_and_reads_back(run, frame, tmp_path, suffix):
    reference = tmp_path / "reference.ecsv"
    catalogue = tmp_path / f"night3{suffix}"
    assert run("-o", reference, "--quiet") == 0
    assert run("-o", catalogue, "--quiet") == 0
    expected, rows = rows_of(reference), rows_of(catalogue)
    assert len(rows) == len(expected) > 10
    if suffix == ".reg":
        assert "icrs" in catalogue.read_text()
        return
    for name in ("X_IMAGE", "ALPHA_J2000", "FLUX_AUTO", "DENOISED_FLAG"):
        # CSV has a ten thousandth of a pixel, half of which matters beside the edge
        near = pytest.approx(np.asarray(expected[name]), rel=1e-5, abs=6e-5)
        assert np.asarray(rows[name]) == near
    aper = rows["FLUX_APER_2"] if suffix == ".csv" else rows["FLUX_APER"][:, 1]
    assert np.asarray(aper) == pytest.approx(np.asarray(expected["FLUX_APER"][:, 1]), rel=1e-5)
    if suffix != ".csv":
        assert str(rows["FLUX_AUTO"].unit) == "adu"
        assert str(rows["ALPHA_J2000"].unit) == "deg"
    if suffix in (".ldac", ".cat", ".fits", ".fit"):
        check_fits(catalogue)


def test_a_fits_catalogue_says_how_it_was_made(run, frame, tmp_path):
    assert run("-o", tmp_path / "a.fits", "--threshold", 1.2) == 0
    header = fits.getheader(tmp_path / "a.fits", 1)
    assert header["BGTOOL"] == "bgrem catalog"
    assert header["BGINPUT"] == "night3.fits"
    assert header["THRESH"] == 1.2
    assert header["GAIN"] == fits.getheader(frame)["GAIN"]
    history = list(header["HISTORY"])
    assert "bgrem catalog: threshold = 1.2" in history
    assert "bgrem catalog: zero_point is from MAGZPT" in history
    assert header.comments["TTYPE2"].startswith("barycentre")


def test_ldac_has_the_image_s_header_as_scamp_and_psfex_look_for_it(run, frame, tmp_path):
    assert run("-o", tmp_path / "a.ldac", "--vignet", 15) == 0
    with fits.open(tmp_path / "a.ldac") as hdus:
        assert [hdu.name for hdu in hdus[1:]] == ["LDAC_IMHEAD", "LDAC_OBJECTS"]
        assert hdus[2].data["VIGNET"].shape[1:] == (15, 15)
        cards = [str(card) for card in hdus[1].data[0][0]]
    header = fits.Header.fromstring("".join(card.ljust(80) for card in cards))
    assert header["CRVAL1"] == fits.getheader(frame)["CRVAL1"]
    assert header["SEXBKDEV"] > 0
    # with blanks, not NUL, behind it: they read past the end otherwise
    assert b"END" + 77 * b" " in (tmp_path / "a.ldac").read_bytes()[5760:]


def test_regions_lie_on_the_sources_with_the_ellipse_s_direction(run, frame, tmp_path):
    assert run("-o", tmp_path / "a.reg") == 0
    assert run("-o", tmp_path / "a.ecsv") == 0
    table, wcs = rows_of(tmp_path / "a.ecsv"), WCS(fits.getheader(frame))
    text = rows_of(tmp_path / "a.reg")[0]
    ra, dec, a, _, angle = (
        float(part.strip('"')) for part in text[text.index("(") + 1 : text.index(")")].split(",")
    )
    x, y = wcs.world_to_pixel_values(ra, dec)
    assert (x + 1, y + 1) == pytest.approx(
        (table["X_DENOISED"][0], table["Y_DENOISED"][0]), abs=0.01
    )
    scale = fits.getheader(frame)["PIXSCALE"]
    assert a == pytest.approx(scale * table["KRON_RADIUS"][0] * table["A_DENOISED"][0], rel=1e-3)
    # north up, east left: DS9's angle is that of the pixels
    assert (angle - table["THETA_DENOISED"][0] + 90) % 180 == pytest.approx(90, abs=0.1)


def test_the_segmentation_map_has_the_numbers_of_the_catalogue(run, frame, tmp_path):
    segments = tmp_path / "segments.fits"
    assert run("-o", tmp_path / "a.fits", "--segmentation", segments) == 0
    pixels, header = fits.getdata(segments), fits.getheader(segments)
    table = rows_of(tmp_path / "a.fits")
    assert pixels.dtype.kind == "i"
    assert sorted(set(pixels.ravel()) - {0}) == list(table["NUMBER"])
    assert header["CRVAL2"] == fits.getheader(frame)["CRVAL2"]
    check_fits(segments)


def test_json_counts_sources_and_names_what_is_missing(run, frame, tmp_path, capsys):
    bare = tmp_path / "bare.fits"
    fits.writeto(bare, fits.getdata(frame))
    assert run("-o", tmp_path / "a.csv", "--json", source=bare) == 0
    captured = capsys.readouterr()
    (outcome,) = results_of(captured.out)
    assert outcome["sources"] == len(rows_of(tmp_path / "a.csv"))
    assert len(outcome["missing"]) == 3
    assert captured.err.count("\n") == 1
    for word in ("gain", "saturation", "zero point"):
        assert word in captured.err
    assert "ALPHA_J2000" not in (tmp_path / "a.csv").read_text()


def test_a_network_runs_where_no_denoised_image_is_given(frame, tiny_model, tmp_path):
    arguments = ["--model", str(tiny_model), "-s", "1", "--tile", "64", "--overlap", "16"]
    out = tmp_path / "out"
    assert main(["catalog", str(frame), "-o", str(out), *arguments, "--format", ".ecsv"]) == 0
    with open(out / "night3_catalog.ecsv") as file:
        assert "BGMODEL" in file.read()


def test_a_bundle_gives_the_same_as_the_denoised_image_itself(frame, tiny_model, tmp_path):
    arguments = ["--model", str(tiny_model), "-s", "1", "--tile", "64", "--overlap", "16"]
    main(["denoise", str(frame), "-o", str(tmp_path), *arguments,
          "--bundle", str(tmp_path / "bundle.fits")])  # fmt: skip
    main(["catalog", str(frame), "-o", str(tmp_path / "a.ecsv"), *arguments])
    main(["catalog", str(frame), "-o", str(tmp_path / "b.ecsv"),
          "--denoised", str(tmp_path / "bundle.fits")])  # fmt: skip
    direct, bundled = rows_of(tmp_path / "a.ecsv"), rows_of(tmp_path / "b.ecsv")
    assert len(direct) == len(bundled) > 0
    assert np.asarray(bundled["FLUX_AUTO"]) == pytest.approx(np.asarray(direct["FLUX_AUTO"]))


def test_a_parameter_file_replays_the_run(run, tmp_path):
    assert run("-o", tmp_path / "a.csv", "--threshold", 2, "--apertures", "3,6") == 0
    assert run("-o", tmp_path / "b.csv", "--params", tmp_path / "a_csvParams.json") == 0
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()
    assert "FLUX_APER_2" in (tmp_path / "b.csv").read_text()


def test_several_inputs_go_into_a_folder_and_one_failure_does_not_stop_the_rest(
    frame, tiny_model, tmp_path, capsys
):
    (tmp_path / "bad.fits").write_bytes(b"no FITS")
    inputs = ["catalog", str(tmp_path / "bad.fits"), str(frame)]
    options = ["--model", str(tiny_model), "-s", "1", "--tile", "64", "--overlap", "16"]
    assert main([*inputs, "-o", str(tmp_path / "a.csv"), *options]) == 2
    assert "folder" in capsys.readouterr().err
    assert main([*inputs, "-o", str(tmp_path / "out"), *options]) == 1
    assert "bad.fits" in capsys.readouterr().err
    assert (tmp_path / "out" / "night3_catalog.fits").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "a.txt"], "suffix"),
        (["-o", "a.csv", "--threshold", "0"], "threshold"),
        (["-o", "a.csv", "--strength", "0.5"], "strength"),
        (["-o", "a.csv", "--segmentation", "s.png"], "FITS"),
        (["--format", ".doc"], "suffix"),
    ],
)
def test_bad_usage_is_one_line_and_writes_nothing(
    run, tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments, "--quiet") == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert not any(tmp_path.iterdir())


def test_nothing_is_overwritten_without_being_asked(run, tmp_path, capsys):
    assert run("-o", tmp_path / "a.reg") == 0
    assert run("-o", tmp_path / "a.reg") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run("-o", tmp_path / "a.reg", "--overwrite") == 0


@pytest.mark.parametrize("suffix", CATALOG_FORMATS)
def test_a_frame_without_sources_gives_an_empty_catalogue(tmp_path, suffix):
    rng = np.random.default_rng(63_011)
    fits.writeto(tmp_path / "dark.fits", rng.normal(100, 5, (64, 64)).astype(np.float32))
    fits.writeto(tmp_path / "nothing.fits", np.zeros((64, 64), np.float32))
    out = tmp_path / f"a{suffix}"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*zero-size")  # astropy on reading
        assert main(["catalog", str(tmp_path / "dark.fits"), "-o", str(out), "--quiet",
                     "--denoised", str(tmp_path / "nothing.fits")]) == 0  # fmt: skip
        assert len(rows_of(out)) == 0


def test_a_denoised_image_of_other_pixels_or_half_strength_is_refused(
    frame, tiny_model, tmp_path, capsys
):
    half, other = tmp_path / "half.fits", tmp_path / "other.fits"
    quick = ["--model", str(tiny_model), "-s", "1", "--tile", "64", "--overlap", "16"]
    assert main(["denoise", str(frame), "-o", str(half), "--strength", "0.5", *quick]) == 0
    with fits.open(frame) as hdus:
        hdus[0].data = hdus[0].data + 1
        hdus.writeto(other)
    for image, words in ((frame, "has background left"), (other, "other pixels")):
        arguments = ["catalog", str(image), "--denoised", str(half), "--no-verify"]
        assert main([*arguments, "-o", str(tmp_path / "x.csv")]) == 2
        assert words in capsys.readouterr().err
