"""Add a small image to a larger one."""

import numpy as np


def add_stamp(canvas: np.ndarray, row: int, column: int, stamp: np.ndarray) -> None:
    """Add the part of a stamp that lies on the canvas."""
    height, width = stamp.shape
    top, left = max(row, 0), max(column, 0)
    bottom, right = min(row + height, canvas.shape[0]), min(column + width, canvas.shape[1])
    if top < bottom and left < right:
        canvas[top:bottom, left:right] += stamp[
            top - row : bottom - row, left - column : right - column
        ]
