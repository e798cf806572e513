"""A further command is one record and one function."""

import dataclasses
import re
import sys
from types import ModuleType

import numpy as np
import pytest
from astropy.io import fits

from bgrem.cli import build_parser, main
from bgrem.commands import COMMANDS, IMAGES
from bgrem.commands.base import read_input
from bgrem.config import InputConfig
from common.batch import run_over_files
from common.command import Command, Product, option_rows
from common.config import check, option
from common.io import write_image


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScaleConfig:
    factor: float = option(2.0, "of all pixels", above=0, unit="counts")

    def __post_init__(self) -> None:
        check(self)


SCALE = Command(
    name="bgrem scale",
    about="Scale all pixels. Writes <stem>_scaled.",
    run="toy:run",
    arguments=(
        *IMAGES,
        Product("result", "this is the input, scaled", word="scaled"),
        Product("rest", "this is what was added", help="write what was added"),
    ),
    configs={ScaleConfig: "method", InputConfig: ""},
)


def run_scale(call):
    factor = call.settings[ScaleConfig].factor

    def read(path):
        return read_input(path, call.settings[InputConfig])

    def work(path, image, files):
        record = call.record(path, image.pixels)
        parts = {"result": image.pixels * factor, "rest": image.pixels * (factor - 1)}
        for part in parts.keys() & files.keys():
            carried = record.carried(part, image.with_pixels(parts[part]))
            write_image(files[part], carried, overwrite=record.overwrite)
        record.write_parameters(files["parameters"])
        return {"factor": factor}

    return run_over_files(call, read, work)


@pytest.fixture
def commands(monkeypatch):
    module = ModuleType("toy")
    module.run = run_scale
    monkeypatch.setitem(sys.modules, "toy", module)
    return COMMANDS | {"scale": SCALE}


@pytest.fixture
def frame(tmp_path):
    path = tmp_path / "night3.fits"
    fits.writeto(path, np.arange(600, dtype=np.float32).reshape(20, 30) + 1)
    return path


def test_a_record_gives_flags_files_parameters_and_history(commands, frame, tmp_path, capsys):
    out = tmp_path / "out"
    run = ["scale", str(frame), "-o", str(out), "-p", "a_", "--factor", "3"]
    assert main([*run, "--rest", str(tmp_path / "rest.fits")], commands) == 0
    assert "a_night3_scaled.fits" in capsys.readouterr().out
    header = fits.getheader(out / "a_night3_scaled.fits")
    assert (header["BGTOOL"], header["BGPART"]) == ("bgrem scale", "result")
    assert "bgrem scale: factor = 3.0" in list(header["HISTORY"])
    assert "bgrem scale: this is the input, scaled" in list(header["HISTORY"])
    params = str(out / "a_night3_scaledParams.json")
    again = ["scale", str(frame), "-o", str(tmp_path / "b.fits"), "--params", params]
    assert main(again, commands) == 0
    assert np.array_equal(fits.getdata(tmp_path / "b.fits"), 3 * fits.getdata(frame))


def test_a_record_gives_replays(commands, frame, tmp_path, capsys):
    rest = tmp_path / "rest.fits"
    run = ["scale", str(frame), "-o", str(tmp_path), "--factor", "3", "--rest", str(rest)]
    assert main(run, commands) == 0
    for file in (rest, tmp_path / "night3_scaled.fits"):
        capsys.readouterr()
        assert main(["reproduce", str(file)], commands) == 0
        assert "--factor 3.0" in capsys.readouterr().out
    with pytest.raises(KeyError):
        COMMANDS["scale"]
    assert main(["reproduce", str(rest)]) == 2  # a program without the record


def test_a_record_gives_help_and_rows_for_documentation(commands):
    assert "scale" in build_parser(commands).format_help()
    rows = {row[0]: row[1:] for row in option_rows(SCALE)}
    assert rows["--factor"] == ("of all pixels", "2.0", "counts")
    assert rows["--rest"] == ("write what was added", "", "")
    assert rows["--zeros"] == ("which exact zeros are missing pixels", "border", "")


def test_several_inputs_are_not_written_into_one_file(commands, frame, tmp_path, capsys):
    both = ["scale", str(frame), str(tmp_path / "missing.fits"), "-o", str(tmp_path / "o")]
    assert main([*both, "--rest", "r.fits"], commands) == 2
    assert "--rest names one file, 2 inputs" in capsys.readouterr().err
    assert main(both, commands) == 1
    assert (tmp_path / "o" / "night3_scaled.fits").exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_of_the_help_has_a_row(name, capsys):
    assert main([name, "--help"]) == 0
    own = capsys.readouterr().out.partition("common options")[0]
    columns = [
        re.split(r"\s{2,}", line.strip())[0] for line in own.splitlines() if line[:3] == "  -"
    ]
    flags = {word for text in columns for word in re.findall(r"--?[a-zA-Z][\w-]*", f" {text}")}
    listed = {flag for row in option_rows(COMMANDS[name]) for flag in row[0].split(", ")}
    assert flags - {"-h", "--help"} == {flag for flag in listed if flag.startswith("-")}
