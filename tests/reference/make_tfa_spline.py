"""Write tfa_spline.npz: what interpolate_spline of TensorFlow Addons 0.23.0 returns.

Run it with the `addons` extra (Python 3.11): python tests/reference/make_tfa_spline.py
"""

import warnings
from pathlib import Path

import numpy as np

warnings.simplefilter("ignore")  # TensorFlow Addons announces its end at each import
from tensorflow_addons.image import interpolate_spline  # noqa: E402

CASES = [  # control points, channels, order, regularization
    (4, 1, 2, 0.0),
    (9, 3, 1, 0.0),
    (12, 1, 3, 0.1),
    (32, 1, 2, 0.1),
    (32, 3, 2, 0.0),
    (32, 3, 3, 0.0),
    (50, 3, 2, 0.1),
    (50, 1, 3, 0.0),
]


def main() -> None:
    """Write inputs and outputs of every case beside this file."""
    random = np.random.default_rng(20260101)
    arrays = {"cases": np.array(CASES)}
    for number, (count, channels, order, regularization) in enumerate(CASES):
        points = random.random((count, 2))
        values = random.random((count, channels))
        # the first query meets a control point: the case of log 0
        queries = np.concatenate([points[:1], random.random((20, 2)), [[-0.1, 1.2]]])
        surface = interpolate_spline(
            points[None], values[None], queries[None], int(order), regularization
        )[0].numpy()
        arrays |= {
            f"points_{number}": points,
            f"values_{number}": values,
            f"queries_{number}": queries,
            f"surface_{number}": surface,
        }
    np.savez_compressed(Path(__file__).with_name("tfa_spline.npz"), **arrays)


if __name__ == "__main__":
    main()
