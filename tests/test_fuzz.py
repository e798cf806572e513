"""A short run of the fuzzing: nothing but clear lines comes of damaged files, and it can find."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "fuzz"
INPUTS = 3000  # some 20 seconds; `make fuzz` reads more


@pytest.fixture(scope="module", autouse=True)
def _modules():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        yield


def run(*arguments):
    return subprocess.run(
        [sys.executable, FOLDER / "run.py", *map(str, arguments)], capture_output=True, text=True
    )


def test_damaged_files_are_read_or_end_in_one_line():
    ended = run("--inputs", INPUTS, "--seed", 3)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{INPUTS} inputs of seed 3" in ended.stdout


def test_the_same_number_is_the_same_input():
    from run import KINDS, make_input

    first, second = (make_input(5, 17, list(KINDS))[:3] for _ in range(2))
    assert first == second
    assert make_input(5, 18, list(KINDS))[2] != first[2]


def test_outcomes_are_told_apart(tmp_path):
    from run import Hang, classify

    path = tmp_path / "a.fits"
    assert classify(ValueError(f"{path}: is no FITS file."), path) == "ValueError"
    assert classify(FileNotFoundError(f"{path}: is not there."), path) == "OSError"
    assert classify(ValueError("cannot reshape"), path) == "unclear"
    assert classify(ValueError(f"{path}: one\ntwo"), path) == "unclear"
    assert classify(TypeError(f"{path}"), path) == "escaped"
    assert classify(MemoryError(), path) == "memory"
    assert classify(Hang(), path) == "hang"


def test_deaths_and_hangs_are_counted_and_kept(tmp_path):
    """A copy of the program with targets that die, hang or fail on purpose."""
    program = (FOLDER / "run.py").read_text()
    start, end = program.index("LIBRARIES = ("), program.index("def load")
    program = program[:start] + "LIBRARIES = ()\n\n\n" + program[end:]
    program = program.replace("\nSECONDS = 10", "\nSECONDS = 1").replace("parents[2]", "parent")
    (tmp_path / "run.py").write_text(program)
    (tmp_path / "mutate.py").write_text((FOLDER / "mutate.py").read_text())
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.json").write_text(json.dumps({"a": 1}))
    (tmp_path / "targets.py").write_text(
        "import os, signal, time\nTARGETS = {'json': (None, ('a.json',), 1)}\ncount = 0\n"
        "def read(kind, path, rng, folder):\n"
        "    global count\n    count += 1\n"
        "    if count == 2: time.sleep(60)\n"
        "    if count == 3: raise KeyError('x')\n"
        "    if count == 4: os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    ended = subprocess.run(
        [sys.executable, tmp_path / "run.py", "--inputs", "5", "--keep", tmp_path / "kept"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    kept = sorted(one.name.split("-")[0] for one in (tmp_path / "kept").iterdir())
    assert kept == ["death", "escaped", "hang"]


@pytest.mark.parametrize("name", sorted(one.name for one in (FOLDER / "corpus").iterdir()))
def test_files_of_the_corpus_are_good_and_mutations_damage_them(name, tmp_path):
    from mutate import mutate
    from targets import TARGETS, read

    content, path = (FOLDER / "corpus" / name).read_bytes(), tmp_path / name
    for kind, (_, names, _) in TARGETS.items():
        if name in names:
            path.write_bytes(content)
            read(kind, path, random.Random(1), tmp_path)  # noqa: S311
    suffix = "." + name.split(".", 1)[1]
    seeds = [random.Random(seed) for seed in range(50)]  # noqa: S311
    assert len({mutate(content, suffix, rng) for rng in seeds} - {content}) > 40


def test_the_corpus_is_small():
    assert sum(one.stat().st_size for one in (FOLDER / "corpus").iterdir()) < 200_000
