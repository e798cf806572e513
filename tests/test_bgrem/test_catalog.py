"""The two-step catalogue: what is measured, and on which pixels."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree
from sextractor import detect_with_sextractor

from bgrem import CatalogConfig, Denoised, catalog
from bgrem.cataloguing.blends import CORE_BETA, SharedLight
from bgrem.cataloguing.columns import CATALOG_COLUMNS
from bgrem.cataloguing.flow import ENGINES
from bgrem.frame import detect, sextractor_run
from bgrem.frame.exposure import find_exposure
from bgrem.frame.sources import Frame, number_anew
from bgrem.simulate.optical import simulate_field
from bgrem.simulate.write import magnitude_zero_point
from common.image import AstroImage

NEEDS_SEXTRACTOR = pytest.mark.skipif(
    sextractor_run.find_sextractor() is None,
    reason=f"SExtractor: {sextractor_run.INSTALL_SEXTRACTOR}",
)
SIGMA = 7.0  # ADU; of the MeerLICHT preset's sky


def denoised_as(pixels, background=0.0, sigma=SIGMA):
    """Return a `Denoised` with given sources, in place of a network's."""
    pixels = np.asarray(pixels, float)[..., None]
    level, noise = np.full_like(pixels, background), np.full_like(pixels, sigma)
    image = AstroImage(pixels)
    return Denoised(image, image.with_pixels(level), image.with_pixels(0 * pixels), noise)


@pytest.fixture(scope="module")
def field():
    return simulate_field(shape=(440, 420), seed=63_001, stars=900.0, galaxies=100.0)


@pytest.fixture(scope="module")
def perfect(field):
    """The denoised image as a perfect network would give it."""
    done = denoised_as(field.sources)
    level = field.background[..., None]
    return dataclasses.replace(done, background=AstroImage(level))


@pytest.fixture(scope="module")
def found(field, perfect):
    gain = field.instrument.gain
    return catalog(field.observed, done=perfect, gain=gain, zero_point=magnitude_zero_point(field))


def stars_of(field, table, faintest):
    """Return (row of the table, row of the truth) of isolated stars."""
    truth = field.catalogue
    bright = np.flatnonzero((truth["kind"] == "star") & (truth["snr"] > faintest))
    places = np.column_stack([truth["x"], truth["y"]])
    lonely = cKDTree(places[truth["snr"] > 4]).query(places[bright], 2)[0][:, 1] > 9
    inside = (places[bright] > 15).all(1) & (places[bright] < 405).all(1)
    bright = bright[lonely & inside]
    ours = np.column_stack([table["X_DENOISED"] - 1, table["Y_DENOISED"] - 1])
    distance, row = cKDTree(ours).query(places[bright])
    return row[distance < 1], bright[distance < 1]


def moffat(shape, x, y, flux, fwhm):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    square = ((rows - y) ** 2 + (columns - x) ** 2) / (fwhm / 2) ** 2
    profile = (1 + (2 ** (1 / CORE_BETA) - 1) * square) ** -CORE_BETA
    return flux * profile / profile.sum()


def test_positions_are_fits_pixels_of_the_original_and_the_magnitudes_true(field, found):
    rows, stars = stars_of(field, found.table, 30)
    assert len(rows) > 20
    truth = field.catalogue
    for x, y in (("XWIN_IMAGE", "YWIN_IMAGE"), ("X_IMAGE", "Y_IMAGE")):
        dx = found.table[x][rows] - 1 - truth["x"][stars]
        dy = found.table[y][rows] - 1 - truth["y"][stars]
        assert np.median(np.hypot(dx, dy)) < 0.2
        assert abs(np.median(dx)) < 0.05  # half a pixel would be another convention
        assert abs(np.median(dy)) < 0.05
    magnitudes = magnitude_zero_point(field) - 2.5 * np.log10(truth["flux"][stars])
    # the Kron ellipse holds some 95 % of a star
    assert np.median(found.table["MAG_AUTO"][rows] - magnitudes) == pytest.approx(0.05, abs=0.05)


def test_errors_of_fluxes_are_what_fluxes_scatter_by(field, found):
    rows, stars = stars_of(field, found.table, 10)
    aperture = 1  # 10 px
    ratio = found.table["FLUX_APER"][rows, aperture] / field.catalogue["flux"][stars]
    error = found.table["FLUXERR_APER"][rows, aperture] / field.catalogue["flux"][stars]
    pull = (ratio - np.median(ratio)) / error
    assert 1.4826 * np.median(abs(pull)) == pytest.approx(1, abs=0.35)  # of some 60 stars


def test_fluxes_are_the_original_s_whatever_the_denoised_image_says(field, perfect, found):
    twice = dataclasses.replace(perfect, result=AstroImage(2 * perfect.result.pixels))
    other = catalog(field.observed, done=twice, threshold=2.0, gain=field.instrument.gain)
    assert len(other.table) == len(found.table)
    rows, _ = stars_of(field, found.table, 30)
    aper = [one.table["FLUX_APER"][rows, 0] for one in (found, other)]
    assert aper[1] == pytest.approx(aper[0], rel=1e-2)  # blends are shared by other cores
    ratio = other.table["DENOISED_RATIO"][rows] / found.table["DENOISED_RATIO"][rows]
    assert np.median(ratio) == pytest.approx(2, rel=0.02)
    assert (other.table["DENOISED_FLAG"][rows] & 1).all()
    # the noise is some ten per cent more than what this denoised image was said to have
    assert np.mean(found.table["DENOISED_FLAG"][rows] & 1) < 0.1


def test_a_source_that_is_not_in_the_original_is_flagged():
    rng = np.random.default_rng(63_002)
    dreamt = moffat((80, 80), 40, 40, 5000, 4)
    table = catalog(rng.normal(0, SIGMA, (80, 80)), done=denoised_as(dreamt)).table
    assert len(table) == 1
    assert table["DENOISED_FLAG"][0] & 1
    assert abs(table["SNR_WIN"][0]) < 5


@pytest.mark.parametrize("separation", [7.0, 8.5, 10.0])
def test_blended_sources_get_their_own_light(separation):
    parts = [moffat((90, 90), 40, 45, 8000, 4), moffat((90, 90), 40 + separation, 45, 3000, 4)]
    rng = np.random.default_rng(63_003)
    observed = sum(parts) + rng.normal(0, 1, (90, 90))
    table = catalog(observed, done=denoised_as(sum(parts), sigma=1.0), apertures=(6.0,)).table
    alone = catalog(parts[0] + 0, done=denoised_as(parts[0], sigma=1.0), apertures=(6.0,)).table
    share = float(alone["FLUX_APER"][0, 0]) / 8000
    assert len(table) == 2
    order = np.argsort(table["X_DENOISED"])
    assert table["FLUX_APER"][order, 0] / share == pytest.approx([8000, 3000], rel=0.04)
    assert (table["FLAGS"] & 2).all()


def test_all_denoised_light_is_shared_and_none_twice(field, perfect):
    zero = np.zeros(field.sources.shape)
    frame = Frame.of(zero, field.sources, zero + SIGMA, None)
    _, segmentation = detect.extract_with_sep(field.sources / SIGMA, 1.0, kernel=None)
    total = np.zeros(field.sources.shape)
    for _, window, _, share in SharedLight(frame, segmentation).alone():
        total[window] += share
    inside = segmentation > 0
    assert total[inside] == pytest.approx(frame.denoised[inside], rel=1e-6)


def test_a_source_without_pixels_of_its_own_is_left_out_and_the_rest_numbered_anew():
    segmentation = np.array([[0, 1, 1], [3, 3, 4]])
    kept, anew = number_anew(segmentation, 5)
    assert kept.tolist() == [True, False, True, True, False]
    assert anew.tolist() == [[0, 1, 1], [2, 2, 3]]


def test_saturated_cut_off_and_missing_sources_have_their_bits():
    light = sum(moffat((100, 100), x, y, 9000, 4) for x, y in ((20, 20), (50, 1), (75, 70)))
    light += moffat((100, 100), 25, 75, 4000, 4)
    observed = light + 100
    observed[68, 73] = np.nan
    done = denoised_as(np.where(np.isnan(observed), np.nan, light), 100, 1.0)
    table = catalog(observed, done=done, saturate=100 + 0.9 * light[20, 20]).table
    x, y, flags = (np.asarray(table[n]) for n in ("X_DENOISED", "Y_DENOISED", "FLAGS"))

    def bits(column, row):
        return flags[np.argmin(np.hypot(x - 1 - column, y - 1 - row))]

    assert bits(20, 20) == 4
    assert bits(50, 1) & 24 == 24
    assert bits(75, 70) & 16
    assert bits(25, 75) == 0


def test_the_width_of_a_gaussian_is_its_own():
    y, x = np.mgrid[:60, :60]
    star = 500 * np.exp(-((x - 30.2) ** 2 + (y - 29.7) ** 2) / (2 * 2.0**2))
    table = catalog(star, done=denoised_as(star, sigma=1.0)).table
    assert table["FWHM_IMAGE"][0] == pytest.approx(2.3548 * 2.0, rel=0.01)
    assert table["FLUX_RADIUS"][0] == pytest.approx(1.1774 * 2.0, rel=0.03)
    assert table["A_IMAGE"][0] == pytest.approx(2.0, rel=0.05)
    assert table["ELLIPTICITY"][0] < 0.02


def test_the_direction_of_an_ellipse_is_from_x_towards_y():
    y, x = np.mgrid[:60, :60] - 30
    along, across = (x + y) / np.sqrt(2), (y - x) / np.sqrt(2)
    galaxy = 500 * np.exp(-(along**2) / 32 - across**2 / 8)
    table = catalog(galaxy, done=denoised_as(galaxy, sigma=1.0)).table
    assert table["THETA_IMAGE"][0] == pytest.approx(45, abs=1)
    assert table["ELONGATION"][0] == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("engine", ["sep", pytest.param("sextractor", marks=NEEDS_SEXTRACTOR)])
def test_an_empty_image_gives_an_empty_table_with_all_columns(found, engine):
    empty = np.zeros((64, 64))
    table = catalog(empty, done=denoised_as(empty), engine=engine).table
    assert len(table) == 0
    assert table.colnames == found.table.colnames
    assert table["FLUX_APER"].shape == (0, 3)


def test_the_photon_noise_of_the_source_counts_where_the_gain_is_known(field):
    signal = np.asarray(field.observed, float) - field.background
    gain, sigma, errors = field.instrument.gain, np.full(signal.shape, SIGMA), []
    for known in (None, gain):
        frame = Frame.of(signal, field.sources, sigma, known)
        table, _, _ = ENGINES["sep"](frame, CatalogConfig(), known, 1.0, None)
        errors.append(table["FLUXERR_APER"][:, 2])
    places = {f"{axis}_DENOISED": table[f"{axis}_DENOISED"] + 1 for axis in "XY"}
    rows, stars = stars_of(field, places, 50)
    added = errors[1][rows] ** 2 - errors[0][rows] ** 2
    # of the source itself; other light in the aperture adds
    assert (added > 0.9 * field.catalogue["flux"][stars] / gain).all()


def test_every_column_has_a_meaning_that_fits_into_a_card(found):
    for name, (_, _, meaning) in CATALOG_COLUMNS.items():
        assert len(f"TTYPE99 = '{name:<18}' / {meaning}") <= 80
    for column in found.table.columns.values():
        assert column.description == CATALOG_COLUMNS[column.name][2]


@pytest.mark.parametrize("engine", ENGINES)
def test_colour_images_are_refused_with_the_way_out(engine):
    with pytest.raises(ValueError, match="--channels"):
        catalog(np.zeros((32, 32, 3)), engine=engine)


@NEEDS_SEXTRACTOR
def test_both_engines_measure_the_same(field, perfect, found):
    gain = field.instrument.gain
    other = catalog(field.observed, done=perfect, gain=gain, engine="sextractor").table
    table = catalog(field.observed, done=perfect, gain=gain, sharpen=0).table
    assert other.colnames == table.colnames
    assert len(other) == pytest.approx(len(table), rel=0.02)
    places = [np.column_stack([one["X_DENOISED"], one["Y_DENOISED"]]) for one in (table, other)]
    distance, partner = cKDTree(places[1]).query(places[0])
    clean = (distance < 1) & (table["FLAGS"] == 0) & (other["FLAGS"][partner] == 0)
    clean &= table["SNR_WIN"] > 15
    assert clean.sum() > 30
    mine, theirs = table[clean], other[partner[clean]]
    for name, tolerance in (
        ("FLUX_APER", 0.02), ("FLUX_AUTO", 0.05), ("FLUX_RADIUS", 0.05), ("KRON_RADIUS", 0.05),
        ("FLUXERR_APER", 0.03), ("FLUX_DENOISED", 0.03), ("A_IMAGE", 0.01), ("SNR_WIN", 0.05),
    ):  # fmt: skip
        ratio = np.asarray(mine[name]) / np.asarray(theirs[name])
        assert np.median(ratio) == pytest.approx(1, abs=tolerance), name
    for name in ("X_IMAGE", "Y_IMAGE", "XWIN_IMAGE", "YWIN_IMAGE"):
        assert np.median(abs(mine[name] - theirs[name])) < 0.02, name  # px


def test_a_missing_sextractor_is_said_with_the_way_to_get_it(field, perfect, monkeypatch):
    monkeypatch.setattr(sextractor_run, "find_sextractor", lambda: None)
    with pytest.raises(FileNotFoundError, match="apt install"):
        catalog(field.observed, done=perfect, engine="sextractor")


@pytest.mark.parametrize(
    ("header", "given", "gain", "note"),
    [
        ({"GAIN": 2.5}, {}, 2.5, None),
        ({"GAIN": 120, "EGAIN": 0.8}, {}, 0.8, None),  # GAIN is then a camera's setting
        ({"GAIN": 2.5}, {"gain": 3.0}, 3.0, None),
        ({"GAIN": 2.5, "BUNIT": "ELECTRONS"}, {}, 1.0, None),
        ({"GAIN": 3.7, "BUNIT": "MJy/sr"}, {}, None, "GAIN is not used, as BUNIT is MJy/sr"),
        ({}, {}, None, "no gain"),
    ],
)
def test_the_gain_is_the_user_s_or_the_header_s_and_never_guessed(header, given, gain, note):
    exposure = find_exposure(header, CatalogConfig(**given))
    assert exposure.gain == gain
    assert any(note in one for one in exposure.notes) if note else "gain" in exposure.origin


def test_stamps_for_psfex_hold_the_source_and_no_other(field, perfect):
    table = catalog(field.observed, done=perfect, vignet=15).table
    assert table["VIGNET"].shape == (len(table), 15, 15)
    row = stars_of(field, table, 50)[0][0]
    x, y = (round(float(table[n][row])) - 1 for n in ("X_DENOISED", "Y_DENOISED"))
    expected = field.observed[y, x] - field.background[y, x]
    assert table["VIGNET"][row, 7, 7] == pytest.approx(expected, rel=1e-5)
    assert (table["VIGNET"] == -1e30).any()


@pytest.mark.parametrize(
    ("setting", "value"),
    [("threshold", 0.0), ("apertures", ()), ("apertures", (5.0, -1.0)), ("gain", -2.0),
     ("vignet", 4), ("deblend_contrast", 2.0), ("minimum_area", 0)],
)  # fmt: skip
def test_impossible_settings_are_refused(setting, value):
    with pytest.raises(ValueError, match=setting):
        CatalogConfig(**{setting: value})


@NEEDS_SEXTRACTOR
def test_sextractor_giving_up_on_blends_is_said():
    # thousands of peaks that all hang together
    rng = np.random.default_rng(0)
    crowd = 3 + 8 * ndimage.gaussian_filter(rng.normal(size=(640, 640)), 1.2)
    with pytest.warns(UserWarning, match="deblending overflows"):
        detect_with_sextractor(
            crowd, 0.5, relative=False, background=False, **detect.DENOISED_OPTIONS
        )


def test_an_aperture_of_any_size_holds_all_its_light():
    y, x = np.mgrid[:900, :900] - 450
    star = 1e4 * np.exp(-(x**2 + y**2) / 8.0)
    table = catalog(star + 1, done=denoised_as(star), apertures=(700.0,)).table
    assert table["FLUX_APER"][0, 0] == pytest.approx(star.sum() + np.pi * 350**2, rel=1e-3)


def stars_with_neighbours():
    """Return places, fluxes and light of stars; each second one has one of a third 5 px off."""
    y, x = (part.ravel() for part in np.mgrid[30:370:34, 30:370:34] + 0.0)
    rng = np.random.default_rng(63_003)
    x, y = x + rng.uniform(-0.5, 0.5, x.size), y + rng.uniform(-0.5, 0.5, y.size)
    flux = rng.permutation(np.geomspace(8000, 60_000, x.size))
    double = np.arange(x.size) % 2 == 0
    light = np.zeros((400, 400))
    for k in range(x.size):
        light += moffat(light.shape, x[k], y[k], flux[k], 3.0)
        if double[k]:
            light += moffat(light.shape, x[k] + 5, y[k], flux[k] / 3, 3.0)
    return x, y, flux, double, light


def test_apertures_lie_on_fitted_places_and_hold_no_neighbour():
    x, y, flux, double, light = stars_with_neighbours()
    noise = np.random.default_rng(63_004).normal(0, SIGMA, light.shape)
    table = catalog(light + noise, done=denoised_as(light), apertures=(8.0,)).table
    places = np.column_stack([table["XPSF_IMAGE"] - 1, table["YPSF_IMAGE"] - 1])
    distance, row = cKDTree(places).query(np.column_stack([x, y]))
    assert (distance < 0.2).mean() > 0.95
    chosen = double & (distance < 0.2)
    inside = sep_sum(moffat((41, 41), 20, 20, 1.0, 3.0), 20, 20, 4.0)
    beside = sep_sum(moffat((41, 41), 25, 20, 1 / 3, 3.0), 20, 20, 4.0)
    ratio = np.median(np.asarray(table["FLUX_APER"])[row[chosen], 0] / flux[chosen])
    # a tenth of the neighbour's light in the aperture may stay
    assert ratio == pytest.approx(inside, abs=0.1 * beside)


def test_the_width_of_a_star_is_that_of_its_half_maximum():
    x, y, _, double, light = stars_with_neighbours()
    noise = np.random.default_rng(63_005).normal(0, SIGMA, light.shape)
    table = catalog(light + noise, done=denoised_as(light)).table
    places = np.column_stack([table["XPSF_IMAGE"] - 1, table["YPSF_IMAGE"] - 1])
    distance, row = cKDTree(places).query(np.column_stack([x, y]))
    for part in (double, ~double):
        widths = np.asarray(table["FWHM_IMAGE"])[row[part & (distance < 0.2)]]
        assert np.median(widths) == pytest.approx(3.0, rel=0.03)


def sep_sum(pixels, x, y, radius):
    import sep

    return sep.sum_circle(np.ascontiguousarray(pixels), [x], [y], radius, subpix=0)[0][0]
