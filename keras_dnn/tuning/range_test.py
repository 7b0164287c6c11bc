"""The learning-rate range test.

L. N. Smith, "Cyclical learning rates for training neural networks", 2017: train for a
few steps while the rate climbs from far too low to far too high, and look at the loss.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._batches import endless, symbolic_inputs
from keras_dnn._progress import Progress, Verbose
from keras_dnn._result import Result
from keras_dnn._tensorflow import require_tensorflow, tf
from keras_dnn._typing import Tensor
from keras_dnn._unchanged import unchanged_by_training
from keras_dnn.callbacks import StepLogger
from keras_dnn.optimizers._override import override, put_back, updates_of
from keras_dnn.tuning import _range_test_rules

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST = 10
"""Losses without which no curve can be read."""


@dataclasses.dataclass(frozen=True)
class RangeTest(Result):
    """What `find_learning_rate` found; `print` it, or `plot()` it.

    Attributes:
        rates: the learning rate of each step.
        losses: the loss of each step's own batch.
        smoothed: their exponentially weighted averages, without bias.
        trend: the curve that the suggestions are read from: local parabolas, which
            unlike an average do not lag behind. It ends where the loss is back above
            its first value.
        suggestions: the rate by each rule. `"valley"` is where the deepest descent is
            half done, `"steepest"` where the loss falls fastest per decade,
            `"minimum"` a tenth of the rate with the lowest loss, `"slide"` the last
            rate before the minimum at which it still falls half as fast as at the
            steepest.
        suggestion: the valley, or `None` if the curve says nothing.
        interval: where nine of ten suggestions lie if the noise of the losses is drawn
            again, `None` without a suggestion.
        reason: why there is no suggestion, else empty.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    trend: np.ndarray
    suggestions: dict[str, float]
    suggestion: float | None
    interval: tuple[float, float] | None
    reason: str

    def __str__(self) -> str:
        tried = f"{len(self.rates)} steps"
        if len(self.rates):
            tried += f" from {self.rates[0]:.2g} to {self.rates[-1]:.2g}"
        if self.suggestion is None or self.interval is None:
            return f"Learning rate: no suggestion, {self.reason} ({tried})"
        low, high = self.interval
        rules = ", ".join(f"{k} {v:.2g}" for k, v in self.suggestions.items())
        return (
            f"Learning rate: {self.suggestion:.2g} [{low:.2g}, {high:.2g}] ({tried})\n"
            f"By rule: {rules}"
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draws the losses over the rates, with the suggestions.

        Args:
            ax: where to draw; a new figure if `None`.

        Returns:
            The axes drawn on.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        from keras_dnn import plotting

        return plotting.range_test(
            self.rates, self.losses, self.trend, self.suggestions, self.interval, ax
        )


def find_learning_rate(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    min_rate: float = 1e-7,
    max_rate: float = 10.0,
    steps: int = 100,
    batch_size: int = 32,
    sweep: str = "exponential",
    smoothing: float = 0.98,
    stop_factor: float = 4.0,
    shuffle: bool = True,
    sample_weight: Any = None,
    seed: int | None = None,
    verbose: Verbose = "auto",
) -> RangeTest:
    """Sweeps the learning rate over a few steps and suggests one from the losses.

    The rate climbs inside the compiled step, and each loss is that of its own batch,
    not the mean of the epoch so far. The model is left exactly as it was, bit for bit:
    weights, statistics, the optimizer's state, random generators and metrics, also
    after an exception or Ctrl-C. A `fit` after it is the `fit` that would have been;
    only a `tf.data.Dataset` that shuffles goes on to its next order, as after any pass
    over it.

    With `gradient_accumulation_steps` a step is an update, and its loss the mean of its
    batches. The sweep stops at NaN, or where the smoothed loss exceeds its lowest value
    by `stop_factor - 1` times that value's size (or a tenth of the first one's, if that
    is more: a loss may come near zero).

    Args:
        model: a compiled model.
        x: inputs as for `fit`: arrays, a `tf.data.Dataset` or a
            `keras.utils.PyDataset`. They are used again from the start where they end.
        y: targets, if `x` does not bring them.
        min_rate: the rate of the first step, positive.
        max_rate: the rate of the last one.
        steps: how many updates, at least 2.
        batch_size: for arrays.
        sweep: `"exponential"` or `"linear"`.
        smoothing: of the average, in [0, 1).
        stop_factor: how far up the loss may go, more than 1.
        shuffle: whether arrays are shuffled first.
        sample_weight: as for `fit`.
        seed: for the shuffling and the interval.
        verbose: 0 shows nothing, 1 a progress bar, `"auto"` a bar when it takes long.

    Returns:
        The curve and what it says.

    Raises:
        ValueError: if a value lies outside its range, or the model is not compiled or
            has a `MultiOptimizer`.
        RuntimeError: if Keras does not run on TensorFlow.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.tuning import find_learning_rate
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile(keras.optimizers.SGD(), "mse")
        >>> x = np.random.default_rng(0).normal(size=(256, 3))
        >>> result = find_learning_rate(model, x, x.sum(axis=1), seed=0)
        >>> 1e-3 < result.suggestion < 1.0
        True
        >>> int(model.optimizer.iterations)
        0

    Reference:
        Leslie N. Smith, "Cyclical learning rates for training neural networks", 2017.
    """
    require_tensorflow("keras_dnn.tuning.find_learning_rate")
    min_rate = _arguments.number("min_rate", min_rate, bounds="()")
    max_rate = _arguments.number("max_rate", max_rate, min_rate, bounds="()")
    smoothing = _arguments.number("smoothing", smoothing, high=1.0)
    stop_factor = _arguments.number("stop_factor", stop_factor, 1.0, bounds="()")
    sweep = _arguments.choice("sweep", sweep, ("exponential", "linear"))
    steps = _arguments.count("steps", steps, least=2)
    shuffle = _arguments.switch("shuffle", shuffle)
    if not getattr(model, "compiled", False) or model.optimizer is None:
        raise ValueError(f"model must be compiled. Received: model={model}")

    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if hasattr(optimizer, "optimizers"):
        raise ValueError(
            "model must have one optimizer, not a MultiOptimizer. "
            f"Received: model.optimizer={optimizer}"
        )
    every = getattr(optimizer, "gradient_accumulation_steps", None) or 1
    fit = endless(
        x,
        y,
        sample_weight,
        batch_size=batch_size,
        count=steps * every,
        shuffle=shuffle,
        seed=seed,
    )
    if not model.built:
        model(symbolic_inputs(fit["x"]))
    probe = _Sweep(steps, every, smoothing, stop_factor, Progress(verbose))
    with unchanged_by_training(model):
        start = updates_of(optimizer)

        def rate_at(updates: Tensor) -> Tensor:
            share = tf.cast(updates - start, tf.float64) / (steps - 1)
            share = tf.clip_by_value(share, 0.0, 1.0)
            if sweep == "linear":
                rate = min_rate + (max_rate - min_rate) * share
            else:
                rate = min_rate * (max_rate / min_rate) ** share
            return tf.cast(rate, keras.config.floatx())

        override(optimizer, "learning_rate", rate_at)
        try:
            model.fit(**fit, callbacks=[probe], verbose=0, shuffle=False)
        finally:
            # What broke off may still hold on to the callbacks.
            probe._detach()
            put_back(optimizer, "learning_rate")
            probe.progress.stop()
    return _read(probe, sweep, smoothing, seed)


class _Sweep(StepLogger):
    """Ends the sweep in time."""

    def __init__(
        self,
        steps: int,
        batches_per_step: int,
        smoothing: float,
        stop_factor: float,
        progress: Progress,
    ) -> None:
        super().__init__()
        self.length = steps
        self.batches_per_step = batches_per_step
        self.smoothing = smoothing
        self.stop_factor = stop_factor
        self.progress = progress

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        rates, losses = self.updates()
        self.progress.reach(len(rates), self.length)
        if len(rates) >= self.length or self._diverges(losses):
            self.model.stop_training = True

    def updates(self) -> tuple[np.ndarray, np.ndarray]:
        """Rate and loss of each update that is complete, its batches together."""
        rates, first = np.unique(self.learning_rates, return_index=True)
        if not len(rates):
            return rates, rates
        sums = np.add.reduceat(self.losses, first)
        counts = np.diff([*first, len(self.losses)])
        # Only a later rate tells of an update that loss scaling put off.
        complete = len(rates) - int(counts[-1] < self.batches_per_step)
        end = min(complete, self.length)
        return rates[:end], (sums / counts)[:end]

    def _diverges(self, losses: np.ndarray) -> bool:
        if not len(losses):
            return False
        if not np.isfinite(losses).all():
            return True
        averages = _range_test_rules.smoothed(losses, self.smoothing)
        # A loss near zero may multiply without meaning anything.
        size = max(abs(averages.min()), abs(averages[0]) / 10)
        limit = averages.min() + (self.stop_factor - 1) * size
        return bool(averages[-1] > limit)


def _read(probe: _Sweep, sweep: str, smoothing: float, seed: int | None) -> RangeTest:
    """The result of a sweep that has ended."""
    rates, losses = probe.updates()
    end = _range_test_rules.usable(losses)
    found: dict[str, Any] = {
        "rates": rates,
        "losses": losses,
        "smoothed": _range_test_rules.smoothed(losses, smoothing),
        "trend": np.full(len(losses), math.nan),
        "suggestions": {},
        "suggestion": None,
        "interval": None,
        "reason": "",
    }
    if end < FEWEST:
        found["reason"] = (
            f"{end} losses are too few to read a curve: try more steps"
            if end == len(losses)
            else f"the loss diverges after {end} steps: try a lower min_rate"
        )
        return RangeTest(**found)
    used, curve = rates[:end], losses[:end]
    trend = _range_test_rules.Trend(np.log(used) if sweep == "exponential" else used)
    found["trend"][:end] = trend.values_of @ curve
    found["reason"] = _range_test_rules.why_not(curve, trend)
    if not found["reason"]:
        found["suggestions"] = _range_test_rules.suggestions(used, curve, trend)
        found["suggestion"] = found["suggestions"]["valley"]
        found["interval"] = _range_test_rules.interval(
            "valley", used, curve, trend, seed
        )
    return RangeTest(**found)
