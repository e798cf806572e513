"""The spline: equal to TensorFlow Addons, everywhere trainable, no Keras in its numerics."""

import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
import pytest
from keras import ops

from bgoptimizer.original.spline import SplineSurface
from bgoptimizer.surface import (
    evaluate_spline,
    grid_positions,
    place_grid,
    place_random,
    radial_basis,
    solve_interpolation,
)

REFERENCE = np.load(Path(__file__).parents[1] / "reference" / "tfa_spline.npz")
CASES = range(len(REFERENCE["cases"]))


@pytest.fixture(
    params=CASES, ids=lambda number: "N{:g}-C{:g}-O{:g}-λ{:g}".format(*REFERENCE["cases"][number])
)
def case(request):
    """One call of interpolate_spline of TensorFlow Addons 0.23.0, in float64."""
    order, regularization = REFERENCE["cases"][request.param][2:]
    names = ("points", "values", "queries", "surface")
    return {name: REFERENCE[f"{name}_{request.param}"] for name in names} | {
        "order": int(order),
        "regularization": float(regularization),
    }


@pytest.fixture
def solved(case):
    """The case's control points, weights and affine part."""
    return (
        case["points"],
        *solve_interpolation(case["points"], case["values"], case["order"], case["regularization"]),
    )


def test_solver_and_evaluation_equal_tensorflow_addons(case, solved):
    surface = evaluate_spline(*solved, case["order"], case["queries"])
    # both in float64; weights reach 7000 and cancel, which leaves eleven digits
    np.testing.assert_allclose(surface, case["surface"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_layer_equals_tensorflow_addons(case, solved, dtype):
    points, weights, affine = solved
    layer = SplineSurface(points, weights.shape[1], case["order"], dtype=dtype)
    layer.assign_spline(weights, affine)
    surface = ops.convert_to_numpy(layer(case["queries"].astype(dtype)))
    # float32 carries 6e-8 of each of the terms that cancel, and those are as large as the weights
    tolerance = 1e-9 if dtype == "float64" else 5e-6 + 3e-7 * np.abs(weights).max()
    np.testing.assert_allclose(surface, case["surface"], rtol=0, atol=tolerance)


def test_order_2_is_the_thin_plate_and_order_3_the_cube_by_hand():
    np.testing.assert_allclose(radial_basis(np.array([0.0, 1.0, 4.0]), 2), [0, 0, 4 * np.log(2)])
    np.testing.assert_allclose(radial_basis(np.array([1.0, 4.0]), 3), [1, 8])


@pytest.mark.parametrize("order", [2, 3])
def test_without_regularization_the_spline_goes_through_its_values(order):
    points, values = place_random(20, 1), np.random.default_rng(0).random((20, 2))
    spline = (points, *solve_interpolation(points, values, order))
    np.testing.assert_allclose(evaluate_spline(*spline, order, points), values, atol=1e-9)


@pytest.mark.parametrize("order", [2, 3])
def test_a_plane_is_reproduced_everywhere(order):
    points = place_random(20, 1)
    weights, affine = solve_interpolation(points, points @ [[2.0], [-1.0]] + 0.5, order, 0.1)
    np.testing.assert_allclose(affine[:, 0], [2, -1, 0.5], atol=1e-9)
    np.testing.assert_allclose(weights, 0, atol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_points_on_a_line_still_give_a_surface(count):
    points = np.stack([np.full(count, 0.5), np.linspace(0.1, 0.9, count)], axis=-1)
    spline = (points, *solve_interpolation(points, np.full((count, 1), 0.25), 2, 0.1))
    np.testing.assert_allclose(evaluate_spline(*spline, 2, points), 0.25, atol=1e-9)


def test_evaluation_in_chunks_equals_the_whole(monkeypatch):
    points = place_random(8, 0)
    spline = (points, *solve_interpolation(points, points, 2, 0.1))
    positions = grid_positions((13, 17))
    whole = evaluate_spline(*spline, 2, positions)
    monkeypatch.setattr("bgoptimizer.surface.POSITIONS_AT_ONCE", 10)
    np.testing.assert_allclose(evaluate_spline(*spline, 2, positions), whole, rtol=1e-12)


def test_cells_and_the_pixels_under_them_share_a_place():
    cells = grid_positions((2, 3))
    np.testing.assert_allclose(cells[4], [0.75, 0.5])  # row 1, column 1: rows first
    pixels = grid_positions((8, 10), extent=(8, 12)).reshape(8, 10, 2)  # last cell half filled
    np.testing.assert_allclose(pixels[4:8, 4:8].mean(axis=(0, 1)), cells[4])


@pytest.mark.parametrize("shape", [(100, 100), (40, 200), (200, 10)])
@pytest.mark.parametrize("count", [1, 2, 7, 32, 33, 100])
def test_grid_places_exactly_the_points_asked_for(count, shape):
    points = place_grid(count, shape)
    assert points.shape == (count, 2)
    assert ((points > 0) & (points < 1)).all()
    assert len(np.unique(points, axis=0)) == count


def test_gradient_flows_to_all_parameters_and_is_finite_on_a_control_point():
    from bgoptimizer.original.descent import GRADIENTS

    for order in (1, 2, 3):
        points = place_random(6, 0).astype("float32")
        layer = SplineSurface(points, 2, order)
        layer.build((None, 2))
        assert [tuple(v.shape) for v in layer.trainable_variables] == [(6, 2), (6, 2), (3, 2)]

        def mean_square(parameters, positions, layer=layer):
            return ops.mean(ops.square(layer.stateless_call(parameters, [], positions)[0]))

        start = [ops.convert_to_tensor(points), ops.ones((6, 2)), ops.ones((3, 2))]
        positions = ops.convert_to_tensor(np.concatenate([points, points + 0.1]))
        _, gradients = GRADIENTS[keras.backend.backend()](mean_square)(start, positions)
        for gradient in gradients:
            gradient = ops.convert_to_numpy(gradient)
            assert np.isfinite(gradient).all() and np.abs(gradient).min() > 0


def test_layer_takes_batches():
    layer = SplineSurface(place_random(5, 0), channels=3)
    layer.assign_spline(np.ones((5, 3)), np.ones((3, 3)))
    positions = np.random.default_rng(0).random((2, 7, 2)).astype("float32")
    batch = ops.convert_to_numpy(layer(positions))
    assert batch.shape == (2, 7, 3) == layer.compute_output_shape((2, 7, 2))
    np.testing.assert_allclose(batch[1], ops.convert_to_numpy(layer(positions[1])), atol=1e-6)


def test_get_config_rebuilds_the_layer():
    layer = SplineSurface(5, channels=3, order=3, seed=2, name="sky")
    copy = SplineSurface.from_config(layer.get_config())
    positions = np.random.default_rng(0).random((7, 2)).astype("float32")
    for surface in (layer, copy):
        surface.assign_spline(np.ones((5, 3)), np.ones((3, 3)))
    np.testing.assert_array_equal(layer(positions), copy(positions))
    assert copy.get_config() == layer.get_config()


def test_wrong_arguments_are_errors():
    with pytest.raises(ValueError, match="order=4"):
        SplineSurface(5, order=4)
    with pytest.raises(ValueError, match="at least 1"):
        SplineSurface(0)
    with pytest.raises(ValueError, match=r"\(N, 2\)"):
        SplineSurface(np.zeros((5, 3)))
    with pytest.raises(ValueError, match=r"\(P, 2\)"):
        SplineSurface(5)(np.zeros((4, 3), "float32"))
    with pytest.raises(ValueError, match=r"values must have shape \(5, C\)"):
        solve_interpolation(place_random(5, 0), np.zeros((4, 1)))
    with pytest.raises(ValueError, match="finite"):
        solve_interpolation(place_random(2, 0), np.full((2, 1), np.nan))
    with pytest.raises(ValueError, match="regularization"):
        solve_interpolation(place_random(2, 0), np.zeros((2, 1)), regularization=-1)


def test_numerics_and_the_fit_import_without_keras():
    code = (
        "import sys, bgoptimizer.surface, bgoptimizer.original.descent, common.stretch;"
        "assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules)"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
