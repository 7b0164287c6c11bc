"""AdaMax.

D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", 2015, section 7.1:

    m ← β₁ m + (1 − β₁) g
    u ← max(β₂ u, |g|)
    θ ← θ − η / (1 − ∏β₁) · m / (u + ε)

The paper has no ε; Keras adds it here, PyTorch and optax to |g| within the maximum.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.optimizers._adam_family import AdamFamily
from keras_dnn.optimizers._scalar import Scalar, Values


@keras.saving.register_keras_serializable(package="keras_dnn")
class AdaMax(AdamFamily):
    r"""Adam with the largest recent gradient in place of the root mean square.

    $$
    m \leftarrow \beta_1 m + (1 - \beta_1) g \\
    u \leftarrow \max(\beta_2 u, |g|) \\
    \theta \leftarrow \theta - \frac{\eta}{1 - \prod \beta_1} \frac{m}{u + \varepsilon}
    $$

    The maximum needs no bias correction and handles rare large gradients, such as those
    of embeddings, well. With float hyperparameters the trajectory is that of
    `keras.optimizers.Adamax`.

    Args:
        learning_rate: $\eta$; a float, a `LearningRateSchedule` or a callable without
            arguments.
        beta_1: $\beta_1$ in [0, 1), the weight of the past in the mean; a float, a
            schedule or a callable. A float can be set in the middle of `fit`.
        beta_2: $\beta_2$ in [0, 1), the same for the maximum.
        epsilon: $\varepsilon$, keeps the quotient finite.
        **kwargs: the arguments of `keras_dnn.optimizers.Optimizer`.

    Raises:
        ValueError: if a value lies outside its range.

    Example:
        >>> import keras
        >>> from keras_dnn.optimizers import AdaMax
        >>> optimizer = AdaMax(learning_rate=0.1)
        >>> w = keras.Variable([1.0, 1.0])
        >>> optimizer.apply([keras.ops.array([0.002, -300.0])], [w])
        >>> w.numpy().round(3)
        array([0.9, 1.1], dtype=float32)

    Reference:
        Kingma and Ba, "Adam: a method for stochastic optimization", 2015.
    """

    slots = ("momentum", "norm")
    counters = ("beta_1_product",)
    equations = """
m ← β₁ m + (1 − β₁) g
u ← max(β₂ u, |g|)
θ ← θ − η / (1 − ∏β₁) · m / (u + ε)
"""

    def advance_counters(self, *products: Scalar, now: Values) -> Sequence[Scalar]:
        """Multiplies the product by this step's beta."""
        # Keras takes powers of betas rounded to float32, but averages of exact ones.
        return (products[0] * now.beta_1.rounded,)

    def update(
        self,
        g: Tensor,
        m: Tensor,
        u: Tensor,
        *,
        now: Values,
        ahead: Values,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step; see the equations above."""
        m = m + (1 - now.beta_1) * (g - m)
        u = tf.maximum(now.beta_2 * u, tf.abs(g))
        alpha = now.learning_rate / (1 - now.beta_1_product)
        return -alpha * m / (u + self.epsilon), m, u
