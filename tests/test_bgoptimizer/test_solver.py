"""The default objective by gradient descent: the same surface as the solved one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bgoptimizer import BackgroundConfig, fit_background, make_scene
from bgoptimizer.robust.descent import descend
from bgoptimizer.robust.smoothing import PRIORS, Grid
from bgoptimizer.robust.tasks import Task, solve

ROOT = Path(__file__).parents[2]
AGREE = """
import numpy as np
from bgoptimizer import BackgroundConfig, fit_background, make_scene
scene = make_scene(4, shape=(120, 180), channels=3, objects="nebula")
truth = scene.background
solved, descended = (
    fit_background(scene.observed, BackgroundConfig(solver=name)).evaluate(np.float64)
    for name in ("solve", "descent")
)
print(np.std(descended - solved) / np.std(solved - truth))
"""


def test_a_descent_reaches_the_solved_surface_of_all_tasks_at_once():
    rng = np.random.default_rng(1)
    grid = Grid(40, 60, 60)
    y, x = np.mgrid[:40, :60] / 40
    cells = 100 + 30 * x + 10 * np.sin(3 * y) + rng.standard_normal((40, 60))
    cells[10:14, 20:24] += 50  # an outlier for the weights
    weights = np.ones((40, 60))
    weights[25:, 40:] = 0
    bound = np.zeros((40, 60), bool)
    bound[25:, 40:] = True
    names = [*PRIORS, "polynomial 2"]
    tasks = [Task(name, 1e-6, 1.0, cells + 5 * k, weights, bound) for k, name in enumerate(names)]
    for solved, descended in zip(solve(grid, tasks, 4), descend(grid, tasks, 4), strict=True):
        # the surface's own error is about a tenth of the noise; in the hole it is extrapolated
        apart = descended.values - solved.values
        assert np.std(apart[weights > 0]) < 1e-3
        assert np.abs(apart).max() < 0.1
        assert np.abs(descended.used - solved.used).max() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_frame_has_the_same_background_from_both_solvers(backend):
    if backend == "jax":
        pytest.importorskip("jax", reason="the extra jax: pip install jax")
    done = subprocess.run(
        [sys.executable, "-c", AGREE], cwd=ROOT, text=True, capture_output=True,
        env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.01


def test_the_published_objective_has_no_other_solver():
    with pytest.raises(ValueError, match="always descended"):
        BackgroundConfig(objective="original", solver="descent")
    with pytest.raises(ValueError, match="solver must be one of"):
        BackgroundConfig(solver="newton")


def test_the_setting_is_kept_with_the_model():
    scene = make_scene(4, shape=(60, 90))
    assert fit_background(scene.observed).config.solver == "solve"
