"""Scalars are float64 until they are combined with a tensor."""

import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.optimizers._scalar import Scalar, Values

BETA = np.float64(0.9999)


def test_one_minus_beta_keeps_its_digits_beside_a_float32_tensor():
    product = (1 - Scalar(BETA)) * tf.constant(1.0)
    assert product.dtype == "float32"
    assert float(product) == np.float32(1 - BETA)
    assert float(product) != np.float32(1) - np.float32(BETA)


@pytest.mark.parametrize(
    "formula",
    [
        lambda a, b: a + b - 2 * a / b,
        lambda a, b: (1 - a) * (b - 1) / (3 / a),
        lambda a, b: a**b + 2**a + a**2,
        lambda a, b: -a + (1 + b),
    ],
)
def test_scalars_compute_in_float64(formula):
    a, b = np.float64(0.3), np.float64(1.7)
    result = formula(Scalar(a), Scalar(b))
    assert isinstance(result, Scalar)
    np.testing.assert_allclose(float(result.value), formula(a, b), rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_tensor_gives_the_result_its_dtype_on_either_side(dtype):
    tensor = tf.constant([1.0, 2.0], dtype)
    for result in (
        Scalar(BETA) * tensor,
        tensor * Scalar(BETA),
        tensor - Scalar(BETA),
        Scalar(BETA) / tensor,
        tensor / Scalar(BETA),
    ):
        assert result.dtype == dtype
    np.testing.assert_array_equal(
        np.array([3.0, 4.0]) - Scalar(np.float64(1)), [2.0, 3.0]
    )


def test_only_a_number_that_was_written_as_a_float_is_rounded():
    literal, other = Scalar(BETA, literal=True), Scalar(BETA)
    assert float(literal.rounded.value) == np.float32(BETA)
    assert float(other.rounded.value) == BETA


def test_a_python_number_is_not_rounded():
    assert float(Scalar(0.96).value) == 0.96
    assert float(Scalar(2**24 + 1).value) == 2**24 + 1


def test_values_are_attributes():
    now = Values(learning_rate=Scalar(0.5), step=Scalar(1))
    now.beta_product = Scalar(0.25)
    assert float((now.learning_rate * now.beta_product).value) == 0.125
    assert not hasattr(now, "weight_decay")
