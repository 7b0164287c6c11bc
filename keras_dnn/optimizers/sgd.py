"""Stochastic gradient descent.

H. Robbins and S. Monro, "A stochastic approximation method", 1951:

    θ ← θ − η g
"""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn._typing import HyperparameterValue, Tensor
from keras_dnn.optimizers._hyperparameter import Hyperparameter
from keras_dnn.optimizers._optimizer import Optimizer
from keras_dnn.optimizers._scalar import Values
from keras_dnn.optimizers.momentum import Momentum
from keras_dnn.optimizers.nesterov import Nesterov


@keras.saving.register_keras_serializable(package="keras_dnn")
class SGD(Optimizer):
    r"""Gradient descent: a step against the gradient.

    $$
    \theta \leftarrow \theta - \eta g
    $$

    A sparse gradient is applied row by row, exactly and without making it dense. With
    `momentum` it is the rule of `Momentum`, with `nesterov=True` that of `Nesterov`,
    as in `keras.optimizers.SGD`, whose trajectory it follows.

    Args:
        learning_rate: $\eta$; a float, a `LearningRateSchedule` or a callable without
            arguments.
        momentum: $\beta$ in [0, 1); a float, a schedule or a callable. With 0.0 no
            velocity is kept, and it cannot be raised later.
        nesterov: whether the gradient is taken where the momentum is about to lead.
        **kwargs: the arguments of `keras_dnn.optimizers.Optimizer`.

    Raises:
        ValueError: if a value lies outside its range.

    Example:
        >>> import keras
        >>> from keras_dnn.optimizers import SGD
        >>> optimizer = SGD(learning_rate=0.1)
        >>> w = keras.Variable(1.0)
        >>> optimizer.apply([keras.ops.array(2.0)], [w])
        >>> round(float(w), 6)  # 1 - 0.1 * 2
        0.8

    Reference:
        Robbins and Monro, "A stochastic approximation method", 1951.
    """

    momentum = Hyperparameter(below=1.0, absent=0.0, dtype="float32")
    elementwise = True
    dampening = 0.0
    equations = "θ ← θ − η g"

    def __init__(
        self,
        learning_rate: HyperparameterValue = 0.01,
        momentum: HyperparameterValue = 0.0,
        nesterov: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.momentum = momentum
        self.nesterov = _arguments.switch("nesterov", nesterov)
        self.slots = () if self._momentum is None else ("momentum",)
        self.ignores_zero_gradients = not self.slots
        if self.slots:
            self.equations = (Nesterov if nesterov else Momentum).equations

    def update(self, g: Tensor, *slots: Tensor, now: Values, ahead: Values) -> Any:
        """One step; see the equation above."""
        if not slots:
            return -now.learning_rate * g
        rule: Any = Nesterov.update if self.nesterov else Momentum.update
        return rule(self, g, *slots, now=now, ahead=ahead)

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this optimizer again."""
        return {**super().get_config(), "nesterov": self.nesterov}
