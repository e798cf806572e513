"""What reads a damaged file: each target reads one kind of file and does what follows at once."""

import argparse
import hashlib
import warnings

import numpy as np


class NotChecked(Exception):
    """A value got through that should have been refused."""


def image(path, rng, folder):
    """Read an image, its header and its WCS; sometimes write it in the other format."""
    from common.header import celestial_wcs, header_of
    from common.io import read_image, write_image
    from common.provenance import tool_of

    verify = rng.random() < 0.3
    found = read_image(path, verify=verify, zeros=rng.choice(("border", "all", "data")))
    header = header_of(found)
    if rng.random() < 0.3:
        celestial_wcs(header)
        tool_of(path)
    if rng.random() < 0.4:
        suffix = rng.choice((".fits", ".xisf", ".fits.fz"))
        write_image(folder / f"written{suffix}", found, overwrite=True)


def parameters(path, rng, folder):
    """Read a parameter file and make the config of it."""
    from bgoptimizer.config import BackgroundConfig
    from bgrem.config import DenoiseConfig
    from common.config import config_from_args, settings_of
    from common.provenance import read_params

    denoise = "denoise" in path.name
    config = DenoiseConfig if denoise else BackgroundConfig
    known = list(settings_of(config))
    found = read_params(path, "denoise" if denoise else "bgoptimizer", known=known)
    config_from_args(argparse.Namespace(), config, found, str(path))


def training_config(path, rng, folder):
    from bgrem.config import TrainConfig

    TrainConfig.read(path)


def card(path, rng, folder):
    from bgrem.denoising.uncertainty import Calibration
    from bgrem.models import read_description

    model = folder / "model"
    model.mkdir(exist_ok=True)
    path.replace(model / "model.json")
    found = read_description(model)
    if "uncertainty" in found:
        Calibration.from_json(found["uncertainty"], str(model))


def weights(path, rng, folder):
    from bgrem.models import read_weights

    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    model = folder / "model"
    model.mkdir(exist_ok=True)
    path.replace(model / "weights.npz")
    read_weights(model, {"sha256": sha256})


def checkpoint(path, rng, folder):
    from bgrem.training.checkpoint import load_checkpoint

    load_checkpoint(path)


def training_field(path, rng, folder):
    from common.checked.archives import number_of, planes_of, read_arrays

    arrays = read_arrays(path, str(path))
    planes_of(arrays, ("clean", "background"), str(path))
    number_of(arrays, "photons", str(path))


def calibration(path, rng, folder):
    """Load a calibration; the widths that it gives are finite."""
    from bgrem.config import DenoiseConfig
    from bgrem.denoising.uncertainty import load_calibration

    sha256 = "2804250e54513ae7266b9a20c5c748f470723183fc7252fcfc629e34f9f4962d"
    found = load_calibration(DenoiseConfig(), {"sha256": sha256}, path)
    features = np.random.default_rng(rng.randrange(1000)).normal(0, 4, (len(found.middle), 20))
    if not np.isfinite(found.half_widths(features, np.logspace(-3, 4, 20))).all():
        raise NotChecked("the widths of the calibration are not finite")


def pair(path, rng, folder):
    from bgrem.training.pairs import read_pair

    read_pair(path)


def truth(path, rng, folder):
    from bgrem.frame.truth import read_truth

    read_truth(path)


def bundle(path, rng, folder):
    from bgrem.denoising.bundle import restore, write_restored

    if rng.random() < 0.5:
        restore(path)
    else:
        write_restored(folder / "restored.fits", path, overwrite=True)


def table(path, rng, folder):
    from bgrem.commands.compare_files import _rows
    from bgrem.commands.reproduce import _header

    _header(path)
    _rows(path)


# kind -> target, files of the corpus, share of the inputs
TARGETS = {
    "fits": (image, ("float.fits", "unsigned.fits", "blank.fits", "cube.fits"), 20),
    "fits.gz": (image, ("packed.fits.gz",), 6),
    "fits.fz": (
        image,
        tuple(f"{name}.fits.fz"
              for name in ("gzip1", "gzip2", "rice", "quantised", "plio", "hcompress")), 24,
    ),
    "xisf": (image, ("float.xisf", "color.xisf", "properties.xisf", "inline.xisf"), 24),
    "parameters": (parameters, ("denoise_params.json", "bgoptimizer_params.json"), 4),
    "training config": (training_config, ("config.json",), 2),
    "model card": (card, ("card.json",), 4),
    "weights": (weights, ("weights.npz",), 4),
    "checkpoint": (checkpoint, ("checkpoint.npz",), 4),
    "training field": (training_field, ("field.npz",), 2),
    "calibration": (calibration, ("calibration.json",), 4),
    "pair": (pair, ("pair.npz", "pair.fits"), 3),
    "truth": (truth, ("truth.fits",), 2),
    "bundle": (bundle, ("bundle.fits",), 2),
    "table": (table, ("truth.fits",), 1),
}  # fmt: skip


def read(kind, path, rng, folder):
    """Run the target of a kind without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        TARGETS[kind][0](path, rng, folder)
