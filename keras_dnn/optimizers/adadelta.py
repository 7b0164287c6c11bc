"""Adadelta.

M. D. Zeiler, "Adadelta: an adaptive learning rate method", 2012:

    s ← ρ s + (1 − ρ) g²
    Δ = −√(d + ε) / √(s + ε) · g
    d ← ρ d + (1 − ρ) Δ²
    θ ← θ + η Δ

The paper has no η: it is 1 there and in PyTorch, 0.001 in Keras.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn._tensorflow import tf
from keras_dnn._typing import HyperparameterValue, Tensor
from keras_dnn.optimizers._hyperparameter import Hyperparameter
from keras_dnn.optimizers._optimizer import Optimizer
from keras_dnn.optimizers._scalar import Values


@keras.saving.register_keras_serializable(package="keras_dnn")
class Adadelta(Optimizer):
    r"""Steps in the units of the weights, scaled by the recent steps and gradients.

    $$
    s \leftarrow \rho s + (1 - \rho) g^2 \\
    \Delta = -\frac{\sqrt{d + \varepsilon}}{\sqrt{s + \varepsilon}} \, g \\
    d \leftarrow \rho d + (1 - \rho) \Delta^2 \\
    \theta \leftarrow \theta + \eta \Delta
    $$

    The paper has no learning rate, which is `learning_rate=1.0` here; the default 0.001
    is that of Keras, and the trajectory is that of `keras.optimizers.Adadelta`.

    Args:
        learning_rate: $\eta$; a float, a `LearningRateSchedule` or a callable without
            arguments.
        rho: $\rho$ in [0, 1), the weight of the past in the averages; a float, a
            schedule or a callable.
        epsilon: $\varepsilon$, sets the size of the first steps and keeps the quotient
            finite.
        **kwargs: the arguments of `keras_dnn.optimizers.Optimizer`.

    Raises:
        ValueError: if a value lies outside its range.

    Example:
        >>> import keras
        >>> from keras_dnn.optimizers import Adadelta
        >>> optimizer = Adadelta(learning_rate=1.0, rho=0.75, epsilon=0.04)
        >>> w = keras.Variable(1.0)
        >>> optimizer.apply([keras.ops.array(2.0)], [w])  # s = 1
        >>> round(float(w), 6)  # 1 - sqrt(0.04 / 1.04) * 2
        0.607768

    Reference:
        Zeiler, "Adadelta: an adaptive learning rate method", 2012.
    """

    rho = Hyperparameter(below=1.0)
    slots = ("accumulated_grad", "accumulated_delta_var")
    elementwise = True
    equations = """
s ← ρ s + (1 − ρ) g²
Δ = −√(d + ε) / √(s + ε) · g
d ← ρ d + (1 − ρ) Δ²
θ ← θ + η Δ
"""

    def __init__(
        self,
        learning_rate: HyperparameterValue = 0.001,
        rho: HyperparameterValue = 0.95,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.rho = rho
        self.epsilon = _arguments.number("epsilon", epsilon)

    def update(
        self,
        g: Tensor,
        s: Tensor,
        d: Tensor,
        *,
        now: Values,
        ahead: Values,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step; see the equations above."""
        s = now.rho * s + (1 - now.rho) * tf.square(g)
        delta = -tf.sqrt(d + self.epsilon) / tf.sqrt(s + self.epsilon) * g
        d = now.rho * d + (1 - now.rho) * tf.square(delta)
        return now.learning_rate * delta, s, d

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this optimizer again."""
        return {**super().get_config(), "epsilon": self.epsilon}
