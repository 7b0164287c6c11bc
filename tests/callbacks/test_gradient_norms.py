"""Every number of `GradientNorms` against a replay of the training it watched."""

import keras
import numpy as np
import pytest

from keras_dnn.callbacks import GradientNorms
from tests.callbacks.gradient_replay import (
    CLIPS,
    MODES,
    OPTIMIZERS,
    OPTIONS,
    Subclassed,
    adam,
    assert_tells,
    batches,
    data,
    dense,
    fit,
    in_float64,  # noqa: F401
    mixed_float16,
    nesterov,
    network,
    replay,
    sgd,
    slow,
)

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
