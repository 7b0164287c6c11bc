"""A model whose weights end as the learning rates that `fit` used."""

import keras
import numpy as np

# The loss of a row is one weight, so the gradient there is 1 at its step, and the
# weights end as the negative rates.
COUNT = 12


class Traced:
    """The mean of the outputs; counts how often it was traced."""

    def __init__(self):
        self.times = 0

    def __call__(self, _, outputs):
        self.times += 1
        return keras.ops.mean(outputs)


def recorder(optimizer, **compile_arguments):
    model = keras.Sequential(
        [
            keras.Input((2 * COUNT,)),
            keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros"),
        ]
    )
    loss = Traced()
    model.compile(optimizer, loss=loss, **compile_arguments)
    return model, loss


def rates_used(model, first=0):
    """Trains `COUNT` steps from the `first` on and returns the rate of each."""
    rows = np.eye(2 * COUNT, dtype="float32")[first : first + COUNT]
    model.fit(rows, np.zeros((COUNT, 1)), 1, shuffle=False, verbose=0)
    return -model.get_weights()[0][first : first + COUNT, 0]
