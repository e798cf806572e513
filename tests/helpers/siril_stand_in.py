"""The part of the module `sirilpy` that the script uses, with an image in place of Siril.

Names, arguments, shapes and errors are those of the modules of Siril 1.4 and 1.5. Pixels are
(H, W) or (C, H, W), float32 or uint16, and the first row is the lowest one.
"""

import contextlib
import types
from enum import IntEnum

import numpy as np


class SirilError(Exception):
    """Of which all others are kinds."""


class NoImageError(SirilError):
    """No image is loaded."""


class ProcessingThreadBusyError(SirilError):
    """Another script or command works on the image."""


class LogColor(IntEnum):
    DEFAULT = 0
    RED = 1
    SALMON = 2
    GREEN = 3
    BLUE = 4


class FakeSiril:
    """Siril with one image; `undone()` is what its undo button does."""

    def __init__(self, pixels=None, header="", *, returns=None, busy=False):
        self.pixels, self.header = pixels, header
        self.returns = returns  # of methods that give nothing: None in 1.4, True in 1.5
        self.busy = busy
        self.connected = self.locked = False
        self.logged, self.progress, self.boxes, self.undo = [], [], [], []

    def SirilInterface(self):
        return self

    def module(self):
        """The module that a script imports."""
        found = types.ModuleType("sirilpy")
        for one in (SirilError, NoImageError, ProcessingThreadBusyError, LogColor):
            setattr(found, one.__name__, one)
        found.SirilInterface = self.SirilInterface
        found.ensure_installed = lambda *packages: True
        return found

    def connect(self):
        self.connected = True
        return self.returns

    def disconnect(self):
        self.connected = False

    def is_image_loaded(self):
        return self.pixels is not None

    @contextlib.contextmanager
    def image_lock(self):
        if self.busy:
            raise ProcessingThreadBusyError("Processing thread is already in use")
        self.locked = True
        try:
            yield self
        finally:
            self.locked = False

    def get_image_pixeldata(self, shape=None, preview=False):
        self._need_image()
        return self.pixels.copy()

    def get_image_fits_header(self, return_as="str"):
        self._need_image()
        return self.header or None

    def undo_save_state(self, my_string):
        assert self.locked
        assert len(my_string.encode()) <= 70
        self.undo.append((my_string, self.pixels.copy()))
        return True

    def undone(self):
        return self.undo[-1][1]

    def set_image_pixeldata(self, image_data):
        self._need_image()
        assert self.locked, "the pixels are set outside of image_lock()"
        if image_data.ndim not in (2, 3) or image_data.dtype not in (np.float32, np.uint16):
            raise ValueError("Image data must be 2D or 3D, float32 or uint16")
        if image_data.ndim == 3 and image_data.shape[0] > 3:
            raise ValueError("Image cannot have more than 3 channels")
        self.pixels = image_data.copy()
        return self.returns

    def update_progress(self, message, progress):
        if not (0 <= progress <= 1 or progress in (-1, -2)):
            raise ValueError("Progress value must be between 0.0 and 1.0")
        self.progress.append((message, progress))
        return self.returns

    def reset_progress(self):
        self.update_progress("", 0.0)

    def log(self, my_string, color=LogColor.DEFAULT):
        self.logged.append((LogColor(color), my_string))
        return self.returns

    def error_messagebox(self, my_string, modal=False):
        self.boxes.append(my_string)
        return True

    def _need_image(self):
        if self.pixels is None:
            raise NoImageError("No image is currently loaded in Siril")
