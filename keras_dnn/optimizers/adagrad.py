"""AdaGrad.

J. Duchi, E. Hazan and Y. Singer, "Adaptive subgradient methods for online learning and
stochastic optimization", 2011:

    s ← s + g²
    θ ← θ − η g / √(s + ε)

Keras and optax put ε under the root; PyTorch adds it outside.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn._tensorflow import tf
from keras_dnn._typing import HyperparameterValue, Tensor
from keras_dnn.optimizers._optimizer import Optimizer
from keras_dnn.optimizers._scalar import Values


@keras.saving.register_keras_serializable(package="keras_dnn")
class AdaGrad(Optimizer):
    r"""Steps divided by the root of all squared gradients so far.

    $$
    s \leftarrow s + g^2 \\
    \theta \leftarrow \theta - \eta \, g / \sqrt{s + \varepsilon}
    $$

    Steps shrink more in steep directions than in flat ones. Since $s$ only grows, they
    shrink for ever: good for sparse features and convex problems, but deep networks
    stop learning too early. A sparse gradient is applied row by row, exactly and
    without making it dense. The trajectory is that of `keras.optimizers.Adagrad`.

    Args:
        learning_rate: $\eta$; a float, a `LearningRateSchedule` or a callable without
            arguments.
        initial_accumulator_value: $s$ before the first step, at least 0.
        epsilon: $\varepsilon$, keeps the root above zero.
        **kwargs: the arguments of `keras_dnn.optimizers.Optimizer`.

    Raises:
        ValueError: if a value lies outside its range.

    Example:
        >>> import keras
        >>> from keras_dnn.optimizers import AdaGrad
        >>> optimizer = AdaGrad(learning_rate=0.1, initial_accumulator_value=0.0)
        >>> w = keras.Variable(1.0)
        >>> optimizer.apply([keras.ops.array(2.0)], [w])  # s = 4
        >>> round(float(w), 6)  # 1 - 0.1 * 2 / 2
        0.9

    Reference:
        Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
        stochastic optimization", 2011.
    """

    slots = ("accumulator",)
    elementwise = True
    ignores_zero_gradients = True
    equations = """
s ← s + g²
θ ← θ − η g / √(s + ε)
"""

    def __init__(
        self,
        learning_rate: HyperparameterValue = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.initial_accumulator_value = _arguments.number(
            "initial_accumulator_value", initial_accumulator_value
        )
        self.epsilon = _arguments.number("epsilon", epsilon)

    def initial_value(self, slot: str) -> float:
        """The value of the accumulator before the first update."""
        return self.initial_accumulator_value

    def update(
        self, g: Tensor, s: Tensor, *, now: Values, ahead: Values
    ) -> tuple[Tensor, Tensor]:
        """One step; see the equations above."""
        s = s + tf.square(g)
        return -now.learning_rate * g / tf.sqrt(s + self.epsilon), s

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this optimizer again."""
        return {
            **super().get_config(),
            "initial_accumulator_value": self.initial_accumulator_value,
            "epsilon": self.epsilon,
        }
