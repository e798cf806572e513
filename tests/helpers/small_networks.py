"""Trainings that cost seconds: networks of one level and a bottleneck, run step by step.

Building the graph of a training step takes longer than a hundred steps of such a network.
"""

import warnings
from contextlib import contextmanager
from functools import partial

import pytest

SIZES = ["small", pytest.param("of the package", marks=pytest.mark.slow)]


@contextmanager
def networks(size):
    """Train and load networks of this size under the names of the package's."""
    if size == "of the package":
        yield
        return
    import tensorflow

    from bgrem.networks.attention_unet import NETWORKS, attention_unet, exposure_unet
    from bgrem.networks.residual_unet import residual_unet

    small = {
        "narrow": partial(attention_unet, (4,), 6),
        "exposure": partial(exposure_unet, (4,), 6),
        "residual": partial(residual_unet, (8,)),
    }
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # the batches are made by TensorFlow in a graph all the same
        warnings.filterwarnings("ignore", ".*run_functions_eagerly.*", UserWarning)
        for name, network in small.items():
            patch.setitem(NETWORKS, name, network)
        tensorflow.config.run_functions_eagerly(True)
        try:
            yield
        finally:
            tensorflow.config.run_functions_eagerly(False)
