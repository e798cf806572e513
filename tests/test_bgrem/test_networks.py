"""The attention U-Net and its layers."""

import json

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

from bgrem.models import named_weights
from bgrem.layers import FREQUENCIES, AsinhCompression, SinusoidalEmbedding, SymmetricPadding
from bgrem.networks import NETWORKS, attention_unet, initialise


def predict(network, noisy, variance=0.5):
    variances = np.full((len(noisy), 1, 1, 1), variance, np.float32)
    return np.asarray(network.predict_on_batch((noisy, variances)))


@pytest.fixture(scope="module")
def small():
    network = attention_unet((4, 6), 8)
    initialise(network, 0)
    return network


def test_padding_repeats_the_edges():
    image = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
    padded = keras.ops.convert_to_numpy(SymmetricPadding()(image))
    assert_allclose(padded[0, ..., 0], np.pad(image[0, ..., 0], 1, mode="symmetric"))


def test_embedding_is_sine_and_cosine_of_sixteen_frequencies():
    variance = np.full((1, 1, 1, 1), 0.3, np.float32)
    embedding = keras.ops.convert_to_numpy(SinusoidalEmbedding()(variance))[0, 0, 0]
    angles = 2 * np.pi * FREQUENCIES * np.float32(0.3)
    # float32 angles of up to 1900 have steps of 1e-4
    assert_allclose(embedding, np.concatenate([np.sin(angles), np.cos(angles)]), atol=3e-4)


def test_embedding_stays_float32_in_a_bfloat16_network():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = SinusoidalEmbedding()
    finally:
        keras.config.set_dtype_policy(before)
    assert keras.ops.convert_to_numpy(layer(np.ones((1, 1, 1, 1), "f4"))).dtype == np.float32


def test_compression_is_linear_in_the_noise_and_logarithmic_in_stars():
    layer = AsinhCompression(3.0)
    values = keras.ops.convert_to_numpy(layer(np.array([-0.1, 0.1, 3e4], np.float32)))
    assert_allclose(values, [-0.1, 0.1, 3 * np.log(2e4)], rtol=1e-3)


def test_without_softening_the_image_stays_linear():
    values = keras.ops.convert_to_numpy(AsinhCompression(0.0)(np.array([5e4], np.float32)))
    assert_allclose(values, 5e4)


@pytest.mark.parametrize(("name", "millions"), [("narrow", 2.1), ("wide", 8.6), ("gamma", 0.83)])
def test_networks_have_their_size(name, millions):
    network = NETWORKS[name]()
    assert network.count_params() / 1e6 == pytest.approx(millions, rel=0.1)
    gates = [layer for layer in network.layers if layer.name.endswith("_product")]
    assert len(gates) == 2


@pytest.mark.parametrize("shape", [(16, 16), (32, 48)])
def test_output_has_the_shape_of_the_image(small, shape):
    noisy = np.zeros((2, *shape, 1), np.float32)
    assert predict(small, noisy).shape == noisy.shape


def test_the_time_changes_the_prediction(small):
    noisy = np.random.default_rng(0).normal(size=(1, 16, 16, 1)).astype(np.float32)
    assert np.abs(predict(small, noisy, 1.0) - predict(small, noisy, 0.04)).max() > 1e-4


def test_the_same_seed_draws_the_same_weights_and_another_seed_others():
    first, second, third = (attention_unet((4, 6), 8) for _ in range(3))
    for network, seed in ((first, 3), (second, 3), (third, 4)):
        initialise(network, seed)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        assert np.array_equal(a, b)
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(first.get_weights(), third.get_weights(), strict=True)
    )


def test_a_network_is_rebuilt_from_its_config(small):
    again = keras.Model.from_config(json.loads(json.dumps(small.get_config())))
    again.set_weights(small.get_weights())
    noisy = np.random.default_rng(0).normal(size=(1, 16, 16, 1)).astype(np.float32)
    assert_allclose(predict(again, noisy), predict(small, noisy), atol=1e-6)


def test_every_weight_is_trained():
    network = attention_unet((4, 6), 8)
    initialise(network, 0)
    network.compile("adam", "mean_absolute_error")
    before = named_weights(network)
    rng = np.random.default_rng(0)
    noisy = rng.normal(size=(4, 16, 16, 1)).astype(np.float32)
    for _ in range(2):
        variance = rng.uniform(size=(4, 1, 1, 1)).astype(np.float32)
        network.train_on_batch((noisy, variance), noisy)
    # offsets before a batch normalisation have no gradient
    exempt = ("_gate/bias", "_skip/bias")
    after = named_weights(network)
    unchanged = [
        path for path in before
        if np.array_equal(before[path], after[path]) and not path.endswith(exempt)
    ]  # fmt: skip
    assert not unchanged
