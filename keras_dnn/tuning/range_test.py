"""The learning-rate range test.

L. N. Smith, "Cyclical learning rates for training neural networks", 2017: train for a
few steps while the rate rises from far too low to far too high, and read the losses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import keras

from keras_dnn import _arguments
from keras_dnn._batches import endless, is_generator
from keras_dnn._keras.randomness import drawn_seed
from keras_dnn._progress import Progress, Verbose
from keras_dnn._tensorflow import require_tensorflow, tf
from keras_dnn._typing import Tensor
from keras_dnn.optimizers import SGD, Momentum, Nesterov
from keras_dnn.tuning import _sweep_reasons as reasons
from keras_dnn.tuning._range_test_result import RangeTest, Sweep, read
from keras_dnn.tuning._short_trainings import ShortTraining, rates_around, refined
from keras_dnn.tuning._sweep_recorder import SweepRecorder
from keras_dnn.tuning._swept_model import build, optimizers_of, train

PLAIN = (keras.optimizers.SGD, SGD, Momentum, Nesterov)
"""Optimizers whose steps are as long as the gradients; the rest count as adaptive."""


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
    trials: int = 0,
    seed: int | None = None,
    verbose: Verbose = "auto",
) -> RangeTest:
    r"""Sweeps the learning rate over some steps and advises one from the losses.

    With the rate :math:`\eta_t` of step :math:`t`, let :math:`S = \sum_t \eta_t` up to
    the step at which half of the descent of the loss is done. Let :math:`L` be the rate
    at which a tenth of the descent is lost again, and :math:`E` the last usable rate,
    at which the loss has risen above its start, is not finite, or the sweep ends.
    :math:`S` hardly depends on the number of steps, as places on the curve do. Where
    the descent is certain, the advice is

    ======================  =============================  =============================
    rule                    a rate that stays              a peak
    ======================  =============================  =============================
    SGD, momentum           :math:`\min(3 S, L / 5)`       :math:`\min(5 S, E / 5)`
    others (Adam, ...)      :math:`\min(0.75 S, L / 15)`   :math:`\min(1.5 S, E / 15)`
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
        trials: how many short trainings refine the advice, each twice as long as the
            sweep, at rates half a decade apart around it. The guide to the learning
            rate shows what they bring.
        seed: seed of the shuffling and the interval; without one,
            `keras.utils.set_random_seed` governs.
        verbose: 0 shows nothing, 1 a progress bar, `"auto"` a bar when it takes long.

    Returns:
        The curve and its suggestions.

    Raises:
        ValueError: if a value lies outside its range, or the model is not compiled, has
            a `MultiOptimizer`, or a `train_step` whose loss cannot be seen or that
            applies several optimizers, or if `x` can be read only once and there are
            `trials`.
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
    trials = _arguments.count("trials", trials, least=0)
    if trials and is_generator(x):
        raise ValueError(
            "x must be data that can be read again, such as a tf.data.Dataset, for "
            f"trials. Received: x={x}, trials={trials}"
        )
    optimizers = optimizers_of(model)
    seed = drawn_seed() if seed is None else _arguments.count("seed", seed, least=0)
    every = max(optimizer.gradient_accumulation_steps or 1 for optimizer in optimizers)

    def run(recorder: SweepRecorder, rate_after: Callable[[Tensor], Tensor]) -> None:
        fit = endless(
            x,
            y,
            sample_weight,
            batch_size=batch_size,
            count=recorder.length * every,
            shuffle=shuffle,
            seed=seed,
            class_weight=class_weight,
        )
        build(model, fit["x"])
        train(model, optimizers, fit, recorder, rate_after)

    def rate_after(updates: Tensor) -> Tensor:
        done = tf.cast(updates, tf.float64) / (steps - 1)
        done = tf.clip_by_value(done, 0.0, 1.0)
        if sweep == "linear":
            rate = min_rate + (max_rate - min_rate) * done
        else:
            rate = min_rate * (max_rate / min_rate) ** done
        return tf.cast(rate, keras.config.floatx())

    def constant_at(rate: float) -> Callable[[Tensor], Tensor]:
        def constant(updates: Tensor) -> Tensor:
            return tf.constant(rate, keras.config.floatx())

        return constant

    settings = every, smoothing, stop_factor
    recorder = SweepRecorder(steps, *settings, Progress(verbose))
    run(recorder, rate_after)
    found = read(
        recorder,
        sweep,
        smoothing,
        seed,
        steps=steps,
        adaptive=not isinstance(recorder.optimizer, PLAIN),
        nonfinite_data=reasons.nonfinite_data(x=x, y=y, sample_weight=sample_weight),
    )
    if not trials or found.suggestion is None:
        return found
    losses = {}
    for rate in rates_around(found.suggestion, trials):
        training = ShortTraining(2 * steps, *settings, Progress(verbose))
        run(training, constant_at(rate))
        losses[rate] = training.loss()
    return refined(found, losses)
