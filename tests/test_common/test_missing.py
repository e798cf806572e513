"""Which pixels count as missing: fill values of every kind, and what only looks like them."""

import warnings

import numpy as np
import pytest

from common import AstroImage, read_image, write_image
from common.io import mark_missing
from common.reading.missing import find_missing
from common.reading.notice import FileWarning

SIDE = 256  # px
Y, X = np.mgrid[:SIDE, :SIDE]
AREAS = {
    "column": X < 1,
    "row": Y >= SIDE - 1,
    "border": X < 16,
    "frame": np.maximum(np.abs(X - 127.5), np.abs(Y - 127.5)) > 120,
    "corners": (X + Y < 70) | (X + Y > 440),
    "hole": (np.abs(X - 100) < 12) & (np.abs(Y - 80) < 5),
    "round hole": (X - 150) ** 2 + (Y - 60) ** 2 < 30,
    "dead column": X == 77,
    "most of the frame": X + Y > 180,
}
VALUES = {
    "lowest float": -3.4028235e38, "-1e30": -1e30, "-9999": -9999, "-32768": -32768, "-1": -1,
    "1": 1, "100": 100,
}  # fmt: skip


def field(*, noise: float = 10.0, stars: int = 60, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = 1000 + 200 * (X / SIDE + 0.5 * Y / SIDE) + rng.normal(0, noise, X.shape)
    for _ in range(stars):
        x, y = rng.uniform(5, SIDE - 5, 2)
        image += 10 ** rng.uniform(1.5, 3.5) * np.exp(-((X - x) ** 2 + (Y - y) ** 2) / 4.5)
    return image.astype(np.float32)


def flat_field() -> np.ndarray:
    return field() - (200 * (X / SIDE + 0.5 * Y / SIDE)).astype(np.float32)


def missing(pixels: np.ndarray, zeros: str = "border") -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FileWarning)
        return mark_missing(AstroImage(pixels.copy()), zeros).missing[..., 0]


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("area", AREAS.values(), ids=AREAS)
@pytest.mark.parametrize("integers", [False, True], ids=["floats", "integers"])
def test_areas_of_one_value_are_missing(area: np.ndarray, value: float, integers: bool) -> None:
    image = np.round(field()) if integers else field()
    found = missing(np.where(area, np.float32(value), image))
    np.testing.assert_array_equal(found, area)


@pytest.mark.parametrize("area", AREAS.values(), ids=AREAS)
def test_two_fill_values_and_colours(area: np.ndarray) -> None:
    pixels = np.stack([field(seed=seed) for seed in (1, 2, 3)], -1)
    pixels[area] = (1, 2, 3)
    pixels[:5, :5] = -7
    zero, filled, values = find_missing(pixels, "border")
    assert zero is None
    np.testing.assert_array_equal(filled, np.broadcast_to(
        (area | ((X < 5) & (Y < 5)))[..., None], pixels.shape))  # fmt: skip
    assert values == (-7, 1, 2, 3)


def test_fill_value_near_the_sky() -> None:
    found = missing(np.where(AREAS["corners"], np.float32(1090), field()))
    assert not (found & ~AREAS["corners"]).any()
    assert found.sum() > 0.99 * AREAS["corners"].sum()  # not the tips of a triangle


def test_bright_fill_values() -> None:
    for name in ("border", "frame", "corners", "hole"):
        image = field()
        image[200, 200] = 70000
        found = missing(np.where(AREAS[name], np.float32(65535), image))
        np.testing.assert_array_equal(found, AREAS[name], err_msg=name)


def test_normalised_image() -> None:
    found = missing(np.where(AREAS["corners"], np.float32(0.001), field() / 65535))
    np.testing.assert_array_equal(found, AREAS["corners"])


def test_marked_single_pixels() -> None:
    image = field()
    bad = np.random.default_rng(3).random(image.shape) < 0.001
    np.testing.assert_array_equal(missing(np.where(bad, np.float32(-9999), image)), bad)


def test_holes_of_zeros_are_written_as_zeros(tmp_path) -> None:
    write_image(tmp_path / "a.fits", AstroImage(np.where(AREAS["hole"], 0, field())))
    image = read_image(tmp_path / "a.fits")  # no line: zeros are the usual mark
    np.testing.assert_array_equal(image.missing[..., 0], AREAS["hole"])
    write_image(tmp_path / "b.fits", image)
    again = read_image(tmp_path / "b.fits", zeros="data").pixels[..., 0]
    assert (again[AREAS["hole"]] == 0).all()


def saturated(image: np.ndarray, level: float) -> np.ndarray:
    for x, y, width in ((60, 60, 8), (3, 120, 6), (180, 255, 5)):
        image = image + 1e6 * np.exp(-((X - x) ** 2 + (Y - y) ** 2) / width**2)
    image[:, 178:181] += 1e6 * (np.abs(Y[:, 178:181] - 200) < 60)  # a bleeding column
    image[100:, 58:61] += 1e6  # one that reaches the edge
    return np.minimum(image, level)


NOT_MISSING = {
    "saturated": saturated(field(), 65535),
    "saturated, two levels": np.where(
        X < 128, saturated(field(), 60000), saturated(field(), 65535)
    ),
    "clipped at the sky": np.maximum(flat_field(), 1000),
    "clipped below the sky": np.maximum(flat_field(), 995),
    "clipped above the sky": np.maximum(flat_field(), 1005),
    "clipped, denoised": np.maximum(field(noise=0.01) - 1100, 20),
    "little noise, integers": np.round(field(noise=0.4, stars=20)),
    "no noise, integers": np.round(field(noise=0)),
    "counts": np.random.default_rng(1).poisson(0.3, X.shape).astype(np.float32),
    "counts, more": np.random.default_rng(1).poisson(1.5, X.shape).astype(np.float32),
    "no noise, flat sky": field(noise=0) - (field(noise=0, stars=0) - 1000),
    "one row": np.arange(300, dtype=np.float32)[None],
    "constant": np.full((40, 50), 7, np.float32),
    "two values": np.where(X < 100, np.float32(1), np.float32(2)),
    "steep": np.exp(X / 20).astype(np.float32),
    "tiny numbers": field() * np.float32(1e-20),
    "large numbers": field() * np.float32(1e20),
}


@pytest.mark.parametrize("image", NOT_MISSING.values(), ids=NOT_MISSING)
def test_measured_pixels_stay(image: np.ndarray) -> None:
    assert not missing(image).any()


def test_data_takes_all_numbers_as_they_are() -> None:
    assert not missing(np.where(AREAS["border"], np.float32(-9999), field()), "data").any()


def test_the_line_names_file_number_and_value(tmp_path) -> None:
    pixels = np.where(AREAS["border"], np.float32(-9999), field())
    path = tmp_path / "night.fits"
    write_image(path, AstroImage(pixels))
    with pytest.warns(FileWarning, match="4096 pixels hold -9999 .*--zeros data") as found:
        image = read_image(path)
    assert len(found) == 1
    assert str(found[0].message).startswith(str(path))
    assert int(image.missing.sum()) == 4096
