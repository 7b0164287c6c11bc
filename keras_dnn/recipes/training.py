"""Optimizer, schedule and stopping for a network, and why."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn._result import Result
from keras_dnn._unchanged import same_randomness
from keras_dnn.callbacks import OneCycleScheduler, PerformanceScheduler
from keras_dnn.models import rebuild
from keras_dnn.optimizers import AdamW, Nadam, Nesterov, RMSProp
from keras_dnn.tuning import RangeTest, find_learning_rate

OPTIMIZERS: dict[str, tuple[Any, float, str]] = {
    "nesterov": (
        Nesterov,
        0.02,
        "Momentum with a look ahead, and one number kept for each weight, not two.",
    ),
    "nadam": (
        Nadam,
        0.002,
        "A step of its own for each weight, and Nesterov's look ahead.",
    ),
    "rmsprop": (
        RMSProp,
        0.001,
        "A step of its own for each weight, by the size of its recent gradients.",
    ),
    "adamw": (
        AdamW,
        0.002,
        "A step of its own for each weight, and weights that decay a little.",
    ),
}
"""Rules, rates that rarely diverge, and what speaks for each."""


@dataclasses.dataclass(frozen=True)
class Training(Result):
    """Settings to train with; `print` them to see why.

    Attributes:
        optimizer: for `compile`.
        callbacks: for `fit`.
        learning_rate: the highest, at the top of the cycle or at the beginning.
        range_test: what it was read from; `None` if it was given or is a default.
        reasons: why each was chosen, by what it is.
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
        """Gives the settings as plain numbers and texts, ready for JSON.

        Returns:
            A dict with an entry for each attribute; of callbacks, the names of their
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
    optimizer: str = "nesterov",
    schedule: str = "1-cycle",
    monitor: str | None = "val_loss",
    patience: int = 10,
    batch_size: int = 32,
    seed: int | None = None,
) -> Training:
    """Returns an optimizer and callbacks for a network, and why each was chosen.

    With data, the rate is read from a range test on a copy of the model, the last one
    before the minimum at which the loss still falls well: the model and the random
    state stay as they are.

    A cycle is cut off by nothing, for its last steps are the best: early stopping means
    here that the weights of the best epoch come back at the end. With
    `schedule="performance"`, for a training whose length is not known, the rate goes
    down when the metric stops improving, and training ends when that no longer helps.

    Args:
        model: the network, built; it need not be compiled.
        x: training inputs for the range test, as for `fit`; `None` for no test.
        y: their targets, if `x` does not hold them.
        loss: for the range test.
        max_learning_rate: the highest rate, if it is known.
        optimizer: `"nesterov"`, `"nadam"`, `"rmsprop"` or `"adamw"`.
        schedule: `"1-cycle"` or `"performance"`.
        monitor: the metric that is to improve; `None` where `fit` gets no
            `validation_data`, for no stopping.
        patience: how many epochs without improvement end the training, with
            `schedule="performance"`.
        batch_size: of the range test; the same as for `fit`.
        seed: of the range test's order of examples.

    Returns:
        A `Training`.

    Raises:
        RuntimeError: with data, if Keras does not run on TensorFlow.
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
    _arguments.choice("optimizer", optimizer, tuple(OPTIMIZERS))
    _arguments.choice("schedule", schedule, ("1-cycle", "performance"))
    patience = _arguments.count("patience", patience, least=2)
    if schedule == "performance" and monitor is None:
        raise ValueError(
            "monitor must be given with schedule='performance'. Received: monitor=None"
        )
    if x is not None and loss is None:
        raise ValueError("loss must be given with x. Received: loss=None")
    if x is not None and max_learning_rate is not None:
        raise ValueError(
            "max_learning_rate must be None where x is given, which is for finding it. "
            f"Received: max_learning_rate={max_learning_rate}"
        )
    rule, usual, merit = OPTIMIZERS[optimizer]
    found = None
    if max_learning_rate is not None:
        rate = _arguments.number("max_learning_rate", max_learning_rate, bounds="()")
        why = f"{rate:.3g}, as given."
    elif x is not None:
        found = _range_test(model, rule, loss, x, y, batch_size, seed)
        rate, why = _read(found, usual, "slide" if schedule == "1-cycle" else "valley")
    else:
        rate = usual
        why = (
            f"{rate:.3g}, which rarely diverges with this rule. Give x, y and loss to "
            "have it found."
        )
    reasons = {"optimizer": f"{rule.__name__}. {merit}", "learning rate": why}
    callbacks: list[keras.callbacks.Callback] = []
    if schedule == "1-cycle":
        callbacks.append(OneCycleScheduler(rate))
        reasons["schedule"] = (
            "1-cycle. The rate climbs to its highest and comes down over the whole of "
            "fit while the momentum does the opposite: fast in the middle, exact at "
            "the end."
        )
        start = rate / 10
    else:
        assert monitor is not None
        callbacks.append(
            PerformanceScheduler(monitor, factor=0.5, patience=max(patience // 3, 1))
        )
        reasons["schedule"] = (
            f"Performance. The rate halves after {max(patience // 3, 1)} epochs in "
            f"which {monitor} has not improved: it needs no length to be known."
        )
        start = rate
    if monitor is not None:
        whole = schedule == "1-cycle"
        callbacks.append(
            keras.callbacks.EarlyStopping(
                monitor,
                patience=sys.maxsize if whole else patience,
                restore_best_weights=True,
            )
        )
        reasons["early stopping"] = (
            f"The weights of the epoch with the best {monitor} come back at the end. "
            + (
                "The cycle itself is not cut off: its last steps are its best."
                if whole
                else f"After {patience} epochs without a better one training ends."
            )
        )
    return Training(rule(start), callbacks, rate, found, reasons)


def _range_test(
    model: keras.Model, rule: Any, loss: Any, x: Any, y: Any, batch_size: int, seed: Any
) -> RangeTest:
    with same_randomness():
        copy = rebuild(model)
        copy.compile(rule(), loss)
        return find_learning_rate(
            copy, x, y, batch_size=batch_size, seed=seed, verbose=0
        )


def _read(found: RangeTest, usual: float, rule: str) -> tuple[float, str]:
    if found.suggestion is None:
        return usual, (
            f"{usual:.3g}, a usual one: the range test suggests none, as "
            f"{found.reason}."
        )
    rate = found.suggestions[rule]
    return rate, f"{rate:.3g}, by the rule {rule!r} of a range test on this data."
