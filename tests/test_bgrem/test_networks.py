"""The attention U-Net and its layers."""

import json

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

from bgrem.models import named_weights
from bgrem.networks.attention_unet import NETWORKS, attention_unet, exposure_unet, initialise
from bgrem.networks.layers import (
    EMBEDDING_FREQUENCIES,
    AsinhCompression,
    JoinConstant,
    NoiseOf,
    QuickGroupNormalization,
    SinhExpansion,
    SinusoidalEmbedding,
    SpatialAttention,
    SymmetricPadding,
)
from bgrem.networks.residual_unet import residual_unet


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
    angles = 2 * np.pi * EMBEDDING_FREQUENCIES * np.float32(0.3)
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


def test_group_normalisation_is_that_of_keras():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (2, 8, 6, 16)).astype(np.float32)
    ours, theirs = QuickGroupNormalization(4), keras.layers.GroupNormalization(4)
    for layer in (ours, theirs):
        layer.build(x.shape)
        layer.gamma.assign(np.linspace(0.5, 2, 16))
        layer.beta.assign(np.linspace(-1, 1, 16))
    expected = keras.ops.convert_to_numpy(theirs(x))
    assert_allclose(keras.ops.convert_to_numpy(ours(x)), expected, atol=2e-4)


def test_group_normalisation_refuses_channels_that_are_no_multiple():
    with pytest.raises(ValueError, match="multiple of 4"):
        QuickGroupNormalization(4).build((None, 8, 8, 6))


def test_attention_is_softmax_of_scaled_products():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1, 2, 3, 4)).astype(np.float32)
    layer = SpatialAttention()
    layer.build(x.shape)
    q, k, v, o = (rng.normal(size=(4, 4)).astype(np.float32) for _ in range(4))
    layer.set_weights([q, k, v, o])
    flat = x.reshape(6, 4)
    scores = np.exp(flat @ q @ (flat @ k).T / 2)
    expected = flat + scores / scores.sum(1, keepdims=True) @ (flat @ v) @ o
    found = keras.ops.convert_to_numpy(layer(x)).reshape(6, 4)
    assert_allclose(found, expected, atol=1e-4)


def test_expansion_undoes_the_compression():
    values = np.array([-4.0, 0.0, 0.3, 9e3], np.float32)
    back = SinhExpansion(3.0)(AsinhCompression(3.0)(values))
    assert_allclose(keras.ops.convert_to_numpy(back), values, rtol=1e-4)


def test_noise_is_what_pixels_have_beside_the_structure():
    noisy, structure, variance = (
        np.full((1, 2, 2, 1), value, np.float32) for value in (7.0, 5.0, 0.25)
    )
    noise = NoiseOf()([noisy, structure, variance[:, :1, :1]])
    assert_allclose(keras.ops.convert_to_numpy(noise), 4.0)


def test_a_constant_is_joined_as_a_plane():
    x, number = np.zeros((2, 3, 4, 5), np.float32), np.array([2, 3], np.float32)
    joined = keras.ops.convert_to_numpy(JoinConstant()([x, number.reshape(2, 1, 1, 1)]))
    assert joined.shape == (2, 3, 4, 6)
    assert (joined[0, ..., 5] == 2).all()
    assert (joined[1, ..., 5] == 3).all()


@pytest.mark.parametrize(
    ("network", "least", "most"),
    [(NETWORKS["exposure"], 1.8, 2.1), (NETWORKS["residual"], 1.7, 2.1)],
)
def test_networks_of_the_other_systems_fit_the_package_as_float16(network, least, most):
    assert least < network().count_params() / 1e6 < most


@pytest.mark.parametrize("build", [lambda: exposure_unet((4, 6), 8), lambda: residual_unet((8, 8))])
def test_networks_of_the_other_systems_take_any_size_and_know_their_number(build):
    network = build()
    initialise(network, 2)
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, 24, 40, 1)).astype(np.float32)
    few, many = predict(network, image, 0.3), predict(network, image, 3.0)
    assert few.shape == image.shape
    assert few.dtype == np.float32
    assert not np.allclose(few, many)
