"""Trainings to be compared: run as a script by each worker, imported for one process.

A case trains under `strategy` and returns arrays. Everything is float64, so that equal
trainings differ by the order of their sums only.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import keras_dnn.optimizers
from keras_dnn.callbacks import (
    GradientNorms,
    MaxNorm,
    OneCycleScheduler,
    PerformanceScheduler,
    StepLogger,
)
from keras_dnn.optimizers.schedules import ExponentialDecay, OneCycle

RNG = np.random.default_rng(3)
# In batches of 8: worker 0 has three rows of the last one and worker 1 has two.
X = RNG.normal(size=(21, 4))
Y = np.tanh(X @ RNG.normal(size=(4, 1))) + 0.1 * RNG.normal(size=(21, 1))
X_NEW, Y_NEW = X[::-1][:11] + 0.1, Y[::-1][:11]
WEIGHTS = RNG.uniform(0.2, 2.0, size=21)

CLIP_AND_DECAY = {"clipnorm": 0.05, "weight_decay": 0.1}
ACCUMULATE = {"global_clipnorm": 0.1, "gradient_accumulation_steps": 2}
AVERAGE = {
    "clipvalue": 0.02,
    "use_ema": True,
    "ema_momentum": 0.75,
    "ema_overwrite_frequency": 4,
}
SKIP = {"nonfinite": "skip", "global_clipnorm": 0.1}
RULES = {
    "SGD": {},
    "Momentum": CLIP_AND_DECAY,
    "Nesterov": {**ACCUMULATE, **AVERAGE, "clipvalue": None},
    "AdaGrad": ACCUMULATE,
    "RMSProp": AVERAGE,
    "Adam": {**ACCUMULATE, "weight_decay": 0.1},
    "AdamW": AVERAGE,
    "Nadam": CLIP_AND_DECAY,
    "AdaMax": SKIP,
    "Adadelta": {"clipnorm": 0.05},
}


def network(*, norm=False, seed=0):
    """A small network with the same weights each time."""
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((4,)), keras.layers.Dense(6, "tanh")]
    if norm:
        layers.append(keras.layers.BatchNormalization(synchronized=True, momentum=0.8))
    return keras.Sequential([*layers, keras.layers.Dense(1)])


def arrays(model, history=None, **more):
    found = {f"weight {i}": w for i, w in enumerate(model.get_weights())}
    if history is not None:
        found |= {f"history {k}": np.array(v) for k, v in history.history.items()}
    return found | {name: np.asarray(value) for name, value in more.items()}


def rule(name):
    def case(strategy):
        with strategy.scope():
            model = network()
            optimizer = getattr(keras_dnn.optimizers, name)(0.05, **RULES[name])
            model.compile(optimizer, "mse")
        history = model.fit(X, Y, 8, 3, verbose=0)
        slots = {f"slot {i}": v.numpy() for i, v in enumerate(optimizer.variables)}
        return arrays(model, history, **slots)

    return case


def measures(strategy):
    """Batch norm, sample weights, metrics, validation; `evaluate` and `predict`."""
    with strategy.scope():
        model = network(norm=True)
        model.compile(
            keras_dnn.optimizers.Adam(0.05),
            "mse",
            metrics=["mae", keras.metrics.RootMeanSquaredError()],
            weighted_metrics=["mse"],
        )
    history = model.fit(
        X,
        Y,
        8,
        3,
        verbose=0,
        sample_weight=WEIGHTS,
        validation_data=(X_NEW, Y_NEW),
    )
    return arrays(
        model,
        history,
        evaluated=model.evaluate(X_NEW, Y_NEW, 4, verbose=0),
        predicted=model.predict(X_NEW, 4, verbose=0),
    )


def schedules(strategy):
    """A schedule with its momentum, and one that takes its length from `fit`."""
    found = {}
    rate = OneCycle(0.2, total_steps=9)
    for name, optimizer, callbacks in (
        ("moving", {"learning_rate": rate, "momentum": rate.momentum()}, []),
        ("decay", {"learning_rate": ExponentialDecay(0.1, 4)}, []),
        ("one cycle", {"learning_rate": 0.1}, [OneCycleScheduler(0.2)]),
    ):
        steps = StepLogger()
        with strategy.scope():
            model = network()
            model.compile(keras_dnn.optimizers.Nesterov(**optimizer), "mse")
        model.fit(X, Y, 8, 3, verbose=0, callbacks=[*callbacks, steps])
        found |= {
            f"{name} {key}": value
            for key, value in arrays(
                model,
                rates=steps.learning_rates,
                momenta=steps.momenta,
                losses=steps.losses,
            ).items()
        }
    return found


def callbacks(strategy):
    """A bound on weights, gradient norms and a rate that is reduced."""
    with strategy.scope():
        model = network()
        model.compile(keras_dnn.optimizers.Nesterov(0.3, global_clipnorm=0.2), "mse")
    gradients = GradientNorms()
    plateau = PerformanceScheduler(
        "val_loss", patience=1, min_delta=0.02, restore_best=True
    )
    history = model.fit(
        X,
        Y,
        8,
        5,
        verbose=0,
        validation_data=(X_NEW, Y_NEW),
        callbacks=[MaxNorm(0.9), gradients, plateau],
    )
    return arrays(
        model,
        history,
        norms=gradients.norms,
        clipped=gradients.clipped_norms,
        ratios=gradients.ratios,
        reductions=plateau.reductions,
    )


CASES = {
    **{f"`{name}`": rule(name) for name in RULES},
    "measures": measures,
    "schedules": schedules,
    "callbacks": callbacks,
}


def main(folder):
    from keras_dnn.distribution import MultiWorkerStrategy

    strategy = MultiWorkerStrategy()
    keras.config.set_floatx("float64")
    for name, case in CASES.items():
        found = case(strategy)
        worker = strategy.cluster_resolver.task_id
        np.savez(Path(folder) / f"{name} {worker}.npz", **found)


if __name__ == "__main__":
    main(sys.argv[1])
