"""Delta-orthogonal kernels: exact isometries, and the same as TensorFlow 1's."""

from unittest import mock

import keras
import numpy as np
import pytest
from tensorflow.python.ops import init_ops

from keras_dnn.initializers import DeltaOrthogonal

CONVOLUTIONS = {
    1: keras.layers.Conv1D,
    2: keras.layers.Conv2D,
    3: keras.layers.Conv3D,
}


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("dimensions", CONVOLUTIONS)
@pytest.mark.parametrize("gain", [1.0, 2.5])
def test_a_convolution_preserves_the_norm_of_every_signal(size, dimensions, gain):
    layer = CONVOLUTIONS[dimensions](
        7, size, padding="same", kernel_initializer=DeltaOrthogonal(gain)
    )
    x = np.random.default_rng(1).normal(size=(4, *[5] * dimensions, 4))
    y = np.array(layer(x.astype("float32")))
    axes = -1  # At every position, so for every signal.
    expected = gain * np.linalg.norm(x, axis=axes)
    np.testing.assert_allclose(np.linalg.norm(y, axis=axes), expected, rtol=1e-5)


def test_each_group_preserves_its_norm():
    layer = keras.layers.Conv2D(
        12,
        3,
        padding="same",
        groups=3,
        kernel_initializer=DeltaOrthogonal(groups=3),
    )
    x = np.random.default_rng(1).normal(size=(4, 5, 5, 6)).astype("float32")
    y = np.array(layer(x)).reshape(4, 5, 5, 3, 4)
    expected = np.linalg.norm(x.reshape(4, 5, 5, 3, 2), axis=-1)
    np.testing.assert_allclose(np.linalg.norm(y, axis=-1), expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(3, 4, 6), (3, 3, 4, 4), (2, 3, 4, 5, 8)])
def test_it_is_the_kernel_of_tensorflow_1(shape):
    kernel = np.array(DeltaOrthogonal(1.5, seed=7)(shape))
    normal = keras.random.normal((1, shape[-1], shape[-1]), dtype="float32", seed=7)[0]
    theirs = init_ops.ConvolutionDeltaOrthogonal(gain=1.5)
    with mock.patch.object(init_ops.random_ops, "random_normal", return_value=normal):
        expected = np.array(theirs(shape, "float32"))
    np.testing.assert_allclose(kernel, expected, rtol=1e-5, atol=1e-6)


def test_orthogonal_matrices_are_uniformly_distributed():
    # Each entry of a uniformly drawn rotation has mean 0 and variance 1 / n; without
    # the correction of signs, the diagonal would have a mean far from 0.
    squares = np.array([DeltaOrthogonal()((1, 3, 3))[0] for _ in range(800)])
    np.testing.assert_allclose(squares.mean(axis=0), 0.0, atol=0.11)
    np.testing.assert_allclose(squares.var(axis=0), 1 / 3, atol=0.09)


def test_seeds_dtype_and_config():
    drawn = DeltaOrthogonal()
    assert (np.array(drawn((1, 4, 4))) != np.array(drawn((1, 4, 4)))).any()
    seeded = DeltaOrthogonal("relu", seed=3)
    again = DeltaOrthogonal.from_config(seeded.get_config())
    assert again.get_config() == {"seed": 3, "gain": 2**0.5, "groups": 1}
    kernel = again((3, 4, 4), "float16")
    assert keras.backend.standardize_dtype(kernel.dtype) == "float16"
    np.testing.assert_array_equal(kernel, seeded((3, 4, 4), "float16"))


@pytest.mark.parametrize("shape", [(3, 3, 6, 4), (3, 3, 4, 1)])
def test_fewer_filters_than_channels_cannot_preserve_norms(shape):
    with pytest.raises(ValueError, match=f"{shape[-2]} channels and {shape[-1]} filt"):
        DeltaOrthogonal()(shape)


def test_channels_are_counted_by_group():
    with pytest.raises(ValueError, match="4 channels and 3 filters in each group"):
        DeltaOrthogonal(groups=2)((3, 4, 6))


def test_a_dense_kernel_has_no_window():
    with pytest.raises(ValueError, match=r"convolutions.*shape=\(3, 4\)"):
        DeltaOrthogonal()((3, 4))


@pytest.mark.parametrize(
    "argument", [{"gain": 0.0}, {"seed": "a"}, {"groups": 0}, {"gain": "softmax"}]
)
def test_a_bad_argument_is_shown(argument):
    with pytest.raises(ValueError, match="Received"):
        DeltaOrthogonal(**argument)
