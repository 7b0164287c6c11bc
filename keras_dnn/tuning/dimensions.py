"""Hyperparameters that are searched on the scale on which they act."""

from __future__ import annotations

import dataclasses
from typing import Any

from keras_dnn import _arguments

COMPLEMENT = "1 - "
"""How the name begins under which KerasTuner knows one minus a hyperparameter."""


@dataclasses.dataclass(frozen=True)
class Dimension:
    """A hyperparameter with its range and scale, called with KerasTuner's `hp`.

    Called while a model is built, it gives the value to build with; called with the
    best hyperparameters of a search, the value that was best.

    Args:
        name: of the hyperparameter.
        low: its lowest value.
        high: its highest value.
        scale: `"log"`, or `"1 - x"` for the logarithm of the distance to 1. KerasTuner
            then keeps that distance, under the name `"1 - name"`.

    Raises:
        ValueError: if the range is empty or the scale does not have it.

    Example:
        >>> from keras_dnn.tuning import Dimension
        >>> Dimension("learning_rate", low=1e-4, high=1e-1)
        Dimension(name='learning_rate', low=0.0001, high=0.1, scale='log')
    """

    name: str
    low: float
    high: float
    scale: str = "log"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name must be a text. Received: name={self.name!r}")
        scale = _arguments.choice("scale", self.scale, ("log", "1 - x"))
        least, most, bounds = (0.0, float("inf"), "()")
        if scale == "1 - x":
            least, most, bounds = (0.0, 1.0, "[)")
        low = _arguments.number("low", self.low, least, most, bounds)
        object.__setattr__(self, "low", low)
        high = _arguments.number("high", self.high, low, most, "()")
        object.__setattr__(self, "high", high)

    def __call__(self, hp: Any) -> Any:
        """Registers the dimension in a search, and gives its value in this trial.

        Args:
            hp: KerasTuner's `HyperParameters`.

        Returns:
            A float; `None` in a conditional scope that is not active, as from `hp`.
        """
        # KerasTuner's own default, the lowest value, lies on the border.
        if self.scale == "log":
            middle = (self.low * self.high) ** 0.5
            return hp.Float(
                self.name, self.low, self.high, sampling="log", default=middle
            )
        least, most = 1 - self.high, 1 - self.low
        distance = hp.Float(
            COMPLEMENT + self.name,
            least,
            most,
            sampling="log",
            default=(least * most) ** 0.5,
        )
        return None if distance is None else 1 - distance


def log_uniform(name: str, low: float, high: float) -> Dimension:
    r"""Returns a hyperparameter whose order of magnitude is searched.

    For $u$ uniform in $[0, 1]$

    $$
    x = a \left( \frac{b}{a} \right)^u
    $$

    so each decade of a learning rate, a weight decay or a number of units is tried as
    often as any other. Between 0.0001 and 0.1 a uniform search spends nine trials of
    ten above 0.01.

    Args:
        name: of the hyperparameter.
        low: $a$, its lowest value, above 0.
        high: $b$, its highest value.

    Returns:
        A `Dimension`, to be called with KerasTuner's `hp`.

    Raises:
        ValueError: if the range is empty or reaches down to 0.

    Example:
        >>> import keras_tuner
        >>> from keras_dnn.tuning import log_uniform
        >>> learning_rate = log_uniform("learning_rate", 1e-4, 1e-1)
        >>> hp = keras_tuner.HyperParameters()
        >>> round(learning_rate(hp), 5)  # Before a search, the middle.
        0.00316
    """
    return Dimension(name, low, high)


def one_minus_log_uniform(name: str, low: float, high: float) -> Dimension:
    r"""Returns a hyperparameter whose distance to 1 is searched by order of magnitude.

    For $u$ uniform in $[0, 1]$

    $$
    x = 1 - (1 - a) \left( \frac{1 - b}{1 - a} \right)^u
    $$

    A momentum or $\beta$ averages over some $1 / (1 - \beta)$ steps: ten at 0.9, a
    thousand at 0.999, so that from 0.9 to 0.905 nothing happens and from 0.999 to
    0.9995 much does. KerasTuner's `sampling="reverse_log"` is another thing: between
    0.9 and 0.999 it is all but uniform.

    Args:
        name: of the hyperparameter.
        low: $a$, its lowest value, at least 0.
        high: $b$, its highest value, below 1.

    Returns:
        A `Dimension`, to be called with KerasTuner's `hp`. There the distance to 1 is
        kept, as `"1 - name"`.

    Raises:
        ValueError: if the range is empty or not in [0, 1).

    Example:
        >>> import keras_tuner
        >>> from keras_dnn.tuning import one_minus_log_uniform
        >>> momentum = one_minus_log_uniform("momentum", 0.9, 0.999)
        >>> hp = keras_tuner.HyperParameters()
        >>> round(momentum(hp), 4)  # Before a search, the middle.
        0.99
        >>> list(hp.values)
        ['1 - momentum']
    """
    return Dimension(name, low, high, "1 - x")
