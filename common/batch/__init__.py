"""A command over its inputs: which they are, where outputs go, and the loop over them."""

from common.batch.inputs import expand_inputs, input_paths
from common.batch.outputs import (
    Files,
    OutputPlace,
    is_image_name,
    name_products,
    prepare_outputs,
    refuse_one_name,
)
from common.batch.run import run_over_files

__all__ = [
    "Files",
    "OutputPlace",
    "expand_inputs",
    "input_paths",
    "is_image_name",
    "name_products",
    "prepare_outputs",
    "refuse_one_name",
    "run_over_files",
]
