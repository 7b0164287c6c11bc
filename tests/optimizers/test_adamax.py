"""What is particular to AdaMax: the bias correction and the fading maximum."""

import numpy as np

from keras_dnn.optimizers import AdaMax
from tests.optimizers.rule_cases import Zigzag, assert_equal, trained


def test_bias_correction_makes_every_step_as_long_as_the_rate():
    """Every corrected average of a constant gradient is that gradient."""
    optimizer = AdaMax(0.25, beta_1=Zigzag(0.875), epsilon=0.0)
    gradients = np.tile([0.5, -2.0, 1e-3], (12, 1))
    actual = trained(optimizer, [np.zeros(3)], [gradients])
    assert_equal(actual, -0.25 * np.arange(1, 13)[:, None] * [1.0, -1.0, 1.0])


def test_a_large_gradient_fades_from_the_maximum():
    optimizer = AdaMax(0.25, beta_1=0.0, beta_2=0.5, epsilon=0.0)
    gradients = np.array([4.0, 1.0, 1.0, -1.0])
    actual = trained(optimizer, [np.zeros(1)], [gradients[:, None]])
    maxima = np.array([4.0, 2.0, 1.0, 1.0])
    assert_equal(actual[:, 0], -0.25 * np.cumsum(gradients / maxima))
