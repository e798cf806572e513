"""Stars of a staring frame: one streak that is measured on the frame, fitted to all of them."""

import numpy as np
import pytest
from scipy import ndimage
from streaked import SHAPE, streaked, trail

from bgrem.noise_mapping.amplifiers import Edges, amplifier_edges, sky_and_bands
from bgrem.noise_mapping.saturation import find_saturated
from bgrem.noise_mapping.star_fit import find_stars
from bgrem.noise_mapping.template import (
    Template,
    distorted,
    first_guess,
    taps,
    update_template,
    with_length_of_light,
)
from bgrem.simulate.trails import add_satellites, draw_trails

MISSING = np.zeros(SHAPE, bool)


def fitted(frame):
    return find_stars(frame.astype(np.float32), MISSING, np.zeros(SHAPE))


def curved(seed=1, number=30):
    """Return a frame of streaks that all have the same bend and uneven light, and its light."""
    rng = np.random.default_rng(seed)
    share = np.linspace(-0.5, 0.5, 400)
    path = np.stack([36 * share, 3 * (4 * share**2 - 1 / 3)])
    each = 1 + 0.3 * np.sin(9 * share)
    fine = np.zeros((5 * SHAPE[0], 5 * SHAPE[1]))
    for _ in range(number):
        x, y = rng.uniform(0, SHAPE[1]), rng.uniform(0, SHAPE[0])
        peak = 5 * 40 ** rng.uniform()
        columns = np.round(5 * (x + path[0] * np.cos(0.5) - path[1] * np.sin(0.5))).astype(int)
        rows = np.round(5 * (y + path[0] * np.sin(0.5) + path[1] * np.cos(0.5))).astype(int)
        inside = (columns >= 0) & (rows >= 0) & (columns < fine.shape[1]) & (rows < fine.shape[0])
        np.add.at(fine, (rows[inside], columns[inside]), peak * each[inside])
    fine = ndimage.gaussian_filter(fine, 5 * 1.2, mode="constant")
    light = fine.reshape(SHAPE[0], 5, SHAPE[1], 5).sum((1, 3))
    light *= 36 / 400 * np.sqrt(2 * np.pi) * 1.2
    noise = rng.standard_normal(SHAPE) * np.sqrt(1 + light / 20)
    return light + noise, light


@pytest.mark.parametrize("make", [lambda: streaked(0.4, 30), curved])
def test_what_is_left_of_straight_and_curved_streaks_is_noise(make):
    frame, light = make()
    stars = fitted(frame)
    left = (frame - stars.light - stars.sky) / np.sqrt(1 + light / 20)
    on = light > 3
    on[:8], on[-8:], on[:, :8], on[:, -8:] = (False,) * 4
    assert on.sum() > 800
    # noise alone has 1; the streaks themselves have 5 and more
    assert np.sqrt(np.mean(np.clip(left[on], -20, 20) ** 2)) < 1.3
    assert abs(np.median(left)) < 0.1


def test_a_satellite_on_a_streak_and_a_trail_across_stay():
    frame, light = streaked(0.4, 30)
    inner = np.zeros(SHAPE, bool)
    inner[25:-25, 25:-25] = True
    places = np.argwhere(inner & (light > 5) & (light < 30))[[40, 400]][:, ::-1]
    with_points, table = add_satellites(
        frame, np.array([15.0, 15.0]), None, sigma=0.6, positions=places
    )
    across = trail(1.9, 30, 8)
    residuals = [one - fitted(one).light for one in (frame, with_points, frame + across)]
    for (x, y), flux in zip(places, table["flux"], strict=True):
        box = np.s_[y - 2 : y + 3, x - 2 : x + 3]
        assert (residuals[1] - residuals[0])[box].sum() > 0.75 * flux
    area = across > 0.4
    assert (residuals[2] - residuals[0])[area].sum() > 0.8 * across[area].sum()


def test_streaks_that_turn_over_the_frame_are_fitted():
    rng = np.random.default_rng(4)
    light = np.zeros(SHAPE)
    middle = rng.uniform(0, 1, (40, 2)) * np.array(SHAPE[::-1])
    angle = 0.4 + 0.02 * (2 * middle[:, 0] / SHAPE[1] - 1)  # radians
    half = 15 * np.stack([np.cos(angle), np.sin(angle)], 1)
    peak = 10 * 20 ** rng.uniform(size=40)
    draw_trails(light, middle - half, middle + half, 1.1, peak * np.sqrt(2 * np.pi) * 1.1)
    frame = light + rng.standard_normal(SHAPE) * np.sqrt(1 + light / 20)
    stars = fitted(frame)
    left = (frame - stars.light - stars.sky) / np.sqrt(1 + light / 20)
    # an end is 0.3 px beside that of a streak in the middle: unturned they leave 1.6
    assert np.sqrt(np.mean(left[8:-8, 8:-8][light[8:-8, 8:-8] > 3] ** 2)) < 1.15
    assert stars.slopes[0, 0] == pytest.approx(0.02, abs=0.002)
    assert np.abs(stars.slopes[1, 0]) < 0.002


def test_a_frame_of_round_stars_has_no_streaks():
    rng = np.random.default_rng(2)
    frame = rng.standard_normal(SHAPE)
    for _ in range(40):
        frame[rng.integers(SHAPE[0]), rng.integers(SHAPE[1])] += 300
    frame = ndimage.gaussian_filter(frame, 1.2) * 4
    assert fitted(frame) is None


def test_the_light_of_a_template_between_pixels_is_that_of_its_function():
    y, x = np.mgrid[-15:16, -15:16]

    def point(dx, dy):
        return np.exp(-((x - dx) ** 2 + (y - dy) ** 2) / (2 * 1.3**2))

    template = Template(point(0, 0), np.zeros((31, 31)), 0.0, 5.0)
    (columns, rows) = (np.stack(taps([shift]), 1)[0] for shift in (0.3, -0.4))
    light, along, across = distorted(template, template.splines(), columns, rows)[:3]
    assert np.allclose(light, point(0.3, -0.4), atol=1e-3)
    slope = (point(0.3, -0.399) - point(0.3, -0.401)) / 0.002
    assert np.allclose(across, slope, atol=3e-3)
    # that along the streak is smoothed, by 1 px: a point of 1.64 px in place of 1.3
    slope = (point(0.301, -0.4) - point(0.299, -0.4)) / 0.002
    assert 0.4 < along.max() / slope.max() < 0.7


def test_a_turned_streak_is_the_streak_and_its_derivative():
    straight, turned = first_guess(0.3, 20.0), first_guess(0.31, 20.0)
    still = np.stack(taps([0.0]), 1)[0]
    shapes = distorted(straight, straight.splines(), still, still)
    difference = turned.light - straight.light
    # an end moves by 0.1 px: the second order is a tenth of the first
    assert np.abs(difference - 0.01 * shapes[3]).max() < 0.15 * np.abs(difference).max()


def test_a_template_that_is_too_short_gets_the_length_of_its_light():
    true = first_guess(0.7, 40.0)
    short = Template(true.light[8:-8, 8:-8], true.error[8:-8, 8:-8], 0.7, 24.0)
    found = with_length_of_light(short)
    # the first guess has round ends: its light is half of its middle's 1.4 px beyond the line
    assert abs(found.length - 42.8) <= 1
    assert found.half >= 31


def test_a_template_is_the_robust_mean_of_what_is_left_over():
    rng = np.random.default_rng(5)
    empty = Template(np.zeros((31, 31)), np.zeros((31, 31)), 0.0, 9.0)
    profile = np.exp(-(empty.distance() ** 2) / 2)
    places = np.array([[x, y, 100.0] for x in range(30, 230, 30) for y in range(30, 190, 30)])
    left = 0.1 * rng.standard_normal(SHAPE)
    for x, y, flux in places.astype(int):
        left[y - 15 : y + 16, x - 15 : x + 16] += flux * profile
    left[28:33, 28:33] += 500  # a satellite on one of them
    found = update_template(empty, left, np.full(SHAPE, 0.01), places)
    assert np.allclose(found.light, profile / profile.sum(), atol=2e-4)
    # the noise of 0.1 is that of photons; the satellite of 5 times the flux is on one of many
    assert np.median(found.error) < 0.5 * 0.1 / 100
    assert found.error.max() < 0.01


def test_plateaus_of_the_brightest_light_are_saturated():
    frame, _ = streaked(0.4, 30, brightest=3000.0)
    assert not find_saturated(frame).any()
    cut = np.minimum(frame, 800)
    assert find_saturated(cut)[cut == 800].mean() > 0.9
    near = ndimage.binary_dilation(cut > 700, np.ones((3, 3)))
    assert not find_saturated(cut)[~near].any()


def test_each_amplifier_has_its_level_and_bands():
    rng = np.random.default_rng(3)
    bands = np.zeros(SHAPE)
    bands[:, :90] = rng.normal(0, 2, (SHAPE[0], 1))
    bands[:, 90:] = rng.normal(30, 2, (SHAPE[0], 1))
    frame = bands + rng.standard_normal(SHAPE)
    edges = amplifier_edges(frame, MISSING)
    assert edges.columns == (0, 90, 240) and edges.rows == (0, 200)
    level = np.where(np.arange(240) < 90, 0, 30)
    sky = sky_and_bands(frame - level, MISSING, edges)
    assert np.std(sky - (bands - level)) < 0.3
    whole = sky_and_bands(frame - level, MISSING, Edges((0, 240), (0, 200)))
    assert np.std(whole - (bands - level)) > 1


def test_sections_of_amplifiers_are_read_from_the_header():
    header = {"ASEC11": "[1:100,1:200]", "ASEC12": "[101:240,1:200]", "ASEC13": "nonsense"}
    flat = np.random.default_rng(1).standard_normal(SHAPE)
    assert amplifier_edges(flat, MISSING, header).columns == (0, 100, 240)
