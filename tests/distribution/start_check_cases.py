"""Trainings that would silently go wrong; each worker runs this file with a FOLDER.

All workers refuse a case before they exchange anything, so the next case can follow in
the same process.
"""

import json
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from keras_dnn.layers import MCDropout
from keras_dnn.optimizers import SGD

X = np.random.default_rng(1).normal(size=(16, 4)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
DENSE, NORM = keras.layers.Dense, keras.layers.BatchNormalization


def compiled(strategy, optimizer=None, layers=tuple, **arguments):
    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = keras.Sequential([keras.Input((4,)), *layers(), DENSE(1)])
        model.compile(optimizer() if optimizer else SGD(0.01), "mse", **arguments)
    return model


def refused(optimizer=None, layers=tuple, fit=None, before=None, **arguments):
    """A case: the text of the error or the warnings of `fit`."""

    def case(strategy):
        model = compiled(strategy, optimizer, layers, **arguments)
        if before is not None:
            before(strategy, model)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                model.fit(X, Y, verbose=0, **{"batch_size": 8, **(fit or {})})
            except Exception as error:
                return f"{type(error).__name__}: {error}"
        ours = [w for w in warned if w.category is UserWarning]
        return "\n".join(f"UserWarning: {w.message}" for w in ours)

    return case


def other_seeds(strategy, model):
    keras.utils.set_random_seed(strategy.cluster_resolver.task_id)


class OtherStart(keras.callbacks.Callback):
    """Begins with other weights, as from a backup that only the chief can read."""

    def on_train_begin(self, logs=None):
        kernel = self.model.trainable_variables[0]
        if int(os.environ["WORKER"]):
            kernel.value.values[0].assign(kernel.numpy() + 1)


def outside(strategy):
    metric = keras.metrics.RootMeanSquaredError()
    return refused(metrics=[metric])(strategy)


REFUSED = {
    "steps_per_execution": refused(steps_per_execution=2),
    "jit_compile": refused(jit_compile=True),
    "accumulation": refused(
        lambda: keras.optimizers.SGD(gradient_accumulation_steps=2)
    ),
    "overwriting": refused(
        lambda: keras.optimizers.SGD(use_ema=True, ema_overwrite_frequency=2)
    ),
    "clipping": refused(lambda: keras.optimizers.SGD(clipnorm=0.1)),
    "batch norm": refused(layers=lambda: [NORM()]),
    "synchronised": refused(layers=lambda: [NORM(synchronized=True)]),
    "seeds": refused(before=other_seeds),
    "small batch": refused(fit={"batch_size": 1}),
    "metric": outside,
    "start": refused(fit={"callbacks": [OtherStart()]}),
    "nothing": refused(),
}


def overflow(strategy):
    """The gradients of rows that only worker 1 has are infinite, in the first batch."""
    x = X.copy()
    x[4:8] = 1e30
    model = compiled(strategy, lambda: keras.optimizers.LossScaleOptimizer(SGD(0.01)))
    model.fit(x, Y, 8, verbose=0, shuffle=False)
    return [w.tolist() for w in model.get_weights()]


def few_rows(strategy):
    """Only worker 0 has a row of the last batch."""
    model = compiled(strategy, layers=lambda: [NORM(synchronized=True)])
    model.fit(X[:9], Y[:9], 8, 2, verbose=0, shuffle=False)
    return [w.tolist() for w in model.get_weights()]


def masks(strategy):
    """Two predictions with the same seed; each worker has half of the rows."""
    found = []
    for _ in range(2):
        keras.utils.set_random_seed(1)
        with strategy.scope():
            model = keras.Sequential([keras.Input((64,)), MCDropout(0.5)])
        two_steps = model.predict(np.ones((16, 64)), batch_size=8, verbose=0)
        found.append(two_steps.reshape(2, 2, 4, 64).tolist())
    return found


def no_row_to_normalise(strategy):
    """The last case, since it ends the exchange between the workers."""
    return refused(layers=lambda: [NORM()], fit={"batch_size": 15, "shuffle": False})(
        strategy
    )


CASES = {
    **REFUSED,
    "overflow": overflow,
    "few rows": few_rows,
    "masks": masks,
    "empty": no_row_to_normalise,
}


def main(folder):
    from keras_dnn.distribution import MultiWorkerStrategy

    strategy = MultiWorkerStrategy()
    worker = strategy.cluster_resolver.task_id
    os.environ["WORKER"] = str(worker)
    # Before any seed is set.
    found = {"no seed": unseeded(strategy)}
    found |= {name: case(strategy) for name, case in CASES.items()}
    (Path(folder) / f"found-{worker}.json").write_text(json.dumps(found))


def unseeded(strategy):
    with strategy.scope():
        model = keras.Sequential([keras.Input((4,)), DENSE(1)])
        model.compile("sgd", "mse")
    try:
        model.fit(X, Y, 8, verbose=0)
    except ValueError as error:
        return f"ValueError: {error}"
    return ""


if __name__ == "__main__":
    main(sys.argv[1])
