from pathlib import Path

import numpy as np
import pytest

from common.provenance import history_lines, provenance_cards, read_params, write_params


def test_history_names_tool_input_and_parameters_but_no_folder():
    lines = history_lines(
        "bgrem denoise",
        "1.2",
        "/home/me/night.fits",
        {"steps": 5, "background": Path("/data/b.fits")},
        notes=["2 tiles skipped"],
    )
    assert lines == [
        "bgrem denoise 1.2 on night.fits",
        "bgrem denoise: steps = 5",
        "bgrem denoise: background = b.fits",
        "bgrem denoise: 2 tiles skipped",
    ]


def test_keywords_name_the_tool_the_weights_the_seed_and_the_input_pixels():
    # one float32 1.0 is the word 0x3F800000
    cards = provenance_cards(
        "bgrem", "1.2", "/x/a.fits", pixels=np.ones((1, 1), np.float32), model_sha256="ab", seed=7
    )
    assert {keyword: value for keyword, value, _ in cards} == {
        "BGTOOL": "bgrem",
        "BGVERS": "1.2",
        "BGINPUT": "a.fits",
        "BGDATSUM": str(0x3F800000),
        "BGMODEL": "ab",
        "BGSEED": 7,
    }


def test_a_parameter_file_can_be_replayed(tmp_path):
    parameters = {"steps": np.int64(5), "strength": 0.5, "size": (1, 2), "mask": Path("m.fits")}
    write_params(tmp_path / "p.json", "bgrem", "1.2", "/x/a.fits", parameters)
    assert "/x/" not in (tmp_path / "p.json").read_text()
    assert read_params(tmp_path / "p.json", "bgrem", known=parameters) == {
        "steps": 5,
        "strength": 0.5,
        "size": [1, 2],
        "mask": "m.fits",
    }


def test_a_parameter_file_is_not_overwritten_without_leave(tmp_path):
    write_params(tmp_path / "p.json", "bgrem", "1", "a.fits", {})
    with pytest.raises(FileExistsError, match="--overwrite"):
        write_params(tmp_path / "p.json", "bgrem", "1", "a.fits", {})
    write_params(tmp_path / "p.json", "bgrem", "1", "a.fits", {}, overwrite=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a parameter file in JSON"),
        ("[]", 'expected an object with "parameters"'),
        ('{"tool": "bgrem", "parameters": {"stepz": 1}}', "unknown keys stepz. Known are steps"),
        ('{"tool": "bgrem", "parameters": {}, "x": 1}', "unknown keys x"),
        ('{"tool": "other", "parameters": {}}', "parameter file of other, not of bgrem"),
    ],
)
def test_a_wrong_parameter_file_is_refused(tmp_path, text, message):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_params(tmp_path / "p.json", "bgrem", known=["steps"])


def test_a_parameter_that_json_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"p\.json: the parameter .* cannot be written"):
        write_params(tmp_path / "p.json", "bgrem", "1", "a.fits", {"x": object()})
    assert not list(tmp_path.iterdir())
