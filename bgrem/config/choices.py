"""Names that settings choose from, and where complete sets of settings are."""

from pathlib import Path

CONFIG_FOLDER = Path(__file__).parents[1] / "configs"  # complete settings of trainings
TASKS = ("denoise", "enhance", "noisemap")  # commands that a model can be for
# the instruments of `bgrem.simulate.presets.PRESETS`
PRESET_NAMES = ("meerlicht", "decam", "ztf", "wfc3-uvis", "amateur-cmos")
LOSS_NAMES = ("l1", "l2", "huber")  # rows of `bgrem.training.LOSSES`
LEARNING_RATE_SCHEDULES = ("cosine", "epoch", "constant")  # how the learning rate falls
PROFILES = ("moffat", "kolmogorov", "airy")  # of `bgrem.simulate.optical.PointSpread`
PRECISIONS = ("float32", "mixed_bfloat16")  # of the network's arithmetic
KEEP_CHOICES = ("auto", "sources", "background")  # what is left of an image without its noise
RUNTIME_CHOICES = ("auto", "keras", "onnx", "openvino")  # what computes a network
MODEL_HELP = "name (bgrem models), folder or exported file of a model"
SURVEY_MODEL, PICTURE_MODEL = "optical", "picture"  # where sources, and where all light is kept
