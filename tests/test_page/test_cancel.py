"""A cancel takes effect inside the work, and leaves nothing behind."""

import itertools
import time

import numpy as np
import pytest
from waiting import wait_until

from bgoptimizer import BackgroundConfig, correct_background, fit_background, make_scene
from bgrem import DenoiseConfig, denoise, simulate_field
from bgrem.networks.diffusion import denoise_steps
from bgrem.networks.schedule import CosineSchedule
from common.page.session import Job, Session
from common.progress.stopping import Stopped, stop_if_asked, stopped_when

LONG = {"uncertainty": 100_000}  # bootstrap fits: minutes on any machine
STOP_SECONDS = 5.0  # s; it is one or two, and four sessions may share two cores


class Asked:
    """Says that the run is unwanted from the nth time on that it is asked."""

    def __init__(self, nth):
        self.nth, self.times = nth, 0

    def __call__(self):
        self.times += 1
        return self.times >= self.nth


@pytest.fixture(scope="module")
def observed():
    return make_scene(7, shape=(90, 130), objects="nebula").observed


def test_outside_of_the_block_nothing_is_stopped():
    stop_if_asked()
    with stopped_when(lambda: True), pytest.raises(Stopped):
        stop_if_asked()
    stop_if_asked()


@pytest.mark.parametrize("nth", [1, 3, 40, 400])
def test_a_fit_stops_where_it_is_asked(observed, nth):
    asked = Asked(nth)
    with stopped_when(asked), pytest.raises(Stopped):
        fit_background(observed, BackgroundConfig(**LONG))
    assert asked.times == nth


@pytest.mark.parametrize("settings", [
    {"objective": "original", "epochs": 100}, {"solver": "descent"},
])  # fmt: skip
def test_a_descent_stops_between_its_steps(observed, settings):
    quiet = Asked(10**9)
    with stopped_when(quiet):
        fit_background(observed, BackgroundConfig(**settings))
    late = Asked(quiet.times - 1)  # nearly at its end: inside the descent
    with stopped_when(late), pytest.raises(Stopped):
        fit_background(observed, BackgroundConfig(**settings))
    assert late.times == late.nth


def test_a_correction_stops_between_its_rows(observed):
    model = fit_background(observed)
    with stopped_when(Asked(2)), pytest.raises(Stopped):
        correct_background(observed, model)


def test_a_denoising_stops_between_the_steps_of_a_batch():
    predicted = []

    def predict(noisy, variance):
        predicted.append(len(noisy))
        return noisy

    steps = denoise_steps(np.zeros((1, 16, 16, 1)), predict, 6, CosineSchedule())
    with stopped_when(lambda: len(predicted) == 2), pytest.raises(Stopped):
        list(steps)
    assert len(predicted) == 2


def test_a_denoising_stops_between_its_batches():
    field = simulate_field(shape=(96, 300), seed=5, stars=3000).observed
    tiles = []
    config = DenoiseConfig(steps=1, tile=96, overlap=16, batch_size=1)
    with stopped_when(lambda: len(tiles) == 1), pytest.raises(Stopped):
        denoise(field, config, progress=tiles.append)
    assert len(tiles) == 1


def test_a_cancel_ends_the_fit_at_once_and_the_views_stay(bench):
    session = Session(bench)
    session.run({"values": LONG, "marks": {}})
    wait_until(lambda: session.progress()["done"])
    start = time.monotonic()
    session.cancel()
    assert session.progress()["state"] == "cancelled"
    with session._working:  # the thread holds it until it has ended
        pass
    assert time.monotonic() - start < STOP_SECONDS
    assert [one["name"] for one in session.state()["views"]] == ["input"]
    assert session.progress()["views_version"] == 1


def test_a_cancelled_run_at_full_size_leaves_the_saved_settings_alone(bench, tmp_path):
    session = Session(bench)
    session.run_at_full_size({"values": LONG, "marks": {}})
    wait_until(lambda: session.progress()["done"])  # the command fits
    session.cancel()
    wait_until(lambda: session.progress()["state"] != "running", STOP_SECONDS + 5)
    assert session.progress()["state"] == "cancelled"
    assert session.job.child.returncode != 0
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["night3_bgPageParams.json"]


def test_a_run_at_full_size_that_is_cancelled_before_its_command_starts_is_stopped(bench, tmp_path):
    session = Session(bench)
    session.save({"values": LONG, "marks": {}})
    job = Job(kind="full", state="running")
    job.stop.set()
    with pytest.raises(Stopped):
        session._full(job, overwrite=False)
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["night3_bgPageParams.json"]


def test_after_a_cancel_the_next_fit_is_that_of_its_own_settings(bench):
    session = Session(bench)
    session.run({"values": LONG, "marks": {}})
    session.cancel()
    session.run({"values": {}, "marks": {}})
    wait_until(lambda: session.progress()["state"] != "running")
    assert session.progress()["state"] == "done"
    wanted = correct_background(bench.image, fit_background(bench.image)).result.pixels
    assert np.array_equal(session._views["result"].pixels, wanted)
    assert list(itertools.islice(session._views, 2)) == ["input", "background"]
