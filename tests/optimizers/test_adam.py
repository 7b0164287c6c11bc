"""What is particular to Adam: the bias correction and AMSGrad."""

import numpy as np

from keras_dnn.optimizers import Adam
from tests.optimizers.rule_cases import Zigzag, after, assert_equal, trained


def test_bias_correction_makes_every_step_as_long_as_the_rate():
    """Every corrected average of a constant gradient is that gradient."""
    betas = {"beta_1": Zigzag(0.875), "beta_2": Zigzag(0.96875)}
    optimizer = Adam(0.25, **betas, epsilon=0.0)
    gradients = np.tile([0.5, -2.0, 1e-3], (12, 1))
    actual = trained(optimizer, [np.zeros(3)], [gradients])
    assert_equal(actual, -0.25 * np.arange(1, 13)[:, None] * [1.0, -1.0, 1.0])


def test_amsgrad_divides_by_the_largest_mean_square_so_far():
    gradients = np.array([4.0, 1.0, -1.0, 2.0, 8.0])
    arguments = {"beta_1": 0.0, "beta_2": 0.5, "epsilon": 0.0}
    training = [np.zeros(1)], [gradients[:, None]]
    actual = trained(Adam(0.25, **arguments, amsgrad=True), *training)
    v, largest, weight, expected = 0.0, 0.0, 0.0, []
    for t, g in enumerate(gradients):
        v = (v + g * g) / 2
        largest = max(largest, v)
        weight -= 0.25 * np.sqrt(1 - 0.5 ** (t + 1)) * g / np.sqrt(largest)
        expected.append([weight])
    assert_equal(actual, expected)
    assert np.abs(actual - trained(Adam(0.25, **arguments), *training)).max() > 0.01


def test_amsgrad_keeps_a_third_slot_and_the_plain_rule_does_not():
    assert Adam().slots == ("momentum", "velocity")
    assert Adam(amsgrad=True).slots == ("momentum", "velocity", "velocity_hat")


def test_products_of_betas_are_those_of_the_updates_so_far(explained):
    optimizer = Adam(beta_1=0.5, beta_2=0.75)
    lines = explained(after(optimizer, 3))
    assert "∏β₁ = 0.125, beta_1_product" in lines
    assert "∏β₂ = 0.421875, beta_2_product" in lines
    assert any("√(1 − 0.421875) / (1 − 0.125)" in line for line in lines)
