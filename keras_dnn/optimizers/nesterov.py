r"""Nesterov's accelerated gradient.

Y. Nesterov, "A method for solving the convex programming problem with convergence rate
O(1/k²)", 1983; the form with momentum is that of Sutskever, Martens, Dahl and Hinton,
"On the importance of initialization and momentum in deep learning", 2013:

    m ← βₜ m − η ∇L(θ + βₜ m)
    θ ← θ + m

The gradient is taken where the momentum is about to lead. A Keras model has only one
set of weights, so these are kept at that place: with θ for θ + βₜ m, and g the gradient
there, the same steps are

    m ← β m − η (1 − τ) g
    θ ← θ + β′ m − η (1 − τ) g

The look-ahead is taken with the *next* step's momentum β′. With a constant β this is
Keras's and PyTorch's rule; with a moving one theirs is no longer Nesterov's. τ, the
dampening, is 0 in the papers.
"""

from __future__ import annotations

import keras

from keras_dnn._typing import Tensor
from keras_dnn.optimizers._scalar import Values
from keras_dnn.optimizers.momentum import Momentum


@keras.saving.register_keras_serializable(package="keras_dnn")
class Nesterov(Momentum):
    r"""Momentum whose gradient is taken where the momentum is about to lead.

    $$
    m \leftarrow \beta_t m - \eta (1 - \tau) g \\
    \theta \leftarrow \theta + \beta_{t+1} m - \eta (1 - \tau) g
    $$

    The velocity $m$ includes the learning rate, as in Keras and unlike PyTorch: after
    the rate is reduced, the earlier, longer steps fade out over the next steps. With
    float hyperparameters the trajectory is that of
    `keras.optimizers.SGD(momentum=..., nesterov=True)`. With a momentum that follows a
    schedule it equals the textbook look-ahead exactly, which Keras's does not.

    Args:
        learning_rate: $\eta$; a float, a `LearningRateSchedule` or a callable without
            arguments.
        momentum: $\beta$ in [0, 1); a float, a schedule or a callable. A float can be
            set in the middle of `fit`.
        dampening: $\tau$ in [0, 1), the fraction of the gradient that is left out.
            `dampening=momentum` makes $m$ an exponentially weighted average of the
            steps.
        **kwargs: the arguments of `keras_dnn.optimizers.Optimizer`.

    Raises:
        ValueError: if a value lies outside its range.

    Example:
        >>> import keras
        >>> from keras_dnn.optimizers import Nesterov
        >>> optimizer = Nesterov(learning_rate=0.1, momentum=0.5)
        >>> w = keras.Variable(1.0)
        >>> optimizer.apply([keras.ops.array(2.0)], [w])  # m = -0.2
        >>> round(float(w), 6)  # 1 + 0.5 * -0.2 - 0.2
        0.7
        >>> optimizer.momentum = 0.85
        >>> round(float(optimizer.momentum), 6)
        0.85

    Reference:
        Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and
        momentum in deep learning", 2013.
    """

    equations = """
m ← β m − η (1 − τ) g
θ ← θ + β′ m − η (1 − τ) g
"""

    def update(
        self, g: Tensor, m: Tensor, *, now: Values, ahead: Values
    ) -> tuple[Tensor, Tensor]:
        """One step; see the equations above."""
        step = now.learning_rate * (1 - self.dampening) * g
        m = now.momentum * m - step
        return ahead.momentum * m - step, m
