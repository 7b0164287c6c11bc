"""The table of initializers by activation."""

import keras
import numpy as np
import pytest

from keras_dnn import initializers
from keras_dnn.initializers import for_activation
from keras_dnn.layers import RReLU

layers = keras.layers
TABLE = {
    "Glorot": [None, "linear", "tanh", "sigmoid", "softmax", layers.Softmax()],
    "He": [
        "relu",
        "leaky_relu",
        "elu",
        "gelu",
        "silu",
        "swish",
        keras.activations.relu,
        layers.ReLU(),
        layers.LeakyReLU(0.1),
        layers.PReLU(),
        RReLU(),
        layers.ELU(),
        layers.Activation("mish"),
    ],
    "LeCun": ["selu", keras.activations.selu, layers.Activation("selu")],
}


@pytest.mark.parametrize(
    ("family", "activation"),
    [(family, activation) for family in TABLE for activation in TABLE[family]],
)
def test_each_activation_has_its_initializer(family, activation):
    normal = for_activation(activation)
    assert type(normal) is getattr(initializers, f"{family}Normal")
    uniform = for_activation(activation, "uniform", seed=3, kernel="depthwise")
    assert type(uniform) is getattr(initializers, f"{family}Uniform")
    assert uniform.seed == 3
    expected = getattr(initializers, f"{family}Uniform")(3, kernel="depthwise")
    shape = (3, 3, 5, 2)
    np.testing.assert_array_equal(uniform(shape), expected(shape))


@pytest.mark.parametrize(
    "activation", ["exponential", "nonsense", 3, lambda z: z, layers.Dense(1)]
)
def test_activations_outside_the_table_are_refused(activation):
    with pytest.raises(ValueError, match=r"activation must be one of linear.*gain="):
        for_activation(activation)


def test_distribution_is_checked():
    with pytest.raises(ValueError, match="distribution must be 'normal' or 'uniform'"):
        for_activation("relu", "gaussian")
