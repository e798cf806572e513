"""The self-test of models, and the processor in place of a GPU that fails.

No machine of the tests has a GPU: its errors are simulated by a network that raises them.
"""

import hashlib
import json
import shutil
import warnings

import numpy as np
import pytest
from astropy.io import fits

from bgrem import models
from bgrem.cli import main
from bgrem.config import DenoiseConfig
from bgrem.denoising.flow import denoise
from bgrem.inference import device
from bgrem.models import list_models, load_model
from bgrem.networks.gpu import DeviceWarning, is_operation_error
from bgrem.networks.known_answer import (
    ALLOWED_ROUNDOFFS,
    compare_answer,
    describe_answer,
    make_probe,
)

CONFIG = DenoiseConfig(tile=64, overlap=16, steps=1)


@pytest.fixture
def gpu(monkeypatch):
    """A GPU that Keras would use, as far as our code can see."""
    for module in (models, device):
        monkeypatch.setattr(module, "find_gpu", lambda: "GPU of a test")


def failing_once(model, error):
    """The model; its network raises the error when it is next called."""
    whole = model.network.predict_on_batch
    errors = [error]

    def predict_on_batch(inputs):
        if errors:
            raise errors.pop()
        return whole(inputs)

    model.network.predict_on_batch = predict_on_batch
    return model


def copy_with(folder, target, **entries):
    """A copy of a model whose card has other entries; None removes one."""
    shutil.copytree(folder, target)
    card = json.loads((folder / "model.json").read_text("utf-8")) | entries
    card = {name: value for name, value in card.items() if value is not None}
    (target / "model.json").write_text(json.dumps(card), "utf-8")
    return target


def operation_error(name, text="of a test"):
    import tensorflow as tf

    return getattr(tf.errors, name)(None, None, text)


def test_the_input_is_the_same_on_every_machine():
    image, variance = make_probe()
    assert image.shape == (1, 32, 32, 1)
    assert variance.ravel() == [0.5]
    assert hashlib.sha256(image.tobytes()).hexdigest().startswith("4b196ad351f22e66")


@pytest.mark.parametrize("name", list_models())
def test_every_model_of_the_package_gives_its_known_answer(name):
    model = load_model(name)
    assert model.test() < 0.1  # float32 without TensorFloat-32 is far within
    assert load_model(name, dtype="mixed_bfloat16").test() < 1


def test_compiled_the_answer_is_the_same(tiny_model):
    assert load_model(tiny_model).test(compiled=True) < 0.1


def test_a_deviation_is_measured_in_what_the_precision_allows():
    output = make_probe()[0]
    expected = describe_answer(output)
    assert compare_answer(output, expected) < 1e-3
    shifted = output + ALLOWED_ROUNDOFFS * 2.0**-11 * expected["rms"]
    # the mean, nearly 0 beside the rms, has exactly so much left
    assert compare_answer(shifted, expected) == pytest.approx(1, rel=0.1)
    assert compare_answer(shifted, expected, "bfloat16") == pytest.approx(1 / 8, rel=0.1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_none_is_never_allowed(value):
    output = make_probe()[0]
    broken = output.copy()
    broken[0, 5, 5] = value
    assert compare_answer(broken, describe_answer(output)) == np.inf


def test_a_model_without_an_answer_is_loaded_without_a_test(tiny_model, tmp_path):
    model = load_model(copy_with(tiny_model, tmp_path / "old", known_answer=None))
    assert np.isnan(model.test())


@pytest.mark.parametrize("answer", [3, {}, {"mean": 0, "rms": 1, "pixels": [1, 2]}])
def test_a_damaged_answer_is_one_line(tiny_model, tmp_path, answer):
    with pytest.raises(ValueError, match="known_answer"):
        load_model(copy_with(tiny_model, tmp_path / "damaged", known_answer=answer))


def test_a_processor_that_computes_wrong_is_one_line_and_exit_code_3(
    tiny_model, starfield, tmp_path, capsys
):
    answer = json.loads((tiny_model / "model.json").read_text("utf-8"))["known_answer"]
    other = copy_with(tiny_model, tmp_path / "other", known_answer=answer | {"mean": 7.0})
    fits.writeto(tmp_path / "a.fits", starfield[0])
    assert main(["denoise", str(tmp_path / "a.fits"), "--model", str(other)]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "self-test" in line
    assert "bgrem doctor" in line


@pytest.mark.parametrize("name", ["InternalError", "UnimplementedError", "ResourceExhaustedError"])
def test_a_gpu_that_fails_is_replaced_by_the_processor(gpu, tiny_model, starfield, name):
    expected = denoise(starfield[0], CONFIG, model=load_model(tiny_model)).result.pixels
    model = failing_once(load_model(tiny_model), operation_error(name))
    config = CONFIG if name != "ResourceExhaustedError" else DenoiseConfig(
        tile=64, overlap=16, steps=1, batch_size=1
    )  # fmt: skip
    with pytest.warns(DeviceWarning, match=r"GPU of a test failed \(of a test\): the processor"):
        found = denoise(starfield[0], config, model=model).result.pixels
    assert model.on_processor
    # another batch size changes the order of sums
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_tiles_that_do_not_fit_a_gpu_together_are_computed_one_by_one_there(
    gpu, tiny_model, starfield
):
    model = failing_once(load_model(tiny_model), operation_error("ResourceExhaustedError"))
    with pytest.warns(DeviceWarning, match="tiles of .* px one by one"):
        denoise(starfield[0], CONFIG, model=model)
    assert not model.on_processor


def test_without_a_gpu_an_error_stays_an_error(tiny_model, starfield):
    import tensorflow as tf

    model = failing_once(load_model(tiny_model), operation_error("InternalError"))
    with pytest.raises(tf.errors.InternalError):
        denoise(starfield[0], CONFIG, model=model)


def test_an_error_of_the_program_is_none_of_the_gpu(gpu, tiny_model, starfield):
    model = failing_once(load_model(tiny_model), TypeError("ours"))
    with pytest.raises(TypeError):
        denoise(starfield[0], CONFIG, model=model)
    assert is_operation_error(FloatingPointError())


def test_a_gpu_that_computes_wrong_is_replaced_when_the_model_is_loaded(
    gpu, tiny_model, monkeypatch
):
    deviations = [3.0, 0.1]
    monkeypatch.setattr(models, "compare_answer", lambda *_: deviations.pop(0))
    with pytest.warns(DeviceWarning, match="3 times as far off as bfloat16 allows"):
        model = load_model(tiny_model, dtype="mixed_bfloat16")
    assert model.on_processor
    assert model.precision == "float32"
    assert not deviations


def test_a_command_says_in_one_line_that_the_gpu_failed_and_writes_the_same(
    gpu, tiny_model, starfield, tmp_path, capsys, monkeypatch
):
    fits.writeto(tmp_path / "a.fits", starfield[0])
    fits.writeto(tmp_path / "b.fits", starfield[0])

    def run(folder):
        names = [str(tmp_path / f"{name}.fits") for name in "ab"]
        words = ["denoise", *names, "-o", str(tmp_path / folder), "--model", str(tiny_model)]
        words += ["--no-verdict", "--tile", "64", "--overlap", "16", "--precision", "float32"]
        assert main(words) == 0
        pixels, header = fits.getdata(tmp_path / folder / "b_denoised.fits", header=True)
        return pixels, header["BGDEVICE"], capsys.readouterr().err

    expected, computed_on, said = run("before")
    assert said == ""
    assert computed_on == "GPU of a test, float32"
    from bgrem.inference import run as inference

    monkeypatch.setattr(
        inference, "load_model",
        lambda name, *, dtype: failing_once(
            load_model(name, dtype=dtype), operation_error("InternalError")
        ),
    )  # fmt: skip
    found, computed_on, said = run("after")
    assert said.splitlines() == [
        "bgrem: warning: GPU of a test failed (of a test): the processor computes in its place, "
        "in float32."
    ]
    assert computed_on.startswith("CPU ")
    assert np.array_equal(found, expected)


def test_nothing_is_said_where_nothing_fails(gpu, tiny_model, starfield):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        denoise(starfield[0], CONFIG, model=load_model(tiny_model))
