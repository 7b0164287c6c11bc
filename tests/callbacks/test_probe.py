"""The probe of the guide against a replay in float64, and what each hook is given."""

import itertools
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from sybil import Document
from sybil.parsers import markdown

from keras_dnn import optimizers as ours
from keras_dnn.callbacks import Probe
from tests.callbacks.gradient_replay import (
    adam,
    batches,
    in_float64,  # noqa: F401
    nesterov,
    network,
    replay,
    several,
    sgd,
    updates,
)
from tests.callbacks.harness import (
    MODES,
    Raise,
    assert_identical,
    fit,
    interrupted,
    leftovers,
    regression,
    slow,
    state,
)

pytestmark = pytest.mark.as_in_keras

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "writing_a_probe.md"


def classes_of_the_guide():
    """The probes that the guide writes, from its own text."""
    document = Document.parse(str(GUIDE), markdown.PythonCodeBlockParser())
    for example in document:
        example.evaluate()
    return document.namespace


NAMES = classes_of_the_guide()
GradientCosines, Moves = NAMES["GradientCosines"], NAMES["Moves"]


def data(samples=24):
    """In whole batches of four, which replicas divide evenly."""
    return regression(samples, scale=2.0, dtype="float64")


def compiled(optimizer, **options):
    model = network()
    model.compile(optimizer, "mse", **options)
    return model


# The cosines of the guide


def cosines_of(gradients):
    """By the definition, between the gradients of neighbouring updates."""
    return np.array(
        [
            [
                np.sum(a * b) / (np.linalg.norm(a) * np.linalg.norm(b))
                for a, b in zip(first, second, strict=True)
            ]
            for first, second in itertools.pairwise(gradients)
        ]
    )


def expected_cosines(optimizer, **options):
    """The cosines of a training by hand."""
    found = updates(network(), optimizer, batches(*data()), **options)
    return cosines_of([update.gradients for update in found])


def assert_cosines(probe, expected):
    np.testing.assert_array_equal(probe.record.steps, np.arange(1 + len(expected)))
    assert np.isnan(probe.record.values[0]).all()
    np.testing.assert_allclose(probe.record.values[1:], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("make", [adam, nesterov])
@pytest.mark.parametrize("mode", MODES)
def test_cosines_in_every_mode(mode, make, accumulate):
    steps = {"gradient_accumulation_steps": 2} if accumulate == 2 else {}
    probe = GradientCosines()
    model = compiled(make(**steps), **MODES[mode])
    fit(model, data(), probe)
    assert_cosines(probe, expected_cosines(make(), accumulate=accumulate))
    assert leftovers(model) == []


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("mode", ["default", slow("jit"), slow("blocks")])
def test_cosines_with_several_optimizers(mode, accumulate):
    steps = {"gradient_accumulation_steps": 2} if accumulate == 2 else {}
    probe = GradientCosines()
    optimizer = several(nesterov(**steps), sgd(**steps))
    fit(compiled(optimizer, **MODES[mode]), data(), probe)
    assert_cosines(
        probe, expected_cosines(several(nesterov(), sgd()), accumulate=accumulate)
    )


@pytest.mark.parametrize(
    ("make", "accumulate"),
    # Keras's optimizers cannot accumulate on replicas.
    [(nesterov, 1), (nesterov, 2), (sgd, 1)],
)
def test_cosines_on_two_replicas(two_replicas, make, accumulate):
    steps = {"gradient_accumulation_steps": 2} if accumulate == 2 else {}
    probe = GradientCosines()
    with two_replicas.scope():
        model = compiled(make(**steps))
    fit(model, data(), probe)
    assert_cosines(probe, expected_cosines(make(), accumulate=accumulate))


def test_cosines_under_a_loss_scale():
    probe = GradientCosines()
    optimizer = keras.optimizers.LossScaleOptimizer(nesterov(), initial_scale=2.0**10)
    fit(compiled(optimizer), data(), probe)
    assert_cosines(probe, expected_cosines(nesterov()))


def test_clipping_leaves_the_gradients_before_it():
    probe = GradientCosines()
    fit(compiled(sgd(clipvalue=0.1)), data(), probe)
    assert_cosines(probe, expected_cosines(sgd(), clips={"clipvalue": 0.1}))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_update_that_is_left_out_leaves_no_row_and_no_state(accumulate):
    """The cosine after it is that with the last gradient that was used."""
    x, y = data(28)
    bad = x.copy()
    bad[9] = np.nan
    steps = {"gradient_accumulation_steps": 2} if accumulate == 2 else {}
    probe = GradientCosines()
    fit(compiled(ours.SGD(0.1, nonfinite="skip", **steps)), (bad, y), probe)
    # The bad batch is the third; in accumulation it takes the fourth with it.
    left_out = [2] if accumulate == 1 else [2, 3]
    used = [b for i, b in enumerate(batches(x, y)) if i not in left_out]
    gradients = [
        update.gradients
        for update in updates(network(), ours.SGD(0.1), used, accumulate=accumulate)
    ]
    assert_cosines(probe, cosines_of(gradients))


@pytest.mark.parametrize("make", [adam, nesterov])
@pytest.mark.parametrize("mode", ["default", slow("jit")])
def test_training_ends_as_without_the_probe(make, mode):
    ends = []
    for callbacks in ([], [GradientCosines(), Moves()]):
        model = compiled(make(gradient_accumulation_steps=2), **MODES[mode])
        fit(model, data(), callbacks, epochs=2)
        ends.append(state(model))
    assert_identical(*ends)


# What each hook is given


def test_weights_before_and_after_the_update():
    probe = Moves()
    fit(compiled(nesterov(gradient_accumulation_steps=3)), data(), probe)
    moved = [
        np.linalg.norm(np.concatenate([m.ravel() for m in update.moved]))
        for update in updates(network(), nesterov(), batches(*data()), accumulate=3)
    ]
    np.testing.assert_allclose(probe.record.values[:, 0], moved, rtol=1e-9)


class Everything(Probe):
    """Puts norms into records, and counts its hooks in variables."""

    def create(self, variables):
        self.trained = list(variables)
        self.raw = self.add_record(len(variables), name="raw")
        self.clipped = self.add_record(len(variables), name="clipped")
        self.losses = self.add_variable((), "float64")
        self.counts = {
            hook: self.add_variable((), "int32")
            for hook in ("loss", "before", "after", "updated")
        }

    def count(self, hook):
        self.counts[hook].assign_add(1)

    def on_loss(self, loss):
        self.losses.assign_add(tf.cast(loss, tf.float64))
        self.count("loss")

    def before_update(self, step):
        self.count("before")

    def on_gradients(self, step, indices, gradients, clipped):
        for i, gradient in zip(indices, gradients, strict=True):
            assert gradient.shape == self.trained[i].shape
        self.raw.put(step, [tf.norm(g) for g in gradients], indices)
        self.clipped.put(step, tf.stack([tf.norm(g) for g in clipped]), indices)

    def after_update(self, step):
        self.count("after")
        step.when_updated(lambda: self.count("updated"))

    def on_train_end(self, logs=None):
        self.counted = {hook: int(v.numpy()) for hook, v in self.counts.items()}
        self.total_loss = float(self.losses.numpy())
        super().on_train_end(logs)


@pytest.mark.parametrize("make", [adam, nesterov])
@pytest.mark.parametrize("accumulate", [None, 3])
def test_every_hook_is_called_as_often_as_it_says(make, accumulate):
    probe = Everything()
    fit(compiled(make(gradient_accumulation_steps=accumulate)), data(), probe)
    updated = 2 if accumulate else 6
    assert probe.counted == {"loss": 6, "before": 6, "after": 6, "updated": updated}
    assert len(probe.raw.values) == updated


@pytest.mark.parametrize("replicas", [1, 2])
def test_the_loss_is_that_of_each_batch(replicas, two_replicas):
    probe = Everything()
    strategy = two_replicas if replicas == 2 else tf.distribute.get_strategy()
    with strategy.scope():
        model = compiled(nesterov())
    fit(model, data(), probe)
    twin, optimizer, losses = network(), nesterov(), []
    for x, y in batches(*data()):
        losses.append(np.mean((twin(x).numpy() - y) ** 2))
        list(updates(twin, optimizer, [(x, y)]))
    assert probe.total_loss == pytest.approx(sum(losses), rel=1e-9)


def test_gradients_before_and_after_clipping():
    probe = Everything()
    fit(compiled(sgd(clipnorm=0.8)), data(), probe)
    truth = replay(network(), sgd(), batches(*data()), clips={"clipnorm": 0.8})
    np.testing.assert_allclose(probe.raw.values, truth.norms, rtol=1e-9)
    np.testing.assert_allclose(probe.clipped.values, truth.clipped_norms, rtol=1e-9)
    assert (truth.clipped_norms < truth.norms - 1e-9).any()


@pytest.mark.parametrize("optimizer", ["keras", "ours", "lazy"])
def test_sparse_gradients_come_dense_with_repeated_rows_added_up(optimizer):
    make = {
        "keras": lambda: keras.optimizers.SGD(0.1),
        "ours": lambda: ours.SGD(0.1),
        "lazy": lambda: ours.SGD(0.1, sparse="lazy"),
    }[optimizer]
    tokens = np.array([[0, 1, 1, 1], [3, 3, 0, 2], [1, 1, 1, 1], [4, 2, 2, 0]])
    y = np.random.default_rng(0).normal(size=(4, 4, 2))

    def embedding():
        keras.utils.set_random_seed(1)
        return keras.Sequential(
            [
                keras.Input((4,), dtype="int32"),
                keras.layers.Embedding(5, 2, dtype="float64"),
            ]
        )

    model = embedding()
    model.compile(make(), "mse")
    probe = Everything()
    fit(model, (tokens, y), probe, batch_size=2)
    halves = [(tokens[:2], y[:2]), (tokens[2:], y[2:])]
    truth = replay(embedding(), ours.SGD(0.1), halves)
    np.testing.assert_allclose(probe.raw.values, truth.norms, rtol=1e-9)


# When it is detached


def test_release_is_called_however_fit_ends():
    class Released(Moves):
        released = 0

        def release(self):
            self.released += 1

    probe, model = Released(), compiled(nesterov())
    fit(model, data(), probe)
    assert probe.released == 1
    interrupted(model, data(), [probe], step=1)
    fit(model, data())
    assert probe.released == 2


def test_a_detached_probe_sees_no_more_steps():
    probe, model = Moves(), compiled(nesterov())

    class Detach(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                probe.detach()

    fit(model, data(), [probe, Detach()], epochs=3)
    assert len(probe.record.steps) == 6
    assert leftovers(model) == []


def test_an_error_in_create_leaves_nothing():
    class Broken(Probe):
        def create(self, variables):
            raise RuntimeError("planned")

    model = compiled(nesterov())
    with pytest.raises(RuntimeError, match="planned"):
        fit(model, data(), Broken())
    assert leftovers(model) == []
    fit(model, data(), Raise(step=99))
