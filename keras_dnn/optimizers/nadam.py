"""Nadam: Adam with Nesterov's look-ahead.

T. Dozat, "Incorporating Nesterov momentum into Adam", 2016:

    μ = β₁ (1 − ½ · 0.96ᵗ)
    μ′ = β₁′ (1 − ½ · 0.96ᵗ⁺¹)                the next step's μ
    m ← β₁ m + (1 − β₁) g
    v ← β₂ v + (1 − β₂) g²
    m̂ = μ′ m / (1 − μ′ ∏μ) + (1 − μ) g / (1 − ∏μ)
    v̂ = v / (1 − ∏β₂)
    θ ← θ − η m̂ / (√v̂ + ε)

The products run over all steps so far. The warm-up of μ is Keras's and ends within a
hundred steps; PyTorch's exponent is t / 250, as the paper proposes, and optax has no
warm-up: μ = β₁.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.optimizers._adam_family import AdamFamily
from keras_dnn.optimizers._scalar import Scalar, Values

DECAY = 0.96
"""How fast the momentum's warm-up ends."""


@keras.saving.register_keras_serializable(package="keras_dnn")
class Nadam(AdamFamily):
    r"""Adam that takes its step from where its momentum is about to lead.

    $$
    \mu_t = \beta_1 (1 - \tfrac{1}{2} \, 0.96^t) \\
    m \leftarrow \beta_1 m + (1 - \beta_1) g \\
    v \leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
    \hat m = \frac{\mu_{t+1} m}{1 - \prod_{i \le t+1} \mu_i}
    + \frac{(1 - \mu_t) g}{1 - \prod_{i \le t} \mu_i} \\
    \theta \leftarrow \theta - \eta \, \hat m \,
    / \left( \sqrt{v / (1 - \prod \beta_2)} + \varepsilon \right)
    $$

    The momentum warms up from about half of $\beta_1$. With a moving $\beta_1$ the
    look-ahead is taken with that of the next step, and the products are those of the
    values that were used. With float hyperparameters the trajectory is that of
    `keras.optimizers.Nadam`.

    Args:
        learning_rate: $\eta$; a float, a `LearningRateSchedule` or a callable without
            arguments.
        beta_1: $\beta_1$ in [0, 1), the weight of the past in the mean; a float, a
            schedule or a callable. A float can be set in the middle of `fit`.
        beta_2: $\beta_2$ in [0, 1), the same for the mean square.
        epsilon: $\varepsilon$, keeps the quotient finite.
        **kwargs: the arguments of `keras_dnn.optimizers.Optimizer`.

    Raises:
        ValueError: if a value lies outside its range.

    Example:
        >>> import keras
        >>> from keras_dnn.optimizers import Nadam
        >>> optimizer = Nadam(learning_rate=0.1)
        >>> w = keras.Variable([1.0, 1.0])
        >>> optimizer.apply([keras.ops.array([0.002, -300.0])], [w])
        >>> w.numpy().round(3)
        array([0.894, 1.106], dtype=float32)

    Reference:
        Dozat, "Incorporating Nesterov momentum into Adam", 2016.
    """

    slots = ("momentum", "velocity")
    counters = ("mu_product", "beta_2_product")
    equations = """
μ = β₁ (1 − ½ · 0.96ᵗ)
μ′ = β₁′ (1 − ½ · 0.96ᵗ⁺¹)
m ← β₁ m + (1 − β₁) g
v ← β₂ v + (1 − β₂) g²
θ ← θ − η (μ′ m / (1 − μ′ ∏μ) + (1 − μ) g / (1 − ∏μ)) / (√(v / (1 − ∏β₂)) + ε)
"""

    def advance_counters(self, *products: Scalar, now: Values) -> Sequence[Scalar]:
        """Multiplies the products by this step's momentum and beta."""
        mu_product, beta_2_product = products
        mu = now.beta_1 * (1 - 0.5 * DECAY**now.step)
        return mu_product * mu, beta_2_product * now.beta_2.rounded

    def update(
        self,
        g: Tensor,
        m: Tensor,
        v: Tensor,
        *,
        now: Values,
        ahead: Values,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step; see the equations above."""
        # Keras rounds to float32 everywhere except in the product of the momenta.
        beta_1, beta_2 = now.beta_1.rounded, now.beta_2.rounded
        decay = Scalar(DECAY, literal=True).rounded
        mu = beta_1 * (1 - 0.5 * decay**now.step)
        mu_next = ahead.beta_1.rounded * (1 - 0.5 * decay ** (now.step + 1))

        m = m + (1 - beta_1) * (g - m)
        v = v + (1 - beta_2) * (tf.square(g) - v)
        m_hat = (
            mu_next / (1 - mu_next * now.mu_product) * m
            + (1 - mu) / (1 - now.mu_product) * g
        )
        v_hat = v / (1 - now.beta_2_product)
        return -now.learning_rate * m_hat / (tf.sqrt(v_hat) + self.epsilon), m, v
