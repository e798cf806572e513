"""Files of one run appear together or not at all; what a dead run left goes, what lives stays."""

import errno
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from common import atomic
from common.atomic import atomic_write, scratch_folder, write_together
from common.image import AstroImage
from common.io import read_image, write_image

ROOT = Path(__file__).parents[2]
NAMES = ("a.fits", "b.json", "c.png")


def write(folder, text, overwrite=False, names=NAMES):
    for name in names:
        with atomic_write(folder / name, overwrite) as temporary:
            temporary.write_text(text)


def contents(folder):
    """Name -> text of all that is in a folder, hidden ones too."""
    return {path.name: path.read_text() for path in folder.iterdir()}


OLD, NEW = dict.fromkeys(NAMES, "old"), dict.fromkeys(NAMES, "new")


@pytest.fixture
def folder(tmp_path):
    """With old files."""
    write(tmp_path, "old")
    return tmp_path


def test_files_that_are_written_together_appear_at_the_end(tmp_path):
    with write_together():
        write(tmp_path, "new")
        assert not [path for path in tmp_path.iterdir() if path.name[0] != "."]
    assert contents(tmp_path) == NEW


def test_old_files_stay_until_the_end(folder):
    with write_together():
        write(folder, "new", overwrite=True)
        assert {name: (folder / name).read_text() for name in NAMES} == OLD
    assert contents(folder) == NEW


def test_a_block_inside_of_another_is_a_part_of_it(folder):
    with pytest.raises(ValueError, match="late"), write_together():
        with write_together():
            write(folder, "new", overwrite=True)
        raise ValueError("late")
    assert contents(folder) == OLD


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_no_file_is_written_where_a_later_one_fails(folder, error):
    with pytest.raises(error), write_together():
        write(folder, "new", overwrite=True, names=NAMES[:2])
        with atomic_write(folder / NAMES[2], overwrite=True) as temporary:
            temporary.write_text("half")
            raise error
    assert contents(folder) == OLD


def test_a_failed_file_that_is_passed_over_is_left_out(folder):
    with write_together():
        write(folder, "new", overwrite=True, names=NAMES[:2])
        with pytest.raises(ValueError, match="no picture"):
            with atomic_write(folder / NAMES[2], overwrite=True):
                raise ValueError("no picture")
    assert contents(folder) == NEW | {NAMES[2]: "old"}


def fail_at(monkeypatch, name, number, error):
    """Let the call of this number of a function of os fail."""
    real, calls = getattr(os, name), []

    def sometimes(*arguments, **options):
        calls.append(arguments)
        if len(calls) == number:
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(os, name, sometimes)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("error", [PermissionError("no"), KeyboardInterrupt()])
def test_replaced_files_come_back_where_a_rename_fails(folder, monkeypatch, number, error):
    fail_at(monkeypatch, "replace", number, error)
    with pytest.raises(type(error)), write_together():
        write(folder, "new", overwrite=True)
    assert contents(folder) == OLD


def test_new_files_go_where_a_later_one_was_made_by_someone_else(tmp_path):
    with pytest.raises(FileExistsError, match=r"c\.png: was made by someone else"):
        with write_together():
            write(tmp_path, "new")
            (tmp_path / "c.png").write_text("theirs")
    assert contents(tmp_path) == {"c.png": "theirs"}


def test_what_cannot_come_back_is_named(folder, monkeypatch):
    def no_links(*arguments):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    fail_at(monkeypatch, "replace", 3, PermissionError("no"))
    with pytest.raises(OSError, match=r"no Replaced already: \S*a\.fits, \S*b\.json\.$"):
        with write_together():
            write(folder, "new", overwrite=True)
    assert contents(folder) == NEW | {"c.png": "old"}


def test_files_of_one_run_may_lie_in_several_folders(tmp_path):
    (tmp_path / "one").mkdir(), (tmp_path / "two").mkdir()
    with write_together():
        write(tmp_path / "one", "new")
        write(tmp_path / "two", "new")
    assert contents(tmp_path / "one") == contents(tmp_path / "two") == NEW


def test_one_run_does_not_write_a_file_twice(folder):
    with pytest.raises(FileExistsError, match=r"a\.fits: is written twice"), write_together():
        write(folder, "new", overwrite=True)
        write(folder, "newer", overwrite=True)
    assert contents(folder) == OLD


def test_a_link_is_followed_and_a_mode_kept(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "real").write_text("old")
    (tmp_path / "there" / "real").chmod(0o640)
    (tmp_path / "link").symlink_to(tmp_path / "there" / "real")
    write(tmp_path, "new", overwrite=True, names=["link"])
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "real").read_text() == "new"
    assert (tmp_path / "there" / "real").stat().st_mode & 0o777 == 0o640


def test_a_file_in_a_temporary_folder_can_be_read_back_at_once():
    with write_together(), scratch_folder() as scratch:
        write_image(scratch / "a.fits", AstroImage(np.ones((3, 4), np.float32)))
        assert read_image(scratch / "a.fits").shape == (3, 4, 1)
    assert not scratch.exists()


# --- left-overs ----------------------------------------------------------------------------------

KILLED = """
import sys, time
from common.atomic import atomic_write, scratch_folder, write_together

with write_together(), scratch_folder(sys.argv[1]):
    for name in "ab":
        with atomic_write(f"{sys.argv[1]}/{name}", overwrite=True) as temporary:
            temporary.write_text("new")
    print("written", flush=True)
    time.sleep(60)
"""


@contextmanager
def live_run(folder):
    """A process that has written its files and not yet put them in place."""
    command = [sys.executable, "-c", KILLED, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        try:
            yield process
        finally:
            process.kill()


def hidden(folder):
    return sorted(path.name for path in folder.glob(".*"))


@pytest.fixture
def sweep(tmp_path):
    """Write a file as a new process would, which looks for what others left."""

    def write_one():
        atomic._remove_leftovers_once.cache_clear()
        write(tmp_path, "next", overwrite=True, names=["next"])
        return hidden(tmp_path)

    return write_one


def test_the_next_run_removes_what_a_killed_one_left(tmp_path, sweep):
    (tmp_path / "a").write_text("old")
    with live_run(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    assert len(hidden(tmp_path)) == 2
    assert sweep() == []
    assert contents(tmp_path) == {"a": "old", "next": "next"}


def test_what_a_live_run_writes_is_left_alone(tmp_path, sweep):
    with live_run(tmp_path):
        before = hidden(tmp_path)
        assert len(before) == 2
        assert sweep() == before
    assert sweep() == []


def test_what_another_machine_writes_is_left_alone(tmp_path, sweep, monkeypatch):
    theirs = tmp_path / f".bgrem-{'3' * 8}-{'4' * 8}-dead"
    theirs.mkdir()
    (theirs / "lock").touch()
    assert sweep() == [theirs.name]
    for first, second in (("3", "5"), ("5", "4")):  # after a restart; in another container
        theirs.mkdir(exist_ok=True)
        (theirs / "lock").touch()
        monkeypatch.setattr(atomic, "_machine", lambda a=first, b=second: (a * 8, b * 8))
        assert sweep() == []


def test_what_only_looks_like_a_left_over_stays(tmp_path, sweep):
    other = tmp_path / "data"
    other.mkdir()
    (other / "lock").write_text("mine")
    machine = "-".join(atomic._machine())
    (tmp_path / f".bgrem-{machine}-link").symlink_to(other)
    (tmp_path / f".bgrem-{machine}-file").write_text("mine")
    (tmp_path / ".bgrem-notes").mkdir()
    assert len(sweep()) == 3
    assert (other / "lock").read_text() == "mine"


def test_a_folder_that_is_taken_away_before_its_lock_is_held_is_made_again(tmp_path, monkeypatch):
    taken = []

    def take_away(descriptor):
        if not taken:
            taken.extend(tmp_path.iterdir())
            (taken[0] / "lock").unlink()
            taken[0].rmdir()

    monkeypatch.setattr(atomic, "_lock", take_away)
    with scratch_folder(tmp_path) as scratch:
        assert scratch.is_dir()
        assert scratch.parent != taken[0]
    assert hidden(tmp_path) == []


# --- full disks and their like -------------------------------------------------------------------


def image_of(size):
    return AstroImage(np.random.default_rng(1).normal(size=(size, size)).astype(np.float32))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 100 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(place)]
    if (
        not sys.platform.startswith("linux")
        or subprocess.run(command, capture_output=True).returncode
    ):
        pytest.skip("*** NOT TESTED: a full disk (needs root, to mount a small one)")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("suffix", [".fits", ".xisf", ".fits.gz", ".fits.fz"])
def test_a_full_disk_is_one_line_and_the_old_files_stay(small_disk, suffix):
    path = small_disk / f"a{suffix}"
    write_image(path, image_of(8))
    before = path.read_bytes()
    with pytest.raises(OSError, match=rf"a{suffix}: could not be written, the disk is full\."):
        with write_together():
            write(small_disk, "new", names=["b"])
            write_image(path, image_of(400), overwrite=True)
    assert path.read_bytes() == before
    assert [one.name for one in small_disk.iterdir()] == [path.name]


def test_a_disk_that_is_read_only_is_refused_before_the_work(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(PermissionError, match="is not writable"):
        write(small_disk, "new")


@pytest.mark.parametrize("suffix", [".fits", ".xisf", ".fits.gz"])
def test_a_limit_of_the_file_size_is_one_line(tmp_path, suffix):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match=rf"a{suffix}: could not be written, the file would be"):
            write_image(tmp_path / f"a{suffix}", image_of(100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EDQUOT, "quota"), (errno.EROFS, "read-only"), (errno.EIO, "Input/output error")],
)
def test_an_error_of_the_flush_to_the_disk_counts(folder, monkeypatch, number, words):
    def fsync(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match=words):
        write(folder, "new", overwrite=True)
    assert contents(folder) == OLD


def test_the_file_that_did_not_fit_is_named_and_not_the_one_around_it(tmp_path):
    with pytest.raises(OSError, match=r"^inner: could not be written, the disk is full"):
        with atomic_write(tmp_path / "outer"), atomic.explain_write_errors("inner"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
