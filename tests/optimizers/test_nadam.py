"""What is particular to Nadam: the look-ahead with the products of its momenta."""

import numpy as np

from keras_dnn.optimizers import Nadam
from tests.optimizers.rule_cases import Zigzag, after, assert_equal, trained

STEPS = 12


def test_keeps_the_product_of_the_momenta_it_used():
    zigzag = Zigzag(0.875)
    optimizer = Nadam(0.25, beta_1=zigzag, beta_2=0.0, epsilon=0.0)
    actual = trained(optimizer, [np.zeros(1)], [np.ones((STEPS, 1))])
    weight, m, so_far, expected = 0.0, 0.0, 1.0, []
    for t in range(STEPS):
        mu, mu_next = (zigzag.at(i) * (1 - 0.96 ** (i + 1) / 2) for i in (t, t + 1))
        so_far *= mu
        m = zigzag.at(t) * m + 1 - zigzag.at(t)
        weight -= 0.25 * (
            mu_next * m / (1 - so_far * mu_next) + (1 - mu) / (1 - so_far)
        )
        expected.append([weight])
    # Keras rounds 0.96 to float32.
    assert_equal(actual, expected, rtol=1e-7)


def test_product_of_momenta_is_that_of_the_updates_so_far(explained):
    lines = explained(after(Nadam(beta_1=0.5), 2))
    product = 0.5 * (1 - 0.96 / 2) * 0.5 * (1 - 0.96**2 / 2)
    assert f"∏μ = {product:.6g}, mu_product" in lines
