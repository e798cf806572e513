"""What is hidden from the network: light that is no sky."""

import numpy as np
from streaked import SHAPE, trail

from bgrem.noise_mapping.hiding import hide_light, mask_compact_light, mask_peaks


def hidden_light(frame):
    return hide_light(frame, 3.0, np.random.default_rng(0))


def test_what_stands_out_is_chosen_by_its_peak():
    significance = np.zeros((40, 60))
    significance[10, 10], significance[20, 20] = 5, 2.9
    found = mask_peaks(significance, 3.0)
    assert found[8:13, 8:13].all() and found.sum() == 25
    assert not mask_peaks(np.zeros((5, 5)), 3.0).any()


def test_compact_light_is_found_with_its_surroundings():
    residual = np.random.default_rng(1).normal(size=(80, 90)).astype(np.float32)
    residual[30, 40] += 12
    assert mask_compact_light(residual, 5.0)[28:33, 38:43].all()


def test_nothing_is_found_where_nothing_stands_out():
    assert not mask_compact_light(np.zeros((30, 40), np.float32), 3.0).any()


def test_what_is_no_sky_is_found_around_it():
    frame = np.random.default_rng(2).standard_normal(SHAPE) + trail(0.9, 80, 20)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    frame += 1.5 * np.sin(x / 40) + 300 * np.exp(-((x - 50) ** 2 + (y - 60) ** 2) / 18)
    frame = frame.astype(np.float32)
    given, hidden = hidden_light(frame)
    assert hidden[57:64, 47:54].all() and hidden[trail(0.9, 80, 20) > 10].all()
    assert hidden.mean() < 0.12
    assert np.array_equal(given[~hidden], frame[~hidden])


def test_what_replaces_a_trail_has_the_level_and_the_noise_of_the_sky():
    noise = np.random.default_rng(2).standard_normal(SHAPE)
    given, hidden = hidden_light(noise + trail(0.9, 80, 20))
    assert abs(given[hidden].mean()) < 0.25
    assert 0.8 < given[hidden].std() < 1.2


def test_nothing_is_hidden_without_a_threshold():
    frame = trail(0.9, 80, 20)
    given, hidden = hide_light(frame, 0.0, np.random.default_rng(0))
    assert given is frame and not hidden.any()
