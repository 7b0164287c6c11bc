"""What a sweep of the learning rate records, and when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_dnn._keras.optimizers import innermost
from keras_dnn._progress import Progress
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.callbacks import StepLogger
from keras_dnn.callbacks._probe import unseen
from keras_dnn.callbacks._probe.traced import Traced
from keras_dnn.tuning import _range_test_rules as rules


class SweepRecorder(StepLogger):
    """Records rates and losses and ends the sweep.

    Attributes:
        optimizer: the optimizer that the step applies; `None` before the first step.
    """

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
        self.optimizer: Any = None
        self._weights: list[keras.Variable] = []

    def create(self, variables: Sequence[keras.Variable]) -> None:
        """Creates the buffer that steps write to."""
        super().create(variables)
        self._weights = list(variables)

    def _on_loss(self, loss: Tensor, optimizer: Any) -> None:
        """Writes the row of this loss: NaN where a weight is not finite.

        An activation or a loss may hide that, as one that clips its inputs does.
        """
        finite = [tf.reduce_all(tf.math.is_finite(v.value)) for v in self._weights]
        hidden = tf.where(tf.reduce_all(finite), tf.zeros_like(loss), np.nan)
        super()._on_loss(loss + hidden, optimizer)

    def _after_trace(self, traced: Traced) -> list[str]:
        """Ends the sweep of a step that cannot be read, or that has several rates."""
        reasons = [
            unseen.no_loss(self.model, traced),
            unseen.no_update(self.model, traced),
        ]
        for reason in filter(None, reasons):
            raise ValueError(f"find_learning_rate sees {reason}")
        optimizers = traced.optimizers
        if len(optimizers) > 1 or hasattr(optimizers[0].optimizer, "optimizers"):
            raise ValueError(
                "model must train with one optimizer, whose rate the sweep sets. Sweep "
                "a model that trains one part at a time.\n"
                f"Received: the train_step of {type(self.model).__name__}, which "
                f"applies {', '.join(map(str, optimizers))}"
            )
        self.optimizer = innermost(optimizers[0].optimizer)
        return []

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Shows progress, and ends a sweep that is complete or diverges."""
        rates, losses = self.updates()
        self.progress.reach(len(rates), self.length)
        if len(rates) >= self.length or self._diverges(losses):
            self.model.stop_training = True

    def updates(self) -> tuple[np.ndarray, np.ndarray]:
        """Rate and mean loss of each completed update."""
        rates, first = np.unique(self.learning_rates, return_index=True)
        if not len(rates):
            return rates, rates
        sums = np.add.reduceat(self.losses, first)
        counts = np.diff([*first, len(self.losses)])
        # An update that loss scaling skipped shows in the rate of the next batch only.
        complete = len(rates) - int(counts[-1] < self.batches_per_step)
        end = min(complete, self.length)
        return rates[:end], (sums / counts)[:end]

    def _diverges(self, losses: np.ndarray) -> bool:
        if not len(losses):
            return False
        if not np.isfinite(losses).all():
            return True
        # The average of the first few losses is as noisy as they are.
        warm = max(5, self.length // 10)
        averages = rules.smoothed(losses, self.smoothing)[warm:]
        if not len(averages):
            return False
        # Near zero, a multiple of the loss means nothing.
        size = max(abs(averages.min()), abs(averages[0]) / 10)
        limit = averages.min() + (self.stop_factor - 1) * size
        return bool(averages[-1] > limit)
