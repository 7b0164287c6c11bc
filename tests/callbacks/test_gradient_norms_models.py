"""`GradientNorms` with every kind of model, and with several optimizers or replicas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.callbacks import GradientNorms
from keras_dnn.optimizers import Adam
from tests.callbacks.gradient_replay import (  # noqa: F401
    BATCH,
    CLIPS,
    MODES,
    OPTIMIZERS,
    OPTIONS,
    Subclassed,
    adam,
    assert_recorded,
    batches,
    data,
    dense,
    fit_again,
    in_float64,
    mixed_float16,
    nesterov,
    network,
    replay,
    several,
    sgd,
    train,
)
from tests.callbacks.harness import slow
from tests.keras_versions import needs_keras


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
    train(model, sgd(clipnorm=0.8), x, y, probe)
    twin(x[:1])
    assert_recorded(
        probe, replay(twin, sgd(), batches(x, y), clips={"clipnorm": 0.8}), 1e-9
    )
    assert list(probe.names) == [w.path for w in model.trainable_variables]


@pytest.mark.slow
def test_variables_that_training_does_not_touch_are_not_recorded():
    x, y = data()
    model, twin = with_batch_norm(), with_batch_norm()
    probe = GradientNorms()
    train(model, adam(), x, y, probe)
    assert_recorded(probe, replay(twin, adam(), batches(x, y)))
    assert probe.norms.shape == (10, 5)
    assert not any("moving" in name for name in probe.names)


def test_a_frozen_layer_is_not_recorded():
    x, y = data()
    model, twin = network(), network()
    model.layers[0].trainable = twin.layers[0].trainable = False
    probe = GradientNorms()
    train(model, sgd(), x, y, probe)
    assert list(probe.names) == [w.path for w in model.layers[1].weights]
    assert_recorded(probe, replay(twin, sgd(), batches(x, y)))


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
def test_a_custom_train_step():
    x, y = data()
    probe = GradientNorms()
    train(OwnStep(), sgd(clipnorm=0.8), x, y, probe)
    twin = Subclassed()
    twin(x[:1])
    truth = replay(twin, sgd(), batches(x, y), clips={"clipnorm": 0.8})
    assert_recorded(probe, truth)


@pytest.mark.parametrize("make", [slow(sgd), nesterov])
@pytest.mark.parametrize("jit_compile", [False, slow(True)])
def test_the_ratio_is_that_of_the_update_after_constraints(make, jit_compile):
    x, y = data()
    constraint = {"kernel_constraint": keras.constraints.MaxNorm(0.5)}
    free, probe = GradientNorms(), GradientNorms()
    train(network(), make(), x, y, free)
    train(network(**constraint), make(), x, y, probe, jit_compile=jit_compile)
    assert_recorded(probe, replay(network(**constraint), make(), batches(x, y)))
    assert not np.isclose(probe.ratios[0, 0], free.ratios[0, 0], rtol=1e-2)


@pytest.mark.slow
def test_weights_that_are_all_zero_have_no_ratio():
    x, y = data()
    zeros = {"bias_initializer": "zeros"}
    probe = GradientNorms()
    train(network(**zeros), sgd(), x, y, probe)
    assert np.isnan(probe.ratios[0, 1])
    assert_recorded(probe, replay(network(**zeros), sgd(), batches(x, y)))


# Embeddings


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
    train(embedded(), make(**arguments), x, y, probe, jit_compile=mode == "jit")
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
    train(embedded(), nesterov(clipnorm=0.3), x, y, probe)
    truth = replay(embedded(), nesterov(), batches(x, y), clips={"clipnorm": 0.3})
    assert_recorded(probe, truth)


# Variables without a gradient


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
    train(partly_idle(), optimizer, x, y, probe, jit_compile=mode == "jit")
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
        train(partly_idle(), sgd(), x, y, GradientNorms())


# Several optimizers


@pytest.mark.parametrize(
    "options", [{}, slow({"jit_compile": True}), slow({"steps_per_execution": 4})]
)
def test_with_a_multi_optimizer_each_variable_has_its_norms(options):
    x, y = data()
    model, twin = network(), network()
    twin.set_weights(model.get_weights())
    probe = GradientNorms()
    train(
        model,
        several(Adam(0.02, clipnorm=0.3), sgd(clipvalue=0.1)),
        x,
        y,
        probe,
        **options,
    )
    alone = several(keras.optimizers.Adam(0.02, clipnorm=0.3), sgd(clipvalue=0.1))
    truth = replay(twin, alone, batches(x, y))
    np.testing.assert_allclose(probe.norms, truth.norms, rtol=1e-9)
    np.testing.assert_allclose(probe.ratios, truth.ratios, rtol=1e-9)
    np.testing.assert_array_equal(probe.steps, np.arange(10))
    kernels = ["kernel" in name for name in probe.names]
    np.testing.assert_allclose(
        probe.clipped_norms[:, kernels],
        np.minimum(truth.norms[:, kernels], 0.3),
        rtol=1e-9,
    )
    assert (probe.clipped_norms < truth.norms - 1e-9).any(axis=0).sum() >= 3


@needs_keras(15, "have a MultiOptimizer")
def test_a_multi_optimizer_chosen_by_a_function():
    kernels, biases = Adam(0.02), sgd()

    def choose(variable):
        return kernels if "kernel" in variable.path else biases

    x, y = data()
    model, twin = network(), network()
    twin.set_weights(model.get_weights())
    probe = GradientNorms()
    train(model, keras.optimizers.MultiOptimizer(choose), x, y, probe)
    alone = several(keras.optimizers.Adam(0.02), sgd())
    truth = replay(twin, alone, batches(x, y))
    np.testing.assert_allclose(probe.norms, truth.norms, rtol=1e-9)
    np.testing.assert_allclose(probe.ratios, truth.ratios, rtol=1e-9)


@pytest.mark.parametrize("every", [1, 2])
def test_updates_of_several_optimizers_that_accumulate_are_counted(every):
    x, y = data()
    probe = GradientNorms(every=every)
    parts = (make(gradient_accumulation_steps=2) for make in (nesterov, sgd))
    train(network(), several(*parts), x, y, probe)
    truth = replay(network(), several(nesterov(), sgd()), batches(x, y), accumulate=2)
    np.testing.assert_array_equal(probe.steps, np.arange(5)[::every])
    np.testing.assert_allclose(probe.norms, truth.norms[::every], rtol=1e-9)
    np.testing.assert_allclose(probe.ratios, truth.ratios[::every], rtol=1e-9)


# Two replicas


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
    train(model, optimizer, x, y, probe)
    truth = replay(network(), make(), batches(x, y), clips=clips, accumulate=accumulate)
    assert_recorded(probe, truth)


@pytest.mark.slow
def test_on_two_replicas_embedding_rows_are_added_up(two_replicas):
    _, y = data(24)
    x = np.random.default_rng(0).integers(0, 3, size=(24, 5))
    with two_replicas.scope():
        model, optimizer = embedded(), nesterov(clipnorm=0.3)
    probe = GradientNorms()
    train(model, optimizer, x, y, probe)
    truth = replay(embedded(), nesterov(), batches(x, y), clips={"clipnorm": 0.3})
    assert_recorded(probe, truth)
