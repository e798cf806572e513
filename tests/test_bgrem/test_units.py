"""Each row of the table of scalings brings a frame into a network's units and back."""

import numpy as np
import pytest

from bgrem.config import NoiseMapConfig, TrainConfig
from bgrem.models import Model
from bgrem.noise_mapping.units import DEFAULT_SCALING, SCALINGS, find_units
from bgrem.training.tasks import TASKS


@pytest.fixture
def frame():
    rng = np.random.default_rng(4)
    return (500 + rng.normal(0, 12, (96, 128))).astype(np.float32)


def units_of(frame, description):
    model = Model("none", None, description)
    return find_units(frame, np.zeros(frame.shape, bool), NoiseMapConfig(), model)


@pytest.mark.parametrize("name", SCALINGS)
def test_a_frame_comes_back_from_the_network_s_units(frame, name):
    units = units_of(frame, {"scaling": name})
    flat = (frame - units.background) / units.sigma
    assert units.from_network(units.to_network(flat)) == pytest.approx(flat, abs=1e-3)


def test_a_card_without_a_scaling_means_that_of_the_noise(frame):
    ours, theirs = (units_of(frame, card) for card in ({}, {"scaling": DEFAULT_SCALING}))
    assert np.array_equal(ours.network_unit, theirs.network_unit)


def test_an_unknown_scaling_is_refused_with_the_known_ones(frame):
    with pytest.raises(ValueError, match=r"noise, contrast\. Received: 'plain'"):
        units_of(frame, {"scaling": "plain"})


@pytest.mark.parametrize(("files", "name"), [((), "noise"), (("a.fits",), "contrast")])
def test_training_writes_a_row_of_the_table(files, name):
    config = TrainConfig(task="noisemap", files=files)
    assert TASKS["noisemap"].describe(config)["scaling"] == name
