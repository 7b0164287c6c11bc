"""Trainings of a task of `rate_tasks.py` at every rate that matters.

A training is one compiled loop, whose rates and momenta are its arguments: with
hundreds of short trainings per task, tracing and the overhead of `fit` would cost more
than they do.
"""

import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rate_tasks import CLASSES, Task

from keras_dnn.optimizers.schedules import CosineDecay, OneCycle

SHAPES = ("constant", "1-cycle", "cosine")
SEEDS = (1, 2, 3)
STEP = 4
"""Eighths of a decade between the rates that are tried first."""


class Trainer:
    """Trains a task, always with the same compiled loop.

    Args:
        task: the task.
        data: its data.
    """

    def __init__(self, task: Task, data: Any) -> None:
        self.task, self.data = task, data
        (x, y), (self.x_test, self.y_test) = data
        self.rows = len(x)
        self.steps = task.epochs * (self.rows // task.batch_size)
        self.rate = tf.Variable(0.001, dtype=tf.float32)
        self.momentum = tf.Variable(0.9, dtype=tf.float32)
        keras.utils.set_random_seed(1)
        self.model = task.network()
        options = {self.momentum_name: self.momentum.read_value}
        if not self.momentum_name:
            options = {}
        optimizer = task.make_optimizer(self.rate.read_value, **options)
        optimizer.build(self.model.trainable_variables)
        self.optimizer = optimizer
        self.state = [v.numpy() for v in optimizer.variables]
        self.weights: dict[int, Any] = {}
        loss_of = keras.losses.get(task.loss)
        # TensorFlow's convolutions are faster than those that XLA compiles.
        convolves = any("Conv" in type(layer).__name__ for layer in self.model.layers)
        x, y = tf.constant(x), tf.constant(y)
        variables = self.model.trainable_variables

        @tf.function(jit_compile=not convolves, autograph=False)
        def train(order, rates, momenta):
            def step(i, losses, finite):
                rows = order[i]
                self.rate.assign(rates[i])
                self.momentum.assign(momenta[i])
                with tf.GradientTape() as tape:
                    y_pred = self.model(tf.gather(x, rows), training=True)
                    loss = tf.reduce_mean(loss_of(tf.gather(y, rows), y_pred))
                    total = tf.add_n([loss, *self.model.losses])
                optimizer.apply(tape.gradient(total, variables), variables)
                losses = tf.tensor_scatter_nd_update(losses, [[i]], [total])
                return i + 1, losses, tf.math.is_finite(total)

            count = order.shape[0]
            losses = tf.fill([count], np.float32(np.nan))
            _, losses, _ = tf.while_loop(
                lambda i, losses, finite: (i < count) & finite,
                step,
                (tf.constant(0), losses, tf.constant(True)),
            )
            return losses

        @tf.function(jit_compile=not convolves, autograph=False)
        def predict(x):
            return self.model(x, training=False)

        self._train, self._predict = train, predict

    @property
    def momentum_name(self) -> str:
        """The option that 1-cycle changes; empty if the optimizer has none."""
        name = self.task.optimizer
        if name in ("Momentum", "Nesterov"):
            return "momentum"
        return "beta_1" if name in ("Adam", "AdamW", "Nadam") else ""

    def start(self, seed: int) -> None:
        """Sets initial weights and forgets what the optimizer knows."""
        if seed not in self.weights:
            keras.utils.set_random_seed(seed)
            self.weights[seed] = self.task.network().get_weights()
        keras.utils.set_random_seed(seed)
        self.model.set_weights(self.weights[seed])
        for variable, value in zip(self.optimizer.variables, self.state, strict=True):
            variable.assign(value)

    def order(self, seed: int, steps: int) -> np.ndarray:
        """The rows of each batch: a new permutation for each epoch."""
        rng = np.random.default_rng(seed)
        size, batches = self.task.batch_size, []
        while len(batches) < steps:
            rows = rng.permutation(self.rows)[: self.rows // size * size]
            batches += list(rows.reshape(-1, size))
        return np.array(batches[:steps], "int32")

    def run(self, rates: np.ndarray, momenta: Any, seed: int) -> np.ndarray:
        """Trains with these rates from new weights and returns the losses."""
        self.start(seed)
        momenta = np.broadcast_to(np.asarray(momenta, "float32"), rates.shape)
        arguments = self.order(seed, len(rates)), rates.astype("float32"), momenta
        return self._train(*map(tf.constant, arguments)).numpy()

    def score(self) -> float:
        """The score on the test data."""
        chunks = [self._predict(tf.constant(c)) for c in self._chunks()]
        predicted = np.concatenate(chunks)
        if self.task.loss == CLASSES:
            return 100 * float(np.mean(predicted.argmax(-1) == self.y_test))
        y = self.y_test.reshape(predicted.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            error = np.mean((predicted - y) ** 2) / np.mean((y - y.mean(axis=0)) ** 2)
        return 100 * float(max(0.0, 1 - error)) if np.isfinite(error) else 0.0

    def _chunks(self) -> list[np.ndarray]:
        # All of one size, so that the prediction is compiled once.
        return np.split(self.x_test, range(1000, len(self.x_test), 1000))

    def train(self, shape: str, peak: float, seed: int) -> float:
        """The score after a whole training."""
        rates, momenta = schedule(shape, self.steps)
        self.run(peak * rates, momenta, seed)
        return round(self.score(), 3)


@functools.cache
def schedule(shape: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The rate of each step as a fraction of the highest one, and the momentum."""
    rates = momenta = None
    if shape == "1-cycle":
        rates = OneCycle(1.0, steps)
        momenta = rates.momentum()
    elif shape == "cosine":
        rates = CosineDecay(1.0, steps)

    def values(schedule: Any, otherwise: float) -> np.ndarray:
        if schedule is None:
            return np.full(steps, otherwise)
        return tf.map_fn(schedule, tf.range(steps, dtype=tf.float32)).numpy()

    return values(rates, 1.0), values(momenta, 0.9)


def scores_by_rate(trainer: Trainer, shape: str, start: int) -> list[dict[str, Any]]:
    """The scores at each quarter of a decade around the best.

    Rates that come within two points of the best are trained with three seeds, the
    others with one.

    Args:
        trainer: trains the task.
        shape: one of `SHAPES`.
        start: where to begin, in eighths of a decade above 1.
    """
    scores: dict[int, dict[int, float]] = {}

    def run(k: int, seed: int) -> None:
        known = scores.setdefault(k, {})
        if seed not in known:
            known[seed] = trainer.train(shape, 10 ** (k / 8), seed)

    def mean(k: int) -> float:
        return float(np.mean(list(scores[k].values())))

    def best() -> float:
        return max(map(mean, scores))

    run(start, 1)
    for sign in (-1, 1):
        k = start
        while mean(k) > best() - 10 and abs(k - start) < 10 * STEP:
            k += sign * STEP
            run(k, 1)
    for k in sorted(scores)[:-1]:
        if max(mean(k), mean(k + STEP)) > best() - 5:
            run(k + STEP // 2, 1)
    for seed in SEEDS[1:]:
        for k in sorted(scores):
            if mean(k) > best() - 2:
                run(k, seed)
    return [
        {"rate": float(f"{10 ** (k / 8):.5g}"), "scores": list(scores[k].values())}
        for k in sorted(scores)
    ]
