"""The base of Adam and its variants: two averages, each with its beta.

The equations write an average as β m + (1 − β) g, the code as m + (1 − β) (g − m). That
is the same number with one product fewer, and rounds as Keras does.
"""

from __future__ import annotations

from typing import Any

from keras_dnn import _arguments
from keras_dnn._typing import HyperparameterValue
from keras_dnn.optimizers._hyperparameter import Hyperparameter
from keras_dnn.optimizers._optimizer import Optimizer


class AdamFamily(Optimizer):
    """Base of the rules with `beta_1`, `beta_2` and `epsilon`."""

    beta_1 = Hyperparameter(below=1.0)
    beta_2 = Hyperparameter(below=1.0)
    elementwise = True

    def __init__(
        self,
        learning_rate: HyperparameterValue = 0.001,
        beta_1: HyperparameterValue = 0.9,
        beta_2: HyperparameterValue = 0.999,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = _arguments.number("epsilon", epsilon)

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this optimizer again."""
        return {**super().get_config(), "epsilon": self.epsilon}
