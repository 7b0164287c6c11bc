"""The learning-rate range test.

L. N. Smith, "Cyclical learning rates for training neural networks", 2017: train for a
few steps while the rate rises from far too low to far too high, and read the losses.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._batches import endless
from keras_dnn._interrupts import interrupts_held
from keras_dnn._keras.randomness import drawn_seed
from keras_dnn._progress import Progress, Verbose
from keras_dnn._result import Result
from keras_dnn._tensorflow import require_tensorflow, tf
from keras_dnn._typing import Tensor
from keras_dnn._unchanged import unchanged_by_training
from keras_dnn.optimizers import SGD, Momentum, Nesterov
from keras_dnn.tuning import _range_test_rules as rules
from keras_dnn.tuning import _sweep_reasons as reasons
from keras_dnn.tuning._sweep_recorder import SweepRecorder
from keras_dnn.tuning._swept_model import build, following, optimizers_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Sweep: TypeAlias = Literal["exponential", "linear"]

PLAIN = (keras.optimizers.SGD, SGD, Momentum, Nesterov)
"""Optimizers whose steps are as long as the gradients; the rest count as adaptive."""

FEWEST = 10
"""The least number of losses that make a curve."""


@dataclasses.dataclass(frozen=True)
class RangeTest(Result):
    """What `find_learning_rate` found; `print` it, or `plot()` it.

    Attributes:
        rates: the learning rate of each step.
        losses: the loss of each step, on its own batch; NaN from where a weight is not
            finite, even if the loss still is.
        smoothed: their exponentially weighted averages, with bias correction.
        trend: the curve that the suggestions are read from: local parabolas, which do
            not lag behind as an average does. NaN from where the loss has risen clearly
            above its first values.
        suggestions: the rate by each rule: `"constant"` and `"peak"` are the advice
            below. The others are places on the curve, which move when `steps` does:
            `"valley"` is halfway down the deepest descent, `"steepest"` where the loss
            falls fastest per decade, `"minimum"` a tenth of the rate with the lowest
            loss, `"slide"` the last rate before the minimum at which the loss falls at
            least half as fast as at the steepest.
        suggestion: for a rate that stays, or `None` if the curve permits no suggestion.
        max_learning_rate: for the peak of a rate that comes down, as in
            `OneCycleScheduler` or `CosineDecay`; `None` without a suggestion.
        interval: contains 90% of the suggestions for other noise of the losses and
            other initial weights; `None` without a suggestion.
        reason: why there is no suggestion, else empty.
        note: what limits the advice, else empty.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    trend: np.ndarray
    suggestions: dict[str, float]
    suggestion: float | None
    max_learning_rate: float | None
    interval: tuple[float, float] | None
    reason: str
    note: str

    def __str__(self) -> str:
        tried = f"{len(self.rates)} steps"
        if len(self.rates):
            tried += f" from {self.rates[0]:.2g} to {self.rates[-1]:.2g}"
        if self.suggestion is None or self.interval is None:
            return f"Learning rate: no suggestion, {self.reason} ({tried})"
        low, high = self.interval
        places = {k: v for k, v in self.suggestions.items() if k in rules.PLACES}
        by_place = ", ".join(f"{k} {v:.2g}" for k, v in places.items())
        advice = (
            f"Learning rate: {self.suggestion:.2g} [{low:.2g}, {high:.2g}] for a rate "
            f"that stays, {self.max_learning_rate:.2g} for a peak ({tried})"
        )
        return "\n".join(filter(None, (advice, f"By place: {by_place}", self.note)))

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
    steps: int = 200,
    batch_size: int = 32,
    sweep: Sweep = "exponential",
    smoothing: float = 0.98,
    stop_factor: float = 4.0,
    shuffle: bool = True,
    sample_weight: Any = None,
    class_weight: dict[int, float] | None = None,
    seed: int | None = None,
    verbose: Verbose = "auto",
) -> RangeTest:
    r"""Sweeps the learning rate over some steps and advises one from the losses.

    With the rate :math:`\eta_t` of step :math:`t`, let :math:`S = \sum_t \eta_t` up to
    the step at which half of the descent of the loss is done, and :math:`E` the last
    usable rate, at which the loss has risen above its start, is not finite, or the
    sweep ends. :math:`S` hardly depends on the number of steps, as places on the curve
    do. Where the descent is certain, the advice is

    ======================  =============================  =============================
    rule                    a rate that stays              a peak
    ======================  =============================  =============================
    SGD, momentum           :math:`\min(2 S, E / 10)`      :math:`\min(4 S, E / 5)`
    others (Adam, ...)      :math:`\min(0.75 S, E / 20)`   :math:`\min(1.2 S, E / 5)`
    ======================  =============================  =============================

    The rate rises inside the compiled step, and each loss is that of its own batch, not
    the mean of the epoch so far. The model is left unchanged, bit for bit: weights,
    statistics, the optimizer's state, random generators and metrics, also after an
    exception or Ctrl-C. A later `fit` gives the same result as without the test; only a
    `tf.data.Dataset` that shuffles moves on to its next order, as after any pass over
    it.

    With `gradient_accumulation_steps` a step is an update, and its loss the mean over
    its batches. The sweep stops at NaN, or where the smoothed loss exceeds its lowest
    value by `stop_factor - 1` times the size of that value (or a tenth of the size of
    the first, if that is larger, since a loss may approach zero).

    Args:
        model: a compiled model.
        x: inputs as for `fit`: arrays, a `tf.data.Dataset` or a
            `keras.utils.PyDataset`. They are repeated as often as needed.
        y: targets, if `x` does not contain them.
        min_rate: the rate of the first step, positive.
        max_rate: the rate of the last step.
        steps: how many updates, at least 2.
        batch_size: batch size for arrays.
        sweep: `"exponential"` or `"linear"`.
        smoothing: weight of the past in the smoothed loss, in [0, 1).
        stop_factor: how far the loss may rise, more than 1.
        shuffle: whether arrays are shuffled first.
        sample_weight: as for `fit`.
        class_weight: as for `fit`.
        seed: seed of the shuffling and the interval; without one,
            `keras.utils.set_random_seed` governs.
        verbose: 0 shows nothing, 1 a progress bar, `"auto"` a bar when it takes long.

    Returns:
        The curve and its suggestions.

    Raises:
        ValueError: if a value lies outside its range, or the model is not compiled, has
            a `MultiOptimizer`, or a `train_step` whose loss cannot be seen or that
            applies several optimizers.
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
    sweep = _arguments.choice("sweep", sweep, get_args(Sweep))
    steps = _arguments.count("steps", steps, least=2)
    shuffle = _arguments.switch("shuffle", shuffle)
    optimizers = optimizers_of(model)
    seed = drawn_seed() if seed is None else _arguments.count("seed", seed, least=0)
    every = max(optimizer.gradient_accumulation_steps or 1 for optimizer in optimizers)
    fit = endless(
        x,
        y,
        sample_weight,
        batch_size=batch_size,
        count=steps * every,
        shuffle=shuffle,
        seed=seed,
        class_weight=class_weight,
    )
    build(model, fit["x"])
    recorder = SweepRecorder(steps, every, smoothing, stop_factor, Progress(verbose))

    def rate_after(updates: Tensor) -> Tensor:
        done = tf.cast(updates, tf.float64) / (steps - 1)
        done = tf.clip_by_value(done, 0.0, 1.0)
        if sweep == "linear":
            rate = min_rate + (max_rate - min_rate) * done
        else:
            rate = min_rate * (max_rate / min_rate) ** done
        return tf.cast(rate, keras.config.floatx())

    with unchanged_by_training(model), following(optimizers, rate_after):
        try:
            model.fit(**fit, callbacks=[recorder], verbose=0, shuffle=False)
        finally:
            with interrupts_held():
                # An exception in `fit` skips `on_train_end`.
                recorder.detach()
                recorder.progress.stop()
    return _result(
        recorder,
        sweep,
        smoothing,
        seed,
        steps=steps,
        adaptive=not isinstance(recorder.optimizer, PLAIN),
        nonfinite_data=reasons.nonfinite_data(x=x, y=y, sample_weight=sample_weight),
    )


def _result(
    recorder: SweepRecorder,
    sweep: Sweep,
    smoothing: float,
    seed: int,
    *,
    steps: int,
    adaptive: bool,
    nonfinite_data: str = "",
) -> RangeTest:
    """What the losses of a finished sweep say."""
    rates, losses = recorder.updates()
    end = rules.usable(losses)
    undecided = RangeTest(
        rates=rates,
        losses=losses,
        smoothed=rules.smoothed(losses, smoothing),
        trend=np.full(len(losses), math.nan),
        suggestions={},
        suggestion=None,
        max_learning_rate=None,
        interval=None,
        reason="",
        note="",
    )
    if nonfinite_data and not np.isfinite(losses).all():
        reason = f"the loss is not finite, since {nonfinite_data}"
        return dataclasses.replace(undecided, reason=reason)
    if end < FEWEST:
        return dataclasses.replace(undecided, reason=reasons.why_so_short(rates, losses, end))
    curve = rules.Curve(rates[:end], losses[:end], sweep == "exponential")
    undecided.trend[:end] = curve.values
    reason = rules.reason_against(curve)
    if reason:
        return dataclasses.replace(undecided, reason=reason)
    kind: rules.Kind = "adaptive" if adaptive else "plain"
    suggestion, peak = rules.advice(curve, kind)
    return dataclasses.replace(
        undecided,
        suggestions={"constant": suggestion, "peak": peak, **rules.places(curve)},
        suggestion=suggestion,
        max_learning_rate=peak,
        interval=rules.interval(curve, kind, seed),
        note=reasons.how_it_ended(losses, end, steps),
    )
