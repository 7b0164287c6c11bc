"""Adam.

D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", 2015; its last
variant, with the bias correction in the learning rate. AMSGrad is from S. J. Reddi,
S. Kale and S. Kumar, "On the convergence of Adam and beyond", 2018:

    m ← β₁ m + (1 − β₁) g
    v ← β₂ v + (1 − β₂) g²
    v̂ ← max(v̂, v)                            only with AMSGrad; without it v̂ is v
    α = η √(1 − ∏β₂) / (1 − ∏β₁)
    θ ← θ − α m / (√v̂ + ε)

The products run over all steps so far; while β is constant they are its power βᵗ. This
ε is the ε̂ of the paper, ε √(1 − β₂ᵗ); PyTorch and optax use ε itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn._tensorflow import tf
from keras_dnn._typing import HyperparameterValue, Tensor
from keras_dnn.optimizers._adam_family import AdamFamily
from keras_dnn.optimizers._scalar import Scalar, Values

AMSGRAD = """
m ← β₁ m + (1 − β₁) g
v ← β₂ v + (1 − β₂) g²
v̂ ← max(v̂, v)
θ ← θ − η √(1 − ∏β₂) / (1 − ∏β₁) · m / (√v̂ + ε)
"""
"""The equations with `amsgrad=True`."""


@keras.saving.register_keras_serializable(package="keras_dnn")
class Adam(AdamFamily):
    r"""Momentum divided by the root mean square of the gradients, without their bias.

    $$
    m \leftarrow \beta_1 m + (1 - \beta_1) g \\
    v \leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
    \theta \leftarrow \theta - \eta
    \frac{\sqrt{1 - \prod \beta_2}}{1 - \prod \beta_1} \frac{m}{\sqrt{v} + \varepsilon}
    $$

    Each weight moves by about $\eta$ a step, whatever the size of its gradient. The
    averages start at zero, which biases them; the fraction with the products of all
    betas so far corrects that, also while the betas move. With float hyperparameters
    the trajectory is that of `keras.optimizers.Adam`.

    Args:
        learning_rate: $\eta$; a float, a `LearningRateSchedule` or a callable without
            arguments.
        beta_1: $\beta_1$ in [0, 1), the weight of the past in the mean; a float, a
            schedule or a callable. A float can be set in the middle of `fit`.
        beta_2: $\beta_2$ in [0, 1), the same for the mean square.
        epsilon: $\varepsilon$, keeps the quotient finite.
        amsgrad: whether to divide by the largest mean square so far.
        **kwargs: the arguments of `keras_dnn.optimizers.Optimizer`.

    Raises:
        ValueError: if a value lies outside its range.

    Example:
        >>> import keras
        >>> from keras_dnn.optimizers import Adam
        >>> optimizer = Adam(learning_rate=0.1)
        >>> w = keras.Variable([1.0, 1.0])
        >>> optimizer.apply([keras.ops.array([0.002, -300.0])], [w])
        >>> w.numpy().round(3)  # the sign of the gradient decides the first step
        array([0.9, 1.1], dtype=float32)

    Reference:
        Kingma and Ba, "Adam: a method for stochastic optimization", 2015.
    """

    slots: tuple[str, ...] = ("momentum", "velocity")
    counters = ("beta_1_product", "beta_2_product")
    equations = """
m ← β₁ m + (1 − β₁) g
v ← β₂ v + (1 − β₂) g²
θ ← θ − η √(1 − ∏β₂) / (1 − ∏β₁) · m / (√v + ε)
"""

    def __init__(
        self,
        learning_rate: HyperparameterValue = 0.001,
        beta_1: HyperparameterValue = 0.9,
        beta_2: HyperparameterValue = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **kwargs)
        self.amsgrad = _arguments.switch("amsgrad", amsgrad)
        if self.amsgrad:
            self.slots = ("momentum", "velocity", "velocity_hat")
            self.equations = AMSGRAD

    def advance_counters(self, *products: Scalar, now: Values) -> Sequence[Scalar]:
        """Multiplies the products by this step's betas."""
        beta_1_product, beta_2_product = products
        # Keras takes powers of betas rounded to float32, but averages of exact ones.
        return (
            beta_1_product * now.beta_1.rounded,
            beta_2_product * now.beta_2.rounded,
        )

    def update(
        self,
        g: Tensor,
        m: Tensor,
        v: Tensor,
        v_hat: Tensor = None,
        *,
        now: Values,
        ahead: Values,
    ) -> tuple[Tensor, ...]:
        """One step; see the equations above."""
        m = m + (1 - now.beta_1) * (g - m)
        v = v + (1 - now.beta_2) * (tf.square(g) - v)
        alpha = (
            now.learning_rate
            * (1 - now.beta_2_product) ** 0.5
            / (1 - now.beta_1_product)
        )
        if self.amsgrad:
            v_hat = tf.maximum(v_hat, v)
            return -alpha * m / (tf.sqrt(v_hat) + self.epsilon), m, v, v_hat
        return -alpha * m / (tf.sqrt(v) + self.epsilon), m, v

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this optimizer again."""
        return {**super().get_config(), "amsgrad": self.amsgrad}
