"""The default fit: blocks, recognition, surface, correction, uncertainty."""

import numpy as np
import pytest
from scipy import ndimage
from threadpoolctl import threadpool_info, threadpool_limits

from bgoptimizer import BackgroundConfig, correct_background, fit_background, make_scene
from bgoptimizer.cells import cell_noise, median_bias, pixel_step, sky_of_integers
from bgoptimizer.robust.mask import recognise_objects
from bgoptimizer.robust.smoothing import Grid
from bgoptimizer.robust.trend import dark_side, find_trend
from bgoptimizer.surface import evaluate_spline
from common import AstroImage
from common.blocks import block_reduce

SHAPE = (400, 600)
SMALL = (60, 90)


@pytest.fixture(scope="module")
def nebula():
    return make_scene(4, shape=SHAPE, objects="nebula")


@pytest.fixture(scope="module")
def nebula_model(nebula):
    return fit_background(nebula.observed)


@pytest.fixture(scope="module")
def small():
    """A frame for what does not depend on how good the fit is: a third of the time."""
    return make_scene(4, shape=SMALL, objects="nebula")


@pytest.fixture(scope="module")
def small_model(small):
    return fit_background(small.observed)


def rms(values):
    return float(np.std(values))


def robust_plane_error(scene):
    """Error of the simplest peer: a plane through clipped block medians."""
    cells = block_reduce(scene.observed[..., 0], 8)
    truth = block_reduce(scene.background[..., 0], 8)
    y, x = np.indices(cells.shape)
    basis = np.stack([np.ones(cells.size), y.ravel(), x.ravel()], 1)
    use = np.ones(cells.size, bool)
    for _ in range(10):
        fit = basis @ np.linalg.lstsq(basis[use], cells.ravel()[use], rcond=None)[0]
        residual = cells.ravel() - fit
        use = residual < 2 * 1.4826 * np.median(np.abs(residual[use]))
    return rms(fit.reshape(cells.shape) - truth)


def test_edge_blocks_are_not_padded_with_zeros():
    plane = np.full((11, 13), 5.0)
    assert np.array_equal(block_reduce(plane, 4), np.full((3, 4), 5.0))


def test_block_statistics_leave_missing_pixels_out():
    plane = np.array([[1.0, 2.0, np.nan, np.nan], [3.0, 100.0, np.nan, 7.0]])
    assert np.array_equal(block_reduce(plane, 2), [[2.5, 7.0]])
    assert np.array_equal(block_reduce(plane, 2, "mean"), [[26.5, 7.0]])
    empty = block_reduce(np.full((2, 2), np.nan), 2)
    assert np.isnan(empty).all()


def test_cell_noise_ignores_a_gradient():
    rng = np.random.default_rng(0)
    cells = np.arange(300)[None] * 0.01 + rng.normal(0, 0.5, (200, 300))
    assert cell_noise(cells) == pytest.approx(0.5, rel=0.02)


def test_median_bias_of_a_contaminated_sky_is_found():
    rng = np.random.default_rng(0)
    sky = rng.normal(0, 1, 1_000_000)
    sky[:30_000] += 20
    assert median_bias(sky) == pytest.approx(np.median(sky), abs=0.01)


def test_a_fit_keeps_blas_to_one_thread_and_gives_the_others_back(monkeypatch):
    # more threads wait for one another on matrices as small as these: ten times the CPU time
    solve, threads = np.linalg.solve, []

    def blas_threads():
        return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

    def watched(*arguments):
        threads.append(blas_threads())
        return solve(*arguments)

    monkeypatch.setattr(np.linalg, "solve", watched)
    with threadpool_limits(2, user_api="blas"):
        fit_background(make_scene(4, shape=(80, 100)).observed)
        assert blas_threads() == {2}
    assert threads and all(one == {1} for one in threads)


def test_the_object_map_covers_the_nebula_and_leaves_the_sky(nebula, nebula_model):
    cloud = block_reduce(nebula.objects[..., 0], nebula_model.cell_factor, "mean")
    found = nebula_model.objects[..., 0]
    assert found[cloud > 0.2 * cloud.max()].mean() > 0.95
    assert found[cloud < 1e-5].mean() < 0.2


def test_the_default_beats_a_robust_plane_and_spares_the_nebula(nebula, nebula_model):
    error = nebula_model.evaluate(np.float64) - nebula.background
    assert rms(error) < 0.2 * robust_plane_error(nebula)
    bright = nebula.objects > 0.5 * nebula.objects.max()
    eaten = (error[bright] - np.median(error)).sum() / nebula.objects[bright].sum()
    assert abs(eaten) < 0.12


def test_no_object_is_found_where_there_is_none():
    scene = make_scene(3, shape=SHAPE, objects="none")
    assert fit_background(scene.observed).objects.mean() < 0.02


def test_the_scale_of_the_pixels_does_not_matter(small, small_model):
    scaled = fit_background(small.observed * np.float32(4096))
    expected = small_model.evaluate() * 4096
    assert np.allclose(scaled.evaluate(), expected, rtol=1e-4)


def test_same_input_gives_identical_pixels(small, small_model):
    assert np.array_equal(fit_background(small.observed).evaluate(), small_model.evaluate())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, ">f4", ">i2"])
def test_every_dtype_is_fitted_in_its_own_units(dtype):
    rng = np.random.default_rng(1)
    sky = np.linspace(50, 90, 200)[:, None] + rng.normal(0, 4, (200, 300))
    pixels = sky.astype(dtype)
    model = fit_background(AstroImage(pixels)).evaluate(np.float64)[..., 0]
    offset = -0.5 if np.dtype(dtype).kind in "iu" else 0  # astype truncates
    assert rms(model - offset - np.linspace(50, 90, 200)[:, None]) < 0.5


@pytest.mark.parametrize("pedestal", ["level", "none", "0.125"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_input_is_model_plus_result_minus_the_recorded_pedestal(small, pedestal, dtype):
    image = AstroImage(small.observed.astype(dtype))
    model = fit_background(image, BackgroundConfig(pedestal=pedestal))
    done = correct_background(image, model)
    recorded = {card[0]: card[1] for card in done.result.cards}["BGPED"]
    again = done.model.pixels.astype(np.longdouble) + done.result.pixels - recorded
    exact = again == image.pixels
    # pixels far below the background keep more digits than the model can hold
    spacing = np.spacing(np.abs(done.model.pixels).max())
    assert np.abs(again - image.pixels).max() <= spacing
    # except where pixel and model lie on either side of a power of two, with unlike grids
    assert exact[image.pixels > 0.5 * done.model.pixels].mean() > 0.98


def test_values_outside_zero_to_one_are_not_rescaled():
    rng = np.random.default_rng(2)
    pixels = rng.normal(-3, 1, (200, 300)).astype(np.float32)
    pixels[50, 60] = 5000
    done = correct_background(AstroImage(pixels), fit_background(pixels))
    assert done.result.pixels[50, 60, 0] == pytest.approx(5000, abs=1)
    assert done.result.pixels.min() < 0


def test_nan_and_the_input_stay_untouched(small):
    pixels = small.observed.copy()
    pixels[:20] = np.nan
    before = pixels.copy()
    done = correct_background(pixels, fit_background(pixels))
    assert np.isnan(done.result.pixels[:20]).all()
    assert np.isfinite(done.result.pixels[20:]).all()
    assert np.isfinite(done.model.pixels).all()
    assert np.array_equal(pixels, before, equal_nan=True)


def test_division_keeps_star_flux_on_a_multiplicative_gradient():
    rng = np.random.default_rng(5)
    y, x = np.indices(SHAPE) / SHAPE[0]
    gain = (0.6 + 0.5 * x)[..., None] * np.array([1.0, 0.8, 0.6])
    sky = 1000 * gain
    flat_star = np.zeros((*SHAPE, 1))
    for row, column in [(80, 60), (200, 300), (320, 540)]:
        flat_star[..., 0] += 800 * np.exp(-((y * 400 - row) ** 2 + (x * 400 - column) ** 2) / 8)
    image = AstroImage(sky + flat_star * gain + rng.normal(0, 3, (*SHAPE, 3)))
    model = fit_background(image, BackgroundConfig(operation="divide"))
    done = correct_background(image, model)
    flux = np.array([
        (done.result.pixels[r - 10 : r + 11, c - 10 : c + 11] - done.constant).sum((0, 1))
        for r, c in [(80, 60), (200, 300), (320, 540)]
    ])  # fmt: skip
    assert np.allclose(flux / flux.mean(0), 1, atol=0.03)
    # one factor per channel: colours stay as in the middle of the frame
    assert np.allclose(flux.mean(0) / flux.mean(0)[0], [1, 0.8, 0.6], atol=0.03)


def test_division_by_a_negative_background_is_refused():
    pixels = np.random.default_rng(0).normal(0, 1, (200, 300))
    model = fit_background(pixels, BackgroundConfig(operation="divide"))
    with pytest.raises(ValueError, match="positive"):
        correct_background(pixels, model)


def test_bayer_colours_have_their_own_background():
    rng = np.random.default_rng(3)
    ramp = np.linspace(0, 50, 400)[:, None]
    pixels = rng.normal(100, 2, (400, 400)) + ramp
    pixels[::2, ::2] += 300
    model = fit_background(pixels, BackgroundConfig(bayer=True))
    background = correct_background(pixels, model)
    result = background.model.pixels[..., 0]
    assert len(background.constant) == 4
    assert np.abs(result[::2, ::2] - result[1::2, 1::2] - 300).max() < 2


def test_full_size_is_the_spline_itself_to_a_millionth(nebula_model):
    plane = nebula_model.planes[0]
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(0, SHAPE[0], 2000), rng.integers(0, SHAPE[1], 2000)
    positions = np.stack([(rows + 0.5) / plane.extent[0], (columns + 0.5) / plane.extent[1]], 1)
    direct = evaluate_spline(
        plane.control_points, plane.weights, plane.affine, plane.order, positions
    )
    fast = nebula_model.evaluate(np.float64)[rows, columns]
    assert np.sqrt(np.mean((fast - direct) ** 2)) < 1e-6 * np.ptp(direct)


def test_the_mask_is_obeyed_for_any_dtype_and_channel_count(small):
    pixels = small.observed.copy()
    pixels[:, 60:] += 1  # a landscape
    weights = np.ones(SMALL)
    weights[:, 60:] = 0
    plain = fit_background(pixels, mask=weights).evaluate()
    masks = [
        weights.astype(bool),
        (weights * 255).astype(np.uint8),
        (weights * 65535).astype(np.uint16),
        weights[..., None].astype(np.float32),
    ]
    for mask in masks:
        assert np.array_equal(fit_background(pixels, mask=mask).evaluate(), plain)
    assert np.median(plain[:, :58]) == pytest.approx(np.median(small.background[:, :58]), rel=0.05)


@pytest.mark.parametrize(
    ("pixels", "mask", "message"),
    [
        (np.full((64, 64), np.nan), None, "no measured pixel"),
        (np.ones((64, 64)), None, "constant"),
        (np.eye(64), np.zeros((64, 64)), "all pixels are masked"),
        (np.eye(64), np.ones((63, 64)), "expected shape"),
    ],
)
def test_nothing_to_fit_is_said_in_one_line(pixels, mask, message):
    with pytest.raises(ValueError, match=message) as caught:
        fit_background(pixels, mask=mask)
    assert "\n" not in str(caught.value)


def test_a_plateau_at_zero_is_extrapolated_but_a_subtracted_sky_is_not():
    rng = np.random.default_rng(0)
    truth = np.linspace(-300, 900, 600)[None] * np.ones((400, 1))
    cut = np.maximum(truth, 0) + rng.normal(0, 20, truth.shape)
    model = fit_background(cut).evaluate(np.float64)[..., 0]
    assert np.median(model[:, :60] - truth[:, :60]) == pytest.approx(0, abs=40)
    flat = rng.normal(0, 20, truth.shape)
    assert np.abs(fit_background(flat).evaluate()).max() < 5


@pytest.mark.slow
def test_sigma_holds_about_two_thirds_of_the_errors():
    covered = []
    kinds = ("none", "nebula", "filaments") * 2
    for seed, kind in enumerate(kinds, 101):
        scene = make_scene(seed, shape=SHAPE, objects=kind)
        model = fit_background(scene.observed, BackgroundConfig(uncertainty=10))
        covered.append(np.mean(np.abs(model.evaluate() - scene.background) <= model.sigma()))
    assert 0.5 < np.median(covered) < 0.9  # six small scenes: the benchmark says it better


def test_more_cells_than_needed_are_not_recognised_on_a_smooth_bowl():
    rng = np.random.default_rng(0)
    y, x = np.indices((100, 150)) / 100
    cells = 10 - (y - 0.5) ** 2 - (x - 0.75) ** 2 + rng.normal(0, 0.01, y.shape)
    grid = Grid(100, 150, 150)
    assert recognise_objects(cells, grid, cell_noise(cells)).objects.mean() < 0.02


@pytest.mark.parametrize(
    "shape",
    [(40, 60), pytest.param((41, 333), marks=pytest.mark.slow), (333, 41), (97, 101), (24, 24)],
)
def test_any_size_works(shape):
    rng = np.random.default_rng(0)
    pixels = rng.normal(100, 1, shape) + np.linspace(0, 20, shape[1])
    model = fit_background(pixels).evaluate()[..., 0]
    assert rms(model - 100 - np.linspace(0, 20, shape[1])) < 1


def test_original_objective_fits_in_its_own_stretch():
    scene = make_scene(2, shape=(240, 360), objects="none")
    config = BackgroundConfig(objective="original", epochs=200, initializer="grid")
    model = fit_background(scene.observed, config)
    assert model.planes[0].order == 2
    assert len(model.planes[0].control_points) == 32
    error = model.evaluate(np.float64) - scene.background
    assert rms(error) < rms(scene.background)
    assert len(model.rounds) > 2


def test_sigma_of_the_original_is_refused_before_any_work():
    with pytest.raises(ValueError, match="robust"):
        BackgroundConfig(objective="original", uncertainty=3)


def test_the_order_is_obeyed_by_the_default_objective(small):
    plane = fit_background(small.observed, BackgroundConfig(order=2)).planes[0]
    assert plane.order == 2


def test_sigma_of_a_bayer_mosaic_is_refused_before_any_work(small):
    with pytest.raises(ValueError, match="Debayer first"):
        fit_background(small.observed, BackgroundConfig(bayer=True, uncertainty=3))


def test_settings_of_the_published_method_are_not_dropped_in_silence():
    with pytest.raises(ValueError, match="--objective original"):
        BackgroundConfig(threshold_max=0.8)
    assert BackgroundConfig(objective="original", threshold_max=0.8).threshold_max == 0.8


def test_division_keeps_the_colours_of_a_bayer_mosaic():
    rng = np.random.default_rng(4)
    pixels = 1000 + rng.normal(0, 2, (400, 400)) + np.linspace(0, 100, 400)[:, None]
    pixels[::2, ::2] *= 3
    config = BackgroundConfig(bayer=True, operation="divide")
    result = correct_background(pixels, fit_background(pixels, config)).result.pixels[..., 0]
    assert np.median(result[::2, ::2]) / np.median(result[1::2, 1::2]) == pytest.approx(3, rel=0.01)


def cells_of_a_steep_sky(rng, light=0.0):
    """Cells (125, 188) of a sky that grows exponentially by 2000 noise, and their sky."""
    y, x = np.indices((125, 188)) / 125
    sky = 2000 * np.exp(3 * (x / 1.5 - 1)) + 20 * y
    return sky + light + rng.normal(0, 0.15, sky.shape), sky


def test_a_first_sky_follows_a_steep_sky_under_objects():
    rng = np.random.default_rng(2)
    y, x = np.indices((125, 188)) / 125
    light = 30 * np.exp(-((y - 0.5) ** 2 + (x - 0.6) ** 2) / 0.02)
    cells, sky = cells_of_a_steep_sky(rng, light)
    first = find_trend(cells, np.ones(cells.shape), Grid(*cells.shape, 294))
    assert rms(first.values - sky) < 1.5  # of 2000; a polynomial is not an exponential
    assert first.degree > 2


def test_a_polynomial_that_runs_away_is_not_taken():
    rng = np.random.default_rng(3)
    y, x = np.indices((125, 188)) / 125
    waves = 50 * np.sin(2 * np.pi * (2.1 * x + 1.3 * y))
    cells = 100 + waves + rng.normal(0, 0.15, y.shape)
    first = find_trend(cells, np.ones(cells.shape), Grid(*cells.shape, 294))
    assert np.ptp(first.values) < 1.5 * np.ptp(cells)


def test_the_dark_side_says_level_and_spread_of_a_sky_under_objects():
    rng = np.random.default_rng(4)
    sky = rng.normal(10, 2, 20_000)
    sky[:5000] += rng.exponential(30, 5000)
    centre, spread = dark_side(sky)
    assert centre == pytest.approx(10, abs=0.3)
    assert spread == pytest.approx(2, rel=0.15)
    assert dark_side(np.zeros(0)) == (0.0, 0.0)


def test_a_faint_textured_cloud_is_an_object_and_a_smooth_flat_field_error_is_not():
    rng = np.random.default_rng(6)
    grid, shape = Grid(125, 188, 294), (125, 188)
    wave = ndimage.gaussian_filter(rng.normal(size=shape), 15, mode="wrap")
    smooth = 100 + 8 * wave / wave.std() + rng.normal(0, 0.15, shape)
    assert recognise_objects(smooth, grid, 0.15).objects.mean() < 0.05
    cloud = ndimage.gaussian_filter(rng.normal(size=shape), 1.0, mode="wrap")
    cloud = np.clip(cloud / cloud.std() + 1, 0, None)
    cloud[:, 94:] = 0
    faint = 100 + 0.6 * cloud + rng.normal(0, 0.15, shape)
    found = recognise_objects(faint, grid, 0.15).objects
    assert found[:, :80].mean() > 0.7
    assert found[:, 110:].mean() < 0.1


def test_integers_with_a_coarse_step_give_the_background_of_finer_ones():
    rng = np.random.default_rng(7)
    y, x = np.indices((300, 450)) / 300
    sky = 1000 + 6 * x + 3 * y
    fine = sky + rng.normal(0, 0.4, sky.shape)
    coarse = np.round(fine)
    assert pixel_step(coarse) == 1
    assert pixel_step(fine) == 0
    assert pixel_step(np.round(sky + rng.normal(0, 20, sky.shape))) == 0
    model = fit_background(coarse).evaluate()[..., 0]
    assert rms(model - sky - (model - sky).mean()) < 0.05


def test_a_grey_mask_of_one_value_is_a_mask_of_1():
    scene = make_scene(4, shape=(200, 300))
    plain, grey = (
        fit_background(scene.observed, mask=np.full((200, 300), value)).evaluate()
        for value in (1.0, 0.3)
    )
    assert rms(plain - grey) < 1e-6


@pytest.mark.parametrize("shape", [(203, 307), (200, 300)])
def test_a_steep_sky_holds_to_the_edges(shape):
    """Blocks that the frame's edge cuts, and the half block beyond the last centre, count too."""
    rng = np.random.default_rng(7)
    y, x = np.indices(shape)
    sky = 1000 + 3 * x + 2 * y  # in noise: 24 between neighbouring blocks
    config = BackgroundConfig(downscaling_factor=8)
    model = fit_background(sky + rng.normal(0, 1, shape), config).evaluate()[..., 0]
    edge = np.ones(shape, bool)
    edge[8:-8, 8:-8] = False
    assert rms((model - sky)[edge]) < 0.3  # of the noise; it was 10


@pytest.mark.parametrize(("step", "waves"), [(0.5, 0.03), (2, 0.03), (3, 0.06)])
def test_the_sky_of_integers_has_no_waves(step, waves):
    """The median of integers, or of integers spread over their step, has 0.2 at a step of 3."""
    rng = np.random.default_rng(5)
    y, x = np.indices((400, 600))
    sky = 300 + 0.02 * x + 0.01 * y
    integers = np.round((sky + rng.normal(0, 1, sky.shape)) / step) * step
    integers[:40, :60] = np.nan
    found = sky_of_integers(integers, 8, step)
    assert np.isnan(found[:5, :7]).all() and np.isfinite(found[5:]).all()
    left = (found - block_reduce(sky, 8, "mean"))[6:]
    assert rms(ndimage.gaussian_filter(left, 2)) < waves  # noise alone leaves 0.022
    assert abs(left.mean()) < 0.01
