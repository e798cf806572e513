"""`--jobs` with the real commands: a worker that is killed, and the same pixels as without."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from bgoptimizer import make_scene
from bgrem.cli import main as bgrem
from common import AstroImage, read_image, write_image

pytest.importorskip("distributed", reason="pip install 'bgrem[dask]'")
psutil = pytest.importorskip("psutil")  # comes with distributed
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
FRAMES = 24
SCENES = 3  # of which the frames are copies: so few need to be done once more without `--jobs`
SECONDS = 900  # s; of patience with a busy machine
KILLED_AFTER = 6  # frames: in the middle of the run


@pytest.fixture
def night(tmp_path):
    """A folder with 24 frames."""
    folder = tmp_path / "night"
    folder.mkdir()
    scenes = [make_scene(seed, shape=(48, 64), objects="none") for seed in range(SCENES)]
    for number in range(FRAMES):
        pixels = scenes[number % SCENES].observed
        write_image(folder / f"frame{number:02}.fits", AstroImage(pixels))
    return folder


def test_a_worker_is_killed_in_the_middle_and_all_frames_are_right(night, tmp_path):
    done, temporary = tmp_path / "done.jsonl", tmp_path / "temporary"
    temporary.mkdir()
    words = [sys.executable, "-m", "bgoptimizer", "--no-save-mask"]
    jobs = [*words, str(night), "-o", str(tmp_path / "out"), "--jobs", "2", "--resume", str(done)]
    where = {"env": os.environ | {"TMPDIR": str(temporary)}, "text": True}
    child = subprocess.Popen(jobs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **where)
    try:
        deadline = time.monotonic() + SECONDS
        while not done.exists() or len(done.read_text().splitlines()) < KILLED_AFTER:
            assert time.monotonic() < deadline and child.poll() is None
            time.sleep(0.02)
        children = psutil.Process(child.pid).children(recursive=True)
        workers = [one for one in children if "spawn_main" in " ".join(one.cmdline())]
        assert len(workers) == 2
        os.kill(workers[0].pid, signal.SIGKILL)
        out, err = child.communicate(timeout=SECONDS)
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == 0, err
    assert out.count("wrote") == len(done.read_text().splitlines()) == FRAMES
    inputs = {json.loads(line)["input"] for line in done.read_text().splitlines()}
    assert len(inputs) == FRAMES
    assert list(temporary.iterdir()) == []

    plain = [str(night / f"frame{number:02}.fits") for number in range(SCENES)]
    subprocess.run([*words, *plain, "-o", str(tmp_path / "plain")], check=True, capture_output=True)
    for number in range(FRAMES):
        for word in ("bgSubtracted", "bgModel"):
            found = read_image(tmp_path / "out" / f"frame{number:02}_{word}.fits").pixels
            right = read_image(tmp_path / "plain" / f"frame{number % SCENES:02}_{word}.fits").pixels
            assert np.array_equal(found, right)
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert len(files) == FRAMES * 3 and not any(name.startswith(".") for name in files)

    again = subprocess.run(jobs, capture_output=True, check=True, **where)
    assert again.stdout.count("is done already") == FRAMES
    assert len(done.read_text().splitlines()) == FRAMES


@pytest.mark.slow
def test_denoise_on_two_processes_gives_the_same_pixels(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(5)
    for name in "abc":
        write_image(tmp_path / f"{name}.fits", AstroImage(rng.normal(100, 3, (96, 96, 1))))
    words = ["denoise", "a.fits", "b.fits", "c.fits", "-s", "1", "--no-verdict"]
    assert bgrem([*words, "-o", "jobs", "--jobs", "2"]) == 0
    printed = capfd.readouterr()
    assert bgrem([*words, "-o", "plain"]) == 0
    plain = capfd.readouterr()
    assert sorted(printed.err.splitlines()) == sorted(plain.err.splitlines())
    assert printed.out.count("wrote") == 3
    for name in "abc":
        first, second = (
            read_image(tmp_path / folder / f"{name}_denoised.fits").pixels
            for folder in ("jobs", "plain")
        )
        # fewer threads may add in another order: float32 rounding of values near 1 in noise units
        assert np.allclose(first, second, atol=1e-4 * 3, equal_nan=True)
