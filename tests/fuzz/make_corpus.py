"""Makes tests/fuzz/corpus: small files of every kind that the packages read.

    python tests/fuzz/make_corpus.py

The files are committed, so that an input number means the same mutation on every machine.
"""

import gzip
import io
import json
import sys
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]
CORPUS = Path(__file__).with_name("corpus")
SHAPE = (17, 13)


def sky(dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.normal(100, 5, SHAPE)
    pixels[:4, :5] = 0
    return pixels.astype(dtype)


def rich_header():
    header = fits.Header()
    for key, value in {
        "OBJECT": "M31", "EXPTIME": 30.0, "GAIN": 1.5, "SATURATE": 60000, "CTYPE1": "RA---TAN-SIP",
        "CTYPE2": "DEC--TAN-SIP", "CRVAL1": 10.0, "CRVAL2": 41.0, "CRPIX1": 6.5, "CRPIX2": 8.0,
        "CD1_1": -1e-4, "CD1_2": 2e-6, "CD2_1": 2e-6, "CD2_2": 1e-4, "A_ORDER": 2, "B_ORDER": 2,
        "A_0_2": 1e-6, "B_2_0": -2e-6, "DATE-OBS": "2026-01-02T03:04:05", "BAYERPAT": "RGGB",
        "HIERARCH ESO DET GAIN": 1.2, "LONGTEXT": "x" * 90,
    }.items():  # fmt: skip
        header[key] = value
    header.add_history("made by hand")
    return header


def save(name, hdus, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits.HDUList(hdus).writeto(CORPUS / name, overwrite=True, **options)


def make_fits():
    header = rich_header()
    save("float.fits", [fits.PrimaryHDU(sky(), header)])
    unsigned = fits.PrimaryHDU(sky(np.uint16), header)
    save("unsigned.fits", [unsigned])
    blank = fits.PrimaryHDU(sky(np.int16))
    blank.header["BLANK"] = 0
    save("blank.fits", [blank])
    cube = np.stack([sky(seed=one) for one in range(3)])
    table = fits.BinTableHDU.from_columns(
        [fits.Column("x", "D", array=np.arange(3.0)), fits.Column("name", "3A", array=["a"] * 3)],
        name="CAT",
    )
    images = [fits.PrimaryHDU(), fits.ImageHDU(cube, header, name="SCI"), table]
    save("cube.fits", images, checksum=True)
    packed = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(sky(np.int32), header)]).writeto(packed)
    (CORPUS / "packed.fits.gz").write_bytes(gzip.compress(packed.getvalue(), mtime=0))
    kinds = {
        "gzip1": (sky(), {"compression_type": "GZIP_1", "quantize_level": 0}),
        "gzip2": (sky(np.float64), {"compression_type": "GZIP_2", "quantize_level": 0}),
        "rice": (sky(np.int16), {"compression_type": "RICE_1"}),
        "quantised": (
            sky(seed=2),
            {"compression_type": "RICE_1", "quantize_level": 8, "quantize_method": 1,
             "dither_seed": 7, "tile_shape": (5, 13)},
        ),
        "plio": ((sky() > 100).astype(np.int16), {"compression_type": "PLIO_1"}),
        "hcompress": (sky(np.int32), {"compression_type": "HCOMPRESS_1", "tile_shape": (8, 13)}),
    }  # fmt: skip
    for name, (pixels, options) in kinds.items():
        if name == "hcompress":
            pixels = pixels[:16]
        save(f"{name}.fits.fz", [fits.PrimaryHDU(), fits.CompImageHDU(pixels, header, **options)])


def make_xisf():
    from xisf_files import build, picture

    from common import AstroImage, write_image

    keywords = [("EXPTIME", 30.0, "s"), ("OBJECT", "M31", ""), ("BAYERPAT", "RGGB", "")]
    keywords += [
        (key, value, "")
        for key, value in rich_header().items()
        if key[:2] in ("CR", "CD", "CT", "A_", "B_")
    ]
    image = AstroImage(sky(), cards=keywords, history=["made by hand"])
    write_image(CORPUS / "float.xisf", image, overwrite=True)
    color = AstroImage(np.stack([sky(seed=one) for one in range(3)], -1), cards=keywords)
    write_image(CORPUS / "color.xisf", color, overwrite=True, compress=True)
    numbers = sky(np.uint16)[:3, :4]
    solution = "".join(
        f'<Property id="PCL:AstrometricSolution:{name}" type="F64Vector" length="2" '
        f'location="@{place}"/>'
        for place, name in enumerate(
            ("ReferenceCelestialCoordinates", "ReferenceImageCoordinates"), start=1
        )
    )
    solution += (
        '<Property id="PCL:AstrometricSolution:LinearTransformationMatrix" type="F64Matrix" '
        'rows="2" columns="2" location="@3"/><Property id="Instrument:ExposureTime" '
        'type="Float32" value="30"/><Property id="Observation:Object:Name" type="String">M 31'
        "</Property>"
    )
    blocks = [numbers.tobytes(), np.array([10.0, 41.0]).tobytes(), np.array([2.0, 1.5]).tobytes()]
    blocks.append(np.array([[-1e-4, 2e-6], [2e-6, 1e-4]]).tobytes())
    (CORPUS / "properties.xisf").write_bytes(build(picture(children=solution), *blocks))
    body = picture(f'location="inline:hex">{numbers.tobytes().hex()}</Image><!--').replace(
        "></Image>", "-->"
    )
    (CORPUS / "inline.xisf").write_bytes(build(body))


def save_npz(name, **arrays):
    with open(CORPUS / name, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def make_archives():
    half = {"conv/kernel": sky(np.float16), "conv/bias": sky(np.float16)[0]}
    save_npz("weights.npz", **half)
    row = {"epoch": 1, "loss": 0.5, "validation_loss": 0.4, "learning_rate": 1e-3, "seconds": 2.0}
    state = {"epoch": 1, "best_loss": 0.4, "best_epoch": 1, "history": [row]}
    np.savez(
        CORPUS / "checkpoint.npz",
        **{
            "weight:conv/kernel": sky(),
            "optimizer:0": np.array(3),
            "optimizer:1": sky(),
            "state": np.array(json.dumps(state)),
        },
    )
    save_npz("field.npz", clean=sky(), background=sky(seed=1), electrons=30.0, photons=900.0)
    save_npz("pair.npz", observed=sky(), clean=sky(seed=1))
    save(
        "pair.fits",
        [fits.PrimaryHDU(), fits.ImageHDU(sky(), name="OBSERVED"),
         fits.CompImageHDU(sky(seed=1), name="CLEAN", quantize_level=0, compression_type="GZIP_2")],
    )  # fmt: skip


def make_reference():
    from bgrem.frame.truth import TRUTH_COLUMNS

    columns = [
        fits.Column(
            name, form, array=np.array(["star"] * 2) if form[-1] == "A" else np.array([3.5, 7.0])
        )
        for name, _, form, _ in TRUTH_COLUMNS
    ]
    table = fits.BinTableHDU.from_columns(columns, name="CATALOGUE")
    save("truth.fits", [fits.PrimaryHDU(), fits.ImageHDU(sky(), name="SOURCES"), table])
    hdus = [fits.ImageHDU(sky(seed=n), name=name) for n, name in enumerate(("BKG", "RESIDUAL"))]
    save("bundle.fits", [fits.PrimaryHDU(), fits.ImageHDU(sky(seed=3), name="SCI"), *hdus])


def make_json():
    from bgoptimizer.config import BackgroundConfig
    from bgrem.config import DenoiseConfig
    from bgrem.models import read_description
    from common.provenance import write_params

    for tool, config in (("denoise", DenoiseConfig), ("bgoptimizer", BackgroundConfig)):
        parameters = {name: value for name, value in vars(config()).items()}
        write_params(CORPUS / f"{tool}_params.json", tool, "1", "night.fits", parameters,
                     overwrite=True)  # fmt: skip
    card = read_description("optical")
    calibration = card.pop("uncertainty")
    calibration["notes"]["coverage"] = calibration["notes"]["coverage"][:2]
    for name, content in (("card.json", card), ("calibration.json", calibration)):
        text = json.dumps(content, ensure_ascii=False)
        (CORPUS / name).write_text(text, "utf-8")
    (CORPUS / "config.json").write_text(json.dumps(card["training"]["config"]), "utf-8")


if __name__ == "__main__":
    CORPUS.mkdir(exist_ok=True)
    make_fits()
    make_xisf()
    make_archives()
    make_reference()
    make_json()
    files = sorted(CORPUS.iterdir())
    print(f"{len(files)} files, {sum(one.stat().st_size for one in files)} bytes")
