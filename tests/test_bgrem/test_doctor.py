"""`bgrem doctor`: what is well, and a line for each thing that is not."""

import io
import sys
import tempfile
from importlib import metadata

import pytest
from printed_events import results_of

from bgrem import doctor, models
from bgrem.cli import main

CARD = models.list_models()["gamma"]


@pytest.fixture
def sound(monkeypatch):
    """A machine with enough memory, and one model in the package: the quickest."""
    monkeypatch.setattr(doctor, "read_memory", lambda: (16.0, 12.0))
    monkeypatch.setattr(models, "list_models", lambda: {"gamma": CARD})


def test_a_sound_installation_has_a_report_and_exit_code_0(sound, capsys):
    assert main(["doctor"]) == 0
    printed, said = capsys.readouterr()
    assert said == ""
    assert printed.endswith("all is well\n")
    for name in doctor.CHECKS:
        assert f"\n{name} " in f"\n{printed}"
    assert "gamma: SHA-256 7beb25e5edc2… is right, self-test passed" in printed


def test_the_report_as_json_has_all_checks(sound, capsys):
    assert main(["doctor", "--json"]) == 0
    (found,) = results_of(capsys.readouterr().out)
    assert list(found) == ["healthy", "problems", *doctor.CHECKS]
    assert found["healthy"] is True
    assert found["software"]["versions"]["numpy"] == metadata.version("numpy")
    assert found["models"]["gamma"]["deviation"] < 1


def test_a_problem_is_one_line_and_exit_code_1(sound, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "read_memory", lambda: (2.0, 0.5))
    assert main(["doctor", "--quiet"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("problem: memory: 0.5 GB are free")
    assert "--tile 256" in line


@pytest.mark.parametrize(("version", "word"), [("1.26.4", "1.26.4"), (None, "missing")])
def test_an_old_or_a_missing_package_is_named_with_the_command_that_helps(
    monkeypatch, version, word
):
    found = doctor._version_of
    monkeypatch.setattr(
        doctor, "_version_of", lambda name: version if name == "numpy" else found(name)
    )
    (line,) = doctor.check_software().problems
    assert line == f"numpy: {word}, but bgrem needs >=2.0: python -m pip install 'numpy>=2.0'"


def test_the_runtimes_are_listed_with_the_command_that_installs_a_missing_one(monkeypatch):
    versions = {"keras": "3.13.0", "onnxruntime": "1.20.0", "onnx": "1.17.0"}
    monkeypatch.setattr(doctor, "_version_of", versions.get)
    found = doctor.check_runtimes()
    assert found.values == {"keras": "3.13.0", "onnx": "1.20.0", "openvino": None}
    assert found.lines == [
        "--runtime keras: keras 3.13.0",
        "--runtime onnx: onnxruntime 1.20.0",
        "--runtime openvino: not installed: python -m pip install 'bgrem[openvino]'",
    ]
    assert not found.problems
    del versions["onnx"]
    assert (
        doctor.check_runtimes()
        .lines[1]
        .endswith("for exported files alone: the package onnx is missing")
    )


def test_a_source_tree_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "DISTRIBUTION", "no-such-distribution")
    (line,) = doctor.check_software().problems
    assert line.endswith("python -m pip install .")


@pytest.mark.parametrize(
    ("change", "word"),
    [({"known_answer": CARD["known_answer"] | {"rms": 9.0}}, "self-test"),
     ({"sha256": "0" * 64}, "SHA-256"), ({"known_answer": None}, "cannot be tested")],
)  # fmt: skip
def test_a_model_that_is_damaged_or_computes_wrong_is_named(sound, monkeypatch, change, word):
    monkeypatch.setattr(models, "read_description", lambda name: CARD | change)
    found = doctor.check_models()
    (line,) = found.problems
    assert line.startswith("model gamma: ")
    assert word in line
    assert found.values["gamma"]["self_test"] == "failed"


def test_a_gpu_that_fails_is_a_problem_although_the_processor_takes_over(sound, monkeypatch):
    answers, compare = [3.0], models.compare_answer
    monkeypatch.setattr(models, "find_gpu", lambda: "GPU of a test")
    monkeypatch.setattr(
        models, "compare_answer", lambda *given: answers.pop() if answers else compare(*given)
    )
    found = doctor.check_models()
    (line,) = found.problems
    assert line.startswith("model gamma: GPU of a test failed")
    assert "driver" in line
    assert found.values["gamma"]["self_test"] == "passed"


def test_a_package_without_models_is_a_problem(monkeypatch):
    monkeypatch.setattr(models, "list_models", dict)
    (line,) = doctor.check_models().problems
    assert line.startswith("models: the package has none")


def test_an_engine_that_cannot_be_imported_is_a_problem_and_the_other_checks_go_on(
    sound, monkeypatch, capsys
):
    def broken():
        raise ImportError("libcudart.so: cannot open shared object file")

    monkeypatch.setitem(doctor.CHECKS, "device", broken)
    assert main(["doctor", "--json"]) == 1
    (found,) = results_of(capsys.readouterr().out)
    (line,) = found["problems"]
    assert line.startswith("device: ImportError: libcudart.so")
    assert "tensorflow" in line
    assert found["terminal"]


def test_temporary_files_that_cannot_be_written_are_a_problem(monkeypatch):
    def nowhere():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    (line,) = doctor.check_folders().problems
    assert "TMPDIR" in line


def test_a_full_disk_is_a_problem(monkeypatch):
    monkeypatch.setattr(doctor, "MIN_TEMPORARY_GB", 1e9)
    (line,) = doctor.check_folders().problems
    assert "TMPDIR" in line


def test_a_terminal_without_our_letters_is_a_problem_and_can_show_the_report(sound, monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["doctor"]) == 1
    terminal.flush()
    text = terminal.buffer.getvalue().decode("ascii")
    assert "problem: terminal: ascii lacks letters" in text
    assert "7beb25e5edc2\\u2026" in text


@pytest.mark.parametrize(
    ("limit", "free"), [("max", 6.0), ("4000000000", 1.0)], ids=["none", "of a container"]
)
def test_the_memory_is_the_machine_s_or_what_a_container_may_use(tmp_path, limit, free):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text(
        "MemTotal: 7812500 kB\nMemFree: 10 kB\nMemAvailable: 5859375 kB\n"
    )
    group = tmp_path / "sys" / "fs" / "cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(f"{limit}\n")
    (group / "memory.current").write_text("3000000000\n")
    total, left = doctor.read_memory(tmp_path)
    assert total == (8.0 if limit == "max" else 4.0)
    assert left == free


def test_a_system_that_does_not_tell_its_memory_is_no_problem(tmp_path, monkeypatch):
    assert doctor.read_memory(tmp_path) == (None, None)
    monkeypatch.setattr(doctor, "read_memory", lambda: (None, None))
    assert doctor.check_memory().problems == []
