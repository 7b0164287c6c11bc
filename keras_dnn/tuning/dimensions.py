"""Hyperparameters that are searched on the scale on which they have their effect."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, TypeAlias, get_args

from keras_dnn import _arguments

Scale: TypeAlias = Literal["log", "1 - x"]

COMPLEMENT = "1 - "
"""Prefix of KerasTuner's name for one minus a hyperparameter."""


@dataclasses.dataclass(frozen=True)
class Dimension:
    """A hyperparameter with its range and scale, called with KerasTuner's `hp`.

    Called while a model is built, it returns the value for this trial; called with the
    best hyperparameters of a search, the best value.

    Args:
        name: name of the hyperparameter.
        low: its lowest value.
        high: its highest value.
        scale: `"log"`, or `"1 - x"` for the logarithm of the distance to 1. KerasTuner
            then stores that distance, under the name `"1 - name"`.

    Raises:
        ValueError: if the range is empty or does not fit the scale.

    Example:
        >>> from keras_dnn.tuning import Dimension
        >>> Dimension("learning_rate", low=1e-4, high=1e-1)
        Dimension(name='learning_rate', low=0.0001, high=0.1, scale='log')
    """

    name: str
    low: float
    high: float
    scale: Scale = "log"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(
                f"name must be a non-empty string. Received: name={self.name!r}"
            )
        scale = _arguments.choice("scale", self.scale, get_args(Scale))
        least, most, bounds = (0.0, float("inf"), "()")
        if scale == "1 - x":
            least, most, bounds = (0.0, 1.0, "[)")
        low = _arguments.number("low", self.low, least, most, bounds)
        object.__setattr__(self, "low", low)
        high = _arguments.number("high", self.high, low, most, "()")
        object.__setattr__(self, "high", high)

    def __call__(self, hp: Any) -> float | None:
        """Registers the dimension in a search and returns its value in this trial.

        Args:
            hp: KerasTuner's `HyperParameters`.

        Returns:
            A float; `None` in a conditional scope that is not active.
        """
        # KerasTuner's own default, the lowest value, lies at the edge.
        if self.scale == "log":
            middle = (self.low * self.high) ** 0.5
            value: float | None = hp.Float(
                self.name, self.low, self.high, sampling="log", default=middle
            )
            return value
        least, most = 1 - self.high, 1 - self.low
        middle = (least * most) ** 0.5
        distance = hp.Float(
            COMPLEMENT + self.name, least, most, sampling="log", default=middle
        )
        return None if distance is None else 1 - distance


def log_uniform(name: str, low: float, high: float) -> Dimension:
    r"""Returns a hyperparameter that is searched by order of magnitude.

    For $u$ uniform in $[0, 1]$

    $$
    x = a \left( \frac{b}{a} \right)^u
    $$

    so all decades of a learning rate, a weight decay or a number of units are tried
    equally often. A uniform search between 0.0001 and 0.1 spends nine of ten trials
    above 0.01.

    Args:
        name: name of the hyperparameter.
        low: $a$, its lowest value, above 0.
        high: $b$, its highest value.

    Returns:
        A `Dimension`, to be called with KerasTuner's `hp`.

    Raises:
        ValueError: if the range is empty or includes 0.

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

    A momentum or $\beta$ averages over about $1 / (1 - \beta)$ steps: ten at 0.9, a
    thousand at 0.999. So a change from 0.9 to 0.905 has hardly any effect, and one from
    0.999 to 0.9995 a large one. KerasTuner's `sampling="reverse_log"` differs: between
    0.9 and 0.999 it is almost uniform.

    Args:
        name: name of the hyperparameter.
        low: $a$, its lowest value, at least 0.
        high: $b$, its highest value, below 1.

    Returns:
        A `Dimension`, to be called with KerasTuner's `hp`, which stores the distance to
        1 as `"1 - name"`.

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
