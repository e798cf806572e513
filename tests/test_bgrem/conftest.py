"""A small model that needs no training, and frames with truth."""

import numpy as np
import pytest

TINY = {"name": "attention_unet", "widths": [4, 6], "bottleneck": 8}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Folder of a model with random weights: it denoises nothing, but it runs."""
    from bgrem.models import named_weights, save_model
    from bgrem.networks.attention_unet import attention_unet, initialise

    network = attention_unet((4, 6), 8)
    initialise(network, 5)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    description = {
        "network": TINY, "background": "smooth", "tile": 32,
        "schedule": {"min_signal": 0.01, "max_signal": 0.98}, "domain": {"what": "a test"},
    }  # fmt: skip
    save_model(folder, named_weights(network), description)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _models_stay_loaded():
    """Load and compile a model once for all commands that run in this process.

    A folder whose files have changed is read anew.
    """
    from bgrem.inference import run
    from bgrem.models import find_model, load_model

    loaded = {}

    def load_once(name, *, dtype="float32", runtime="onnx"):
        folder = find_model(name).resolve()
        if folder.is_file():
            return load_model(name, runtime=runtime)
        files = sorted((one.name, one.stat().st_mtime_ns) for one in folder.iterdir())
        key = (folder, dtype, str(files))
        if key not in loaded:
            loaded[key] = load_model(name, dtype=dtype)
        return loaded[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "load_model", load_once)
        yield


@pytest.fixture
def starfield():
    """(observed, clean, background) of shape (150, 130): stars of FWHM 3 px on a tilted sky."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:150, :130]
    clean = np.zeros((150, 130))
    for _ in range(25):
        row, column, flux = rng.uniform(0, 150), rng.uniform(0, 130), rng.uniform(100, 3000)
        clean += flux / 10 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 3.25)
    background = 800 + 0.3 * x + 0.1 * y
    observed = clean + background + rng.normal(0, 6, clean.shape)
    return observed.astype(np.float32), clean.astype(np.float32), background
