"""RMSProp.

T. Tieleman and G. Hinton, "Lecture 6.5: rmsprop", 2012; centred as in A. Graves,
"Generating sequences with recurrent neural networks", 2013:

    v ← ρ v + (1 − ρ) g²
    a ← ρ a + (1 − ρ) g                      only if centred; otherwise a is 0
    m ← β m + η g / √(v − a² + ε)
    θ ← θ − m

Keras puts ε under the root; PyTorch adds it outside. PyTorch's velocity does not
include the learning rate; ours, Keras's and optax's does.
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
class RMSProp(Optimizer):
    r"""Steps divided by the root mean square of the recent gradients.

    $$
    v \leftarrow \rho v + (1 - \rho) g^2 \\
    \theta \leftarrow \theta - \eta \, g / \sqrt{v + \varepsilon}
    $$

    Like AdaGrad with an exponentially weighted average in place of the sum, so that the
    steps do not shrink for ever. With `centered` the square of the mean gradient is
    subtracted from $v$, which makes it a variance; with `momentum` the steps are added
    to a velocity. The trajectory is that of `keras.optimizers.RMSprop`.

    Args:
        learning_rate: $\eta$; a float, a `LearningRateSchedule` or a callable without
            arguments.
        rho: $\rho$ in [0, 1), the weight of the past in the average; a float, a
            schedule or a callable.
        momentum: $\beta$ in [0, 1); a float, a schedule or a callable. With 0.0 no
            velocity is kept, and it cannot be raised later.
        epsilon: $\varepsilon$, keeps the root above zero.
        centered: whether to divide by the standard deviation instead.
        **kwargs: the arguments of `keras_dnn.optimizers.Optimizer`.

    Raises:
        ValueError: if a value lies outside its range.

    Example:
        >>> import keras
        >>> from keras_dnn.optimizers import RMSProp
        >>> optimizer = RMSProp(learning_rate=0.1, rho=0.75)
        >>> w = keras.Variable(1.0)
        >>> optimizer.apply([keras.ops.array(2.0)], [w])  # v = 0.25 * 4
        >>> round(float(w), 6)  # 1 - 0.1 * 2 / 1
        0.8

    Reference:
        Tieleman and Hinton, "Lecture 6.5: rmsprop, divide the gradient by a running
        average of its recent magnitude", 2012.
    """

    rho = Hyperparameter(below=1.0)
    momentum = Hyperparameter(below=1.0, absent=0.0)
    elementwise = True

    def __init__(
        self,
        learning_rate: HyperparameterValue = 0.001,
        rho: HyperparameterValue = 0.9,
        momentum: HyperparameterValue = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.rho = rho
        self.momentum = momentum
        self.epsilon = _arguments.number("epsilon", epsilon)
        self.centered = _arguments.switch("centered", centered)
        self.slots = ("velocity",)
        if self.centered:
            self.slots += ("average_gradient",)
        if self._momentum is not None:
            self.slots += ("momentum",)
        self.equations = "\n".join(self._equations())

    def update(
        self, g: Tensor, *slots: Tensor, now: Values, ahead: Values
    ) -> tuple[Tensor, ...]:
        """One step; see the equations above."""
        past = dict(zip(self.slots, slots, strict=True))
        v = now.rho * past["velocity"] + (1 - now.rho) * tf.square(g)
        new, variance = [v], v
        if self.centered:
            a = now.rho * past["average_gradient"] + (1 - now.rho) * g
            new, variance = [v, a], v - tf.square(a)
        step = now.learning_rate * g / tf.sqrt(variance + self.epsilon)
        if "momentum" in past:
            m = now.momentum * past["momentum"] + step
            return -m, *new, m
        return -step, *new

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this optimizer again."""
        return {
            **super().get_config(),
            "epsilon": self.epsilon,
            "centered": self.centered,
        }

    def _equations(self) -> list[str]:
        root = "√(v − a² + ε)" if self.centered else "√(v + ε)"
        lines = ["v ← ρ v + (1 − ρ) g²"]
        if self.centered:
            lines.append("a ← ρ a + (1 − ρ) g")
        if "momentum" in self.slots:
            return [*lines, f"m ← β m + η g / {root}", "θ ← θ − m"]
        return [*lines, f"θ ← θ − η g / {root}"]
