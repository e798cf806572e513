"""The descent: it finds the sky, ignores what is masked, and repeats itself."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import pytest
from keras import ops

from bgoptimizer.original import descent, objective
from bgoptimizer.original.descent import fit_by_descent, starting_values
from bgoptimizer.surface import grid_positions, place_random


def make_cells(channels=1):
    """Return cells (24, 32, C) of a tilted, noisy sky and a nebula over it, and the sky."""
    random = np.random.default_rng(5)
    y, x = np.mgrid[:24, :32] / 32
    sky = (0.25 + 0.1 * y - 0.05 * x)[..., None] * np.linspace(1, 0.8, channels)
    nebula = 0.3 * np.exp(-((y - 0.3) ** 2 + (x - 0.5) ** 2) / 0.01)
    cells = sky + nebula[..., None] + random.normal(0, 0.005, sky.shape)
    return cells.astype(np.float32), sky


def surface_of(result, shape=(24, 32)):
    return result.evaluate(grid_positions(shape)).reshape(*shape, -1)


@pytest.fixture
def cells():
    return make_cells()[0]


@pytest.fixture
def sky():
    return make_cells()[1]


def test_loss_terms_by_hand():
    residual, surface = np.array([[0.3, -0.1], [0.0, 0.2]]), np.array([[-0.2, 0.1], [0.1, 0.3]])
    terms = {
        name: float(term(residual, surface)) for name, (term, _) in objective.LOSS_TERMS.items()
    }
    assert terms == {
        "error": pytest.approx(0.15),
        "colour_balance": pytest.approx((0.04 + 0.01) / 2),
        "overshoot": pytest.approx(0.2 / 4),
        "negative_background": pytest.approx(0.4 / 4),
    }
    total = objective.background_loss(residual + surface, np.ones((2, 2)), surface, 5.0)
    assert float(total) == pytest.approx(np.log(0.001 + 0.15 + 0.025 + 5 * 0.15))


def test_one_step_lowers_the_loss(cells):
    losses = fit_by_descent(cells, epochs=2).losses
    assert losses[1] < losses[0]


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("initializer", descent.INITIALIZERS)
def test_the_fit_finds_the_sky_under_the_nebula(cells, sky, initializer, order):
    result = fit_by_descent(
        cells, order=order, initializer=initializer, control_points=16, epochs=400
    )
    assert result.losses.min() < result.losses[0] - 0.3
    # the noise is 0.005 and the surface lies at its lower edge, as α asks; the nebula is 0.3
    assert np.sqrt(np.mean((surface_of(result) - sky) ** 2)) < 0.015


def test_the_result_is_the_best_of_all_epochs(cells):
    # a learning rate far too high leaves the last surfaces worse than the best
    result = fit_by_descent(cells, epochs=60, learning_rate=0.1)
    residual = cells - surface_of(result)
    loss = float(objective.background_loss(cells, np.ones_like(cells), cells - residual, 5.0))
    assert result.losses[-1] > result.losses.min()
    assert loss == pytest.approx(result.losses.min(), abs=1e-4)  # float32 against float64


def test_colours_are_fitted_together():
    cells, sky = make_cells(channels=3)
    result = fit_by_descent(cells, epochs=200)
    assert (result.control_points.shape, result.weights.shape, result.affine.shape) == (
        (32, 2),
        (32, 3),
        (3, 3),
    )
    assert np.abs(surface_of(result) - sky).mean() < 0.03


def test_masked_and_missing_cells_change_nothing(cells):
    mask = np.ones((24, 32))
    mask[4:12, 10:24] = 0
    whole = fit_by_descent(cells, mask, epochs=30)
    for value in (50.0, np.nan):
        changed = cells.copy()
        changed[4:12, 10:24] = value
        other = fit_by_descent(changed, mask, epochs=30)
        np.testing.assert_array_equal(other.weights, whole.weights)
    unmasked = fit_by_descent(changed, epochs=30)  # NaN alone
    np.testing.assert_array_equal(unmasked.weights, whole.weights)


def test_masking_the_nebula_brings_the_surface_to_the_sky(cells, sky):
    nebula = cells - sky > 0.02
    masked, plain = (fit_by_descent(cells, mask, epochs=400) for mask in (~nebula, None))
    errors = [np.abs(surface_of(result) - sky)[nebula].max() for result in (masked, plain)]
    assert errors[0] < 0.5 * errors[1]


def test_starting_values_are_blended_towards_the_median():
    cells = np.array([[[1.0], [2.0]], [[3.0], [40.0]]])
    mask = np.array([[[1.0], [1.0]], [[0.5], [0.0]]])
    points = np.array([[0.0, 0.0], [0.6, 0.1], [0.99, 0.99]])  # cells 1, 3 and 40; the median is 2
    np.testing.assert_allclose(starting_values(cells, mask, points), [[1.0], [2.5], [2.0]])


def test_same_seed_same_result_and_other_seed_another(cells):
    first, again, other = (fit_by_descent(cells, epochs=30, seed=s) for s in (1, 1, 2))
    for name in ("control_points", "weights", "affine", "losses"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert np.abs(first.control_points - other.control_points).max() > 0.1


def test_control_points_move(cells):
    result = fit_by_descent(cells, epochs=30)
    assert np.abs(result.control_points - place_random(32, 0)).min() > 0


def test_the_fit_stops_early_on_a_plateau(cells):
    # steps of 1e-9 make no progress: the reference epoch and then 100 idle ones
    result = fit_by_descent(cells, epochs=1000, learning_rate=1e-9)
    assert result.epochs == len(result.losses) == 101


def test_adam_equals_the_optimizer_of_keras(cells):
    import keras

    from bgoptimizer.original.spline import SplineSurface

    start = fit_by_descent(cells, epochs=1)  # the best of one epoch is the start
    result = fit_by_descent(cells, epochs=20)
    layer = SplineSurface(start.control_points)
    layer.assign_spline(start.weights, start.affine)
    positions = ops.convert_to_tensor(grid_positions((24, 32), dtype=np.float32))
    values = ops.convert_to_tensor(cells.reshape(-1, 1))
    optimizer = keras.optimizers.Adam(1e-3)

    def loss_of(parameters):
        surface = layer.stateless_call(parameters, [], positions)[0]
        return objective.background_loss(values, ops.ones_like(values), surface, 5.0)

    gradient_of = descent.GRADIENTS[keras.backend.backend()](lambda p, _: loss_of(p))
    for expected in result.losses:
        loss, gradient = gradient_of([v.value for v in layer.trainable_variables], None)
        assert float(loss) == pytest.approx(expected, abs=1e-4)  # float32, rounded in other order
        optimizer.apply(gradient, layer.trainable_variables)


def test_on_epoch_sees_progress_and_changes_nothing(cells):
    seen = []
    result = fit_by_descent(cells, epochs=25, on_epoch=lambda *news: seen.append(news))
    assert [epoch for epoch, _, _ in seen] == [10, 20, 25]
    assert seen[-1][1] == result.losses[-1]
    np.testing.assert_array_equal(seen[-1][2][1], result.weights)
    np.testing.assert_array_equal(result.losses, fit_by_descent(cells, epochs=25).losses)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"initializer": "hexagons"}, "hexagons"),
        ({"order": 4}, "order=4"),
        ({"control_points": 0}, "control_points=0"),
        ({"learning_rate": 0.0}, "learning_rate=0"),
        ({"mask": np.zeros((24, 32))}, "every cell of channel 0"),
        ({"mask": np.full((24, 32), 255.0)}, r"mask must lie in \[0, 1\]"),
        ({"mask": np.ones((3, 3))}, r"mask must have shape \(24, 32, 1\)"),
    ],
)
def test_wrong_arguments_are_errors(cells, arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_by_descent(cells, **arguments)


def test_tensorflow_and_jax_agree(cells, tmp_path):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX IS NOT INSTALLED: its descent is untested. pip install .[jax]")
    here = fit_by_descent(cells, epochs=50)
    np.save(tmp_path / "cells.npy", cells)
    code = (
        "import sys, numpy as np, keras; from bgoptimizer.original.descent import fit_by_descent;"
        "assert keras.backend.backend() == 'jax';"
        "r = fit_by_descent(np.load(sys.argv[1]), epochs=50);"
        "np.savez(sys.argv[2], losses=r.losses, points=r.control_points)"
    )
    subprocess.run(
        [sys.executable, "-c", code, tmp_path / "cells.npy", tmp_path / "jax.npz"],
        check=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"KERAS_BACKEND": "jax"},
    )
    there = np.load(tmp_path / "jax.npz")
    # float32 sums in another order; |r| has kinks that magnify it from epoch to epoch
    np.testing.assert_allclose(there["losses"], here.losses, atol=1e-3)
    np.testing.assert_allclose(there["points"], here.control_points, atol=1e-3)
