"""Optimizer, schedule and stopping for a network, with reasons."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any, Literal, TypeAlias, get_args

import keras

from keras_dnn import _arguments
from keras_dnn._result import Result
from keras_dnn._tensorflow import require_tensorflow
from keras_dnn._unchanged import same_randomness
from keras_dnn.callbacks import OneCycleScheduler, PerformanceScheduler
from keras_dnn.models.rebuild import rebuild
from keras_dnn.optimizers import AdamW, Nadam, Nesterov, Optimizer, RMSProp
from keras_dnn.tuning import RangeTest, find_learning_rate

Rule: TypeAlias = Literal["nesterov", "nadam", "rmsprop", "adamw"]
Schedule: TypeAlias = Literal["1-cycle", "performance"]

OPTIMIZERS: dict[Rule, tuple[type[Optimizer], float, str]] = {
    "nesterov": (
        Nesterov,
        0.02,
        "Momentum with a look-ahead; it stores one number per weight, not two.",
    ),
    "nadam": (
        Nadam,
        0.002,
        "An adaptive step for each weight, with Nesterov's look-ahead.",
    ),
    "rmsprop": (
        RMSProp,
        0.001,
        "An adaptive step for each weight, by the size of its recent gradients.",
    ),
    "adamw": (
        AdamW,
        0.002,
        "An adaptive step for each weight, with weight decay.",
    ),
}
"""Update rules, learning rates that rarely diverge, and the merits of each rule."""


@dataclasses.dataclass(frozen=True)
class Training(Result):
    """Settings for training; `print` them with their reasons.

    Attributes:
        optimizer: the optimizer for `compile`.
        callbacks: the callbacks for `fit`.
        learning_rate: the highest rate, at the peak of the cycle or at the beginning.
        range_test: the test that found the rate; `None` if it was given or is a
            default.
        reasons: the reason for each setting, by its name.
    """

    optimizer: keras.optimizers.Optimizer
    callbacks: list[keras.callbacks.Callback]
    learning_rate: float
    range_test: RangeTest | None
    reasons: dict[str, str]

    def __str__(self) -> str:
        width = max(map(len, self.reasons))
        return "\n".join(f"{what:{width}}  {why}" for what, why in self.reasons.items())

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as plain numbers and strings, ready for JSON.

        Returns:
            A dict with an entry for each attribute; for callbacks, the names of their
            classes.
        """
        return {
            "optimizer": keras.optimizers.serialize(self.optimizer),
            "callbacks": [type(callback).__name__ for callback in self.callbacks],
            "learning_rate": self.learning_rate,
            "range_test": self.range_test and self.range_test.to_dict(),
            "reasons": dict(self.reasons),
        }


def training(
    model: keras.Model,
    x: Any = None,
    y: Any = None,
    *,
    loss: Any = None,
    max_learning_rate: float | None = None,
    optimizer: Rule = "nesterov",
    schedule: Schedule = "1-cycle",
    monitor: str | None = "val_loss",
    patience: int = 10,
    batch_size: int = 32,
    seed: int | None = None,
) -> Training:
    """Returns an optimizer and callbacks for a network, with the reason for each.

    With data, a range test on a copy of the model finds the rate: for 1-cycle the last
    rate before the minimum at which the loss still falls steeply. The model and the
    random state are unchanged.

    A cycle is never cut short, since its last steps are the best: early stopping means
    here that the weights of the best epoch are restored at the end. With
    `schedule="performance"`, for a training of unknown length, the rate is reduced when
    the metric stops improving, and training ends when that no longer helps.

    Args:
        model: the built network; it need not be compiled.
        x: training inputs for the range test, as for `fit`; `None` for no test.
        y: their targets, if `x` does not contain them.
        loss: the loss for the range test.
        max_learning_rate: the highest rate, if it is known.
        optimizer: `"nesterov"`, `"nadam"`, `"rmsprop"` or `"adamw"`.
        schedule: `"1-cycle"` or `"performance"`.
        monitor: the metric that should improve; `None` for no stopping, if `fit` gets
            no `validation_data`.
        patience: number of epochs without improvement that end the training, with
            `schedule="performance"`.
        batch_size: batch size of the range test; use that of `fit`.
        seed: seed of the order of examples in the range test.

    Returns:
        A `Training`.

    Raises:
        RuntimeError: if Keras does not run on TensorFlow.
        ValueError: if a value lies outside its range, `x` comes without `loss` or
            with `max_learning_rate`, or `schedule="performance"` with
            `monitor=None`.

    Example:
        >>> import numpy as np
        >>> from keras_dnn import recipes
        >>> x = np.random.default_rng(1).normal(size=(256, 8))
        >>> y = (x[:, 0] > 0).astype(int)
        >>> model = recipes.deep_network([16], n_classes=2, data=x)
        >>> t = recipes.training(model, max_learning_rate=0.1, monitor=None)
        >>> model.compile(optimizer=t.optimizer, loss="sparse_categorical_crossentropy")
        >>> history = model.fit(x, y, epochs=3, callbacks=t.callbacks, verbose=0)
        >>> list(t.reasons)
        ['optimizer', 'learning rate', 'schedule']
    """
    require_tensorflow("keras_dnn.recipes.training")
    _arguments.choice("optimizer", optimizer, get_args(Rule))
    _arguments.choice("schedule", schedule, get_args(Schedule))
    patience = _arguments.count("patience", patience, least=2)
    if schedule == "performance" and monitor is None:
        raise ValueError(
            "monitor must be given with schedule='performance'. Received: monitor=None"
        )
    if x is not None and loss is None:
        raise ValueError("loss must be given with x. Received: loss=None")
    if x is not None and max_learning_rate is not None:
        raise ValueError(
            "max_learning_rate must be None where x is given, which is to find it. "
            f"Received: max_learning_rate={max_learning_rate}"
        )
    rule, default, merit = OPTIMIZERS[optimizer]
    range_test = None
    if max_learning_rate is not None:
        rate = _arguments.number("max_learning_rate", max_learning_rate, bounds="()")
        why = f"{rate:.3g}, as given."
    elif x is not None:
        range_test = _range_test(model, rule, loss, x, y, batch_size, seed)
        rule_of_rate = "peak" if schedule == "1-cycle" else "constant"
        rate, why = _read(range_test, default, rule_of_rate)
    else:
        rate = default
        why = (
            f"{rate:.3g}, which rarely diverges with this rule. Pass x, y and loss for "
            "a range test."
        )
    reasons = {"optimizer": f"{rule.__name__}. {merit}", "learning rate": why}
    callbacks: list[keras.callbacks.Callback] = []
    if schedule == "1-cycle":
        callbacks.append(OneCycleScheduler(rate))
        reasons["schedule"] = (
            "1-cycle. During fit the rate rises to its peak and falls again while the "
            "momentum does the opposite: fast in the middle, exact at the end."
        )
        start = rate / 10
    else:
        assert monitor is not None
        callbacks.append(
            PerformanceScheduler(monitor, factor=0.5, patience=max(patience // 3, 1))
        )
        reasons["schedule"] = (
            f"Performance. The rate halves after {max(patience // 3, 1)} epochs in "
            f"which {monitor} has not improved; the length need not be known."
        )
        start = rate
    if monitor is not None:
        complete = schedule == "1-cycle"
        callbacks.append(
            keras.callbacks.EarlyStopping(
                monitor,
                patience=sys.maxsize if complete else patience,
                restore_best_weights=True,
            )
        )
        reasons["early stopping"] = (
            f"The weights of the epoch with the best {monitor} are restored. "
            + (
                "The cycle is not cut short, since its last steps are the best."
                if complete
                else f"Training ends after {patience} epochs without improvement."
            )
        )
    return Training(rule(start), callbacks, rate, range_test, reasons)


def _range_test(
    model: keras.Model, rule: Any, loss: Any, x: Any, y: Any, batch_size: int, seed: Any
) -> RangeTest:
    with same_randomness():
        copy = rebuild(model)
        copy.compile(rule(), loss)
        return find_learning_rate(
            copy, x, y, batch_size=batch_size, seed=seed, verbose=0
        )


def _read(range_test: RangeTest, default: float, rule: str) -> tuple[float, str]:
    """The rate that a range test suggests, or else the default, and why."""
    if range_test.suggestion is None:
        return default, (
            f"{default:.3g}, the default: the range test suggests none, since "
            f"{range_test.reason}."
        )
    rate = range_test.suggestions[rule]
    kind = "for the peak of a cycle" if rule == "peak" else "for a rate that stays"
    return rate, f"{rate:.3g}, suggested {kind} by a range test on these data."
