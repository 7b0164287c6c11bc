"""RMSProp.

T. Tieleman and G. Hinton, "Lecture 6.5: rmsprop", 2012; centred as in A. Graves,
"Generating sequences with recurrent neural networks", 2013:

    v ← ρ v + (1 − ρ) g²
    a ← ρ a + (1 − ρ) g                      if centred, else a = 0
    m ← β m + η g / √(v − a² + ε)
    θ ← θ − m

Keras puts ε under the root; PyTorch adds it outside. PyTorch's velocity does not hold
the learning rate; ours, Keras's and optax's does.
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

    Like AdaGrad, but it forgets: the average is exponentially weighted, so the steps do
    not shrink for ever. With `centered` the square of the mean gradient is taken off
    $v$, which makes it a variance; with `momentum` the steps feed a velocity. The
    trajectory is that of `keras.optimizers.RMSprop`.

    Args:
        learning_rate: $\eta$; a float, a `LearningRateSchedule` or a callable without
            arguments.
        rho: $\rho$ in [0, 1), how much of the average is kept; a float, a schedule or a
            callable.
        momentum: $\beta$ in [0, 1); a float, a schedule or a callable. With 0.0 no
            velocity is kept, and it cannot be raised later.
        epsilon: $\varepsilon$, keeps the root from zero.
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
        self.heavy = self._momentum is not None
        used = {"velocity": True, "average_gradient": centered, "momentum": self.heavy}
        self.slots = tuple(slot for slot, needed in used.items() if needed)
        self.equations = "\n".join(self._equations())

    def update(
        self, g: Tensor, *slots: Tensor, now: Values, ahead: Values
    ) -> tuple[Tensor, ...]:
        """One step; see the equations above."""
        v, *others = slots
        v = now.rho * v + (1 - now.rho) * tf.square(g)
        new, spread = [v], v
        if self.centered:
            a = now.rho * others.pop(0) + (1 - now.rho) * g
            new, spread = [v, a], v - tf.square(a)
        step = now.learning_rate * g / tf.sqrt(spread + self.epsilon)
        if self.heavy:
            step = now.momentum * others.pop() + step
            new.append(step)
        return -step, *new

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this optimizer anew."""
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
        if self.heavy:
            return [*lines, f"m ← β m + η g / {root}", "θ ← θ − m"]
        return [*lines, f"θ ← θ − η g / {root}"]
