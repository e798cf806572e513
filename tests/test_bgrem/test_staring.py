"""Frames of a staring telescope: streaks, satellites and trails of known light, and noise."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage, special, stats

from bgrem.simulate import staring
from bgrem.simulate.staring import draw_noise, simulate_staring_frame
from bgrem.simulate.trails import add_satellites, add_trail

SHAPE = (96, 128)
SMALL = (24, 16)
SEEDS = range(61000, 61200)


@pytest.fixture(scope="module")
def frame():
    return simulate_staring_frame(61000, SHAPE)


@pytest.fixture(scope="module")
def small_frames():
    return [simulate_staring_frame(seed, SMALL) for seed in SEEDS]


@pytest.fixture
def without_tracks(monkeypatch):
    monkeypatch.setattr(staring, "COSMIC_RAYS_PER_MPX", 0.0)


def arrays(frame):
    return {name: value for name, value in vars(frame).items() if isinstance(value, np.ndarray)}


def measure_trail(pixels):
    """Flux, centre, angle, length and width of the only trail, by its moments."""
    y, x = np.indices(pixels.shape)
    flux = pixels.sum()
    centre = np.array([(pixels * x).sum(), (pixels * y).sum()]) / flux
    u, v = x - centre[0], y - centre[1]
    xx, yy, xy = ((pixels * product).sum() / flux for product in (u * u, v * v, u * v))
    values, vectors = np.linalg.eigh([[xx, xy], [xy, yy]])
    # a line has its length squared / 12 more variance along than across; a pixel has 1/12
    length, width = np.sqrt(12 * (values[1] - values[0])), np.sqrt(values[0] - 1 / 12)
    return flux, centre, vectors[:, 1], length, width


def test_the_same_seed_gives_the_same_frame_and_another_seed_another(frame):
    again, other = simulate_staring_frame(61000, SHAPE), simulate_staring_frame(61001, SHAPE)
    for name, values in arrays(frame).items():
        np.testing.assert_array_equal(getattr(again, name), values)
        assert values.shape == SHAPE
        assert values.dtype == np.float32
    assert (other.structure != frame.structure).mean() > 0.99
    numbers = [field.name for field in dataclasses.fields(frame) if field.type == "float"]
    assert all(getattr(again, name) == getattr(frame, name) for name in numbers)


def test_every_frame_is_finite_and_fits_into_sixteen_bits(small_frames):
    for frame in small_frames:
        assert all(np.isfinite(values).all() for values in arrays(frame).values())
        assert 0 < frame.structure.min() <= frame.structure.max() < 2**16
        assert frame.sigma.min() * frame.gain > 0.99 * frame.read_noise > 0


@pytest.mark.parametrize("width", [0.7, 1.3, 2.2])
@pytest.mark.parametrize(
    ("start", "end"),
    [
        ((30.3, 40.2), (89.7, 42.9)),
        ((89.7, 42.9), (30.3, 40.2)),
        ((41.1, 20.6), (38.2, 79.3)),
        ((31.4, 21.8), (77.4, 67.8)),
        ((60.25, 50.5), (57.0, 52.9)),
        ((20.0, 33.0), (99.5, 33.0)),
    ],
)
def test_a_trail_has_its_flux_end_points_and_width(start, end, width):
    pixels = add_trail(np.zeros(SHAPE), start, end, width, flux_per_px=10.0)
    flux, centre, direction, length, measured_width = measure_trail(pixels)
    across = np.subtract(end, start)
    assert flux == pytest.approx(10 * np.hypot(*across), rel=1e-4)
    assert length == pytest.approx(np.hypot(*across), abs=0.01)
    assert measured_width == pytest.approx(width, abs=0.003)
    direction = direction * np.sign(direction @ across)
    np.testing.assert_allclose(centre - length / 2 * direction, start, atol=0.02)
    np.testing.assert_allclose(centre + length / 2 * direction, end, atol=0.02)


def test_a_trail_agrees_with_fine_sampling():
    start, end, width, fine = np.array([10.2, 9.7]), np.array([24.9, 21.3]), 0.7, 20
    pixels = add_trail(np.zeros((32, 36)), tuple(start), tuple(end), width, 1.0)
    along = (end - start) / np.hypot(*(end - start))
    y, x = ((np.indices((32 * fine, 36 * fine)) + 0.5) / fine - 0.5) - start[::-1, None, None]
    u, v = x * along[0] + y * along[1], y * along[0] - x * along[1]
    ends = stats.norm.cdf(u / width) - stats.norm.cdf((u - np.hypot(*(end - start))) / width)
    truth = (ends * stats.norm.pdf(v / width) / width).reshape(32, fine, 36, fine).mean((1, 3))
    assert np.abs(pixels - truth).max() < 2e-4 * truth.max()


def test_a_trail_is_the_same_in_a_larger_frame_that_holds_its_whole_length():
    part = add_trail(np.zeros((40, 50)), (-20.0, 5.0), (70.0, 33.0), 1.2, 3.0)
    whole = add_trail(np.zeros((80, 120)), (10.0, 25.0), (100.0, 53.0), 1.2, 3.0)
    np.testing.assert_allclose(part, whole[20:60, 30:80], atol=1e-7)


def test_trails_and_satellites_leave_the_given_pixels_alone():
    pixels = np.full(SHAPE, 100, np.uint16)
    streaked = add_trail(pixels, (10.0, 10.0), (50.0, 50.0), 1.0, 3.3)
    dotted, _ = add_satellites(pixels, [0.7], np.random.default_rng(61000))
    assert (pixels == 100).all()
    assert (streaked - 100).sum() == pytest.approx(3.3 * np.hypot(40, 40), rel=1e-3)
    assert dotted.max() > 100.2  # fractions of a count are not cut off


def test_a_trail_without_length_is_refused():
    with pytest.raises(ValueError, match="no length"):
        add_trail(np.zeros(SHAPE), (3.0, 4.0), (3.0, 4.0), 1.0, 1.0)


def test_satellites_have_the_flux_and_place_of_their_catalogue():
    peaks = np.array([5.0, 10.0, 20.0])
    pixels, catalogue = add_satellites(np.zeros(SHAPE), peaks, np.random.default_rng(61000))
    assert pixels.sum() == pytest.approx(catalogue["flux"].sum(), rel=1e-6)
    y, x = np.indices(SHAPE)
    for k in range(3):
        near = np.hypot(x - catalogue["x"][k], y - catalogue["y"][k]) < 5
        flux = pixels[near].sum()
        # pixels as wide as two sigma shift the centroid by some thousandths
        assert flux == pytest.approx(catalogue["flux"][k], rel=1e-6)
        assert (pixels * x)[near].sum() / flux == pytest.approx(catalogue["x"][k], abs=0.005)
        assert (pixels * y)[near].sum() / flux == pytest.approx(catalogue["y"][k], abs=0.005)
        assert pixels[near].max() <= peaks[k]


def test_a_satellite_in_the_middle_of_a_pixel_has_the_given_peak():
    places = np.array([[20.0, 30.0], [60.5, 30.5]])
    pixels, _ = add_satellites(
        np.zeros(SHAPE), np.array([7.0, 7.0]), np.random.default_rng(0), positions=places
    )
    assert pixels[30, 20] == pytest.approx(7.0)
    centred = special.erf(1 / np.sqrt(2)) ** 2  # of a Gaussian of 0.5 px in its pixel
    shared = (special.erf(np.sqrt(2)) / 2) ** 2  # in each of four pixels around a corner
    assert pixels[30, 60] == pytest.approx(7.0 * shared / centred)


def test_satellites_keep_their_distance_and_too_many_are_refused():
    rng = np.random.default_rng(61000)
    _, catalogue = add_satellites(np.zeros(SHAPE), np.ones(20), rng)
    x, y = catalogue["x"], catalogue["y"]
    apart = np.hypot(x[:, None] - x, y[:, None] - y)[~np.eye(20, dtype=bool)]
    assert apart.min() >= 12
    with pytest.raises(ValueError, match="20 at most"):
        add_satellites(np.zeros(SHAPE), np.ones(21), rng)


def test_no_streak_is_so_short_that_it_looks_like_a_satellite(monkeypatch):
    drawn = []

    def remember(canvas, start, end, *_args, **_options):
        drawn.append(end - start)

    monkeypatch.setattr(staring, "draw_trails", remember)
    lengths, streakless = [], 0
    for seed in SEEDS:
        drawn.clear()
        frame = simulate_staring_frame(seed, SMALL)
        streakless += frame.length == 0
        assert (frame.length == 0) == (not drawn)
        if not drawn:
            continue
        lines = np.concatenate(drawn)
        least = max(6.0, 5 * frame.width) - 1e-9
        assert frame.length >= least
        np.testing.assert_allclose(np.hypot(*lines.T), frame.length)
        turned = np.arctan2(lines[:, 1], lines[:, 0]) - frame.angle
        assert np.abs((turned + np.pi / 2) % np.pi - np.pi / 2).max(initial=0) <= np.radians(0.5)
        lengths.append(frame.length)
    assert 0.07 < streakless / len(SEEDS) < 0.25
    assert min(lengths) < 7
    assert max(lengths) > 150


def test_the_streaks_of_a_frame_lie_along_its_angle():
    """The light's gradient is across the streaks: its mean tensor gives their direction."""
    rng = np.random.default_rng(61000)
    for angle in (0.3, 1.2, 2.5):
        streaks = staring._streaks(rng, (256, 256), angle, 60.0, 1.5)
        dy, dx = np.gradient(ndimage.gaussian_filter(streaks, 2))  # differences of wide lines
        measured = np.arctan2(2 * (dx * dy).sum(), (dx**2 - dy**2).sum()) / 2 + np.pi / 2
        assert measured == pytest.approx(angle, abs=0.015)


def test_hot_pixels_are_part_of_the_noise_and_not_of_the_structure(monkeypatch, without_tracks):
    frame = simulate_staring_frame(61901, SHAPE)
    hot = frame.hot_pixels > 0
    assert 0 < hot.sum() < 5e-3 * hot.size
    unit = np.median(frame.sigma)
    assert (frame.hot_pixels[hot] > 2 * unit).all()
    assert (frame.hot_pixels[hot] < 400 * unit).all()
    monkeypatch.setattr(staring, "_hot_pixels", lambda _, shape: np.zeros(shape))
    clean = simulate_staring_frame(61901, SHAPE)
    np.testing.assert_array_equal(clean.structure, frame.structure)
    rng = np.random.default_rng(61000)
    draws = [draw_noise(frame.sigma, frame.hot_pixels, 1.0, 1.0, rng)[hot] for _ in range(400)]
    error = np.std(draws, axis=0) / 20
    assert (np.abs(np.mean(draws, axis=0) - frame.hot_pixels[hot]) < 5 * error).all()


def test_saturated_pixels_lie_at_the_full_well_and_have_no_photon_noise(monkeypatch):
    def bright_streak(_, shape, *_args):
        return 1e5 * (np.arange(shape[0])[:, None] == 30) + np.zeros(shape)

    monkeypatch.setattr(staring, "_streaks", bright_streak)
    monkeypatch.setattr(staring, "_banding", lambda _, shape: np.zeros(shape))
    frame = simulate_staring_frame(61900, SHAPE)
    assert np.ptp(frame.structure[30]) == 0
    assert frame.structure[30, 0] > 1.5 * frame.structure[29].max()
    np.testing.assert_allclose(frame.sigma[30], frame.read_noise / frame.gain, rtol=1e-6)
    assert (frame.sigma[29] > 2 * frame.sigma[30]).all()


@pytest.mark.parametrize(("electrons", "skewness"), [(20.0, 20 / 21**1.5), (2000.0, 0.0)])
def test_noise_has_the_expected_deviation_and_is_skewed_where_photons_are_few(
    electrons, skewness, without_tracks
):
    gain, read_noise, shape = 0.5, 1.0, (1000, 1000)
    sigma = np.full(shape, np.sqrt(electrons + read_noise**2) / gain, np.float32)
    rng = np.random.default_rng(61000)
    noise = draw_noise(sigma, np.zeros(shape, np.float32), gain, read_noise, rng) / sigma
    # errors of a million values: 0.001, 0.0007, 0.0024
    assert noise.mean() == pytest.approx(0, abs=0.004)
    assert noise.std() == pytest.approx(1, abs=0.004)
    assert stats.skew(noise, axis=None) == pytest.approx(skewness, abs=0.01)


def test_noise_is_drawn_anew_and_follows_sigma_over_the_frame(without_tracks):
    frame = simulate_staring_frame(61001, SHAPE)
    rng = np.random.default_rng(61000)
    parts = frame.sigma, frame.hot_pixels, frame.gain, frame.read_noise
    draws = np.array([draw_noise(*parts, rng) for _ in range(300)])
    good = frame.hot_pixels == 0
    ratio = (draws.std(0) / frame.sigma)[good]
    assert ratio.mean() == pytest.approx(1, abs=0.005)
    assert ratio.std() == pytest.approx(1 / np.sqrt(600), rel=0.1)
    assert abs(np.corrcoef(draws[0][good], draws[1][good])[0, 1]) < 0.04


def test_seldom_a_cosmic_ray_leaves_a_track():
    sigma, nothing = np.ones((1000, 1000), np.float32), np.zeros((1000, 1000), np.float32)
    rng = np.random.default_rng(61000)
    hit = [(draw_noise(sigma, nothing, 1.0, 1.0, rng) > 20).sum() for _ in range(12)]
    assert 0 < np.mean(hit) < 50
    assert 0 in hit


def test_banding_is_constant_along_rows_or_columns_with_one_step_at_most():
    steps, amplitudes = 0, []
    for seed in SEEDS:
        bands = staring._bands(np.random.default_rng(seed), (40, 60))
        changes = np.flatnonzero((np.diff(bands, axis=1) != 0).any(0))
        assert len(changes) <= 1
        steps += len(changes)
        amplitudes.append(bands[:, 0].std())
    assert 0.15 < steps / len(SEEDS) < 0.45
    assert 0.03 < min(amplitudes) < 0.1
    assert 1 < max(amplitudes) < 2.2


@pytest.mark.parametrize("index", [0.7, 1.5, 2.0])
def test_a_random_field_has_the_spectrum_it_was_asked_for(index):
    rng = np.random.default_rng(61000)
    waves = np.arange(4, 100)
    window = np.hanning(512)
    power = 0.0
    for _ in range(200):
        power = power + np.abs(np.fft.rfft(window * staring._random_field(rng, (512,), index))) ** 2
    slope = np.polyfit(np.log(waves), np.log(power[waves]), 1)[0]
    assert slope == pytest.approx(-2 * index, abs=0.2)
