"""The Colab notebook runs from a clean kernel, with a stand-in of google.colab."""

import numpy as np
import pytest
from astropy.table import Table
from nbclient.exceptions import CellExecutionError

from bgrem.denoising.bundle import restore
from bgrem.models import load_model
from common import AstroImage, read_image, write_image

pytestmark = [
    pytest.mark.slow,  # a kernel each, which loads and trains the networks of the package
    pytest.mark.filterwarnings(  # the client's sockets and event loop, not our code
        "ignore::DeprecationWarning", "ignore::ResourceWarning",
        "ignore::pytest.PytestUnraisableExceptionWarning",
    ),
]  # fmt: skip


@pytest.fixture
def execute(run_notebook):
    """Run it with form fields set, one tile to denoise and two steps to train."""
    quick = {
        "FIELD_SIDE": 160, "STEPS": 1, "MARKED_SIDE": 100, "TRAINING_FIELDS": 2,
        "TRAINING_SIDE": 160, "EPOCHS": 1, "STEPS_PER_EPOCH": 2, "BATCH_SIZE": 2,
        "INJECTIONS": 10, "EXAMINED_SIDE": 128,
    }  # fmt: skip
    return lambda **parameters: run_notebook("bgrem.ipynb", **(quick | parameters))


def test_it_denoises_detects_and_trains_from_a_clean_kernel(execute, tmp_path):
    done = execute()
    assert done.complaints == ""
    assert "tensorflow" not in done.printed.lower()
    assert "on Colab" in done.printed
    assert "2 %) false positives: before " in done.printed
    assert "true positives at 2 % false positives: before " in done.printed
    names = ["field_denoised.fits", "field_bundle.fits", "trained_model.zip"]
    assert (tmp_path / "downloads.txt").read_text().split() == names
    source = read_image(tmp_path / "field.fits").pixels
    assert np.array_equal(restore(tmp_path / "field_bundle.fits").pixels, source)
    assert read_image(tmp_path / "field_denoised.fits").pixels.min() >= 0
    assert done.pictures == 11
    assert done.widgets == 1
    assert (tmp_path / "widgets.txt").read_text() == "enabled"
    assert f"{len(Table.read(tmp_path / 'sources.fits'))} sources in sources.fits" in done.printed
    assert (tmp_path / "report" / "report.html").exists()
    assert (tmp_path / "enhanced.png").exists()
    assert (tmp_path / "raw_residual.fits").exists()


def test_it_takes_an_uploaded_image_and_has_no_truth_for_it(execute, starfield, tmp_path):
    write_image(tmp_path / "night.fits", AstroImage(starfield[0]))
    done = execute(SOURCE="upload")
    assert "denoised: " in done.printed
    assert "true positives" not in done.printed
    assert "night_denoised.fits" in (tmp_path / "downloads.txt").read_text()
    assert not (tmp_path / "mounted.txt").exists()


def test_it_takes_an_image_and_own_pairs_on_the_drive(execute, starfield, tmp_path):
    observed, clean, _ = starfield
    pixels = observed.copy()
    pixels[40:50, 30:60] = np.nan
    write_image(tmp_path / "night.fits", AstroImage(pixels))
    for number in range(2):
        np.savez(tmp_path / f"pair_{number}.npz", observed=observed, clean=clean)
    execute(
        SOURCE="Google Drive", PATH="night.fits", CLIP=False, STRENGTH=0.5,
        TRAINING_SOURCE="Google Drive", FILES="pair_*.npz", WRITE_RESULT_OF="training",
    )  # fmt: skip
    assert (tmp_path / "mounted.txt").read_text() == "/content/drive"
    result = read_image(tmp_path / "night_denoised.fits")
    assert np.array_equal(np.isnan(result.pixels[..., 0]), np.isnan(pixels))
    trained = load_model(tmp_path / "training" / "model")
    assert trained.description["domain"]["data"] == "files of the user: 2 fields"


def test_a_cell_that_fails_fails_the_run(execute):
    with pytest.raises(CellExecutionError, match="there is no such file"):
        execute(SOURCE="path", PATH="nowhere.fits")
