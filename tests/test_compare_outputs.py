"""`compare_outputs.py compare` finds each change of a recording, and nothing in a copy of it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image
from recording_cases import CASES
from recording_differences import compare_recordings
from recording_inputs import INPUTS

SCRIPT = Path(__file__).with_name("compare_outputs.py")
XISF = (
    '<xisf version="1.0"><Image id="a" geometry="2:1:1" location="attachment:400:8"/>'
    '<Property id="XISF:CreationTime" type="TimePoint" value="{time}"/></xisf>'
)


def write_image(path, change=0.0, nan_payload=0):
    pixels = np.arange(12, dtype=np.float32).reshape(3, 4)
    pixels[2, 3] += change
    pixels.view(np.uint32)[0, 0] = 0x7FC00000 + nan_payload
    header = fits.Header([("OBJECT", "M 31"), ("BGSEED", 3)])
    header.add_history("bgrem denoise 0.1.0 on field.fits")
    table = fits.BinTableHDU.from_columns([fits.Column("FLUX", "E", array=pixels[2])], name="CAT")
    fits.HDUList(
        [fits.PrimaryHDU(header=header), fits.ImageHDU(pixels, name="SCI"), table]
    ).writeto(path, overwrite=True)


def write_xisf(path, time="2024-02-29T01:02:03Z", block=b"12345678"):
    header = XISF.format(time=time).encode()
    head = b"XISF0100" + len(header).to_bytes(4, "little") + bytes(4) + header
    path.write_bytes(head.ljust(400, b"\0") + block)


def write_json(path, threshold=1.5, seconds=2.0):
    path.write_text(
        json.dumps({"checks": [{"threshold": threshold}], "seconds": seconds}, indent=1)
    )


def write_weights(path, value=1.0, seconds=2.0):
    state = json.dumps({"history": [{"loss": 0.5, "seconds": seconds}]})
    np.savez(path, kernel=np.full((2, 2), value, np.float16), state=np.array(state))


def write_picture(path, value=7, **options):
    Image.fromarray(np.full((4, 5, 3), value, np.uint8)).save(path, **options)


@pytest.fixture
def recordings(tmp_path):
    """A small recording with a file of each kind, and its copy."""
    before, after = tmp_path / "before", tmp_path / "after"
    case = before / "denoise-plain"
    case.mkdir(parents=True)
    (before / "environment.json").write_text('{"commit": "a", "numpy": "2.0"}')
    (before / "seconds.json").write_text('{"all": 3.0}')
    write_image(case / "out.fits")
    write_xisf(case / "out.xisf")
    write_json(case / "report.json")
    write_weights(case / "weights.npz")
    write_picture(case / "look.png")
    (case / "history.csv").write_bytes(b"epoch,loss,seconds\r\n1,0.5,2.0\r\n")
    (case / "command_01.txt").write_text('$ bgrem\nexit code 0\n{"sources": 3, "seconds": 1.25}\n')
    shutil.copytree(before, after)
    return before, after


def differences_of(before, after, only=None):
    return compare_recordings(before, after, only)[0]


def differences(recordings, change):
    before, after = recordings
    change(after / "denoise-plain")
    return differences_of(before, after)


def test_a_copy_is_equal(recordings):
    assert differences_of(*recordings) == []


def replace(name, old, new):
    def change(folder):
        content = (folder / name).read_bytes()
        assert content.count(old) == 1
        (folder / name).write_bytes(content.replace(old, new))

    return change


@pytest.mark.parametrize(
    ("change", "where", "what"),
    [
        (lambda f: write_image(f / "out.fits", change=1e-3), "out.fits[1 SCI]", "1 of 12 pixels"),
        (lambda f: write_image(f / "out.fits", change=1e-3), "out.fits[2 CAT]", "column FLUX"),
        (replace("out.fits", b"'M 31", b"'M 33"), "out.fits[0 PRIMARY]", "OBJECT"),
        (replace("out.fits", b"0.1.0 on", b"0.2.0 on"), "out.fits[0 PRIMARY]", "HISTORY"),
        (lambda f: write_json(f / "report.json", 1.6), "report.json", ".checks[0].threshold"),
        (replace("report.json", b'{\n "', b'{\n  "'), "report.json", "laid out"),
        (lambda f: write_xisf(f / "out.xisf", block=b"12345679"), "out.xisf[block 0]", "1 bytes"),
        (replace("out.xisf", b'id="a"', b'id="b"'), "out.xisf[header]", "'id': 'b'"),
        (lambda f: write_weights(f / "weights.npz", 1.001), "weights.npz[kernel.npy]", "4 of 4"),
        (lambda f: write_picture(f / "look.png", 8), "look.png[frame 0]", "pixels differ"),
        (replace("history.csv", b"0.5", b"0.6"), "history.csv[line 2]", "1,0.6"),
        (replace("command_01.txt", b": 3", b": 4"), "command_01.txt[line 3]", ".sources"),
        (replace("command_01.txt", b"code 0", b"code 1"), "command_01.txt[line 2]", "code 1"),
        (lambda f: (f / "out.fits").unlink(), "out.fits", "only before"),
        (lambda f: (f / "more.txt").touch(), "more.txt", "only after"),
    ],
)  # fmt: skip
def test_a_change_is_found_and_says_where(recordings, change, where, what):
    found = differences(recordings, change)
    assert any(line.startswith(f"denoise-plain/{where}") and what in line for line in found), found


@pytest.mark.parametrize(
    "change",
    [
        lambda f: write_image(f / "out.fits", nan_payload=5),
        lambda f: write_xisf(f / "out.xisf", time="2025-03-01T00:00:00Z"),
        lambda f: write_json(f / "report.json", seconds=9.5),
        replace("command_01.txt", b'{"so', b'{"event": "progress", "done": 50.0}\n{"so'),
        lambda f: write_weights(f / "weights.npz", seconds=9.5),
        lambda f: write_picture(f / "look.png", compress_level=1),
        replace("history.csv", b"2.0\r", b"9.5\r"),
        replace("command_01.txt", b"1.25", b"7.5"),
        lambda f: (f.parent / "seconds.json").write_text('{"all": 8.0}'),
        lambda f: (f.parent / "environment.json").write_text('{"commit": "b", "numpy": "2.0"}'),
    ],
)
def test_times_commits_and_kinds_of_nan_are_no_difference(recordings, change):
    assert differences(recordings, change) == []


def test_only_some_cases_are_compared_where_the_rest_is_missing(recordings):
    before, after = recordings
    for name in ("catalog-plain", "inputs"):
        (before / name).mkdir()
        (before / name / "field.fits").touch()
    assert differences_of(before, after) == ["catalog-plain: only before", "inputs: only before"]
    assert differences_of(before, after, ["denoise-plain"]) == []
    (after / "inputs").mkdir()
    (after / "inputs" / "field.fits").write_bytes(b"other")
    found = differences_of(before, after, ["denoise-plain"])
    assert len(found) == 1 and found[0].startswith("inputs/field.fits: ")


def test_a_traceback_may_move_but_not_its_error(recordings):
    text = 'Traceback (most recent call last):\n  File "a.py", line {}\n    f()\nValueError: {}\n'
    for folder, line in zip(recordings, (3, 4), strict=True):
        (folder / "denoise-plain" / "debug.txt").write_text(text.format(line, "bad"))
    assert differences_of(*recordings) == []
    (recordings[1] / "denoise-plain" / "debug.txt").write_text(text.format(3, "worse"))
    assert len(differences_of(*recordings)) == 1


def test_the_script_says_equal_and_counts_differences(recordings):
    def run():
        command = [sys.executable, SCRIPT, "compare", *recordings]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stdout.splitlines()

    code, lines = run()
    assert (code, len(lines)) == (0, 1) and lines[0].startswith("equal: ")
    write_json(recordings[1] / "denoise-plain" / "report.json", threshold=2.0)
    code, lines = run()
    assert (code, len(lines)) == (1, 2)
    assert lines[0] == "denoise-plain/report.json: .checks[0].threshold: 1.5 is now 2.0"


def test_cases_have_names_of_their_own_and_inputs_that_exist():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert {one for case in CASES for one in case.inputs.values()} <= set(INPUTS)


def test_the_cases_run_every_command():
    from bgrem.cli import COMMANDS

    run = {tuple(command.split()[:2]) for case in CASES for command in case.commands}
    assert {("bgrem", name) for name in COMMANDS} <= run
    assert "bgoptimizer" in {words[0] for words in run}


def test_inputs_are_the_same_bytes_again(tmp_path):
    for name in ("hubble.fits", "colour.xisf", "zipped.fits.gz", "short_streaks.fits"):
        for folder in ("one", "two"):
            (tmp_path / folder).mkdir(exist_ok=True)
            INPUTS[name](tmp_path / folder / name)
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
