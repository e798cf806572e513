"""Exported models: the numbers of Keras, without Keras."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from bgrem.cli import main
from bgrem.config import DenoiseConfig
from bgrem.denoising.flow import denoise
from bgrem.inference import exported
from bgrem.inference.exported import MAX_DIFFERENCE, compare_outputs, export_model, find_exported
from bgrem.inference.run import load_for
from bgrem.models import find_model, list_models, load_model, read_description
from bgrem.networks.gpu import DeviceWarning
from bgrem.networks.onnx_network import OnnxNetwork, read_card

onnx = pytest.importorskip("onnx", reason="the extra onnx: pip install onnx onnxruntime")
pytest.importorskip("onnxruntime", reason="the extra onnx: pip install onnx onnxruntime")

ROOT = Path(__file__).parents[2]
BLOCKED = ("tensorflow", "keras", "jax", "onnx")
WITHOUT_KERAS = f"""
import sys
for name in {BLOCKED!r}:
    sys.modules[name] = None  # as if it were not installed: importing it raises
from bgrem.cli import main
sys.exit(main(sys.argv[1:]))
"""
SMALL = {  # networks of few channels: all kinds of layers, and the options that change them
    "attention": ("attention_unet", {"widths": [4, 6], "bottleneck": 8}),
    "linear": ("attention_unet", {"widths": [4], "bottleneck": 6, "softening": 0.0}),
    "exposure": ("exposure", {"widths": [4, 6], "bottleneck": 8}),
    "residual": ("residual", {"widths": [8, 16], "groups": 4}),
    "residual, linear": ("residual", {"widths": [8], "groups": 8, "softening": 0.0}),
}


@pytest.fixture(scope="module")
def tiny_file(tiny_model, tmp_path_factory):
    """The tiny model as an ONNX file."""
    path = tmp_path_factory.mktemp("exported") / "tiny.onnx"
    export_model(tiny_model, path)
    return path


@pytest.fixture(params=["onnx", "openvino"])
def runtime(request):
    """A runtime that is installed."""
    if request.param == "openvino":
        pytest.importorskip("openvino", reason="the extra openvino: pip install openvino")
    return request.param


def run_without_keras(*words):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_KERAS, *map(str, words)], capture_output=True, text=True,
        cwd=ROOT,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize("kind", SMALL)
def test_networks_of_every_kind_give_the_numbers_of_keras_at_any_size(kind, runtime, tmp_path):
    from bgrem.networks.attention_unet import NETWORKS, initialise
    from bgrem.networks.onnx_graph import onnx_graph

    name, options = SMALL[kind]
    network = NETWORKS[name](**options)
    initialise(network, 3)
    rng = np.random.default_rng(4)
    for weight in network.weights:  # so that means, scales and offsets matter
        weight.assign(weight.numpy() + rng.uniform(0, 0.2, weight.shape))
    (tmp_path / "one.onnx").write_bytes(onnx_graph(network).SerializeToString())
    other = OnnxNetwork(tmp_path / "one.onnx", runtime)
    for shape in ((2, 32, 48, 1), (1, 64, 16, 1)):
        noisy = rng.normal(0, 1, shape).astype(np.float32)
        noisy[0, 5, 6] = 30
        number = rng.uniform(0.2, 1, (shape[0], 1, 1, 1)).astype(np.float32)
        expected = np.asarray(network.predict_on_batch((noisy, number)))
        scale = np.sqrt(np.mean(expected**2)) + np.abs(expected)
        found = other.predict_on_batch((noisy, number))
        # Keras has a variance as the difference of two means, which loses digits
        bound = 10 * MAX_DIFFERENCE if name == "residual" else MAX_DIFFERENCE
        assert np.max(np.abs(found - expected) / scale) < bound


def test_a_layer_without_a_row_is_refused():
    import keras

    from bgrem.networks.onnx_graph import onnx_graph

    image = keras.Input((None, None, 1))
    with pytest.raises(ValueError, match="no row for UpSampling2D"):
        onnx_graph(keras.Model(image, keras.layers.UpSampling2D()(image)))


@pytest.mark.parametrize("name", list_models())
def test_every_model_of_the_package_gives_its_known_answer_when_exported(name, tmp_path):
    path = tmp_path / f"{name}.onnx"
    model, difference = export_model(name, path)
    assert 0 < difference < MAX_DIFFERENCE  # another order of sums: never exactly 0
    again = load_model(path)
    assert again.test(compiled=True) < 0.01  # of what the self-test of a device allows
    assert (again.name, again.sha256, again.precision) == (name, model.sha256, "float32")
    assert again.description == read_description(name)
    onnx.checker.check_model(onnx.load(path), full_check=True)


def test_an_export_that_computes_otherwise_is_not_kept(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(exported, "compare_outputs", lambda *_: 0.01)
    with pytest.raises(FloatingPointError, match="differs from that of Keras"):
        export_model(tiny_model, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_a_difference_between_file_and_keras_is_measured(tiny_model, tiny_file, tmp_path):
    changed = onnx.load(tiny_file)
    (bias,) = (one for one in changed.graph.initializer if one.dims == [1])
    bias.CopyFrom(onnx.numpy_helper.from_array(np.ones(1, np.float32), bias.name))
    onnx.save(changed, tmp_path / "changed.onnx")
    model = load_model(tiny_model)
    assert compare_outputs(model, tmp_path / "changed.onnx") > 100 * MAX_DIFFERENCE
    with pytest.raises(FloatingPointError, match="self-test"):
        load_model(tmp_path / "changed.onnx")


def test_a_command_runs_without_keras_and_writes_the_same(
    tiny_model, tiny_file, starfield, tmp_path, runtime
):
    fits.writeto(tmp_path / "a.fits", starfield[0])
    words = ["denoise", str(tmp_path / "a.fits"), "--tile", "64", "--overlap", "16", "--no-verdict"]
    exact = ["--model", str(tiny_model), "--precision", "float32"]  # bfloat16 where it is quicker
    assert main([*words, *exact, "-o", f"{tmp_path}/keras/"]) == 0
    options = ["--model", tiny_file, "--runtime", runtime]
    assert run_without_keras(*words, *options, "-o", f"{tmp_path}/{runtime}/") == (0, "")
    expected = fits.getdata(tmp_path / "keras" / "a_denoised.fits")
    found, header = fits.getdata(tmp_path / runtime / "a_denoised.fits", header=True)
    # float32 in another order, six steps one after the other
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * header["BGNOISE"])
    assert header["BGENGINE"].startswith("onnxruntime" if runtime == "onnx" else "openvino")
    assert header["BGDEVICE"].endswith("float32")
    assert header["BGMODEL"] == read_description(tiny_model)["sha256"]


def test_a_file_can_be_reproduced_with_the_exported_model(
    tiny_file, starfield, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    fits.writeto("a.fits", starfield[0])
    assert main(["denoise", "a.fits", "--model", str(tiny_file), "--steps", "1"]) == 0
    assert main(["reproduce", "a_denoised.fits"]) == 0


def test_a_name_is_exported_once_to_the_cache(tiny_model, starfield, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = DenoiseConfig(model=str(tiny_model), runtime="onnx", steps=1)
    with pytest.warns(exported.ExportNotice, match=r"tiny was exported to .*tiny\.onnx"):
        model = load_for(config)
    assert model.engine.startswith("onnxruntime ")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_exported(tiny_model) == model.network.path
        denoise(starfield[0], config, model=load_for(config))


def test_a_command_says_where_the_cached_file_is(
    tiny_model, starfield, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fits.writeto(tmp_path / "a.fits", starfield[0])
    words = ["denoise", str(tmp_path / "a.fits"), "--no-verdict", "-o", f"{tmp_path}/out/"]
    words += ["--model", str(tiny_model), "--runtime", "onnx", "--steps", "1"]
    assert main(words) == 0
    assert "tiny was exported to" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0
    assert capsys.readouterr().err == ""


def test_without_keras_a_name_that_was_never_exported_is_one_line(tiny_model, starfield, tmp_path):
    fits.writeto(tmp_path / "a.fits", starfield[0])
    code, said = run_without_keras(
        "denoise", tmp_path / "a.fits", "--model", tiny_model, "--runtime", "onnx"
    )
    (line,) = said.splitlines()
    assert code == 2
    assert "the export needs keras, onnx" in line
    assert "--model a file that `bgrem models export` has written" in line


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"runtime": "keras"}, "leave --runtime out"),
        ({"precision": "bfloat16"}, "the runtime onnx computes in float32 alone"),
    ],
)
def test_what_a_runtime_cannot_do_is_one_line(tiny_file, settings, message):
    with pytest.raises(ValueError, match=message):
        load_for(DenoiseConfig(model=str(tiny_file), **settings))


def test_a_library_that_is_missing_is_one_line(tiny_file, monkeypatch):
    from bgrem.networks import onnx_network

    monkeypatch.setattr(onnx_network, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install onnxruntime"):
        OnnxNetwork(tiny_file, "onnx")
    with pytest.raises(ValueError, match="needs ONNX Runtime or OpenVINO"):
        read_card(tiny_file)


def test_files_that_are_no_exported_models_are_one_line(tiny_file, tmp_path, runtime):
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ValueError, match=r"text\.onnx: .* cannot read it"):
        OnnxNetwork(tmp_path / "text.onnx", runtime)
    bare = onnx.load(tiny_file)
    del bare.metadata_props[:]
    onnx.save(bare, tmp_path / "bare.onnx")
    assert OnnxNetwork(tmp_path / "bare.onnx", runtime).card is None
    with pytest.raises(ValueError, match=r"bare\.onnx: has no card"):
        load_model(tmp_path / "bare.onnx")
    with pytest.raises(ValueError, match="no such model"):
        find_model(tmp_path / "nothing.onnx")


def test_inputs_that_a_network_does_not_take_are_one_line(tiny_file, runtime):
    network = OnnxNetwork(tiny_file, runtime)
    with pytest.raises(ValueError, match=r"tiny\.onnx: .* failed"):
        network.predict_on_batch((np.zeros((1, 7, 9, 1), np.float32), np.ones((1, 1, 1, 1), "f4")))


def test_without_memory_tiles_get_smaller_and_pixels_stay(tiny_file, starfield, monkeypatch):
    config = DenoiseConfig(model=str(tiny_file), steps=1)
    model = load_for(config)
    expected = denoise(starfield[0], config, model=model).result.pixels
    whole, seen = model.network._run, []

    def exhausted(inputs):
        seen.append(inputs[0].shape[0])
        if len(inputs[0]) > 1:
            raise RuntimeError("Failed to allocate memory for requested buffer of size 1")
        return whole(inputs)

    model.network._run = exhausted
    with pytest.warns(DeviceWarning, match="one by one"):
        found = denoise(starfield[0], config, model=model).result.pixels
    assert seen == [2, 1]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


def test_models_export_writes_a_file_and_says_how_good_it_is(tiny_model, tmp_path, capsys):
    words = ["models", "export", str(tiny_model), "-o", str(tmp_path / "t.onnx")]
    assert main(words) == 0
    assert "differs from Keras by" in capsys.readouterr().out
    assert main(words) == 2  # it exists
    assert main([*words, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["difference"] < MAX_DIFFERENCE
    assert main(["models", str(tmp_path / "t.onnx")]) == 0
    assert json.loads(capsys.readouterr().out) == read_description(tiny_model)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["export"], "export NAME -o"),
        (["export", "optical"], "export NAME -o"),
        (["optical", "gamma"], "export NAME -o"),
        (["optical", "-o", "a.onnx"], "export NAME -o"),
        (["export", "optical", "-o", "a.pb"], r"Name it *.onnx"),
        (["export", "nothing", "-o", "a.onnx"], "no such model"),
    ],
)
def test_an_export_that_cannot_be_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["models", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())
