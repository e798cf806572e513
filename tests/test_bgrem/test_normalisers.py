"""Each row of the table of normalisers keeps what denoising and training expect of it."""

import numpy as np
import pytest

from bgrem.config import TrainConfig
from bgrem.frame.normalisers import DEFAULT_NORMALISER, NORMALISERS, normaliser_of
from bgrem.training.denoise import measured_training_field
from bgrem.training.tasks import TASKS


@pytest.fixture
def observed():
    """Counts (90, 80): a sky of 40 and a few sources."""
    rng = np.random.default_rng(3)
    expected = np.full((90, 80), 40.0)
    expected[40:44, 30:34] += 300
    return rng.poisson(expected).astype(np.float32)


@pytest.mark.parametrize("name", NORMALISERS)
def test_forward_and_inverse_belong_together(observed, name):
    found = NORMALISERS[name].fit(observed, np.zeros(observed.shape, bool))
    again = found.inverse(found.forward(observed)) + found.background
    assert again == pytest.approx(observed, rel=1e-4, abs=1e-3)  # float32
    assert found.background.shape == found.sigma.shape == observed.shape
    assert found.sigma.min() > 0


@pytest.mark.parametrize("name", NORMALISERS)
def test_a_given_factor_replaces_the_measured_noise(observed, name):
    found = NORMALISERS[name].fit(observed, factor=0.25)
    assert np.unique(found.sigma).tolist() == [4.0]


@pytest.mark.parametrize("name", NORMALISERS)
def test_missing_pixels_are_left_out(observed, name):
    holed = observed.copy()
    holed[10:20, 10:20] = np.nan
    found = NORMALISERS[name].fit(holed)
    assert np.isfinite(found.background).all() and np.isfinite(found.sigma).all()


@pytest.mark.parametrize("name", NORMALISERS)
def test_training_and_inference_see_the_same_units(observed, name):
    clean = np.where(observed > 150, observed - 40, 0)
    field = measured_training_field(observed, clean, how=name)
    found = NORMALISERS[name].fit(observed)
    assert field.clean + field.background == pytest.approx(
        found.forward(observed), rel=1e-4, abs=1e-4
    )


@pytest.mark.parametrize("name", NORMALISERS)
def test_a_model_s_card_names_its_normaliser(name):
    assert normaliser_of({"background": name}) is NORMALISERS[name]


def test_a_card_without_a_name_means_the_smooth_background():
    assert normaliser_of({}) is NORMALISERS[DEFAULT_NORMALISER]


def test_an_unknown_normaliser_is_refused_with_the_known_ones():
    with pytest.raises(
        ValueError, match=r"smooth, tile-median, poisson, picture\. Received: 'plain'"
    ):
        normaliser_of({"background": "plain"})


@pytest.mark.parametrize(
    ("settings", "name"),
    [({}, "smooth"), ({"tile_median": True}, "tile-median"), ({"simulation": "gamma"}, "poisson")],
)
def test_training_writes_a_row_of_the_table(settings, name):
    assert TASKS["denoise"].describe(TrainConfig(**settings))["background"] == name
