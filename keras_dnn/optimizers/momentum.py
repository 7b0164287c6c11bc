"""Momentum, also called the heavy ball.

B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964:

    m ← β m − η (1 − τ) g
    θ ← θ + m

τ, the dampening, is 0 in the paper. With τ = β the velocity is the exponentially
weighted average of the steps.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn._typing import HyperparameterValue, Tensor
from keras_dnn.optimizers._hyperparameter import Hyperparameter
from keras_dnn.optimizers._optimizer import Optimizer
from keras_dnn.optimizers._scalar import Values


@keras.saving.register_keras_serializable(package="keras_dnn")
class Momentum(Optimizer):
    r"""Gradient descent with a velocity, like a ball that rolls down a hill.

    $$
    m \leftarrow \beta m - \eta (1 - \tau) g \\
    \theta \leftarrow \theta + m
    $$

    The velocity $m$ includes the learning rate, as in Keras and unlike PyTorch: after
    the rate is reduced, the earlier, longer steps fade out over the next steps. With
    float hyperparameters the trajectory is that of
    `keras.optimizers.SGD(momentum=...)`.

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
        >>> from keras_dnn.optimizers import Momentum
        >>> optimizer = Momentum(learning_rate=0.1, momentum=0.5)
        >>> w = keras.Variable(1.0)
        >>> optimizer.apply([keras.ops.array(2.0)], [w])  # m = -0.2
        >>> optimizer.apply([keras.ops.array(2.0)], [w])  # m = 0.5 * -0.2 - 0.2
        >>> round(float(w), 6)  # 1 - 0.2 - 0.3
        0.5

    Reference:
        Polyak, "Some methods of speeding up the convergence of iteration methods",
        1964.
    """

    # Keras's SGD casts its momentum, which rounds a Python float to float32.
    momentum = Hyperparameter(below=1.0, dtype="float32")
    slots = ("momentum",)
    elementwise = True
    equations = """
m ← β m − η (1 − τ) g
θ ← θ + m
"""

    def __init__(
        self,
        learning_rate: HyperparameterValue = 0.01,
        momentum: HyperparameterValue = 0.9,
        *,
        dampening: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.momentum = momentum
        self.dampening = _arguments.number("dampening", dampening, high=1.0)

    def update(
        self, g: Tensor, m: Tensor, *, now: Values, ahead: Values
    ) -> tuple[Tensor, Tensor]:
        """One step; see the equations above."""
        m = now.momentum * m - now.learning_rate * (1 - self.dampening) * g
        return m, m

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this optimizer again."""
        return {**super().get_config(), "dampening": self.dampening}
