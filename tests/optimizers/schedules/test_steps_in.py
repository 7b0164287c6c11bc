"""`steps_in` counts the steps that `fit` makes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.optimizers import SGD
from keras_dnn.optimizers.schedules import OneCycle, steps_in


def zeros(samples, *shape):
    return np.zeros((samples, *(shape or (1,))), "float32")


def model_of(optimizer, inputs):
    """A model that adds its inputs, which may be one, a list or a dict, up."""
    leaves = keras.tree.flatten(inputs)
    total = keras.layers.Add()(leaves) if len(leaves) > 1 else leaves[0]
    model = keras.Model(inputs, keras.layers.Dense(1)(total))
    model.compile(optimizer, loss="mse")
    return model


def one(name=None):
    return keras.Input((1,), name=name)


class Batches(keras.utils.PyDataset):
    """`length` batches of two samples."""

    def __init__(self, length):
        super().__init__()
        self.length = length

    @property
    def num_batches(self):
        return self.length

    def __getitem__(self, index):
        return zeros(2), zeros(2)


class Counted(keras.utils.PyDataset):
    """Five batches, counted by `len` as in older programs."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return zeros(2), zeros(2)


def pairs(samples=50):
    return tf.data.Dataset.from_tensor_slices((zeros(samples), zeros(samples)))


def updates(optimizer):
    return int(keras.ops.convert_to_numpy(optimizer.iterations))


@pytest.mark.parametrize("samples", [1, 31, 32, 33, 50, 64])
@pytest.mark.parametrize("batch_size", [None, 1, 7, 25, 64])
def test_counts_are_rounded_up_to_whole_batches(samples, batch_size):
    size = batch_size or 32
    batches = len(range(0, samples, size))
    for epochs in (1, 3):
        for x in (samples, np.int64(samples), zeros(samples), zeros(samples, 2, 3)):
            steps = steps_in(epochs, x, batch_size)
            assert steps == epochs * batches
            assert type(steps) is int


ARRAYS = {
    "array": (one, zeros),
    "one-dimensional array": (one, np.zeros),
    "tensor": (one, lambda n: tf.zeros((n, 1))),
    "list": (lambda: [one(), one()], lambda n: [zeros(n), zeros(n)]),
    "tuple": (lambda: (one(), one()), lambda n: (zeros(n), zeros(n))),
    "dict": (
        lambda: {"a": one("a"), "b": one("b")},
        lambda n: {"a": zeros(n), "b": zeros(n)},
    ),
}


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("batch_size", [None, 8])
def test_counts_the_steps_of_fit_on_arrays(kind, batch_size):
    inputs, make = ARRAYS[kind]
    model = model_of(SGD(), inputs())
    x = make(50)
    model.fit(x, zeros(50), batch_size, epochs=2, verbose=0)
    assert updates(model.optimizer) == steps_in(2, x, batch_size)
    assert updates(model.optimizer) == (4 if batch_size is None else 14)


@pytest.mark.parametrize(
    ("data", "batches"),
    [
        (lambda: pairs().batch(8), 7),
        (lambda: pairs().batch(8, drop_remainder=True), 6),
        (lambda: pairs().shuffle(50).batch(25).prefetch(2), 2),
        (lambda: pairs().batch(8).repeat(2).take(13), 13),
        (lambda: pairs().repeat().batch(8).take(3), 3),
        (
            lambda: (
                pairs()
                .filter(lambda x, y: True)
                .batch(8)
                .apply(tf.data.experimental.assert_cardinality(7))
            ),
            7,
        ),
        (lambda: Batches(5), 5),
        (Counted, 5),
    ],
    ids=[
        *("batched", "whole batches", "shuffled", "repeated", "taken"),
        *("asserted", "PyDataset", "PyDataset by len"),
    ],
)
def test_counts_the_steps_of_fit_on_data_in_batches(data, batches):
    model = model_of(SGD(), one())
    model.fit(data(), epochs=3, shuffle=False, verbose=0)
    assert steps_in(3, data()) == 3 * batches
    assert updates(model.optimizer) == 3 * batches


@pytest.mark.parametrize("every", [1, 2, 3, 4, 40])
@pytest.mark.parametrize("cls", [SGD, keras.optimizers.SGD], ids=["ours", "Keras's"])
def test_counts_the_updates_of_a_fit_with_accumulation(cls, every):
    # 5 batches in an epoch: an unfinished update continues in the next epoch.
    arguments = {} if every == 1 else {"gradient_accumulation_steps": every}
    model = model_of(cls(**arguments), one())
    model.fit(zeros(20), zeros(20), 4, epochs=3, verbose=0)
    steps = steps_in(3, zeros(20), 4, gradient_accumulation_steps=every)
    assert steps == {1: 15, 2: 7, 3: 5, 4: 3, 40: 0}[every]
    assert updates(model.optimizer) == steps


@pytest.mark.parametrize("every", [1, 2])
def test_a_cycle_of_that_length_ends_with_the_training(every):
    total = steps_in(4, 50, 8, gradient_accumulation_steps=every)
    rate = OneCycle(0.3, total)
    arguments = {} if every == 1 else {"gradient_accumulation_steps": every}
    model = model_of(SGD(rate, **arguments), one())
    model.fit(zeros(50), zeros(50), 8, epochs=4, verbose=0)
    last = updates(model.optimizer) - 1
    assert rate.values(last) == np.float32(0.3 / 10 / 1000)
    assert rate.values(last - 1) > 2 * rate.values(last)


# What cannot be counted


@pytest.mark.parametrize(
    "x",
    [
        pairs().batch(8).repeat(),
        pairs().filter(lambda x, y: True).batch(8),
        tf.data.Dataset.from_generator(
            lambda: iter([0.0]), output_signature=tf.TensorSpec(())
        ),
        Batches(None),
        *(0, -3, 12.5, None, "data", True),
        np.float32(3),
        [],
        [zeros(5), zeros(6)],
        {"a": zeros(5), "b": zeros(6)},
        [1, 2, 3],
        [zeros(3), 3],
        (zeros(3) for _ in range(3)),
    ],
    ids=[
        *("infinite", "filtered", "generator data", "infinite PyDataset"),
        *("0", "-3", "12.5", "None", "str", "bool", "scalar", "empty"),
        *("lengths differ", "lengths in a dict differ", "numbers", "mixed"),
        "generator",
    ],
)
def test_data_without_a_length_is_named_and_shown(x):
    with pytest.raises(ValueError, match=r"(?s)^x must.*Received"):
        steps_in(1, x)


@pytest.mark.parametrize("data", [pairs().batch(8), Batches(5)], ids=["tf", "keras"])
def test_data_in_batches_has_no_batch_size(data):
    with pytest.raises(ValueError, match=r"^batch_size must.*Received: batch_size=8"):
        steps_in(1, data, 8)


@pytest.mark.parametrize(
    "name", ["epochs", "batch_size", "gradient_accumulation_steps"]
)
@pytest.mark.parametrize("value", [0, -1, 2.5, "3", True])
def test_bad_argument_is_named_and_shown(name, value):
    arguments = {"epochs": 2, "x": 10, name: value}
    with pytest.raises(ValueError, match=f"^{name} must") as error:
        steps_in(**arguments)
    assert str(error.value).endswith(f"Received: {name}={value!r}")
