"""Arrays of large frames: in temporary files, worked on in blocks of rows."""

import errno
import os
import resource
import sys

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from common import scratch


@pytest.fixture
def small(monkeypatch):
    """Arrays of more than 4 kB are large, blocks have 2000 pixels, samples 4000."""
    monkeypatch.setattr(scratch, "MAX_MEMORY_BYTES", 4096)
    monkeypatch.setattr(scratch, "MAX_BLOCK_PIXELS", 2000)
    monkeypatch.setattr(scratch, "MAX_SAMPLE_PIXELS", 4000)
    monkeypatch.setattr(scratch, "SAMPLE_BAND_ROWS", 8)


def lies_in_a_file(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, scratch._Pages)


def test_a_large_array_keeps_its_values_when_its_pages_are_released(small):
    array = scratch.empty((50, 40, 3), np.float32)
    assert lies_in_a_file(array) and array.shape == (50, 40, 3) and array.dtype == np.float32
    array[...] = np.arange(array.size).reshape(array.shape)
    scratch.release(array[..., 1], None)
    assert np.array_equal(array.ravel(), np.arange(array.size))
    assert not lies_in_a_file(scratch.empty((20, 20), bool))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_released_pages_are_no_longer_in_memory():
    array = scratch.empty((8192, 4096), np.float32)  # 134 MB
    array[...] = 1
    filled = resident()
    scratch.release(array)
    assert filled - resident() > 0.9 * array.nbytes
    assert array[5000, 17] == 1


def resident():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="asks for room beforehand")
def test_without_room_for_temporary_files_the_array_is_in_memory(small, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    array = scratch.empty((100, 100), np.float64)
    assert array.shape == (100, 100) and not lies_in_a_file(array)


@pytest.mark.parametrize("shape", [(1, 7), (97, 40), (97, 40, 3), (5, 9000)])
@pytest.mark.parametrize("multiple", [1, 16])
def test_blocks_are_all_rows_once_and_begin_at_multiples(small, shape, multiple):
    blocks = list(scratch.row_blocks(shape, multiple=multiple))
    assert [row for one in blocks for row in range(one.start, one.stop)] == list(range(shape[0]))
    assert all(one.start % multiple == 0 for one in blocks)
    per_row = int(np.prod(shape[1:]))
    assert all((one.stop - one.start) * per_row <= max(2000, multiple * per_row) for one in blocks)


def test_a_halo_ends_at_the_border_of_the_frame():
    assert scratch.with_halo(slice(0, 10), 4, 30) == (slice(0, 14), slice(0, 10))
    assert scratch.with_halo(slice(10, 20), 4, 22) == (slice(6, 22), slice(4, 14))


def test_a_small_frame_stands_for_itself_and_bands_for_a_large_one(small):
    rng = np.random.default_rng(0)
    few = rng.normal(0, 1, (50, 40))
    assert scratch.sample_of(few) is few
    many = rng.normal(0, 1, (400, 40)) + np.arange(400)[:, None] / 100
    sample = scratch.sample_of(many)
    assert 0.5 * 4000 <= sample.size <= 4000
    assert np.median(sample) == pytest.approx(np.median(many), abs=0.1)


def test_planes_become_channels(small):
    planes = [np.full((60, 50), value, np.float32) for value in (1, 2, 3)]
    assert np.array_equal(scratch.stack_channels(planes), np.stack(planes, -1))
    assert np.shares_memory(scratch.stack_channels(planes[:1]), planes[0])


def test_a_function_of_rows_is_that_of_the_whole_array(monkeypatch):
    array = np.random.default_rng(5).normal(0, 1, (60, 21))
    whole = gaussian_filter(array, 2.0) + array
    monkeypatch.setattr(scratch, "MAX_BLOCK_PIXELS", 7 * 21)
    parts = scratch.map_rows(lambda one, two: gaussian_filter(one, 2.0) + two, array, array, halo=8)
    assert np.array_equal(parts, whole)
    halves = scratch.map_rows(lambda one: one / 2, array, dtype=np.float32)
    assert halves.dtype == np.float32
    wide = scratch.map_rows(lambda one: one + array[:1], array[:, :1], shape=array.shape)
    assert np.array_equal(wide, array[:, :1] + array[:1])
