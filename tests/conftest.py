"""Every test starts from the same seed and sees two virtual CPU devices."""

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

# Before TensorFlow is imported: its start-up messages are noise in a test report.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import keras
import pytest
import tensorflow as tf

from keras_dnn._tensorflow import outside_traced_function

# Keras keeps the policy that is asked for first, which a test may do in float64.
keras.config.set_dtype_policy("float32")

pytest_plugins = ["tests.durations", "tests.zoo.record"]

# Tracing makes objects that stay: looking through them again and again is in vain.
gc.set_threshold(20_000, 50, 100)

_iterate = tf.data.Dataset.__iter__


def _iterate_without_a_tuner(data: tf.data.Dataset) -> Iterator[object]:
    options = tf.data.Options()
    options.autotune.enabled = False
    return _iterate(data.with_options(options))


# An iterator that is deleted waits for the thread that tunes it. That thread sleeps for
# up to a minute and may miss the signal that should wake it.
tf.data.Dataset.__iter__ = _iterate_without_a_tuner

_apply = keras.optimizers.Optimizer.apply


def _apply_traced_once(
    optimizer: keras.optimizers.Optimizer,
    grads: Sequence[Any],
    trainable_variables: Sequence[keras.Variable] | None = None,
) -> Any:
    if grads and trainable_variables and not optimizer.built:
        trainable_variables = list(trainable_variables)
        with outside_traced_function(), keras.name_scope(optimizer.name):
            optimizer.build(trainable_variables)
    return _apply(optimizer, grads, trainable_variables)


tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("keras_dnn").addoption(
        "--backend",
        action="append",
        default=[],
        metavar="NAME=PYTHON",
        help="a backend of Keras to compare with TensorFlow, and its interpreter",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not tf.config.list_physical_devices("GPU"):
        skip = pytest.mark.skip(reason="there is no GPU")
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(skip)


# Tracing makes many objects and little garbage. With the usual threshold of 700, a
# twentieth of the time goes into looking for it.
gc.set_threshold(100_000, 20, 20)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Does not look for garbage while ten thousand tests are made, which all stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True, scope="module")
def _small_heap() -> Iterator[None]:
    """Takes what earlier modules left out of the garbage collector's sight.

    TensorFlow keeps every graph that Keras traces: some hundred thousand objects a
    module, and each full collection would go through them all.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def _optimizers_of_keras(request: pytest.FixtureRequest) -> Iterator[None]:
    """Spares the tests the second trace that Keras's own optimizers cause.

    They make their variables in the first step, as ever, but outside its graph. Modules
    marked `as_in_keras`, whose code must survive two traces, see them as they are.
    """
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("as_in_keras") is None:
            patch.setattr(keras.optimizers.Optimizer, "apply", _apply_traced_once)
        yield


@pytest.fixture(autouse=True)
def _seed() -> None:
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    """pyplot keeps every figure until it is closed, and warns at the twentieth."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.MirroredStrategy:
    """Trains on the two virtual CPUs; another one beside it would upset its sums."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
