"""`bgrem validate`: the command and its report."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from astropy.io import fits
from printed_events import events_of

from bgrem.cli import main
from bgrem.commands.validate import PARAMETERS_FILE
from bgrem.config import ValidateConfig
from bgrem.frame.domain import FrameProperties
from bgrem.frame.truth import read_truth
from bgrem.simulate.optical import simulate_field
from bgrem.simulate.write import write_field
from bgrem.validation.checks.result import CheckResult, Measure, new_figure
from bgrem.validation.flow import CHECKS, Validation, _Steps
from bgrem.validation.report import (
    REPORT_JSON,
    REPORT_PAGE,
    check_report_folder,
    report_names,
    write_report,
)
from common.progress import expect_passes
from common.progress.passes import begin_pass


@pytest.fixture(scope="module")
def field_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("fields") / "field.fits"
    write_field(path, simulate_field(shape=(144, 136), seed=63_112, stars=1500.0))
    return path


@pytest.fixture
def quick(tiny_model):
    return [
        "-i", "OBSERVED", "--model", str(tiny_model), "-s", "1", "--tile", "64", "--overlap", "16",
        "--repeats", "1", "--injections", "20", "--quiet",
    ]  # fmt: skip


class Page(HTMLParser):
    """Collects sources of pictures and links, and that all tags are closed."""

    def __init__(self):
        super().__init__()
        self.open, self.sources, self.links = [], [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "img":
            self.sources.append(values["src"])
        self.links += [values["href"]] if "href" in values else []
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_validate_writes_a_page_of_its_own_figures_and_pictures(field_file, quick, tmp_path):
    folder = tmp_path / "report"
    arguments = ["--truth", str(field_file), "-o", str(folder), *quick]
    assert main(["validate", str(field_file), *arguments]) == 0
    figures = json.loads((folder / "report.json").read_text("utf-8"))
    assert len(figures["model sha256"]) == 64
    assert figures["datasum"].isdigit()
    assert set(figures["checks"]) == {
        "detection", "truth_detection", "noise_only", "fluxes", "noise", "halos", "pixels",
        "maps", "truth",
    }  # fmt: skip
    assert ["BGINFL"] == [c[0] for c in figures["checks"]["noise"]["cards"] if c[0] == "BGINFL"]
    page = Page()
    page.feed((folder / "report.html").read_text("utf-8"))
    assert page.open == []
    assert len(page.sources) == len(figures["checks"])
    assert all(one.startswith("data:image/png;base64,") for one in page.sources)
    assert all(one.startswith("#") for one in page.links)
    names = report_names(ValidateConfig(), with_truth=True)
    assert {one.name for one in folder.iterdir()} == {*names, PARAMETERS_FILE}
    for name in figures["checks"]:
        assert (folder / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


def test_the_progress_rises_to_1_whatever_the_checks_denoise():
    told = []
    steps = _Steps(told.append, frames=4)

    def denoise_a_frame():
        passes = steps.frame()
        expect_passes(passes, 1)
        begin_pass(passes, 2)
        passes(1)
        passes(1)

    for _ in range(4):
        denoise_a_frame()
    assert told == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4])
    for number in range(len(CHECKS)):
        denoise_a_frame()
        steps.check_done(number + 1)
    assert told[8:] == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 1])


def test_the_same_seed_gives_the_same_report_and_nothing_is_overwritten(
    field_file, quick, tmp_path, capsys, monkeypatch
):
    first, second = tmp_path / "a", tmp_path / "b"
    assert main(["validate", str(field_file), "-o", str(first), "--no-halos", *quick]) == 0
    parameters = first / PARAMETERS_FILE
    names = report_names(ValidateConfig(halos=False), with_truth=False)
    assert {one.name for one in first.iterdir()} == {*names, PARAMETERS_FILE}
    again = ["--params", str(parameters), "--quiet"]
    capsys.readouterr()
    monkeypatch.setattr("common.progress.reporter.EVENT_SECONDS", 0)
    told = ["--params", str(parameters), "--json"]
    assert main(["validate", str(field_file), "-o", str(second), *told]) == 0
    done = [one["done"] for one in events_of(capsys.readouterr().out, "progress")]
    assert (done[0], done[-1]) == (0, 100)
    assert done == sorted(done)
    assert len(set(done)) > 10  # each frame and each check
    assert (first / "report.json").read_bytes() == (second / "report.json").read_bytes()
    assert main(["validate", str(field_file), "-o", str(first), *again]) == 2
    assert "--overwrite" in capsys.readouterr().err
    (first / "mine.txt").write_text("kept")
    assert main(["validate", str(field_file), "-o", str(first), "--overwrite", *again]) == 0
    assert (first / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--truth", "other.fits"], "other.fits"),
        (["--repeats", "0"], "repeats"),
        (["--side", "10"], "side"),
        (["-i", "CATALOGUE"], "CATALOGUE"),
    ],
)
def test_bad_usage_is_one_line_and_writes_nothing(
    field_file, quick, tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    write_field("other.fits", simulate_field(shape=(64, 64), seed=63_113))
    assert main(["validate", str(field_file), "-o", "report", *quick, *arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "report").exists()


def test_a_frame_without_stars_asks_for_the_width(quick, tmp_path, capsys):
    blank = np.random.default_rng(63_100).normal(300, 5, (136, 130)).astype(np.float32)
    fits.writeto(tmp_path / "blank.fits", blank)
    arguments = [*quick[2:], "--no-halos", "-o", str(tmp_path / "report")]
    assert main(["validate", str(tmp_path / "blank.fits"), *arguments]) == 2
    error = capsys.readouterr().err
    assert "--fwhm" in error
    assert "0 found, 3 with a profile" in error
    assert main(["validate", str(tmp_path / "blank.fits"), "--fwhm", "50", *arguments]) == 2
    assert "too small for a FWHM" in capsys.readouterr().err
    assert main(["validate", str(tmp_path / "blank.fits"), "--fwhm", "3", *arguments]) == 0


def test_truth_is_read_with_positions_that_begin_with_zero(field_file):
    truth = read_truth(field_file)
    field = simulate_field(shape=(144, 136), seed=63_112, stars=1500.0)
    assert truth.sources == pytest.approx(field.sources)
    assert truth.catalogue["x"] == pytest.approx(field.catalogue["x"])
    assert list(truth.catalogue["kind"]) == list(field.catalogue["kind"])


@pytest.mark.parametrize(
    "name", [REPORT_PAGE, REPORT_JSON, PARAMETERS_FILE, "maps.png", "truth.png"]
)
def test_a_report_is_not_put_over_another_without_being_asked(tmp_path, name):
    names = [*report_names(ValidateConfig(), with_truth=True), PARAMETERS_FILE]
    (tmp_path / "mine.png").write_text("in nobody's way")
    check_report_folder(tmp_path, names, overwrite=False)
    (tmp_path / name).write_text("here")
    with pytest.raises(FileExistsError, match=re.escape(name)):
        check_report_folder(tmp_path, names, overwrite=False)
    check_report_folder(tmp_path, names, overwrite=True)


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_file_with_the_name_of_the_folder_is_never_replaced(tmp_path, overwrite):
    (tmp_path / "report").write_text("a file")
    with pytest.raises(NotADirectoryError, match=r"report: is a file.* -o") as caught:
        check_report_folder(tmp_path / "report", [REPORT_PAGE], overwrite=overwrite)
    assert "--overwrite" not in str(caught.value)


def test_names_and_notes_are_text_on_the_page(tmp_path):
    nasty = '<script>alert(1)</script>&".fits'
    measure = Measure("<u>a", 1.0, "<u>", wanted="<u>")
    result = CheckResult(
        "maps", nasty, nasty, [measure, Measure("b", float("nan"), unknown="<u>")],
        new_figure(1)[0], nasty, [(nasty, [{nasty: nasty}])], cards=[("KEY", nasty, "")],
    )  # fmt: skip
    facts = {"frame": nasty, "model": nasty, "examined": nasty, "more": {nasty: nasty}}
    done = Validation([result], FrameProperties(), ["<u>warning"], ["<u>note"], facts)
    write_report(tmp_path / "report", done)
    text = (tmp_path / "report" / REPORT_PAGE).read_text("utf-8")
    assert "<script" not in text
    assert "<u>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;.fits" in text
    assert "Note: &lt;u&gt;note" in text
    figures = json.loads((tmp_path / "report" / REPORT_JSON).read_text("utf-8"))
    known, unknown = figures["checks"]["maps"]["measures"]
    assert "unknown" not in known
    assert (unknown["value"], unknown["unknown"]) == (None, "<u>")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert len(page.sources) == 1  # no quote has closed an attribute
