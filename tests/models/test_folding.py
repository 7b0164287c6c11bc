"""What fold_batch_norm leaves alone, and what its result says."""

import json
import random

import keras
import numpy as np
import pytest
from keras import layers

from keras_dnn.models import fold_batch_norm
from keras_dnn.models._folding import error
from keras_dnn.models._folding.error import outputs_in_float64
from keras_dnn.models._folding.linear import Linear
from keras_dnn.models.rebuild import rebuild
from tests.models.fold_cases import (
    IMAGE,
    BatchNorm,
    chain,
    conv,
    normal,
    randomised,
)


def test_the_model_itself_does_not_change():
    model = randomised(
        chain(
            IMAGE,
            conv(trainable=False),
            BatchNorm(),
            layers.ReLU(),
            conv(),
            BatchNorm(),
        )
    )
    model.compile("adam", "mse")
    optimizer = model.optimizer
    weights = model.get_weights()
    used = [len(x._inbound_nodes) + len(x._outbound_nodes) for x in model.layers]
    flags = [x.trainable for x in model._flatten_layers()]

    fold_batch_norm(model)

    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert model.compiled
    assert model.optimizer is optimizer
    assert flags == [x.trainable for x in model._flatten_layers()]
    assert used == [
        len(x._inbound_nodes) + len(x._outbound_nodes) for x in model.layers
    ]


def test_the_models_share_nothing():
    model = randomised(chain(IMAGE, conv(), BatchNorm(), layers.ReLU(), conv()))
    folded = fold_batch_norm(model).model
    ids = {id(v) for v in model.variables}
    assert not any(id(v) in ids for v in folded.variables)
    assert not {id(x) for x in model.layers} & {id(x) for x in folded.layers}
    x = normal(2, *IMAGE)
    before = np.array(folded(x)), np.array(model(x))
    model.set_weights([w + 1 for w in model.get_weights()])
    np.testing.assert_array_equal(folded(x), before[0])
    after = np.array(model(x))
    folded.set_weights([w - 1 for w in folded.get_weights()])
    np.testing.assert_array_equal(model(x), after)


def test_trainable_flags_are_kept():
    model = chain(
        IMAGE,
        conv(name="frozen", trainable=False),
        BatchNorm(),
        layers.ReLU(),
        conv(name="free"),
        BatchNorm(),
    )
    folded = fold_batch_norm(randomised(model)).model
    assert not folded.get_layer("frozen").trainable
    assert folded.get_layer("free").trainable


def test_folded_layers_lose_their_regularizers_and_constraints():
    model = chain(
        IMAGE,
        conv(
            name="c",
            kernel_regularizer="l2",
            bias_regularizer="l1",
            activity_regularizer="l2",
            kernel_constraint="non_neg",
            bias_constraint="non_neg",
        ),
        BatchNorm(gamma_regularizer="l2"),
        conv(name="other", kernel_regularizer="l2"),
    )
    folded = fold_batch_norm(randomised(model)).model
    new = folded.get_layer("c")
    assert new.kernel_regularizer is new.bias_regularizer is None
    assert new.activity_regularizer is new.kernel_constraint is None
    assert folded.get_layer("other").kernel_regularizer is not None
    folded(normal(1, *IMAGE))
    assert len(folded.losses) == 1


def test_folding_twice_changes_nothing():
    model = randomised(chain(IMAGE, conv(), BatchNorm(), layers.ReLU(), BatchNorm()))
    once = fold_batch_norm(model)
    twice = fold_batch_norm(once.model)
    assert twice.folded == {}
    assert twice.kept.keys() == once.kept.keys()
    assert twice.max_error == 0
    for one, other in zip(
        once.model.get_weights(), twice.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_the_folded_model_is_saved_and_loaded(tmp_path):
    model = randomised(chain(IMAGE, conv(use_bias=False), BatchNorm(), small_fork()))
    folded = fold_batch_norm(model).model
    folded.save(tmp_path / "folded.keras")
    loaded = keras.saving.load_model(tmp_path / "folded.keras")
    x = normal(3, *IMAGE)
    np.testing.assert_array_equal(loaded(x), folded(x))


def small_fork():
    x = keras.Input((6, 6, 4))
    y = layers.Concatenate()([layers.ReLU()(BatchNorm()(conv()(x))), x])
    return keras.Model(x, y, name="fork")


def test_the_folded_model_can_be_fitted():
    model = randomised(
        chain((4,), layers.Dense(8, use_bias=False), BatchNorm(), layers.Dense(1))
    )
    folded = fold_batch_norm(model).model
    folded.compile("sgd", "mse")
    x = normal(32, 4)
    losses = folded.fit(x, x.sum(1), epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_an_application_style_model_from_inner_tensors():
    """A model cut out of another one shares its layers; only its own calls count."""
    x = keras.Input(IMAGE)
    y = conv(name="c")(x)
    z = BatchNorm(name="n")(y)
    keras.Model(x, y)
    model = randomised(keras.Model(x, z))
    result = fold_batch_norm(model)
    assert result.folded == {"n": "c"}


def test_the_error_is_measured_on_the_data_given():
    """A channel that is large on these data only."""
    model = randomised(chain((4,), layers.Dense(3), BatchNorm(), layers.ReLU()))
    x = normal(5, 4)
    result = fold_batch_norm(model, data=x)
    assert result.max_error < 1e-5
    with pytest.raises(Exception, match=r"."):
        fold_batch_norm(model, data=normal(5, 7))


@pytest.fixture
def spoilt(monkeypatch):
    """Folding that is wrong by a thousandth."""
    right = Linear.write_kernel

    def wrong(linear, new):
        right(linear, new)
        new.kernel.assign(new.kernel * 1.001)

    monkeypatch.setattr(Linear, "write_kernel", wrong)


@pytest.mark.usefixtures("spoilt")
@pytest.mark.parametrize("data", [None, normal(20, 4)], ids=["random", "data"])
def test_the_error_is_really_measured(data):
    model = randomised(chain((4,), layers.Dense(3), BatchNorm()))
    assert 1e-4 < fold_batch_norm(model, data).max_error < 1e-2


@pytest.mark.usefixtures("spoilt")
def test_the_error_of_any_output_counts():
    x = keras.Input((4,))
    y = BatchNorm()(layers.Dense(3)(x))
    model = randomised(keras.Model(x, [layers.Dense(2)(x), y]))
    assert fold_batch_norm(model).max_error > 1e-4


@pytest.mark.usefixtures("spoilt")
def test_the_error_is_a_fraction_of_the_standard_deviation():
    errors = []
    for size in (1.0, 1e4):
        keras.utils.set_random_seed(0)
        model = chain(
            (4,), layers.Dense(3), BatchNorm(), layers.ReLU(), layers.Rescaling(size)
        )
        errors.append(fold_batch_norm(randomised(model)).max_error)
    np.testing.assert_allclose(errors[0], errors[1], rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (layers.Conv2D, {"filters": 8, "padding": "same", "activation": "tanh"}),
        (layers.Conv2D, {"filters": 4, "strides": 2, "use_bias": False}),
        (layers.Conv2D, {"filters": 12, "dilation_rate": 2}),
        (layers.Conv2D, {"filters": 4, "strides": (2, 1)}),
        (layers.Conv1D, {"filters": 8, "strides": 2, "padding": "same"}),
        (layers.Conv1D, {"filters": 4, "padding": "causal"}),
    ],
)
def test_groups_of_single_channels_in_float64(kind, options):
    """Run as depthwise ones, against the layer itself rebuilt in float64."""
    rank = 2 if kind is layers.Conv2D else 1
    shape = (9, 8)[:rank]
    conv = kind(kernel_size=3, groups=4, bias_initializer="normal", **options)
    model = keras.Sequential([keras.Input((*shape, 4)), conv])
    x = np.random.default_rng(1).normal(size=(2, *shape, 4)).astype("float32")
    (found,) = outputs_in_float64(model, x)
    expected = rebuild(model, dtype="float64")(x)
    assert keras.backend.standardize_dtype(found.dtype) == "float64"
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_layers_of_several_inputs_in_float64():
    x = keras.Input((6, 6, 4))
    y = layers.Conv2D(4, 3, padding="same", groups=4)(x)
    y = layers.Concatenate()([layers.Add()([x, y]), keras.ops.abs(y)])
    model = keras.Model(x, y)
    data = np.random.default_rng(1).normal(size=(2, 6, 6, 4)).astype("float32")
    (found,) = outputs_in_float64(model, data)
    expected = rebuild(model, dtype="float64")(data)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_an_output_of_nan_is_not_hidden(monkeypatch):
    def wrong(linear, new):
        new.kernel.assign(np.full(new.kernel.shape, np.nan))

    monkeypatch.setattr(Linear, "write_kernel", wrong)
    x = keras.Input((4,))
    y = BatchNorm()(layers.Dense(3)(x))
    error = fold_batch_norm(keras.Model(x, [layers.Dense(2)(x), y])).max_error
    assert not error < 1e-5


def test_the_result_as_text_and_for_json():
    model = chain(
        (4,),
        layers.Rescaling(0.5, name="s"),
        layers.Dense(3, name="d"),
        BatchNorm(name="n"),
        layers.ReLU(),
        BatchNorm(name="m"),
        layers.ReLU(),
        layers.Rescaling(2.0, name="last"),
    )
    result = fold_batch_norm(randomised(model))
    text = str(result)
    assert "1 of 2 batch norms folded, 1 of 2 other affine layers" in text
    assert "n -> d" in text
    assert "s -> d" in text
    assert result.kept["m"] in text
    assert result.affine_kept["last"] in text
    found = json.loads(json.dumps(result.to_dict()))
    assert found == {
        "folded": {"n": "d"},
        "kept": result.kept,
        "max_error": result.max_error,
        "affine_folded": {"s": "d"},
        "affine_kept": result.affine_kept,
    }


def test_data_of_any_length_takes_bounded_memory(monkeypatch):
    seen = []

    def watched(x):
        seen.append(tuple(x.shape))
        return x

    model = keras.Sequential(
        [
            keras.Input((10,)),
            layers.Dense(40),
            layers.BatchNormalization(),
            layers.Activation(watched),
        ]
    )
    seen.clear()
    # 120 numbers for a row, of 8 bytes each.
    monkeypatch.setattr(error, "BYTES_AT_ONCE", 8 * 120 * 16)
    x = np.random.default_rng(0).normal(size=(100, 10))
    found = fold_batch_norm(model, data=x).max_error
    rows = [shape[0] for shape in seen if shape[0] is not None]
    assert max(rows) == 16
    assert sum(rows) == 2 * 100
    monkeypatch.undo()
    np.testing.assert_allclose(fold_batch_norm(model, data=x).max_error, found)


def test_group_normalisation_stays_and_says_why():
    model = keras.Sequential(
        [keras.Input((4, 4)), layers.Dense(4), layers.GroupNormalization(2, name="g")]
    )
    result = fold_batch_norm(model)
    assert "of each input, not by fixed numbers" in result.affine_kept["g"]
    assert result.kept == {}


def test_pythons_random_state_is_unchanged():
    # The plan asks a copy of each layer that moves entries where it puts them.
    model = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            keras.layers.RandomFlip(),
            keras.layers.Conv2D(3, 3, use_bias=False),
            keras.layers.BatchNormalization(),
        ]
    )
    state = random.getstate()
    assert fold_batch_norm(model).folded
    assert random.getstate() == state
