"""Fixtures of the XISF tests."""

import numpy as np
import pytest

from common.xisf.read import read_xisf


@pytest.fixture
def pixels():
    """Twelve different samples, (3, 4), the highest of UInt16 among them."""
    values = np.arange(12, dtype=np.uint16).reshape(3, 4) * 1000
    values[2, 3] = 65535
    return values


@pytest.fixture
def load(tmp_path):
    def read(content, **options):
        path = tmp_path / "night.xisf"
        path.write_bytes(content)
        return read_xisf(path, **options)

    return read
