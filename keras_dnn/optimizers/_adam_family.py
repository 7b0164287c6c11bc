"""What Adam and its kin share: two averages, each with its beta."""

from __future__ import annotations

from typing import Any

from keras_dnn import _arguments
from keras_dnn._typing import HyperparameterValue
from keras_dnn.optimizers._hyperparameter import Hyperparameter
from keras_dnn.optimizers._optimizer import Optimizer


class Betas(Optimizer):
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
        """The arguments that create this optimizer anew."""
        return {**super().get_config(), "epsilon": self.epsilon}
