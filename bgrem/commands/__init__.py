"""What each subcommand of `bgrem` is: flags, settings, files, and the function that runs it.

A further command is one row here and one function. Imports no NumPy, so that ``--help`` answers at
once.
"""

from pathlib import Path

from bgrem.config import (
    CONFIG_FOLDER,
    PRESET_NAMES,
    CatalogConfig,
    DenoiseConfig,
    EnhanceConfig,
    InputConfig,
    NoiseMapConfig,
    SimulateConfig,
    TrainConfig,
    ValidateConfig,
)
from common.command import TABLE_ROWS, Command, Flag, Product

INPUTS = Flag("inputs", nargs="+", metavar="INPUT", help="images, folders or patterns")
STRICT = Flag(
    "--strict", action="store_true",
    help="refuse frames outside the model's training domain, or with a bad verdict",
)  # fmt: skip
# inputs and outputs of a command that makes images of images
IMAGES = (
    INPUTS,
    Flag("-o", "--output", type=Path, help="folder for the outputs, or file name of the result"),
    Flag("-p", "--prefix", default="", help="text before the names of the outputs"),
    InputConfig,
    STRICT,
)

DENOISE = Command(
    name="bgrem denoise",
    about="Remove background and noise from survey images. Writes <prefix><stem>_denoised and "
          "<stem>_denoisedParams.json; sources keep their place and units.",
    run="bgrem.commands.denoise:run",
    arguments=(
        *IMAGES,
        Product("result", "this is the input without background and noise", word="denoised"),
        Product("background", "this is the smooth background", help="write the smooth background"),
        Product("residual", "this is the noise that was taken off",
                help="write the removed noise"),
        Product("bundle", "this is the denoised image with what was taken off", hdu="SCI",
                metavar="FITS",
                help="write SCI, BKG, RESIDUAL and DQ, for `bgrem restore`"),
        Product("uncertainty", "half-widths that hold 68 and 95 % of the errors", hdu="SIGMA68",
                help="write half-widths of the errors, SIGMA68 and SIGMA95; twice the time"),
        Flag("--calibration", type=Path, metavar="JSON",
             help="file of `bgrem calibrate` (default: the model's own calibration)"),
        Product("quality", "these are the bits of the quality plane", hdu="DQ", metavar="FITS",
                help="write the quality plane"),
        Flag("--integers", action="store_true",
             help="round the result to the integers that the input stores (default: it is written "
                  "as floating-point numbers)"),
        Product("before_after", reproducible=False, metavar="PNG",
                help="write a picture: before, removed, after"),
        Flag("--no-verdict", dest="verdict", action="store_false",
             help="no stars are injected to see what is found of them, and the frame's own noise "
                  "is not tried (both take a few seconds)"),
        Flag("--preview", action="store_true",
             help="live page in the browser: stretch, settings, before and after, then the run"),
    ),
    configs={DenoiseConfig: "method", InputConfig: ""},
    skips=("bgrem catalog",),
)  # fmt: skip

ENHANCE = Command(
    name="bgrem enhance",
    about="Make an exposure look several times as long. Writes <prefix><stem>_enhanced and "
          "<stem>_enhancedParams.json; fluxes keep their place and units.",
    run="bgrem.commands.enhance:run",
    arguments=(
        *IMAGES,
        Product("result", "this is the input as a longer exposure would show it", word="enhanced"),
    ),
    configs={EnhanceConfig: "method", InputConfig: ""},
)  # fmt: skip

NOISEMAP = Command(
    name="bgrem noisemap",
    about="Map streaks, banding and sky of a raw frame, so that satellites remain. Writes "
    "<prefix><stem>_residual, <stem>_map, <stem>_deviation, <stem>_rms and "
    "<stem>_residualParams.json.",
    run="bgrem.commands.noisemap:run",
    arguments=(
        *IMAGES,
        Product("result", "this is the input less the map of its structures", word="residual"),
        Product("map", "this is the map of the input's structures", word="map",
                help="name of the map (default: <stem>_map)"),
        Product("deviation", "this is the standard deviation of the runs", word="deviation",
                help="name of the runs' standard deviation (default: <stem>_deviation)"),
        Product("rms", "this is the noise of the residual, left-overs of streaks included",
                word="rms",
                help="name of the residual's noise, left-overs of streaks included: detect "
                     "against it, in SExtractor as WEIGHT_TYPE MAP_RMS (default: <stem>_rms)"),
        Product("detections", hdu=TABLE_ROWS,
                help="write a table of what remains: place, light, signal-to-noise ratio, length "
                     "and angle, flags (.ecsv, .fits, .csv, .vot, or .reg for DS9)"),
    ),
    configs={NoiseMapConfig: "method", InputConfig: ""},
)  # fmt: skip

CATALOG = Command(
    name="bgrem catalog",
    about="Find sources on the denoised image and measure them on the original. Writes a "
    "catalogue with SExtractor's columns, and its settings as JSON.",
    run="bgrem.commands.catalog:run",
    arguments=(
        INPUTS,
        Flag("-o", "--output", type=Path,
             help="catalogue, or folder for <stem>_catalog<format> (default: this folder)"),
        Flag("--format", default=".fits", metavar="SUFFIX",
             help="format in a folder: .fits, .ldac or .cat (FITS-LDAC), .vot or .xml "
                  "(VOTable), .ecsv, .csv, .reg (DS9 regions) (default: .fits)"),
        Product("catalogue", hdu=TABLE_ROWS),
        Product("segmentation", hdu="SEGMENTATION", metavar="FITS",
                help="write the segmentation map"),
        Flag("--denoised", type=Path, metavar="FILE",
             help="detect on this denoised image or bundle; no network runs"),
        Flag("--psf", type=Path, metavar="FILE",
             help="fit this point-spread function, a .psf file of PSFEx (default: that of the "
                  "frame's stars)"),
        STRICT,
        InputConfig,
    ),
    configs={InputConfig: "", CatalogConfig: "catalogue", DenoiseConfig: "denoising"},
    skips=("bgrem denoise",),
    single_files=("denoised", "psf"),
)  # fmt: skip

VALIDATE = Command(
    name="bgrem validate",
    about="Test a model on your own frame. Injects stars, galaxies and halos (--seed draws "
          "them), compares with SExtractor, measures noise; writes a folder with report.html, "
          "report.json and pictures.",
    run="bgrem.commands.validate:run",
    arguments=(
        Flag("input", type=Path, metavar="INPUT", help="image of one channel"),
        Flag("-o", "--output", type=Path, required=True, metavar="REPORT_DIR",
             help="folder for report.html, report.json and pictures"),
        Flag("--truth", type=Path, metavar="FITS",
             help="truth of a simulated input: the file of `bgrem simulate`"),
        Flag("--completeness", type=Path, metavar="FILE",
             help="write completeness, biases and pulls of injected stars as a table (.ecsv, "
                  ".fits, .csv, .vot)"),
        Flag("--strict", action="store_true",
             help="refuse a frame outside the model's training domain"),
        InputConfig,
    ),
    configs={InputConfig: "", ValidateConfig: "examination", DenoiseConfig: "denoising"},
)  # fmt: skip

CALIBRATE = Command(
    name="bgrem calibrate",
    about="Fit the uncertainty of a model to fields with truth. One half of them gives the "
          "calibration, the other half the coverage that is printed.",
    run="bgrem.commands.calibrate:run",
    arguments=(
        Flag("inputs", nargs="*", metavar="PAIR",
             help="fields with truth, as `bgrem train --files` takes them"),
        Flag("--simulate", type=int, metavar="N",
             help="number of simulated fields instead of files"),
        Flag("-o", "--output", type=Path, required=True, metavar="JSON",
             help="file of the calibration"),
    ),
    configs={DenoiseConfig: "denoising"},
    replayable=False,
)  # fmt: skip

RESTORE = Command(
    name="bgrem restore",
    about="Restore the input of a bundle, pixel for pixel.",
    run="bgrem.commands.restore:run",
    arguments=(
        Flag("input", type=Path, metavar="BUNDLE", help="file of `bgrem denoise --bundle`"),
        Flag("-o", "--output", type=Path, required=True, help="file name of the restored image"),
    ),
    replayable=False,
)

REPRODUCE = Command(
    name="bgrem reproduce",
    about="Repeat the run that made a file, and compare the pixels. Exit code 0: identical, 1: "
          "not.",
    run="bgrem.commands.reproduce:run",
    arguments=(
        Flag("file", type=Path, metavar="FILE",
             help="file of `bgrem denoise`, `enhance`, `noisemap` or (FITS) `catalog`"),
        Flag("--input", type=Path,
             help="its input (default: beside FILE, or in this folder)"),
        Flag("--print", dest="only_print", action="store_true",
             help="print the command, run nothing"),
    ),
    replayable=False,
)  # fmt: skip

SIMULATE = Command(
    name="bgrem simulate",
    about="Simulate fields with truth. Writes <preset>_<seed>.fits with the extensions OBSERVED, "
    "SOURCES, BACKGROUND, NOISE and CATALOGUE.",
    run="bgrem.commands.simulate:run",
    arguments=(
        Flag("preset", metavar="PRESET", help=f"one of {', '.join(PRESET_NAMES)}"),
        Flag("-o", "--output", type=Path, default=Path("."), help="folder"),
        Flag("--number", type=int, default=1, help="number of fields; seeds count up"),
        Flag("--compare", type=Path, metavar="FITS",
             help="write no field: compare a simulated one with this real frame's noise"),
        Flag("--picture", type=Path, metavar="PNG", help="picture of the comparison"),
        Flag("--hdu", help="HDU of the real frame"),
    ),
    configs={SimulateConfig: "field"},
    replayable=False,
)  # fmt: skip

TRAIN = Command(
    name="bgrem train",
    about="Train or fine-tune a model on simulations or on own fields. The folder gets weights, "
    "history, checkpoint and card.",
    run="bgrem.commands.train:run",
    arguments=(
        Flag("config", nargs="?", metavar="CONFIG", help="JSON file, or one of "
             + ", ".join(sorted(path.stem for path in CONFIG_FOLDER.glob("*.json")))),
        Flag("-o", "--output", type=Path, required=True,
             help="folder of the run; a run that was stopped is continued"),
        Flag("--preset", metavar="NAME", help="the same as CONFIG: --preset paper"),
    ),
    configs={TrainConfig: "changes of the config"},
    replayable=False,
)  # fmt: skip

MODELS = Command(
    name="bgrem models",
    about="List the models of the package, print the card of one, or export one.",
    run="bgrem.commands.models:run",
    arguments=(
        Flag("model", nargs="*", metavar="MODEL",
             help="print the card of this model; `export MODEL` writes it as an ONNX file, which "
                  "needs no Keras"),
        Flag("-o", "--output", type=Path, metavar="FILE", help="the ONNX file of `export`"),
    ),
    replayable=False,
)  # fmt: skip

DOCTOR = Command(
    name="bgrem doctor",
    about="Test this installation: versions, device, memory, models, folders. Exit code 0: all is "
    "well, 1: not, with a line for each problem and how to fix it.",
    run="bgrem.doctor:run",
    replayable=False,
)

# word on the command line -> record
COMMANDS = {
    one.word: one
    for one in (
        DENOISE, ENHANCE, NOISEMAP, CATALOG, VALIDATE, CALIBRATE, RESTORE, REPRODUCE, SIMULATE,
        TRAIN, MODELS, DOCTOR,
    )
}  # fmt: skip
