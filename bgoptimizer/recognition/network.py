"""The network that recognises objects, computed with NumPy.

It has 320,000 weights and needs a tenth of a second, less than the import of TensorFlow.
`bgoptimizer.recognition.train` trains it with Keras.
"""

import hashlib
from functools import cache
from pathlib import Path

import numpy as np

from bgoptimizer.recognition.features import BINNING, FEATURES, cell_features
from common.checked.archives import read_arrays

WEIGHTS_FILE = Path(__file__).with_name("weights.npz")
WEIGHTS_SHA256 = "b51821b0d2bb9f51c473200c242729f2711726be5306b2dff92c902b79da549c"
WIDTHS = (20, 28, 40, 56, 56)  # channels of the levels of the U


def object_logits(cells: np.ndarray, stars: np.ndarray, factor: float) -> np.ndarray:
    """Return how likely each cell has light of an object, as log odds, shape (h, w, C).

    Parameters are those of `cell_features`.
    """
    rows, columns = cells.shape[:2]
    seen = cell_features(cells, stars, factor)
    height, width = seen.shape[1:3]
    multiple = 2 ** (len(WIDTHS) - 1)
    padded = np.pad(seen, [(0, 0), (0, -height % multiple), (0, -width % multiple), (0, 0)])
    found = []
    for one in padded:
        logits = forward(one, _weights())[:height, :width]
        fine = np.repeat(np.repeat(logits, BINNING, 0), BINNING, 1)
        found.append(fine[:rows, :columns])
    return np.stack(found, -1)


@cache
def _weights() -> tuple[np.ndarray, ...]:
    """Return kernels and offsets, one after the other, float32.

    Raises
    ------
    ValueError
        If the file is not the one that was released.
    """
    if hashlib.sha256(WEIGHTS_FILE.read_bytes()).hexdigest() != WEIGHTS_SHA256:
        raise ValueError(f"{WEIGHTS_FILE}: is damaged. Install bgoptimizer again.")
    arrays = read_arrays(WEIGHTS_FILE, str(WEIGHTS_FILE), "the weights of the object map")
    return tuple(arrays[f"w{k:02}"].astype(np.float32) for k in range(len(arrays)))


def forward(image: np.ndarray, weights: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return the network's output (H, W) for an image (H, W, FEATURES).

    A U of five levels: two 3x3 convolutions on each, halved by means, doubled by repetition.
    """
    if image.shape[-1] != FEATURES:
        raise ValueError(f"expected {FEATURES} planes, got {image.shape[-1]}.")
    rest = iter(zip(weights[::2], weights[1::2], strict=True))

    def block(x: np.ndarray) -> np.ndarray:
        for _ in range(2):
            x = np.maximum(_convolve(x, *next(rest)), 0)
        return x

    x, skips = image, []
    for level in range(len(WIDTHS)):
        x = block(x)
        if level < len(WIDTHS) - 1:
            skips.append(x)
            x = x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2, -1).mean((1, 3))
    for skip in reversed(skips):
        x = np.repeat(np.repeat(x, 2, 0), 2, 1)
        x = block(np.concatenate([x, skip], -1))
    kernel, offset = next(rest)
    return (x @ kernel[0, 0] + offset)[..., 0]


def _convolve(x: np.ndarray, kernel: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return a 3x3 convolution with zeros beyond the edges."""
    height, width = x.shape[:2]
    padded = np.pad(x, [(1, 1), (1, 1), (0, 0)])
    found = np.broadcast_to(offset, (height, width, kernel.shape[-1])).astype(np.float32)
    for dy in range(3):
        for dx in range(3):
            found += padded[dy : dy + height, dx : dx + width] @ kernel[dy, dx]
    return found
