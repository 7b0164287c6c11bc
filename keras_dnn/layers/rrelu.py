"""Randomised leaky ReLU.

B. Xu, N. Wang, T. Chen and M. Li, "Empirical evaluation of rectified activations in
convolutional network", 2015.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn._typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_dnn")
class RReLU(keras.layers.Layer):
    r"""Leaky ReLU with a random slope for each number in training.

    $$
    f(z) = \begin{cases} z & z \ge 0 \\ a z & z < 0 \end{cases}, \qquad
    a \sim U(\text{lower}, \text{upper})
    $$

    At inference $a$ is the mean, $(\text{lower} + \text{upper}) / 2$. Inside
    `keras_dnn.layers.MonteCarlo` it stays random.

    Args:
        lower: least slope, at least 0.
        upper: largest slope, not below `lower`.
        seed: integer seed.
        **kwargs: the arguments of `keras.layers.Layer`.

    Raises:
        ValueError: if not `0 <= lower <= upper`.

    Example:
        >>> import keras
        >>> from keras_dnn.layers import RReLU
        >>> y = RReLU(0.1, 0.3)(keras.ops.array([-10.0, 10.0]))
        >>> keras.ops.convert_to_numpy(y).tolist()
        [-2.0, 10.0]

    Reference:
        Xu et al., "Empirical evaluation of rectified activations in convolutional
        network", 2015.
    """

    def __init__(
        self,
        lower: float = 1 / 8,
        upper: float = 1 / 3,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.lower = _arguments.number("lower", lower)
        self.upper = _arguments.number("upper", upper)
        if self.lower > self.upper:
            raise ValueError(
                "upper must not be below lower. "
                f"Received: lower={lower!r}, upper={upper!r}"
            )
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Multiplies negative inputs by the slope."""
        slope = (self.lower + self.upper) / 2
        if training and self.lower < self.upper:
            slope = keras.random.uniform(
                keras.ops.shape(inputs),
                self.lower,
                self.upper,
                dtype=self.compute_dtype,
                seed=self.seed_generator,
            )
        return keras.ops.where(inputs < 0, inputs * slope, inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the inputs."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"lower": self.lower, "upper": self.upper, "seed": self.seed}
        return {**super().get_config(), **own}
