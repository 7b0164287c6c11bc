"""`GradualUnfreezing`: what trains when, and that nothing else changes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn import optimizers
from keras_dnn._keras.multi_optimizer import multi_optimizer
from keras_dnn.callbacks import (
    GradientNorms,
    GradualUnfreezing,
    MaxNorm,
    OneCycleScheduler,
)
from tests.callbacks import harness
from tests.callbacks.harness import regression

layers = keras.layers


DATA = regression(24, outputs=2)


def network():
    """A nested base of three layers with weights, and two on top."""
    keras.utils.set_random_seed(1)
    base = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5, "tanh", name="a"),
            layers.BatchNormalization(name="norm", momentum=0.5),
            layers.Activation("relu"),
            layers.Dense(4, "tanh", name="b"),
        ],
        name="base",
    )
    return keras.Sequential(
        [
            keras.Input((6,)),
            base,
            layers.Dense(3, "tanh", name="c"),
            layers.Dense(2, name="d"),
        ]
    )


NAMES = ["a", "norm", "b", "c", "d"]


def named(model):
    base = model.get_layer("base")
    return {name: (model if name in "cd" else base).get_layer(name) for name in NAMES}


class Snapshots(keras.callbacks.Callback):
    """The weights of each layer at the end of each epoch, and at the start."""

    def on_train_begin(self, logs=None):
        self.weights = [self._now()]
        self.trainable = []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self._now())
        self.trainable.append(
            [name for name, layer in named(self.model).items() if layer.trainable]
        )

    def _now(self):
        return {n: layer.get_weights() for n, layer in named(self.model).items()}

    def moved(self, epoch):
        before, after = self.weights[epoch], self.weights[epoch + 1]
        return [
            name
            for name in NAMES
            if any(
                not np.array_equal(a, b)
                for a, b in zip(before[name], after[name], strict=True)
            )
        ]


def fit(model, callbacks, epochs=4, **options):
    return harness.fit(model, DATA, callbacks, epochs=epochs, batch_size=8, **options)


SCHEDULES = {
    "counts": ({0: 1, 1: 2, 3: 4}, ["d", "cd", "cd", ("norm", *"bcd")]),
    "all": ({0: 2, 2: "all"}, ["cd", "cd", NAMES, NAMES]),
    "names": ({0: ["d"], 1: ["b"], 2: ["a", "c"]}, ["d", "bd", "abcd", "abcd"]),
    "a nested model": ({0: 1, 3: ["base"]}, ["d", "d", "d", ("a", "norm", "b", "d")]),
    "more than there are": ({0: 99}, [NAMES] * 4),
    "out of order": ({2: 2, 0: 1}, ["d", "d", "cd", "cd"]),
}


@pytest.mark.parametrize(
    ("rule", "schedule"),
    [
        *((optimizers.Adam, schedule) for schedule in SCHEDULES),
        (keras.optimizers.Adam, "counts"),
        (keras.optimizers.Adam, "a nested model"),
    ],
)
def test_layers_train_from_their_epoch_on_and_not_before(rule, schedule):
    given, expected = SCHEDULES[schedule]
    model = network()
    model.get_layer("base").trainable = False
    model.compile(rule(0.01), "mse")
    snapshots = Snapshots()
    fit(model, [snapshots, GradualUnfreezing(given)])
    for epoch in range(4):
        wanted = [name for name in NAMES if name in expected[epoch]]
        assert snapshots.trainable[epoch] == wanted
        assert snapshots.moved(epoch) == wanted


@pytest.mark.parametrize(
    "options",
    [{"jit_compile": True}, {"steps_per_execution": 2}, {"run_eagerly": True}],
)
def test_other_ways_to_run(options):
    model = network()
    model.compile(optimizers.Nesterov(0.05), "mse", **options)
    snapshots = Snapshots()
    fit(model, [snapshots, GradualUnfreezing({0: 1, 2: 3})], epochs=3)
    assert snapshots.moved(0) == snapshots.moved(1) == ["d"]
    assert snapshots.moved(2) == ["b", "c", "d"]


# Training itself


def replay(optimizer, groups):
    """By hand: each epoch trains its group; the optimizer is built for all layers."""
    model = network()
    x, y = DATA
    optimizer.build(model.trainable_variables)
    by_name = named(model)
    for group in groups:
        for name, layer in by_name.items():
            layer.trainable = name in group
        weights = model.trainable_variables
        for i in range(0, len(x), 8):
            with tf.GradientTape() as tape:
                outputs = model(x[i : i + 8], training=True)
                loss = tf.reduce_mean(tf.square(outputs - y[i : i + 8]))
            gradients = tape.gradient(loss, [w.value for w in weights])
            optimizer.apply(gradients, weights)
    for layer in by_name.values():
        layer.trainable = True
    averages = getattr(optimizer, "_model_variables_moving_average", None) or []
    for weight, average in zip(model.trainable_variables, averages, strict=False):
        if average is not None:
            weight.assign(average)
    return model


MAKERS = {
    "Adam": lambda package: package.Adam(0.02),
    "momentum": lambda package: package.SGD(0.05, momentum=0.9),
    "clipped": lambda package: package.Adam(0.02, global_clipnorm=0.3),
    "decayed": lambda package: package.AdamW(0.02, weight_decay=0.1),
    "averaged": lambda package: package.Adam(0.02, use_ema=True, ema_momentum=0.5),
    "accumulated": lambda package: package.Adam(0.02, gradient_accumulation_steps=3),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_training_equals_a_loop_over_what_is_unfrozen(maker):
    make = MAKERS[maker]
    expected = replay(make(keras.optimizers), ["d", "cd", ("norm", *"bcd")])
    packages = [optimizers] if maker == "averaged" else [keras.optimizers, optimizers]
    for package in packages:
        model = network()
        model.compile(make(package), "mse")
        fit(model, GradualUnfreezing({0: 1, 1: 2, 2: 4}), epochs=3)
        for one, other in zip(model.weights, expected.weights, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-5)


def test_loss_scaling():
    with harness.dtype_policy("mixed_float16"):
        model = network()
    model.compile(optimizers.Adam(0.01), "mse")
    snapshots = Snapshots()
    fit(model, [snapshots, GradualUnfreezing({0: 1, 1: 3})], epochs=2)
    assert set(snapshots.moved(0)) <= {"d"}
    assert set(snapshots.moved(1)) <= {"b", "c", "d"}


def test_two_replicas_are_as_one_device(two_replicas):
    def train():
        model = network()
        model.compile(optimizers.Adam(0.01), "mse")
        fit(model, GradualUnfreezing({0: 1, 1: 3}), epochs=2)
        return model.get_weights()

    alone, together = harness.alone_and_together(two_replicas, train)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-5)


def test_frozen_batch_norm_is_in_inference_mode():
    model = network()
    norm = named(model)["norm"]
    norm.moving_variance.assign(np.full(5, 7.0))
    model.compile(optimizers.Adam(0.01), "mse")
    fit(model, GradualUnfreezing({0: 2}), epochs=2)
    assert (norm.moving_variance.numpy() == 7.0).all()
    model.compile(optimizers.Adam(0.01), "mse")
    fit(model, GradualUnfreezing({0: "all"}), epochs=1)
    assert (norm.moving_variance.numpy() != 7.0).all()


# Fitting again, saving, other callbacks


def test_fit_again_begins_the_schedule_again_and_keeps_the_state():
    model = network()
    model.compile(optimizers.Adam(0.01), "mse")
    unfreezing = GradualUnfreezing({0: 1, 1: "all"})
    fit(model, [unfreezing], epochs=2)
    assert int(model.optimizer.iterations) == 6
    snapshots = Snapshots()
    fit(model, [unfreezing, snapshots], epochs=2)
    assert snapshots.moved(0) == ["d"]
    assert snapshots.moved(1) == NAMES
    assert int(model.optimizer.iterations) == 12


def test_a_later_initial_epoch_starts_with_the_layers_of_that_epoch():
    model = network()
    model.compile(optimizers.Adam(0.01), "mse")
    snapshots = Snapshots()
    unfreezing = GradualUnfreezing({0: 1, 2: 3})
    fit(model, [unfreezing, snapshots], initial_epoch=3)
    assert unfreezing.schedule == {0: 1, 2: 3}
    assert snapshots.moved(0) == ["b", "c", "d"]


def test_layers_stay_as_the_last_unfreezing_left_them_also_after_an_error():
    model = network()
    model.compile(optimizers.Adam(0.01), "mse")
    unfreezing = GradualUnfreezing({0: 1, 1: 2, 3: "all"})
    harness.interrupted(model, DATA, [unfreezing], epoch=1, epochs=4, batch_size=8)
    free = [name for name, layer in named(model).items() if layer.trainable]
    assert free == ["c", "d"]
    snapshots = Snapshots()
    fit(model, [snapshots], epochs=1)
    assert snapshots.moved(0) == ["c", "d"]


def test_saving_in_the_middle_and_after(tmp_path):
    model = network()
    model.compile(optimizers.Adam(0.01), "mse")
    path = str(tmp_path / "model.keras")
    checkpoint = keras.callbacks.ModelCheckpoint(path)
    fit(model, [GradualUnfreezing({0: 1, 1: 3}), checkpoint], epochs=2)
    after = keras.saving.load_model(path)
    x, _ = DATA
    np.testing.assert_allclose(after(x), model(x), rtol=1e-6)
    free = [name for name, layer in named(after).items() if layer.trainable]
    assert free == ["b", "c", "d"]


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.lower = layers.Bidirectional(layers.LSTM(2, return_sequences=True))
        self.attention = layers.MultiHeadAttention(2, 2)
        self.head = layers.Dense(2)

    def call(self, x):
        x = self.lower(x[:, :, None])
        return self.head(self.attention(x, x)[:, -1])


def test_a_layer_that_contains_others_counts_as_one():
    keras.utils.set_random_seed(1)
    model = Subclassed()
    x, _ = DATA
    model(x)
    before = [layer.get_weights() for layer in model.layers]
    model.compile(optimizers.Adam(0.01), "mse")
    fit(model, GradualUnfreezing({0: 2}), epochs=1)
    same = [
        all(map(np.array_equal, layer.get_weights(), old))
        for layer, old in zip(model.layers, before, strict=True)
    ]
    assert same == [True, False, False]


@pytest.mark.parametrize("order", [1, -1])
def test_gradient_norms_have_a_column_for_what_is_still_frozen(order):
    model = network()
    model.compile(optimizers.Adam(0.01), "mse")
    norms = GradientNorms()
    fit(model, [norms, GradualUnfreezing({0: 1, 1: 2, 2: "all"})][::order], epochs=3)
    assert norms.norms.shape == (9, 10)
    seen = np.isfinite(norms.norms).sum(axis=0)
    assert seen.tolist() == [3] * 6 + [6] * 2 + [9] * 2
    assert (norms.ratios[:6, [0, 4]] == 0).all()
    assert (norms.ratios[6:, [0, 4]] > 0).all()


@pytest.mark.parametrize("order", [1, -1])
def test_max_norm_and_one_cycle_beside_it(order):
    model = network()
    model.compile(optimizers.Nesterov(0.01), "mse")
    probes = [MaxNorm(0.3), OneCycleScheduler(0.1), GradualUnfreezing({0: 1, 2: "all"})]
    snapshots = Snapshots()
    fit(model, [*probes[::order], snapshots])
    assert snapshots.moved(3) == NAMES
    for name in "abcd":
        norms = np.linalg.norm(named(model)[name].kernel, axis=0)
        assert norms.max() <= 0.3 * (1 + 1e-6)


# Errors


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({}, "schedule must be a dict"),
        ([1, 2], "schedule must be a dict"),
        (None, "schedule must be a dict"),
        ({-1: 1}, "an epoch in schedule must be"),
        ({0.5: 1}, "an epoch in schedule must be"),
        ({0: -1}, "a count in schedule must be"),
        ({0: 3, 1: 2}, "a count in schedule must be"),
        ({0: "most"}, "a group in schedule must be"),
        ({0: 1.5}, "a group in schedule must be"),
    ],
)
def test_a_bad_schedule_is_shown(schedule, message):
    with pytest.raises(ValueError, match=rf"{message}.*Received"):
        GradualUnfreezing(schedule)


def test_layers_must_be_of_the_model():
    model = network()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="Received: 'nothing'"):
        fit(model, [GradualUnfreezing({0: 1, 2: ["nothing"]})])


def test_a_model_must_be_built():
    model = keras.Sequential([layers.Dense(2)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"keras\.Input"):
        fit(model, GradualUnfreezing({0: 1}))


def test_an_optimizer_built_for_fewer_layers_is_refused():
    model = network()
    model.get_layer("base").trainable = False
    model.compile("adam", "mse")
    fit(model, [])
    with pytest.raises(ValueError, match=r"Compile the model again.*base/a/kernel"):
        fit(model, GradualUnfreezing({0: 1, 1: "all"}))


@pytest.mark.parametrize("stop", [1, 3])
def test_averaged_weights_are_put_in_place_also_of_a_part(stop):
    model = network()
    model.compile(optimizers.Adam(0.01, use_ema=True, ema_momentum=0.5), "mse")
    snapshots = Snapshots()
    fit(model, [GradualUnfreezing({0: 1, 2: "all"}), snapshots], epochs=stop)
    averages = model.optimizer._model_variables_moving_average
    for weight in model.trainable_variables:
        index = model.optimizer._get_variable_index(weight)
        np.testing.assert_array_equal(weight, averages[index])
    assert snapshots.moved(0) == ["d"]


def test_averaging_by_keras_is_refused():
    model = network()
    model.compile(keras.optimizers.Adam(0.01, use_ema=True), "mse")
    with pytest.raises(ValueError, match=r"use_ema.*Received"):
        fit(model, GradualUnfreezing({0: 1}))


def test_a_multi_optimizer_is_refused():
    model = network()
    model.compile(multi_optimizer(keras.optimizers.SGD(), {}), "mse")
    with pytest.raises(ValueError, match="MultiOptimizer"):
        fit(model, GradualUnfreezing({0: 1}))


class _Block(keras.layers.Layer):
    def __init__(self):
        super().__init__(name="block")
        self.norm = keras.layers.BatchNormalization(momentum=0.5)

    def call(self, x, training=None):
        return self.norm(x, training=training)


class _Nested(keras.Model):
    def __init__(self):
        super().__init__(name="nested")
        self.norm = keras.layers.BatchNormalization(momentum=0.5)

    def call(self, x, training=None):
        return self.norm(x, training=training)


def test_batch_norms_inside_other_layers_are_frozen_and_train_like_any():
    """In a layer and in a subclassed model of one's own, and in the model itself."""
    x = keras.Input((2,))
    block, nested = _Block(), _Nested()
    norm = keras.layers.BatchNormalization(momentum=0.5)
    model = keras.Model(x, keras.layers.Dense(1)(norm(nested(block(x)))))
    norms = [block.norm, nested.norm, norm]
    model.compile("sgd", "mse")
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append([n.moving_variance.numpy().copy() for n in norms])

    data = np.random.default_rng(0).normal(3, 5, size=(16, 2))
    unfreezing = GradualUnfreezing({0: 1, 1: 2, 2: "all"})
    model.fit(data, data[:, 0], epochs=3, verbose=0, callbacks=[unfreezing, Watch()])
    moved = [[bool((v != 1).any()) for v in epoch] for epoch in seen]
    assert moved == [[False] * 3, [False, False, True], [True] * 3]


def test_kernels_below_low_rank_adapters_stay_frozen():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(4, name="low"),
            keras.layers.Dense(1, name="top"),
        ]
    )
    kernels = [layer.kernel for layer in model.layers]
    for layer in model.layers:
        layer.enable_lora(2)
    before = [np.asarray(kernel) for kernel in kernels]
    model.compile(keras.optimizers.SGD(0.1), "mse")
    data = np.random.default_rng(0).normal(size=(16, 4))
    unfreezing = GradualUnfreezing({0: 1, 1: "all"})
    model.fit(data, data[:, 0], epochs=3, verbose=0, callbacks=[unfreezing])
    for kernel, was in zip(kernels, before, strict=True):
        np.testing.assert_array_equal(kernel, was)
    assert all(np.any(layer.lora_kernel_b) for layer in model.layers)
