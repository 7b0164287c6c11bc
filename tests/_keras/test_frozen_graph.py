"""What TensorFlow keeps private about graphs whose variables are constants."""

import numpy as np
import tensorflow as tf

from keras_dnn._keras.frozen_graph import with_constants


def test_variables_become_constants_and_outputs_come_by_sorted_name():
    """Without it there is no frozen graph among the candidates for inference."""
    factors = [tf.Variable(float(i)) for i in range(11)]

    @tf.function(input_signature=[tf.TensorSpec((None,), "float32")])
    def scaled(x):
        return {f"y{i}": factor * x for i, factor in enumerate(factors)}

    frozen = with_constants(scaled)
    for factor in factors:
        factor.assign(np.nan)
    found = [y.numpy().item() for y in frozen(tf.constant([2.0]))]
    assert found == [2.0 * i for i in (0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9)]
    assert not frozen.variables
