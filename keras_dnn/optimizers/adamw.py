"""AdamW: Adam with decoupled weight decay.

I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", 2019:

    θ ← θ − η λ θ
    then the step of Adam

Decay that is added to the gradient (L2) is divided by √v like the rest of it, so that
weights with large gradients decay less. Here it is not.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn._typing import HyperparameterValue
from keras_dnn.optimizers.adam import Adam


@keras.saving.register_keras_serializable(package="keras_dnn")
class AdamW(Adam):
    r"""Adam, with weight decay that is not divided by the gradient's size.

    $$
    \theta \leftarrow \theta - \eta \lambda \theta
    $$

    and then the step of `Adam`. All weights decay, except those given to
    `exclude_from_weight_decay`, usually biases and the scales of normalisation. With
    float hyperparameters the trajectory is that of `keras.optimizers.AdamW`.

    Args:
        learning_rate: $\eta$; a float, a `LearningRateSchedule` or a callable without
            arguments.
        weight_decay: $\lambda$, at least 0; a float, a schedule or a callable.
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
        >>> from keras_dnn.optimizers import AdamW
        >>> optimizer = AdamW(learning_rate=0.1, weight_decay=0.5)
        >>> w = keras.Variable(2.0)
        >>> optimizer.apply([keras.ops.array(3.0)], [w])
        >>> round(float(w), 3)  # 2 - 0.1 * 0.5 * 2 - 0.1
        1.8

    Reference:
        Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
    """

    def __init__(
        self,
        learning_rate: HyperparameterValue = 0.001,
        weight_decay: HyperparameterValue = 0.004,
        beta_1: HyperparameterValue = 0.9,
        beta_2: HyperparameterValue = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Any,
    ) -> None:
        if weight_decay is None:
            raise ValueError(
                "weight_decay must be a number in [0, inf), a LearningRateSchedule or "
                "a callable without arguments; without it, use Adam. "
                "Received: weight_decay=None"
            )
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            amsgrad,
            weight_decay=weight_decay,
            **kwargs,
        )
