"""Fast array code against the slow loops of `reference`, on small random inputs."""

import numpy as np
import pytest
import reference

from bgoptimizer.robust.smoothing import FIT_BIN_CELLS, Grid
from common.blocks import block_reduce


@pytest.mark.parametrize("statistic", ["median", "mean"])
@pytest.mark.parametrize(
    ("shape", "factor"), [((12, 20), 4), ((13, 22), 5), ((7, 20), 8), ((9, 9), 1)]
)
def test_blocks_are_reduced_pixel_by_pixel(shape, factor, statistic):
    rng = np.random.default_rng(1)
    plane = rng.normal(10, 3, shape).astype(np.float32)
    # in some blocks too few pixels are measured
    plane[rng.random(shape) < np.linspace(0, 1.3, shape[1])] = np.nan
    fast = block_reduce(plane, factor, statistic)
    slow = reference.block_reduce(plane, factor, statistic)
    assert np.isnan(slow).any() and np.isfinite(slow).any()
    # sums in float64, in another order
    assert fast == pytest.approx(slow, rel=1e-14, nan_ok=True)


def test_coarse_cells_are_weighted_means():
    rng = np.random.default_rng(2)
    grid = Grid(11, 14, 20)
    cells, weights = rng.normal(size=(2, 11, 14))
    weights = np.maximum(weights, 0)
    means, mean_weights = grid.bin(cells, weights)
    for k, (row, column) in enumerate(np.ndindex(*grid.coarse_shape)):
        total = weight = 0.0
        for y in range(row * FIT_BIN_CELLS, min((row + 1) * FIT_BIN_CELLS, 11)):
            for x in range(column * FIT_BIN_CELLS, min((column + 1) * FIT_BIN_CELLS, 14)):
                total += cells[y, x] * weights[y, x]
                weight += weights[y, x]
        assert mean_weights[k] == pytest.approx(weight / FIT_BIN_CELLS**2, rel=1e-13)
        assert means[k] == pytest.approx(total / max(weight, 1e-9), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("extent", [(26, 39), (25.375, 38.375), (24.9, 38.1)])
def test_all_surfaces_hold_a_plane_to_the_edges(extent):
    rows, columns = (int(np.ceil(length)) for length in extent)
    grid = Grid(rows, columns, 100, extent=extent)
    y, x = np.meshgrid(*grid.centres, indexing="ij")
    plane = 24 * x - 16 * y
    for prior in grid.priors.values():
        fitted = prior.fit(plane, np.ones_like(plane), float(prior.stiffnesses[0]))
        assert np.abs(fitted.values - plane).max() < 1e-3, prior  # of 900; a ridge of 1e-13 is left
