"""Settings out of flags, JSON and text; ranges that fields declare."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from common.config import check, from_mapping, from_texts, option, to_arguments


@dataclass(frozen=True, kw_only=True)
class Settings:
    steps: int = option(5, "number of steps", "-s", "--steps", least=1)
    tile: int = option(32, "side", multiple_of=16)
    share: float = option(0.5, "of all", least=0, most=1)
    decay: float = option(0.9, "factor", least=0, below=1)
    ratio: float | None = option(None, "of two", finite=True, above=1)
    gain: float | None = option(None, "of the detector", above=0)
    sizes: tuple[float, ...] = option((3.0,), "of all", above=0, refusal="must be sizes")
    kind: str = option("fast", "what runs", choices=("fast", "exact"))
    name: str | None = option(None, "of the run")
    clip: bool = option(True, "clip the sky")
    verify: bool = option(True, "do not verify", "--no-verify")
    mask: Path | None = option(None, "of the sky")

    def __post_init__(self) -> None:
        check(self)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"steps": 0}, "steps must be 1 or more. Received: 0"),
        ({"tile": 24}, "tile must be a multiple of 16. Received: 24"),
        ({"tile": 0}, "tile must be a multiple of 16. Received: 0"),
        ({"share": 1.5}, "share must be from 0 to 1. Received: 1.5"),
        ({"share": float("nan")}, "share must be from 0 to 1. Received: nan"),
        ({"decay": 1.0}, "decay must be 0 or more and below 1. Received: 1.0"),
        ({"ratio": 1.0}, "ratio must be above 1. Received: 1.0"),
        ({"ratio": float("inf")}, "ratio must be a finite number. Received: inf"),
        ({"gain": 0.0}, "gain must be positive. Received: 0.0"),
        ({"sizes": (1.0, -2.0)}, "sizes must be sizes. Received: (1.0, -2.0)"),
        ({"sizes": ()}, "sizes must be sizes. Received: ()"),
        ({"kind": "slow"}, "kind must be one of fast, exact. Received: slow"),
    ],
)
def test_a_value_outside_what_its_field_declares_is_refused(given, words):
    with pytest.raises(ValueError) as error:
        Settings(**given)
    assert str(error.value) == words


def test_a_field_declares_only_what_there_is():
    with pytest.raises(TypeError, match="declares no lest"):
        option(1, "number", lest=0)


def test_values_of_json_become_those_of_the_fields():
    given = {"share": 1, "sizes": [4, 2.5], "mask": "m.fits", "ratio": None}
    found = from_mapping(Settings, given, "p.json")
    assert found == Settings(share=1.0, sizes=(4.0, 2.5), mask=Path("m.fits"))
    assert type(found.share) is float


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"steps": 2.5}, "p.json has steps = 2.5, which is no int."),
        ({"steps": True}, "p.json has steps = True, which is no int."),
        ({"steps": None}, "p.json has steps = None, which is no int."),
        ({"clip": 1}, "p.json has clip = 1, which is no bool."),
        ({"sizes": 3}, "p.json has sizes = 3, which are no numbers."),
    ],
)
def test_a_value_of_another_type_is_refused_by_the_name_of_its_file(given, words):
    with pytest.raises(ValueError) as error:
        from_mapping(Settings, given, "p.json")
    assert str(error.value) == words


def test_texts_and_arguments_give_the_same_settings_again():
    given = Settings(
        steps=7, share=0.25, ratio=2.5, sizes=(1.0, 2.0), kind="exact", name="-a b", clip=False,
        verify=False,
    )  # fmt: skip
    texts = {name: str(value) for name, value in vars(given).items()}
    assert from_texts(Settings, texts, "HISTORY") == given
    words = to_arguments(given)
    assert "--sizes 1.0,2.0 --kind exact --name=-a b --no-clip --no-verify" in " ".join(words)
    assert to_arguments(replace(Settings(), steps=5)) == []


@pytest.mark.parametrize("text", ["(1.0, __import__('os'))", "(1.0", "wide", "[a]"])
def test_nothing_of_a_text_is_run(text):
    with pytest.raises(ValueError, match="no numbers"):
        from_texts(Settings, {"sizes": text}, "HISTORY")
