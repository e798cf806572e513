"""Damaged and hostile files: one clear line that names the file, and no more memory than declared.

Each test is one class of fault that reading many damaged files has found.
"""

import gzip
import io
import json
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from bgrem.config import DenoiseConfig, TrainConfig
from bgrem.denoising.uncertainty import Calibration, load_calibration
from bgrem.frame.truth import read_truth
from bgrem.models import check_description, list_models, read_weights
from bgrem.training.checkpoint import load_checkpoint
from bgrem.training.pairs import read_pair
from common import AstroImage, read_image, write_image
from common.checked.archives import read_arrays
from common.checked.json_files import read_json
from common.fits import geometry
from common.fits.parts import read_headers, read_rows
from common.header import celestial_wcs, header_of
from common.provenance import read_params, tool_of

REPORTS = Path(__file__).parents[2] / "shared" / "reports" / "hostile"


def card(keyword, value):
    return f"{keyword:<8}= {value:>20}".ljust(80).encode()


def header(*cards):
    """A header of whole blocks, from (keyword, value) pairs."""
    raw = b"".join(card(*one) for one in cards) + b"END".ljust(80)
    return raw.ljust(-(-len(raw) // 2880) * 2880)


def image_file(path, *more, bitpix=8, axes=(4, 3), data=None):
    """A FITS file of one image, with further cards."""
    structure = [("SIMPLE", "T"), ("BITPIX", bitpix), ("NAXIS", len(axes))]
    structure += [(f"NAXIS{axis}", length) for axis, length in enumerate(axes, start=1)]
    path.write_bytes(header(*structure, *more) + (bytes(2880) if data is None else data))
    return path


def compressed_file(path, pixels=None, **options):
    pixels = np.arange(320, dtype=np.int16).reshape(20, 16) if pixels is None else pixels
    hdus = [fits.PrimaryHDU(), fits.CompImageHDU(pixels, **options)]
    fits.HDUList(hdus).writeto(path)
    return path


def change_card(path, keyword, value):
    content = path.read_bytes()
    at = content.rindex(keyword.ljust(8).encode() + b"=")
    assert at % 80 == 0
    path.write_bytes(content[:at] + card(keyword, value) + content[at + 80 :])


def refusal(function, path, *arguments):
    """The one line of ValueError with which a file is refused."""
    with pytest.raises(ValueError) as caught:
        function(path, *arguments)
    text = str(caught.value)
    assert Path(path).name in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("NAXIS", 2_000_000_000), ("NAXIS", -1), ("NAXIS", "(1.0, 2.0)"), ("NAXIS1", -4),
        ("NAXIS1", 2.5), ("NAXIS1", "'4'"), ("NAXIS1", "9" * 60), ("NAXIS2", ""), ("BITPIX", 7),
        ("BITPIX", 0), ("GCOUNT", 0), ("PCOUNT", -1), ("NAXIS1", 10**9),
    ],
)  # fmt: skip
def test_an_impossible_geometry_is_refused_at_once(tmp_path, keyword, value):
    path = image_file(tmp_path / "a.fits", ("PCOUNT", 0), ("GCOUNT", 1))
    change_card(path, keyword, value)
    refusal(read_image, path)


def test_a_keyword_without_value_does_not_hide_behind_another(tmp_path):
    path = image_file(tmp_path / "a.fits", ("NAXIS", 2))
    content = bytearray(path.read_bytes())
    content[160:240] = b"NAXIS".ljust(80)
    path.write_bytes(content)
    assert "NAXIS" in refusal(read_image, path)


def test_a_header_without_end_is_refused(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(card("SIMPLE", "T").ljust(28_800))
    assert "END" in refusal(read_image, path)


def test_zeros_that_unpack_to_gigabytes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(geometry, "MAX_TRAILING_BYTES", 1 << 22)
    path = image_file(tmp_path / "a.fits")
    path.write_bytes(gzip.compress(path.read_bytes() + bytes(1 << 23)))
    assert "follow the last HDU" in refusal(read_image, path)


def test_columns_that_no_header_needs_are_not_counted(tmp_path):
    path = tmp_path / "a.fits"
    primary = [("SIMPLE", "T"), ("BITPIX", 8), ("NAXIS", 0), ("TFIELDS", 2147483647)]
    image = [("XTENSION", "'IMAGE   '"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", 4), ("NAXIS2", 3),
             ("PCOUNT", 0), ("GCOUNT", 1)]  # fmt: skip
    path.write_bytes(header(*primary) + header(*image) + bytes(2880))
    assert header_of(read_image(path))["NAXIS1"] == 4


def test_a_text_of_thousands_of_cards_is_left_alone(tmp_path):
    path = image_file(tmp_path / "a.fits")
    text = b"LONGTEXT= 'abc&'".ljust(80) + b"CONTINUE  'abc&'".ljust(80) * 5000
    content = path.read_bytes()
    end = content.index(b"END".ljust(80))
    raw = content[:end] + text + b"END".ljust(80)
    path.write_bytes(raw.ljust(-(-len(raw) // 2880) * 2880) + bytes(2880))
    assert "LONGTEXT" not in header_of(read_image(path))


@pytest.mark.parametrize("keyword", ["A_ORDER", "WCSAXES"])
def test_orders_that_would_fill_the_memory_give_no_positions(keyword):
    wild = fits.Header([("CTYPE1", "RA---TAN-SIP"), ("CTYPE2", "DEC--TAN-SIP"), (keyword, 100_000)])
    assert celestial_wcs(wild) is None


def test_infinite_and_broken_header_values_do_not_hinder_the_other_format(tmp_path):
    path = image_file(
        tmp_path / "a.fits", ("CRVAL1", "1E999"), ("CRPIX2", "(1.0, 2.0)"), ("CD2_2", "'text'"),
        ("CTYPE2", "DEC--TAN"), ("OBJECT", "'M31'"), data=bytes(range(1, 13)).ljust(2880, b"\0"),
    )  # fmt: skip
    write_image(tmp_path / "b.xisf", read_image(path))
    assert header_of(read_image(tmp_path / "b.xisf"))["OBJECT"] == "M31"


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("ZNAXIS1", 1_000_000, "tiles"), ("ZNAXIS2", 19, "tiles"), ("ZTILE1", 3, "tiles"),
        ("ZTILE1", 0, "ZTILE1"), ("ZNAXIS", 999, "ZNAXIS"), ("ZBITPIX", 17, "ZBITPIX"),
        ("ZCMPTYPE", "'LZW'", "ZCMPTYPE"), ("ZVAL1", 0, "ZVAL1"), ("ZVAL2", 8, "ZVAL2"),
        ("NAXIS2", 19, "rows"), ("TFORM1", "'2PB(20)'", "columns"), ("TFORM1", "'1PI(20)'", ""),
        ("THEAP", 10**9, "THEAP"),
    ],
)  # fmt: skip
def test_tiles_that_do_not_fit_the_image_are_refused(tmp_path, keyword, value, words):
    path = compressed_file(tmp_path / "a.fits.fz")
    if keyword == "THEAP":
        change_card(path, "GCOUNT", 1)
        content = path.read_bytes()
        end = content.rindex(b"END".ljust(80))
        content = content[:end] + card("THEAP", value) + b"END".ljust(80) + content[end + 160 :]
        path.write_bytes(content)
    else:
        change_card(path, keyword, value)
    assert words in refusal(read_image, path)


@pytest.mark.parametrize(
    "kind", ["RICE_1", "GZIP_1", "GZIP_2", "PLIO_1", "HCOMPRESS_1", "NOCOMPRESS"]
)
def test_streams_of_any_bytes_end_in_pixels_or_in_one_line(tmp_path, kind):
    pixels = np.arange(320, dtype=np.int16).reshape(20, 16)
    tiles = {"tile_shape": (10, 16)} if kind == "HCOMPRESS_1" else {}
    path = compressed_file(tmp_path / "a.fits.fz", pixels, compression_type=kind, **tiles)
    good, rng, outcomes = path.read_bytes(), np.random.default_rng(1), set()
    with fits.open(path, disable_image_compression=True) as hdus:
        heap = hdus[1].fileinfo()["datLoc"] + hdus[1].header["NAXIS1"] * hdus[1].header["NAXIS2"]
        end = heap + hdus[1].header["PCOUNT"]
    for _ in range(60):
        content = bytearray(good)
        for place in rng.integers(heap, end, rng.integers(1, 30)):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        try:
            found = read_image(path, verify=False)
            assert found.shape == (20, 16, 1)
            outcomes.add("read")
        except ValueError as error:
            assert "a.fits.fz: HDU 1" in str(error)
            outcomes.add("refused")
    assert outcomes


def test_a_descriptor_outside_of_the_heap_is_refused(tmp_path):
    path = compressed_file(tmp_path / "a.fits.fz")
    with fits.open(path, disable_image_compression=True) as hdus:
        table = hdus[1].fileinfo()["datLoc"]
    content = bytearray(path.read_bytes())
    content[table + 4 : table + 8] = (2**31 - 1).to_bytes(4, "big")
    path.write_bytes(content)
    assert "heap" in refusal(read_image, path)


def test_compressed_images_have_the_pixels_that_astropy_finds(tmp_path):
    rng = np.random.default_rng(4)
    sky = rng.normal(1000, 10, (33, 21)).astype(np.float32)
    sky[5, 6] = np.nan
    for number, (kind, method, tile) in enumerate(
        [("RICE_1", 1, (5, 7)), ("RICE_1", 2, None), ("GZIP_2", -1, None), ("HCOMPRESS_1", 1, None)]
    ):
        path = compressed_file(
            tmp_path / f"{number}.fits.fz", sky, compression_type=kind, quantize_level=8,
            quantize_method=method, dither_seed=42, tile_shape=tile,
        )  # fmt: skip
        expected = fits.getdata(path, 1)
        np.testing.assert_array_equal(read_image(path).pixels[..., 0], expected)


@pytest.mark.skipif(not REPORTS.is_dir(), reason="needs the reported files")
@pytest.mark.parametrize("path", sorted(REPORTS.glob("*.f*")), ids=lambda path: path.name)
def test_reported_files_are_refused_or_read(path):
    for _ in range(5):
        try:
            assert read_image(path, verify=False).shape
        except ValueError as error:
            assert path.name in str(error)


XISF = '<?xml version="1.0"?><xisf version="1.0" xmlns="http://www.pixinsight.com/xisf">{}</xisf>'


def xisf_file(path, image, block=bytes(24)):
    text = XISF.format(image.replace("@", f"attachment:4096:{len(block)}")).encode()
    start = b"XISF0100" + len(text).to_bytes(4, "little") + bytes(4) + text
    path.write_bytes(start.ljust(4096, b"\0") + block)
    return path


@pytest.mark.parametrize(
    "attributes",
    [
        'geometry="99999999:99999999:1" compression="zstd:79999998400000008" location="@"',
        f'geometry="{"9" * 5000}:3:1" location="@"', 'geometry="4:3:1" location="attachment:0:9e9"',
        'geometry="100000:100000:1" compression="zlib:20000000000" location="@"',
    ],
)  # fmt: skip
def test_xisf_blocks_of_impossible_size_are_refused_before_memory_is_taken(tmp_path, attributes):
    path = xisf_file(tmp_path / "a.xisf", f'<Image sampleFormat="UInt16" {attributes}/>')
    tracemalloc.start()
    refusal(read_image, path)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["CRPIX2", "CD1_1", "CDELT2", "PC2_2", "A_0_2"])
@pytest.mark.parametrize("value", ["'text'", "T", "", "9" * 400, "(1.0, 2.0)"])
def test_odd_keyword_values_of_xisf_do_not_hinder_the_conversion(tmp_path, name, value):
    words = '<FITSKeyword name="CTYPE2" value="\'DEC--TAN\'" comment=""/>'
    words += '<FITSKeyword name="CDELT1" value="-1" comment=""/>'
    words += '<FITSKeyword name="ROWORDER" value="\'BOTTOM-UP\'" comment=""/>'
    words += f'<FITSKeyword name="{name}" value="{value}" comment=""/>'
    path = xisf_file(
        tmp_path / "a.xisf",
        f'<Image geometry="4:3:1" sampleFormat="UInt16" location="@">{words}</Image>',
    )
    write_image(tmp_path / "b.fits", read_image(path, zeros="data"))
    assert read_image(tmp_path / "b.fits", zeros="data").shape == (3, 4, 1)


def test_infinite_plate_solutions_are_left_out_with_a_warning(tmp_path):
    matrix = np.array([[np.inf, 0], [0, 1.0]]).tobytes().hex()
    both = np.array([1.0, 2.0]).tobytes().hex()
    solution = "".join(
        f'<Property id="PCL:AstrometricSolution:{name}" type="F64{kind}" {size} '
        f'location="inline:hex">{text}</Property>'
        for name, kind, size, text in (
            ("ReferenceCelestialCoordinates", "Vector", 'length="2"', both),
            ("ReferenceImageCoordinates", "Vector", 'length="2"', both),
            ("LinearTransformationMatrix", "Matrix", 'rows="2" columns="2"', matrix),
        )
    )
    tag = f'<Image geometry="4:3:1" sampleFormat="UInt16" location="@">{solution}</Image>'
    path = xisf_file(tmp_path / "a.xisf", tag)
    with pytest.warns(UserWarning, match="infinite"):
        assert "CRVAL1" not in header_of(read_image(path))


@pytest.mark.parametrize(
    "text",
    ['{"a": 1, "a": 2}', "[" * 100_000, '{"a": 1e999}', '{"a": ' + "9" * 5000 + "}", '"\\ud800"',
     "{", "", "\ufeff{}", '{"a": NaN}', "\xff"],
)  # fmt: skip
def test_json_that_would_be_misread_is_refused(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("latin-1" if text == "\xff" else "utf-8"))
    refusal(read_json, path, "is not JSON")


@pytest.mark.parametrize("content", ["[]", "3", '{"tool": 3}', '{"parameters": []}', "null"])
def test_parameter_files_of_another_shape_are_refused(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content)
    refusal(read_params, path, "denoise")


@pytest.mark.parametrize(
    "change",
    [{"epochs": "many"}, {"epochs": 2.5}, {"learning_rate": -1}, {"files": "a"}, {"ratios": ["a"]},
     {"no such": 1}, {"precision": 6}],
)  # fmt: skip
def test_training_configs_with_other_types_are_refused(tmp_path, change):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(change))
    refusal(TrainConfig.read, path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sha256", 3), ("sha256", "a" * 63), ("network", "narrow"), ("network", {"name": 3}),
        ("network", {"name": "attention_unet", "widths": [10**9]}), ("schedule", []),
        ("schedule", {"min_signal": "low"}), ("tile", "128"), ("tile", True), ("tile", 0),
        ("domain", {"fwhm_px": ["a", 1]}), ("ratios", [1]), ("background", ["smooth"]),
    ],
)  # fmt: skip
def test_cards_with_other_types_are_refused(key, value):
    with pytest.raises(ValueError, match=rf"here.json.*{key}"):
        check_description(list_models()["optical"] | {key: value}, "here.json")


def test_all_cards_of_the_package_are_accepted():
    for name, description in list_models().items():
        assert check_description(description, name) is description


@pytest.fixture
def calibration():
    return list_models()["optical"]["uncertainty"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("spread", [0.0] * 10), ("spread", ["1"] * 10), ("middle", [1e300] * 10), ("weights", [[]]),
     ("centres", []), ("centres", [2, 1]), ("settings", 3), ("notes", []), ("shifts", None)],
)  # fmt: skip
def test_calibrations_with_other_numbers_are_refused(tmp_path, calibration, key, value):
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(calibration | {key: value}))
    refusal(lambda file: load_calibration(DenoiseConfig(), {}, file), path)


def test_widths_are_finite_for_every_calibration_that_is_accepted(calibration):
    wild = calibration | {"weights": [[1e6] * 21] * 2, "spread": [1e-7] * 10}
    found = Calibration.from_json(wild, "here")
    assert np.isfinite(found.half_widths(np.full((10, 3), 20.0), np.array([0, 1, 1e9]))).all()


def archive(path, **members):
    """A zip archive of raw members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def array_member(text, data=b""):
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode() + data


def test_archives_that_declare_more_than_they_hold_take_no_memory(tmp_path):
    text = "{'descr': '<f8', 'fortran_order': False, 'shape': (25000000000,), }"
    path = archive(tmp_path / "a.npz", a=array_member(text, bytes(8)))
    tracemalloc.start()
    assert "shape needs" in refusal(read_arrays, path, str(path))
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    ["{'descr': 'O', 'fortran_order': False, 'shape': (1,), }", "{'descr': '<f8'", "",
     "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }",
     "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
     "{'descr': '<f8', 'fortran_order': 1, 'shape': (1,), }",
     "{'descr': '<f1', 'fortran_order': False, 'shape': (8,), }"],
)  # fmt: skip
def test_members_that_are_no_plain_arrays_are_refused(tmp_path, text):
    refusal(read_arrays, archive(tmp_path / "a.npz", a=array_member(text, bytes(8))), "a.npz")


def test_every_cut_and_every_changed_byte_of_an_archive_is_one_line(tmp_path):
    packed = io.BytesIO()
    np.savez_compressed(packed, a=np.arange(6.0), b=np.array("text"))
    good, path = packed.getvalue(), tmp_path / "a.npz"
    for place in range(0, len(good), 3):
        for content in (good[:place], good[:place] + b"\x07" + good[place + 1 :]):
            path.write_bytes(content)
            try:
                found = read_arrays(path, str(path))
            except ValueError as error:
                assert "a.npz" in str(error)
            else:
                assert all(isinstance(array, np.ndarray) for array in found.values())


def test_arrays_come_back_as_they_were_saved(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "f": np.asfortranarray(np.eye(3, 4, dtype=">i2")),
              "t": np.array("αβ"), "z": np.zeros((0, 3)), "s": np.array(True)}  # fmt: skip
    np.savez(tmp_path / "a.npz", **arrays)
    found = read_arrays(tmp_path / "a.npz", "a.npz")
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_weights_that_are_no_finite_floats_are_refused(tmp_path):
    import hashlib

    np.savez(tmp_path / "weights.npz", kernel=np.array([1.0, np.nan], np.float16))
    sha256 = hashlib.sha256((tmp_path / "weights.npz").read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=r"weights.npz.*finite"):
        read_weights(tmp_path, {"sha256": sha256})


@pytest.mark.parametrize(
    "state",
    ["[]", '{"epoch": "one", "best_loss": 1, "best_epoch": 0, "history": []}',
     '{"epoch": 1, "best_loss": NaN, "best_epoch": 0, "history": []}',
     '{"epoch": 1, "best_loss": 1, "best_epoch": 0, "history": [3]}',
     '{"epoch": 1, "best_loss": 1, "best_epoch": 0, "history": [], "more": 1}', "{"],
)  # fmt: skip
def test_checkpoints_with_another_state_are_refused(tmp_path, state):
    path = tmp_path / "checkpoint.npz"
    np.savez(path, state=np.array(state))
    refusal(load_checkpoint, path)


@pytest.mark.parametrize(
    "arrays",
    [{"clean": np.array("text"), "observed": np.ones((2, 2))}, {"clean": np.ones(3)},
     {"clean": np.ones((2, 2)), "observed": np.ones((2, 3))},
     {"clean": np.ones((2, 2)), "background": np.ones((2, 2)), "noise": np.ones((5, 2))}],
)  # fmt: skip
def test_pairs_of_other_shapes_and_types_are_refused(tmp_path, arrays):
    np.savez(tmp_path / "pair.npz", **arrays)
    refusal(read_pair, tmp_path / "pair.npz")


def test_a_dataset_larger_than_any_memory_is_refused(tmp_path):
    import h5py

    with h5py.File(tmp_path / "pair.h5", "w") as file:
        file.create_dataset("clean", (10**6, 10**6), "f4", chunks=(8, 8))
    assert "declares" in refusal(read_pair, tmp_path / "pair.h5")


def test_a_catalogue_with_other_columns_is_refused(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("X_IMAGE", "3A", array=["a"])])
    table.name = "CATALOGUE"
    image = fits.ImageHDU(np.zeros((3, 3)), name="SOURCES")
    fits.HDUList([fits.PrimaryHDU(), image, table]).writeto(tmp_path / "truth.fits")
    assert "Y_IMAGE" in refusal(read_truth, tmp_path / "truth.fits")


def test_rows_and_headers_of_a_table_are_those_of_the_file(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("x", "J", array=[1, 2, 3])])
    table.header["BGTOOL"] = "bgrem catalog"
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "a.fits")
    rows = read_rows(tmp_path / "a.fits")
    assert rows.tobytes() == np.array([1, 2, 3], ">i4").tobytes()
    assert read_headers(tmp_path / "a.fits")[1]["BGTOOL"] == "bgrem catalog"
    change_card(tmp_path / "a.fits", "TFORM1", 2**63)
    assert len(read_rows(tmp_path / "a.fits")) == 3


def test_members_with_names_that_no_line_can_show_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **{"a\nb": np.arange(3)})
    refusal(read_arrays, path, str(path))


def test_a_damaged_file_in_a_folder_has_no_tool(tmp_path):
    path = image_file(tmp_path / "a.fits", ("BGTOOL", "'bgrem'"))
    assert tool_of(path) == "bgrem"
    change_card(path, "NAXIS", 2_000_000_000)
    assert tool_of(path) is None


def test_a_good_image_is_still_read(tmp_path):
    write_image(tmp_path / "a.fits", AstroImage(np.arange(12, dtype=np.float32).reshape(3, 4)))
    assert read_image(tmp_path / "a.fits", zeros="data").pixels.sum() == 66
