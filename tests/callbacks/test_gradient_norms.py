"""Every number of `GradientNorms` against a replay of the training it watched."""

import gc
import importlib.util
import inspect
import sys
import warnings
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.callbacks import GradientNorms
from keras_dnn.optimizers import Nesterov


@pytest.fixture(autouse=True)
def _float64():
    """`fit` casts data and losses to this type, whatever the layers have."""
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


# Ten batches, of which the last is a short one.
SAMPLES, BATCH = 38, 4


class Truth(NamedTuple):
    """What `GradientNorms` must say, a row for each update, in float64."""

    norms: np.ndarray
    clipped_norms: np.ndarray
    ratios: np.ndarray
    global_norms: np.ndarray
    global_clipped_norms: np.ndarray
    global_ratios: np.ndarray


# The second implementation


def as_array(gradient):
    """A gradient in NumPy, with repeated rows of a sparse one added up."""
    if isinstance(gradient, tf.IndexedSlices):
        dense = np.zeros(gradient.dense_shape.numpy(), gradient.dtype.as_numpy_dtype)
        np.add.at(dense, gradient.indices.numpy(), gradient.values.numpy())
        return dense
    return gradient.numpy()


def length(arrays):
    """The norm of arrays taken as one vector, by the definition."""
    return np.sqrt(sum(np.sum(np.square(a, dtype="float64")) for a in arrays))


def clip(gradients, clipnorm=None, clipvalue=None, global_clipnorm=None):
    if clipvalue is not None:
        return [np.clip(g, -clipvalue, clipvalue) for g in gradients]
    if clipnorm is not None:
        return [g * min(1, clipnorm / max(length([g]), 1e-30)) for g in gradients]
    if global_clipnorm is not None:
        factor = min(1, global_clipnorm / max(length(gradients), 1e-30))
        return [g * factor for g in gradients]
    return gradients


def divide(update, weight):
    return update / weight if weight else np.nan


def replay(model, optimizer, batches, *, clips=None, loss=None, accumulate=1, scale=1):
    """Trains `model` by hand and says what it saw.

    `optimizer` neither clips nor accumulates: that is done here, and so is skipping
    a gradient that a loss `scale` makes overflow, and halving the scale.
    """
    loss = loss or keras.losses.MeanSquaredError()
    rows, micro = [], []
    for x, y in batches:
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True)) * scale
        weights = model.trainable_variables
        raw = tape.gradient(value, [w.value for w in weights])
        micro.append([as_array(g) / scale for g in raw])
        if scale != 1 and not all(np.isfinite(g).all() for g in micro[-1]):
            scale /= 2
            micro = []
        if len(micro) < accumulate:
            continue
        gradients = [sum(gs) / accumulate for gs in zip(*micro, strict=True)]
        micro = []
        clipped = clip(gradients, **(clips or {}))
        before = [w.numpy().astype("float64") for w in weights]
        if clips or accumulate > 1 or scale != 1:
            raw = [
                tf.constant(g.astype(w.dtype))
                for g, w in zip(clipped, weights, strict=True)
            ]
        # Otherwise as they are: Keras trains otherwise on rows that are added up.
        optimizer.apply(raw, weights)
        moved = [w.numpy() - b for w, b in zip(weights, before, strict=True)]
        rows.append(
            (
                [length([g]) for g in gradients],
                [length([g]) for g in clipped],
                [
                    divide(length([m]), length([b]))
                    for m, b in zip(moved, before, strict=True)
                ],
                length(gradients),
                length(clipped),
                divide(length(moved), length(before)),
            )
        )
    return Truth(*map(np.array, zip(*rows, strict=True)))


def assert_tells(probe, truth, rtol=1e-9, ratio_rtol=None):
    ratio_rtol = ratio_rtol or rtol
    for field, expected in truth._asdict().items():
        found = getattr(probe, field)
        assert found.dtype == np.float64, field
        np.testing.assert_allclose(
            found,
            expected,
            rtol=ratio_rtol if "ratio" in field else rtol,
            atol=0,
            err_msg=field,
        )
    np.testing.assert_array_equal(probe.steps, np.arange(len(truth.norms)))


# Models and data


def data(samples=SAMPLES, inputs=6, outputs=3, dtype="float64"):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(samples, inputs)).astype(dtype)
    return x, (2 * rng.normal(size=(samples, outputs))).astype(dtype)


def batches(x, y, size=BATCH):
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def dense(units, seed, dtype="float64", **options):
    """A layer that starts the same each time it is made, biases off zero."""
    options = {
        "kernel_initializer": keras.initializers.GlorotUniform(seed=seed),
        "bias_initializer": keras.initializers.RandomNormal(seed=seed),
    } | options
    return keras.layers.Dense(units, dtype=dtype, **options)


def network(dtype="float64", **options):
    return keras.Sequential(
        [
            keras.Input((6,)),
            dense(5, 1, dtype, activation="tanh", **options),
            dense(3, 2, dtype),
        ]
    )


def mixed_float16():
    """A model that `compile` gives a loss scale."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    model = network("mixed_float16")
    keras.config.set_dtype_policy(before)
    return model


def fit(model, optimizer, x, y, probe, *, batch_size=BATCH, **options):
    """Fits with a probe, or a list of callbacks; returns the history."""
    fit_options = {
        key: options.pop(key)
        for key in ("epochs", "validation_data", "steps_per_epoch")
        if key in options
    }
    options.setdefault("loss", "mse")
    model.compile(optimizer, **options)
    return refit(model, x, y, probe, batch_size=batch_size, **fit_options)


def refit(model, x, y, probe=(), *, batch_size=BATCH, **options):
    callbacks = [probe] if isinstance(probe, GradientNorms) else probe
    return model.fit(
        x,
        y,
        batch_size=batch_size,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
        **options,
    )


def sgd(**options):
    return keras.optimizers.SGD(0.1, momentum=0.9, **options)


def adam(**options):
    return keras.optimizers.Adam(0.02, **options)


def nesterov(**options):
    return Nesterov(0.1, 0.9, **options)


OPTIMIZERS = [sgd, adam, nesterov]
CLIPS = {
    "clipnorm": {"clipnorm": 0.8},
    "clipvalue": {"clipvalue": 0.3},
    "global_clipnorm": {"global_clipnorm": 1.5},
}
OPTIONS = {
    "plain": {},
    **CLIPS,
    "weight_decay": {"weight_decay": 0.05},
    "use_ema": {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 3},
}
MODES = ["default", "jit", "blocks", "eager", "scaled", "float16", "accumulate"]
# The rest is slow. With a clip, raw and clipped norms cannot be taken for each other.
QUICK = {
    (adam, "weight_decay", "default"),
    (nesterov, "plain", "default"),
    (nesterov, "global_clipnorm", "default"),
    (nesterov, "global_clipnorm", "jit"),
    (sgd, "clipnorm", "blocks"),
    (nesterov, "clipvalue", "eager"),
    (adam, "clipnorm", "scaled"),
    (sgd, "clipnorm", "float16"),
    (adam, "global_clipnorm", "accumulate"),
    (nesterov, "clipnorm", "accumulate"),
}
MATRIX = [
    pytest.param(
        make,
        option,
        mode,
        marks=[] if (make, option, mode) in QUICK else pytest.mark.slow,
        id=f"{make.__name__}-{option}-{mode}",
    )
    for mode in MODES
    for make in OPTIMIZERS
    for option in OPTIONS
]


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(("make", "option", "mode"), MATRIX)
def test_equals_a_replay_with_gradient_tape(make, option, mode):
    options = dict(OPTIONS[option])
    compile_options, arguments = {}, {}
    make_model, rtol = network, 1e-9
    if mode == "jit":
        compile_options["jit_compile"] = True
    if mode == "blocks":
        compile_options["steps_per_execution"] = 4
    if mode == "eager":
        compile_options["run_eagerly"] = True
    if mode == "accumulate":
        arguments["gradient_accumulation_steps"] = 3
        if make is not nesterov:
            # Keras would overwrite between updates.
            options.pop("ema_overwrite_frequency", None)
    optimizer = make(**options, **arguments)
    scale = 1
    if mode == "scaled":
        # The scale doubles while training goes on.
        optimizer = keras.optimizers.LossScaleOptimizer(
            optimizer, initial_scale=2.0**10, dynamic_growth_steps=3
        )
    if mode == "float16":
        make_model, rtol, scale = mixed_float16, 2e-3, 2.0**15
    x, y = data()
    probe = GradientNorms()
    fit(make_model(), optimizer, x, y, probe, **compile_options)

    clips = options if option in CLIPS else {}
    truth = replay(
        make_model(),
        make(**({} if clips else options)),
        batches(x, y),
        clips=clips,
        accumulate=arguments.get("gradient_accumulation_steps", 1),
        scale=scale,
    )
    if clips:
        shortened = truth.clipped_norms < truth.norms * (1 - 1e-12)
        assert shortened.any()
    # In float16 the first scales are too large: these steps Keras skips.
    assert mode == "float16" or len(truth.norms) == (3 if mode == "accumulate" else 10)
    assert len(truth.norms) > 2
    assert_tells(probe, truth, rtol)


@pytest.mark.parametrize("make", [sgd, slow(adam), slow(nesterov)])
def test_is_right_to_a_hundred_thousandth_in_float32(make):
    x, y = data(dtype="float32")
    probe = GradientNorms()
    fit(network("float32"), make(clipnorm=0.8), x, y, probe)
    truth = replay(network("float32"), make(), batches(x, y), clips={"clipnorm": 0.8})
    # The weights round to 1e-7 of themselves, which an update of a hundredth sees.
    assert_tells(probe, truth, rtol=1e-5, ratio_rtol=5e-5)


def test_is_right_to_1e_12_in_float64():
    x, y = data()
    probe = GradientNorms()
    fit(network(), sgd(clipnorm=0.8), x, y, probe)
    truth = replay(network(), sgd(), batches(x, y), clips={"clipnorm": 0.8})
    assert_tells(probe, truth, rtol=1e-12)


@pytest.mark.slow
def test_without_clipping_both_norms_are_the_same():
    x, y = data()
    probe = GradientNorms()
    fit(network(), sgd(), x, y, probe)
    np.testing.assert_array_equal(probe.norms, probe.clipped_norms)
    np.testing.assert_array_equal(probe.global_norms, probe.global_clipped_norms)


@pytest.mark.slow
def test_norms_under_loss_scaling_are_those_of_the_true_gradients():
    """To the last bit: the scale is a power of two."""
    x, y = data()
    plain, scaled = GradientNorms(), GradientNorms()
    fit(network(), sgd(clipnorm=0.8), x, y, plain)
    optimizer = keras.optimizers.LossScaleOptimizer(sgd(clipnorm=0.8))
    fit(network(), optimizer, x, y, scaled)
    np.testing.assert_allclose(scaled.norms, plain.norms, rtol=1e-13)
    np.testing.assert_allclose(scaled.clipped_norms, plain.clipped_norms, rtol=1e-13)


@pytest.mark.parametrize("make", [sgd, slow(nesterov)])
def test_a_step_that_loss_scaling_skips_leaves_the_others_right(make):
    """A scaled gradient that overflows is no update."""
    x, y = data(samples=24)
    x[8, 0] = np.inf
    model, twin = network(), network()
    optimizer = keras.optimizers.LossScaleOptimizer(make(clipnorm=0.8))
    probe = GradientNorms()
    fit(model, optimizer, x, y, probe)
    used = [b for i, b in enumerate(batches(x, y)) if i != 2]
    truth = replay(twin, make(), used, clips={"clipnorm": 0.8})
    assert_tells(probe, truth)


# Kinds of models


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = dense(5, 1, activation="tanh")
        self.last = dense(3, 2)

    def call(self, x):
        return self.last(self.first(x))


def functional():
    x = keras.Input((6,), dtype="float64")
    a = dense(5, 1, activation="tanh")(x)
    b = dense(5, 3)(x)
    joined = keras.layers.Add(dtype="float64")([a, b])
    return keras.Model(x, dense(3, 2)(joined))


def deferred():
    return keras.Sequential([dense(5, 1, activation="tanh"), dense(3, 2)])


def with_batch_norm():
    return keras.Sequential(
        [
            keras.Input((6,)),
            dense(5, 1, use_bias=False),
            keras.layers.BatchNormalization(dtype="float64"),
            dense(3, 2),
        ]
    )


@pytest.mark.parametrize("make_model", [slow(Subclassed), slow(functional), deferred])
def test_every_kind_of_model(make_model):
    x, y = data()
    model, twin = make_model(), make_model()
    probe = GradientNorms()
    fit(model, sgd(clipnorm=0.8), x, y, probe)
    twin(x[:1])
    assert_tells(
        probe, replay(twin, sgd(), batches(x, y), clips={"clipnorm": 0.8}), 1e-9
    )
    assert list(probe.names) == [w.path for w in model.trainable_variables]


@pytest.mark.slow
def test_variables_that_training_does_not_touch_have_no_column():
    x, y = data()
    model, twin = with_batch_norm(), with_batch_norm()
    probe = GradientNorms()
    fit(model, adam(), x, y, probe)
    assert_tells(probe, replay(twin, adam(), batches(x, y)))
    assert probe.norms.shape == (10, 5)
    assert not any("moving" in name for name in probe.names)


def test_a_frozen_layer_has_no_column():
    x, y = data()
    model, twin = network(), network()
    model.layers[0].trainable = twin.layers[0].trainable = False
    probe = GradientNorms()
    fit(model, sgd(), x, y, probe)
    assert list(probe.names) == [w.path for w in model.layers[1].weights]
    assert_tells(probe, replay(twin, sgd(), batches(x, y)))


def embedded(dtype="float64"):
    return keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            keras.layers.Embedding(
                7,
                4,
                embeddings_initializer=keras.initializers.RandomNormal(seed=3),
                dtype=dtype,
            ),
            keras.layers.Flatten(dtype=dtype),
            dense(3, 2, dtype),
        ]
    )


@pytest.mark.parametrize("mode", ["default", slow("jit"), slow("accumulate")])
@pytest.mark.parametrize("make", [slow(sgd), adam, slow(nesterov)])
def test_repeated_rows_of_an_embedding_are_added_up(make, mode):
    _, y = data(24)
    # Three rows of seven, each many times in a batch.
    x = np.random.default_rng(0).integers(0, 3, size=(24, 5))
    probe = GradientNorms()
    arguments = {"gradient_accumulation_steps": 2} if mode == "accumulate" else {}
    fit(embedded(), make(**arguments), x, y, probe, jit_compile=mode == "jit")
    truth = replay(
        embedded(),
        make(),
        batches(x, y),
        accumulate=arguments.get("gradient_accumulation_steps", 1),
    )
    np.testing.assert_allclose(probe.norms, truth.norms, rtol=1e-9)
    np.testing.assert_allclose(probe.ratios, truth.ratios, rtol=1e-9)


@pytest.mark.slow
def test_clipped_embedding_rows_are_added_up():
    """Clipped by `Nesterov`, that adds rows up first; Keras clips them singly."""
    _, y = data(24)
    x = np.random.default_rng(0).integers(0, 3, size=(24, 5))
    probe = GradientNorms()
    fit(embedded(), nesterov(clipnorm=0.3), x, y, probe)
    truth = replay(embedded(), nesterov(), batches(x, y), clips={"clipnorm": 0.3})
    assert_tells(probe, truth)


@pytest.mark.parametrize("make", [slow(sgd), nesterov])
@pytest.mark.parametrize("jit_compile", [False, slow(True)])
def test_the_ratio_is_that_of_the_update_after_constraints(make, jit_compile):
    x, y = data()
    constraint = {"kernel_constraint": keras.constraints.MaxNorm(0.5)}
    free, probe = GradientNorms(), GradientNorms()
    fit(network(), make(), x, y, free)
    fit(network(**constraint), make(), x, y, probe, jit_compile=jit_compile)
    assert_tells(probe, replay(network(**constraint), make(), batches(x, y)))
    assert not np.isclose(probe.ratios[0, 0], free.ratios[0, 0], rtol=1e-2)


class Idle(keras.layers.Layer):
    """Has a weight that nothing depends on."""

    def build(self, shape):
        self.idle = self.add_weight(shape=(2,), initializer="ones", name="idle")

    def call(self, x):
        return x


def partly_idle():
    return keras.Sequential(
        [keras.Input((6,)), dense(5, 1), Idle(dtype="float64"), dense(3, 2)]
    )


@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")
@pytest.mark.parametrize("mode", ["default", slow("jit"), slow("accumulate")])
@pytest.mark.parametrize("make", [sgd, slow(adam), slow(nesterov)])
def test_a_variable_without_gradient_has_nan(make, mode):
    x, y = data()
    arguments = {"gradient_accumulation_steps": 2} if mode == "accumulate" else {}
    clips = {"clipnorm": 0.8}
    probe = GradientNorms()
    optimizer = make(**clips, **arguments)
    fit(partly_idle(), optimizer, x, y, probe, jit_compile=mode == "jit")
    assert [name.split("/")[-1] for name in probe.names].index("idle") == 2
    truth = replay(
        # The same weights without the idle one.
        keras.Sequential([keras.Input((6,)), dense(5, 1), dense(3, 2)]),
        make(),
        batches(x, y),
        clips=clips,
        accumulate=arguments.get("gradient_accumulation_steps", 1),
    )
    others = [0, 1, 3, 4]
    for field in ("norms", "clipped_norms"):
        found = getattr(probe, field)
        assert np.isnan(found[:, 2]).all()
        np.testing.assert_allclose(found[:, others], getattr(truth, field), rtol=1e-9)
    np.testing.assert_allclose(probe.ratios[:, others], truth.ratios, rtol=1e-9)
    # Of the global norms and the mean it is no part.
    np.testing.assert_allclose(probe.global_norms, truth.global_norms, rtol=1e-9)
    assert np.isfinite(probe.global_ratios).all()


def test_keras_still_warns_of_a_variable_without_gradient():
    x, y = data()
    with pytest.warns(UserWarning, match="Gradients do not exist for variables"):
        fit(partly_idle(), sgd(), x, y, GradientNorms())


@pytest.mark.slow
def test_weights_that_are_all_zero_have_no_ratio():
    x, y = data()
    zeros = {"bias_initializer": "zeros"}
    probe = GradientNorms()
    fit(network(**zeros), sgd(), x, y, probe)
    assert np.isnan(probe.ratios[0, 1])
    assert_tells(probe, replay(network(**zeros), sgd(), batches(x, y)))


# Several devices


@pytest.mark.parametrize(
    ("make", "clips", "accumulate"),
    [
        (sgd, {}, 1),
        slow(adam, {}, 1),
        slow(nesterov, {}, 1),
        slow(nesterov, {"clipnorm": 0.8}, 1),
        slow(nesterov, {"clipvalue": 0.3}, 1),
        (nesterov, {"global_clipnorm": 1.5}, 3),
        slow(nesterov, {}, 3),
    ],
)
def test_on_two_replicas_the_norms_are_those_of_the_whole_batch(
    two_replicas, make, clips, accumulate
):
    x, y = data(samples=40)
    arguments = {"gradient_accumulation_steps": accumulate} if accumulate > 1 else {}
    with two_replicas.scope():
        model = network()
        optimizer = make(**clips, **arguments)
    probe = GradientNorms()
    fit(model, optimizer, x, y, probe)
    truth = replay(network(), make(), batches(x, y), clips=clips, accumulate=accumulate)
    assert_tells(probe, truth)


@pytest.mark.slow
def test_on_two_replicas_embedding_rows_are_added_up(two_replicas):
    _, y = data(24)
    x = np.random.default_rng(0).integers(0, 3, size=(24, 5))
    with two_replicas.scope():
        model, optimizer = embedded(), nesterov(clipnorm=0.3)
    probe = GradientNorms()
    fit(model, optimizer, x, y, probe)
    truth = replay(embedded(), nesterov(), batches(x, y), clips={"clipnorm": 0.3})
    assert_tells(probe, truth)


# Numbers at the edge of what floats hold


def one_weight_each(rows, dtype="float32", per_variable=True, **compile_options):
    """Trains a linear model whose gradient at each step is a row of `rows`."""
    x = np.array(rows, dtype)
    model = keras.Sequential(
        [
            keras.Input((x.shape[1],), dtype=dtype),
            keras.layers.Dense(
                1, use_bias=False, kernel_initializer="ones", dtype=dtype
            ),
        ]
    )
    probe = GradientNorms(per_variable=per_variable)
    # A batch of one: the mean of outputs has the input as its gradient.
    fit(
        model,
        keras.optimizers.SGD(0.0),
        x,
        np.zeros((len(x), 1), dtype),
        probe,
        batch_size=1,
        loss=lambda y, y_hat: y_hat,
        **compile_options,
    )
    return probe


@pytest.mark.parametrize("jit_compile", [False, slow(True)])
@pytest.mark.parametrize(
    "size", [slow(1e-36), 1e-25, slow(1e-19), slow(1e-3), slow(1e19), 1e25, 1e38]
)
def test_tiny_and_huge_gradients_have_their_norm(size, jit_compile):
    rows = size * np.array([[3.0, 2.0, -1.5, 0.5], [1.0, -2.0, 0.0, 0.25]])
    probe = one_weight_each(rows, jit_compile=jit_compile)
    expected = np.linalg.norm(rows.astype("float32").astype("float64"), axis=1)
    np.testing.assert_allclose(probe.norms[:, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(probe.global_norms, expected, rtol=1e-5)


@pytest.mark.parametrize("per_variable", [True, False])
@pytest.mark.parametrize("size", [1e-250, slow(1e-100), slow(1e100), 1e250])
def test_tiny_and_huge_gradients_in_float64_have_their_norm(size, per_variable):
    rows = np.array([[3.0, 4.0, 0.0], [0.0, 5.0, 12.0]])
    probe = one_weight_each(size * rows, "float64", per_variable=per_variable)
    np.testing.assert_allclose(probe.norms[:, 0] / size, [5, 13], rtol=1e-12)
    np.testing.assert_allclose(probe.global_norms / size, [5, 13], rtol=1e-12)


@pytest.mark.slow
def test_tiny_and_large_variables_together_keep_their_norms():
    """One is rescued from underflow, the other needs no rescue."""
    x, y = data()
    x[:, :3] *= 1e-28
    model, twin = (keras.Sequential([keras.Input((6,)), dense(3, 1)]) for _ in range(2))
    probe = GradientNorms()
    fit(model, sgd(), x, y, probe)
    assert_tells(probe, replay(twin, sgd(), batches(x, y)))


@pytest.mark.parametrize("jit_compile", [False, slow(True)])
def test_zero_infinity_and_nan_are_told_apart(jit_compile):
    rows = [
        [0.0, 0.0],
        [1.0, np.inf],
        [1.0, np.nan],
        [-np.inf, 2.0],
        [np.nan, np.inf],
        [3.0, 4.0],
    ]
    probe = one_weight_each(rows, jit_compile=jit_compile)
    expected = [0.0, np.inf, np.nan, np.inf, np.nan, 5.0]
    np.testing.assert_allclose(probe.norms[:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(probe.global_norms, expected, rtol=1e-6)


# Options


@pytest.mark.parametrize("compile_options", [slow({}), {"steps_per_execution": 4}])
@pytest.mark.parametrize("every", [slow(1), 3, slow(10), slow(11)])
def test_every_kth_update_is_recorded(every, compile_options):
    x, y = data()
    probe = GradientNorms(every=every)
    fit(network(), sgd(), x, y, probe, epochs=2, **compile_options)
    truth = replay(network(), sgd(), batches(x, y) * 2)
    steps = np.arange(0, 20, every)
    np.testing.assert_array_equal(probe.steps, steps)
    np.testing.assert_allclose(probe.norms, truth.norms[steps], rtol=1e-9)
    np.testing.assert_allclose(probe.ratios, truth.ratios[steps], rtol=1e-9)
    np.testing.assert_allclose(probe.global_norms, truth.global_norms[steps], rtol=1e-9)


def test_every_counts_updates_not_micro_batches():
    x, y = data()
    probe = GradientNorms(every=2)
    fit(network(), nesterov(gradient_accumulation_steps=3), x, y, probe, epochs=2)
    np.testing.assert_array_equal(probe.steps, [0, 2, 4])
    truth = replay(network(), nesterov(), batches(x, y) * 2, accumulate=3)
    np.testing.assert_allclose(probe.norms, truth.norms[::2], rtol=1e-9)


def test_without_variables_the_model_is_one_vector():
    x, y = data()
    probe = GradientNorms(per_variable=False)
    fit(network(), sgd(global_clipnorm=1.5), x, y, probe)
    truth = replay(network(), sgd(), batches(x, y), clips={"global_clipnorm": 1.5})
    assert list(probe.names) == ["model"]
    for field in ("norms", "clipped_norms", "ratios"):
        expected = getattr(truth, f"global_{field}")
        found = getattr(probe, field)
        assert found.shape == (10, 1)
        np.testing.assert_allclose(found[:, 0], expected, rtol=1e-9)
        np.testing.assert_allclose(getattr(probe, f"global_{field}"), expected)


@pytest.mark.parametrize("per_variable", [True, slow(False)])
def test_without_ratios_there_are_none(per_variable):
    x, y = data()
    probe = GradientNorms(ratios=False, per_variable=per_variable)
    history = fit(network(), sgd(clipvalue=0.3), x, y, probe)
    truth = replay(network(), sgd(), batches(x, y), clips={"clipvalue": 0.3})
    assert probe.ratios is None
    assert probe.global_ratios is None
    assert "update_ratio" not in history.history
    np.testing.assert_allclose(probe.global_norms, truth.global_norms, rtol=1e-9)
    np.testing.assert_allclose(
        probe.global_clipped_norms, truth.global_clipped_norms, rtol=1e-9
    )


@pytest.mark.parametrize("every", [0, -1, 1.5, "2", None])
def test_every_must_be_a_positive_integer(every):
    with pytest.raises(ValueError, match=rf"every .*Received: every={every!r}"):
        GradientNorms(every=every)


# History


@pytest.mark.parametrize("compile_options", [{}, slow({"steps_per_execution": 4})])
@pytest.mark.parametrize("per_variable", [True, slow(False)])
def test_history_summarises_each_epoch(per_variable, compile_options):
    x, y = data()
    probe = GradientNorms(per_variable=per_variable)
    history = fit(
        network(),
        sgd(clipnorm=0.8),
        x,
        y,
        probe,
        epochs=3,
        validation_data=(x, y),
        **compile_options,
    ).history
    norms = probe.global_norms.reshape(3, 10)
    ratios = probe.global_ratios.reshape(3, 10)
    np.testing.assert_allclose(history["gradient_norm"], norms.mean(axis=1))
    np.testing.assert_allclose(history["gradient_norm_max"], norms.max(axis=1))
    np.testing.assert_allclose(history["update_ratio"], ratios.mean(axis=1))
    assert [len(values) for values in history.values()] == [3] * 5


def test_history_is_of_plain_numbers_for_other_callbacks():
    x, y = data()
    seen = []

    class Reader(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(dict(logs))

    fit(network(), sgd(), x, y, [GradientNorms(), Reader()])
    assert all(type(value) is float for value in seen[0].values())
    assert {"gradient_norm", "gradient_norm_max", "update_ratio"} <= set(seen[0])


def test_an_epoch_without_a_recorded_update_has_nan_in_history():
    """Every key has as many entries as there are epochs."""
    x, y = data()
    probe = GradientNorms(every=15)
    history = fit(network(), sgd(), x, y, probe, epochs=3).history
    np.testing.assert_array_equal(probe.steps, [0, 15])
    assert np.isnan(history["gradient_norm"]).tolist() == [False, False, True]
    assert np.isnan(history["gradient_norm_max"]).tolist() == [False, False, True]
    assert np.isnan(history["update_ratio"]).tolist() == [False, False, True]


# Long epochs


@pytest.mark.parametrize(
    ("block", "every"),
    [(1, 1), slow(7, 1), slow(7, 2), slow(256, 1), (300, 1), slow(500, 2)],
)
def test_nothing_is_lost_in_a_long_epoch(block, every):
    """Each step has its own gradient, 1, 2, 3, ..., so none can be missed."""
    x = np.arange(1, 701, dtype="float32")[:, None]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    probe = GradientNorms(every=every)
    fit(
        model,
        keras.optimizers.SGD(0.0),
        x,
        x,
        probe,
        batch_size=1,
        loss=lambda y, y_hat: y_hat,
        steps_per_execution=block,
    )
    steps = np.arange(0, 700, every)
    np.testing.assert_array_equal(probe.steps, steps)
    np.testing.assert_array_equal(probe.norms[:, 0], steps + 1.0)
    np.testing.assert_array_equal(probe.global_norms, steps + 1.0)


def test_data_of_unknown_length_adds_no_rows():
    """The end of such data comes as an error within the step."""
    x, y = data()
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)
    dataset = dataset.filter(lambda x, y: True)
    probe = GradientNorms()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*ran out of data")
        fit(network(), sgd(), dataset, None, probe, batch_size=None, epochs=3)
    truth = replay(network(), sgd(), batches(x, y) * 3)
    assert np.all(np.diff(probe.steps) > 0)
    np.testing.assert_allclose(probe.norms, truth.norms, rtol=1e-9)
    np.testing.assert_allclose(probe.ratios, truth.ratios, rtol=1e-9)


@pytest.mark.slow
def test_arrays_are_up_to_date_at_each_epochs_end():
    x, y = data()
    seen = []
    probe = GradientNorms()
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(len(probe.norms))
    )
    fit(network(), sgd(), x, y, [probe, look], epochs=3)
    assert seen == [10, 20, 30]


# TensorBoard


def scalars(folder):
    """Tag to list of (step, value), from all event files below `folder`."""
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    found = {}
    for file in sorted(folder.rglob("*tfevents*")):
        events = event_accumulator.EventAccumulator(
            str(file), size_guidance={"tensors": 0, "scalars": 0}
        )
        events.Reload()
        for tag in events.Tags()["tensors"]:
            found.setdefault(tag, []).extend(
                (e.step, float(tf.make_ndarray(e.tensor_proto)))
                for e in events.Tensors(tag)
            )
    return found


@pytest.mark.parametrize("ratios", [True, slow(False)])
def test_tensorboard_shows_each_step_and_variable(tmp_path, ratios):
    pytest.importorskip("tensorboard")
    x, y = data()
    probe = GradientNorms(log_dir=str(tmp_path), every=2, ratios=ratios)
    fit(network(), sgd(clipnorm=0.8), x, y, probe, epochs=2)
    found = scalars(tmp_path)
    columns = {
        "gradient_norm": probe.global_norms,
        "clipped_gradient_norm": probe.global_clipped_norms,
    }
    if ratios:
        columns["update_ratio"] = probe.global_ratios
    for i, name in enumerate(probe.names):
        columns[f"gradient_norm/{name}"] = probe.norms[:, i]
        columns[f"clipped_gradient_norm/{name}"] = probe.clipped_norms[:, i]
        if ratios:
            columns[f"update_ratio/{name}"] = probe.ratios[:, i]
    assert set(found) == set(columns)
    for tag, values in columns.items():
        steps, shown = zip(*sorted(found[tag]), strict=True)
        np.testing.assert_array_equal(steps, probe.steps)
        np.testing.assert_allclose(shown, values, rtol=1e-6, err_msg=tag)


@pytest.mark.slow
def test_tensorboard_goes_on_in_the_next_fit(tmp_path):
    pytest.importorskip("tensorboard")
    x, y = data()
    model = network()
    probe = GradientNorms(log_dir=str(tmp_path), per_variable=False)
    fit(model, sgd(), x, y, probe)
    refit(model, x, y, probe)
    shown = sorted(scalars(tmp_path)["gradient_norm"])
    np.testing.assert_array_equal([step for step, _ in shown], np.arange(20))
    np.testing.assert_allclose(
        [value for _, value in shown], probe.global_norms, rtol=1e-6
    )


def test_missing_tensorboard_is_named_with_its_extra(tmp_path, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: (
            None if name.startswith("tensorboard") else find_spec(name, *rest)
        ),
    )
    with pytest.raises(ImportError, match=r"keras_dnn\[tensorboard\]"):
        GradientNorms(log_dir=str(tmp_path))
    GradientNorms()


# Its life with a model


def traces_of_ours(*things):
    """Attributes whose names or values come from keras_dnn's callbacks."""
    found = []
    for thing in things:
        for name, value in vars(thing).items():
            module = getattr(value, "__module__", None) or type(value).__module__
            if "keras_dnn.callbacks" in str(module):
                found.append(name)
        found += [
            name
            for name in ("apply", "_clip_gradients", "make_train_function", "fit")
            if name in vars(thing)
        ]
    return found


def parts(model):
    """The model and its optimizers, also the one inside another."""
    inner = getattr(model.optimizer, "inner_optimizer", None)
    return [part for part in (model, model.optimizer, inner) if part is not None]


def trained_weights(make, mode, probes):
    x, y = data(dtype="float32")
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, activation="tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(3, kernel_constraint=keras.constraints.MaxNorm(1.0)),
        ]
    )
    options, arguments = {}, {}
    if mode == "jit":
        options["jit_compile"] = True
    if mode == "blocks":
        options["steps_per_execution"] = 4
    if mode == "accumulate":
        arguments["gradient_accumulation_steps"] = 3
    optimizer = make(clipnorm=0.8, **arguments)
    if mode == "scaled":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    losses = fit(model, optimizer, x, y, probes, epochs=2, **options).history["loss"]
    state = [w.numpy() for w in model.variables + model.optimizer.variables]
    return losses, state


@pytest.mark.parametrize(
    "mode", ["default", *map(slow, ("blocks", "jit", "scaled", "accumulate"))]
)
@pytest.mark.parametrize("make", [slow(sgd), adam, slow(nesterov)])
def test_training_is_the_same_to_the_last_bit(make, mode):
    losses, weights = trained_weights(make, mode, [])
    seen_losses, seen_weights = trained_weights(make, mode, [GradientNorms(every=2)])
    assert seen_losses == losses
    for seen, weight in zip(seen_weights, weights, strict=True):
        np.testing.assert_array_equal(seen, weight)


def test_a_model_fitted_before():
    x, y = data()
    model, twin = network(), network()
    probe = GradientNorms()
    fit(model, sgd(), x, y, [])
    refit(model, x, y, probe)
    truth = replay(twin, sgd(), batches(x, y) * 2)
    np.testing.assert_array_equal(probe.steps, np.arange(10, 20))
    np.testing.assert_allclose(probe.norms, truth.norms[10:], rtol=1e-9)
    np.testing.assert_allclose(probe.ratios, truth.ratios[10:], rtol=1e-9)


@pytest.mark.parametrize("clips", [slow({}), {"clipnorm": 0.8}])
def test_fit_again_adds_to_the_record(clips):
    x, y = data()
    model = network()
    probe = GradientNorms()
    fit(model, sgd(**clips), x, y, probe)
    refit(model, x, y)
    refit(model, x, y, probe)
    truth = replay(network(), sgd(), batches(x, y) * 3, clips=clips)
    seen = np.r_[0:10, 20:30]
    np.testing.assert_array_equal(probe.steps, seen)
    for field, expected in truth._asdict().items():
        np.testing.assert_allclose(
            getattr(probe, field), expected[seen], rtol=1e-9, err_msg=field
        )


@pytest.mark.slow
def test_fit_again_reports_only_its_own_epochs():
    x, y = data()
    model = network()
    probe = GradientNorms()
    fit(model, sgd(), x, y, probe)
    history = refit(model, x, y, probe).history
    np.testing.assert_allclose(
        history["gradient_norm"], [probe.global_norms[10:].mean()]
    )


def test_another_optimizer_starts_a_new_record():
    x, y = data()
    model = network()
    probe = GradientNorms()
    fit(model, sgd(), x, y, probe)
    weights = model.get_weights()
    fit(model, adam(), x, y, probe)
    twin = network()
    twin.set_weights(weights)
    assert_tells(probe, replay(twin, adam(), batches(x, y)))


@pytest.mark.slow
def test_another_model_starts_a_new_record():
    x, y = data()
    probe = GradientNorms()
    fit(network(), sgd(), x, y, probe)
    fit(Subclassed(), sgd(), x, y, probe)
    twin = Subclassed()
    twin(x[:1])
    assert_tells(probe, replay(twin, sgd(), batches(x, y)))


@pytest.mark.slow
def test_freezing_a_layer_and_compiling_anew():
    x, y = data()
    model = network()
    probe = GradientNorms()
    fit(model, sgd(), x, y, probe)
    model.layers[0].trainable = False
    fit(model, sgd(), x, y, probe)
    assert probe.norms.shape == (10, 2)
    assert list(probe.names) == [w.path for w in model.layers[1].weights]


@pytest.mark.parametrize("make", [slow(sgd), slow(adam), slow(nesterov), "scaled"])
def test_nothing_is_left_on_model_and_optimizer(make):
    x, y = data()

    def left(probes):
        model = network()
        optimizer = (
            keras.optimizers.LossScaleOptimizer(sgd()) if make == "scaled" else make()
        )
        fit(model, optimizer, x, y, probes)
        return model, [sorted(vars(part)) for part in parts(model)]

    _, expected = left([])
    model, found = left([GradientNorms()])
    assert found == expected
    assert traces_of_ours(*parts(model)) == []


def test_the_graph_that_fed_the_probe_is_not_used_again():
    x, y = data()
    model = network()
    during = []
    look = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: during.append(model.train_function)
    )
    fit(model, sgd(), x, y, [GradientNorms(), look])
    assert during[0] is not None
    assert model.train_function is not during[0]


class PlannedError(Exception):
    pass


class Bomb(keras.layers.Layer):
    """Raises in the step graph when it sees a value beyond 100."""

    def call(self, x):
        with tf.control_dependencies([tf.debugging.assert_less(x, 100.0 + 0 * x)]):
            return tf.identity(x)


class Raises(keras.callbacks.Callback):
    """Raises `error` at the third batch."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_train_batch_end(self, batch, logs=None):
        if batch == 2:
            # A class: an instance kept here would keep its frames, and `fit` in them.
            raise self.error


def break_in_layer(model, x, y, probe):
    bad = x.copy()
    bad[3 * BATCH] = 1000.0
    refit(model, bad, y, probe)


def break_in_callback_after(model, x, y, probe):
    refit(model, x, y, [probe, Raises(PlannedError)])


def break_in_callback_before(model, x, y, probe):
    refit(model, x, y, [Raises(PlannedError), probe])


def break_in_data(model, x, y, probe):
    def source():
        yield from batches(x, y)[:3]
        raise PlannedError

    refit(model, source(), None, probe, batch_size=None)


def break_in_validation(model, x, y, probe):
    def source():
        yield from batches(x, y)[:3]
        raise PlannedError

    model.fit(
        x,
        y,
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
        callbacks=[probe],
        validation_data=source(),
    )


def break_by_keyboard(model, x, y, probe):
    refit(model, x, y, [probe, Raises(KeyboardInterrupt)])


BREAKS = {
    break_in_layer: 3,
    break_in_callback_after: 3,
    break_in_callback_before: 3,
    break_in_data: 3,
    break_in_validation: 10,
    break_by_keyboard: 3,
}
RARE = (break_in_callback_before, break_by_keyboard)
BREAK_PARAMS = [
    pytest.param(
        act,
        updates,
        id=act.__name__,
        marks=pytest.mark.slow if act in RARE else [],
    )
    for act, updates in BREAKS.items()
]
# What the next `fit` does hangs on where the error struck, in the graph or outside.
NEXT_FIT_PARAMS = [
    pytest.param(
        act,
        updates,
        id=act.__name__,
        marks=[] if act is break_in_layer else pytest.mark.slow,
    )
    for act, updates in BREAKS.items()
]


def fragile():
    return keras.Sequential(
        [
            keras.Input((6,)),
            Bomb(dtype="float64"),
            dense(5, 1, activation="tanh"),
            dense(3, 2),
        ]
    )


def break_it(act, model, x, y, probe):
    """Runs `act`, whose error ends here as it would in a notebook cell."""
    try:
        act(model, x, y, probe)
    except (PlannedError, KeyboardInterrupt, tf.errors.OpError, StopIteration):
        return
    pytest.fail("nothing was raised")


@pytest.mark.parametrize(("act", "updates"), BREAK_PARAMS)
def test_after_an_error_nothing_is_left_and_nothing_is_lost(act, updates):
    x, y = data()
    model = fragile()
    model.compile(sgd(clipnorm=0.8), "mse")
    probe = GradientNorms()
    break_it(act, model, x, y, probe)
    assert traces_of_ours(*parts(model)) == []
    assert len(probe.norms) == updates
    truth = replay(network(), sgd(), batches(x, y)[:updates], clips={"clipnorm": 0.8})
    assert_tells(probe, truth)


@pytest.mark.parametrize(("act", "updates"), NEXT_FIT_PARAMS)
def test_after_an_error_the_next_fit_is_as_if_no_probe_had_been(act, updates):
    x, y = data()

    def train(first, second):
        model = fragile()
        model.compile(sgd(clipnorm=0.8), "mse")
        break_it(act, model, x, y, first)
        refit(model, x, y, second)
        return model

    plain = train(keras.callbacks.Callback(), [])
    without = train(GradientNorms(), [])
    probe = GradientNorms()
    again = train(probe, probe)
    for model in (without, again):
        assert traces_of_ours(*parts(model)) == []
        assert sorted(vars(model)) == sorted(vars(plain))
        assert sorted(vars(model.optimizer)) == sorted(vars(plain.optimizer))
        for a, b in zip(model.variables, plain.variables, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    # A step that failed in the graph may count as an update for Keras.
    end = int(plain.optimizer.iterations.numpy())
    np.testing.assert_array_equal(probe.steps, np.r_[0:updates, end - 10 : end])


@pytest.mark.slow
def test_an_error_kept_in_hand_keeps_the_record_too():
    """As `pytest.raises` and debuggers keep it, with all its frames."""
    x, y = data()
    model = network()
    model.compile(sgd(), "mse")
    probe = GradientNorms()
    with pytest.raises(PlannedError) as kept:
        refit(model, x, y, [probe, Raises(PlannedError)])
    assert kept.value is not None
    refit(model, x, y, probe)
    assert traces_of_ours(*parts(model)) == []
    np.testing.assert_array_equal(probe.steps, np.arange(13))


def test_garbage_collected_while_another_model_is_traced_loses_nothing():
    """Where an error holds its own frames, only the collector ends the `fit`."""
    x, y = data()
    model = network()
    model.compile(sgd(), "mse")
    probe = GradientNorms()
    # What other tests left is none of this collector's business.
    gc.freeze()
    gc.disable()
    try:
        # A callback that keeps the error it raises closes the circle.
        break_it(
            lambda m, x, y, p: refit(m, x, y, [p, Raises(PlannedError())]),
            model,
            x,
            y,
            probe,
        )

        @tf.function
        def another():
            gc.collect()
            return tf.zeros(())

        another()
    finally:
        gc.enable()
        gc.unfreeze()
    np.testing.assert_array_equal(probe.steps, np.arange(3))
    assert traces_of_ours(*parts(model)) == []


@pytest.mark.slow
def test_an_error_before_the_first_step_leaves_nothing():
    x, y = data()
    model = network()
    model.compile(sgd(), "mse")

    class AtBegin(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            raise PlannedError

    break_it(
        lambda m, x, y, p: refit(m, x, y, [p, AtBegin()]), model, x, y, GradientNorms()
    )
    assert traces_of_ours(*parts(model)) == []
    probe = GradientNorms()
    refit(model, x, y, probe)
    assert_tells(probe, replay(network(), sgd(), batches(x, y)))


@pytest.mark.slow
def test_training_that_is_stopped_early():
    x, y = data()
    model = network()
    probe = GradientNorms()
    stop = keras.callbacks.EarlyStopping("loss", min_delta=1e9)
    history = fit(model, sgd(), x, y, [probe, stop], epochs=5).history
    assert len(history["gradient_norm"]) == len(probe.norms) // 10 == 2
    assert traces_of_ours(*parts(model)) == []


def test_training_that_is_stopped_within_an_epoch():
    x, y = data()
    model = network()
    probe = GradientNorms()

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 3

    fit(model, sgd(), x, y, [probe, Stop()], epochs=5)
    assert_tells(probe, replay(network(), sgd(), batches(x, y)[: len(probe.steps)]))
    assert traces_of_ours(*parts(model)) == []


@pytest.mark.slow
def test_early_stopping_can_watch_the_gradient_norm():
    x, y = data()
    stop = keras.callbacks.EarlyStopping("gradient_norm", min_delta=1e9, mode="min")
    history = fit(network(), sgd(), x, y, [GradientNorms(), stop], epochs=5).history
    assert len(history["loss"]) == 2


# Company


@pytest.mark.parametrize("order", [1, slow(-1)])
def test_two_probes_each_tell_the_truth(order):
    x, y = data()
    model = network()
    probe = GradientNorms()
    other = GradientNorms(per_variable=False, every=2, ratios=False)
    fit(model, sgd(clipnorm=0.8), x, y, [probe, other][::order])
    truth = replay(network(), sgd(), batches(x, y), clips={"clipnorm": 0.8})
    assert_tells(probe, truth)
    np.testing.assert_array_equal(other.steps, np.arange(0, 10, 2))
    np.testing.assert_allclose(other.norms[:, 0], truth.global_norms[::2], rtol=1e-9)
    assert traces_of_ours(*parts(model)) == []


@pytest.mark.parametrize("order", [slow(1), slow(-1)])
def test_two_probes_after_an_error_and_with_one_of_them_next(order):
    x, y = data()
    model = fragile()
    model.compile(sgd(), "mse")
    probes = [GradientNorms(), GradientNorms(per_variable=False)][::order]
    break_it(
        lambda m, x, y, p: refit(m, x, y, [*probes, Raises(PlannedError)]),
        model,
        x,
        y,
        None,
    )
    refit(model, x, y, probes[0])
    assert [len(p.steps) for p in probes] == [13, 3]
    assert traces_of_ours(*parts(model)) == []


@pytest.mark.slow
def test_two_models_at_once():
    """The second is trained at each epoch of the first, with its own probe."""
    x, y = data()
    outer, inner = network(), Subclassed()
    inner.compile(adam(clipnorm=0.5), "mse")
    inner_probe, outer_probe = GradientNorms(), GradientNorms()
    nested = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: refit(inner, x, y, inner_probe)
    )
    fit(outer, sgd(), x, y, [outer_probe, nested], epochs=2)
    assert_tells(outer_probe, replay(network(), sgd(), batches(x, y) * 2))
    twin = Subclassed()
    twin(x[:1])
    truth = replay(twin, adam(), batches(x, y) * 2, clips={"clipnorm": 0.5})
    assert_tells(inner_probe, truth)
    assert traces_of_ours(*parts(outer), *parts(inner)) == []


def test_a_ready_callback_list():
    x, y = data()
    model = network()
    model.compile(sgd(), "mse")
    probe = GradientNorms()
    ready = keras.callbacks.CallbackList([probe], add_history=True, model=model)
    history = refit(model, x, y, ready)
    assert_tells(probe, replay(network(), sgd(), batches(x, y)))
    np.testing.assert_allclose(
        history.history["gradient_norm"], [probe.global_norms.mean()]
    )
    assert traces_of_ours(*parts(model)) == []


@pytest.mark.slow
def test_a_ready_callback_list_after_an_error():
    x, y = data()
    model = network()
    model.compile(sgd(), "mse")
    probe = GradientNorms()
    ready = keras.callbacks.CallbackList(
        [probe, Raises(PlannedError)], add_history=True, model=model
    )
    break_it(lambda m, x, y, p: refit(m, x, y, ready), model, x, y, probe)
    refit(model, x, y, probe)
    np.testing.assert_array_equal(probe.steps, np.arange(13))
    assert traces_of_ours(*parts(model)) == []


class OwnStep(keras.Model):
    """A custom `train_step` that goes through the optimizer's `apply_gradients`."""

    def __init__(self):
        super().__init__()
        self.first = dense(5, 1, activation="tanh")
        self.last = dense(3, 2)

    def call(self, x):
        return self.last(self.first(x))

    def train_step(self, batch):
        x, y = batch
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(
            zip(gradients, self.trainable_weights, strict=True)
        )
        return {"loss": loss}


@pytest.mark.slow
def test_a_train_step_of_ones_own():
    x, y = data()
    probe = GradientNorms()
    fit(OwnStep(), sgd(clipnorm=0.8), x, y, probe)
    twin = Subclassed()
    twin(x[:1])
    truth = replay(twin, sgd(), batches(x, y), clips={"clipnorm": 0.8})
    assert_tells(probe, truth)


@pytest.mark.slow
def test_saving_during_and_after_fit(tmp_path):
    x, y = data()
    model = network()
    probe = GradientNorms()
    path = str(tmp_path / "{epoch}.keras")
    save = keras.callbacks.ModelCheckpoint(path)
    fit(model, sgd(clipnorm=0.8), x, y, [probe, save], epochs=2)
    model.save(tmp_path / "last.keras")
    during = keras.saving.load_model(tmp_path / "2.keras")
    after = keras.saving.load_model(tmp_path / "last.keras")
    for loaded in (during, after):
        for a, b in zip(loaded.variables, model.variables, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
        assert traces_of_ours(*parts(loaded)) == []
    # Training goes on from there, with and without.
    refit(model, x, y)
    refit(after, x, y, GradientNorms())
    for a, b in zip(after.variables, model.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_multi_optimizer_is_refused():
    if not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip("this Keras has no MultiOptimizer")
    x, y = data()
    model = network()
    each = keras.optimizers.OptimizerMap(sgd(), {".*kernel": adam()})
    model.compile(keras.optimizers.MultiOptimizer(each), "mse")
    probe = GradientNorms()
    with pytest.raises(ValueError, match="MultiOptimizer"):
        refit(model, x, y, probe)
    assert traces_of_ours(*parts(model)) == []
    refit(model, x, y)


# Pictures


def test_plot_shows_the_recorded_norms():
    figure_module = pytest.importorskip("matplotlib.figure")
    x, y = data()
    probe = GradientNorms()
    fit(network(), sgd(clipnorm=0.8), x, y, probe)
    figure = probe.plot()
    assert isinstance(figure, figure_module.Figure)
    lines = [line for ax in figure.axes for line in ax.get_lines()]
    shown = {"clip" in line.get_label(): line for line in lines}
    for clipped, values in (
        (False, probe.global_norms),
        (True, probe.global_clipped_norms),
    ):
        np.testing.assert_array_equal(shown[clipped].get_xdata(), probe.steps)
        np.testing.assert_allclose(shown[clipped].get_ydata(), values, rtol=1e-12)
    (heat_map,) = [image for ax in figure.axes for image in ax.get_images()]
    np.testing.assert_allclose(10 ** heat_map.get_array(), probe.norms.T, rtol=1e-9)


def test_plot_needs_something_recorded():
    with pytest.raises(ValueError, match="fit"):
        GradientNorms().plot()


def test_missing_matplotlib_is_named_with_its_extra(monkeypatch):
    x, y = data()
    probe = GradientNorms()
    fit(network(), sgd(), x, y, probe)
    for name in [m for m in sys.modules if m.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"keras_dnn\[plot\]"):
        probe.plot()


def test_arguments_are_those_of_the_design():
    names = list(inspect.signature(GradientNorms).parameters)
    assert names == ["per_variable", "every", "log_dir", "ratios"]
