"""`bgrem denoise INPUT --preview`: what is denoised, and where it lies in the frame."""

import json
import threading

import numpy as np
import pytest

from bgrem import __version__, denoise, simulate_field
from bgrem.cli import main
from bgrem.commands import COMMANDS
from bgrem.commands.denoise import choose_model
from bgrem.commands.page.denoise import cut_part, make_bench
from common import AstroImage, read_image, write_image
from common.command import Call, build_parser
from common.page.marks import Marks
from common.page.plane import MOST_PX
from common.page.session import Session
from common.progress.stopping import Stopped

QUICK = ["--steps", "1", "--keep", "sources"]


@pytest.fixture
def frame(tmp_path):
    path = tmp_path / "field.fits"
    field = simulate_field(shape=(128, 160), seed=5, stars=3000)
    write_image(path, AstroImage(field.observed.astype(np.float32)))
    return path


@pytest.fixture
def bench(frame, tmp_path):
    words = ["denoise", str(frame), "-o", str(tmp_path / "out"), "--preview", "--quiet", *QUICK]
    args = build_parser("bgrem", "", __version__, COMMANDS).parse_args(words)
    call = Call(COMMANDS["denoise"], args, __version__, COMMANDS, lambda words: 0)
    return make_bench(call, frame, read_image(frame), choose_model)


def settings_of(bench):
    return bench.call.settings[bench.config]


def test_the_page_denoises_as_the_command_and_says_how_far_it_is(bench, frame):
    told = []
    views, notes = bench.work(
        settings_of(bench), Marks(), (80, 64), lambda done, text: told.append((done, text))
    )
    found = {one.name: one.pixels for one in views}
    wanted = denoise(read_image(frame), settings_of(bench))
    assert np.array_equal(found["result"], wanted.result.pixels)
    assert np.array_equal(found["residual"], wanted.residual.pixels)
    assert "model optical" in notes
    parts = [done for done, _ in told if done is not None]
    assert parts == sorted(parts)
    assert parts[-1] > 0.9


def test_a_report_that_stops_ends_the_denoising(bench):
    def report(done, text):
        if done:
            raise Stopped

    with pytest.raises(Stopped):
        bench.work(settings_of(bench), Marks(), (80, 64), report)


def test_an_empty_setting_says_what_it_means(bench):
    fields = {one["name"]: one for one in Session(bench).state()["form"]}
    assert fields["max_sigma"]["unset"] == "no cap"
    assert fields["normalisation"]["unset"] == "measured over the image"


def test_saved_settings_are_replayed_by_the_command(bench, frame, tmp_path):
    session = Session(bench)
    [file] = session.save({"values": {"strength": 0.5}, "marks": {}})
    with open(file) as stream:
        assert json.load(stream)["parameters"]["strength"] == 0.5
    again = tmp_path / "again.fits"
    assert main(["denoise", str(frame), "-o", str(again), "--params", file, "--quiet"]) == 0
    wanted = denoise(read_image(frame), settings_of(bench), strength=0.5)
    assert np.array_equal(read_image(again).pixels, wanted.result.pixels)


@pytest.mark.parametrize(("middle", "start"), [
    ((0, 0), (0, 0)), ((1500, 1000), (900, 400)), ((9e5, 9e5), (1800, 400)),
    ((1501, 1001), (900, 400)),
])  # fmt: skip
def test_of_a_large_frame_a_part_around_the_middle_of_the_screen_is_cut(middle, start):
    pixels = np.arange(1600 * 3000, dtype=np.float32).reshape(1600, 3000, 1)
    part, x, y = cut_part(AstroImage(pixels), middle)
    assert (x, y) == start
    assert part.shape == (MOST_PX, MOST_PX, 1)
    assert part.pixels[0, 0, 0] == pixels[y, x, 0]


def test_nothing_can_be_drawn_where_the_command_takes_no_marks(bench):
    with pytest.raises(ValueError, match="an area has a kind"):
        Session(bench).save({"values": {}, "marks": {"areas": [{"kind": "object"}]}})


def test_threads_that_ask_for_a_view_get_the_same_bytes(bench):
    session, found = Session(bench), []
    threads = [
        threading.Thread(target=lambda: found.append(session.plane("input"))) for _ in range(6)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(set(found)) == 1
