"""Tiles: any shape, no seams, the same as the whole."""

import numpy as np
import pytest
from scipy import ndimage

from bgrem.inference.tiling import TilePlan, fade, map_tiles


@pytest.mark.parametrize(
    "shape", [(5, 7), (64, 64), (65, 64), (200, 330), (128, 112), (161, 40), (1, 300)]
)
def test_tiles_of_an_unchanged_image_give_it_back_for_any_shape(shape):
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    plan = TilePlan(shape, tile=64, overlap=16)
    assert np.allclose(map_tiles(image, plan, lambda x: x, batch_size=3), image, atol=1e-6)


def test_a_local_operation_gives_the_same_on_tiles_as_on_the_whole():
    image = np.random.default_rng(1).normal(size=(300, 210)).astype(np.float32)

    def blur(batch):
        return ndimage.gaussian_filter(batch, (0, 1.5, 1.5, 0), mode="mirror", truncate=3)

    whole = blur(image[None, ..., None])[0, ..., 0]
    tiled = map_tiles(image, TilePlan(image.shape, tile=96, overlap=32), blur)
    # the outermost 32/4 px of a tile are dropped, the blur reaches 5 px
    inner = np.s_[8:-8, 8:-8]
    assert np.allclose(tiled[inner], whole[inner], atol=1e-6)


def test_neighbours_overlap_at_least_as_much_as_asked():
    rows = sorted({row for row, _ in TilePlan((1000, 64), tile=128, overlap=40).starts()})
    assert rows[0] == 0
    assert rows[-1] + 128 == 1000
    assert max(np.diff(rows)) <= 128 - 40


def test_two_fades_of_neighbours_sum_to_one():
    left = fade(64, 16, first=True, last=False)[-16:]
    right = fade(64, 16, first=False, last=True)[:16]
    assert left + right == pytest.approx(1)


def test_all_batches_have_one_shape():
    shapes = set()

    def look(batch):
        shapes.add(batch.shape)
        return batch

    map_tiles(np.zeros((300, 300), np.float32), TilePlan((300, 300), 128, 32), look, batch_size=4)
    assert shapes == {(4, 128, 128, 1)}


@pytest.mark.parametrize(("tile", "overlap"), [(100, 10), (64, 56), (0, 0), (64, -1)])
def test_tiles_that_do_not_work_are_refused(tile, overlap):
    with pytest.raises(ValueError, match="Received"):
        TilePlan((300, 300), tile, overlap)


@pytest.mark.parametrize("overlap", [40, 48])
def test_tiles_may_overlap_by_more_than_half(overlap):
    image = np.random.default_rng(0).normal(size=(150, 170)).astype(np.float32)
    tiled = map_tiles(image, TilePlan(image.shape, tile=64, overlap=overlap), lambda tiles: tiles)
    assert np.allclose(tiled, image, atol=1e-5)
