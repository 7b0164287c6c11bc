"""rebuild copies exactly and shares nothing with the model."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_dnn.layers import MCDropout
from keras_dnn.models.rebuild import rebuild
from tests.keras_versions import needs_keras
from tests.models.rebuild_cases import (
    block,
    functional,
    nested,
    normal,
    scrambled,
    shared,
)


def operations(x):
    y = ops.relu(x + 1) * 2 - ops.tanh(1 - x)
    a, b = ops.split(y, 2, axis=-1)
    y = ops.concatenate([a, ops.maximum(b, 0.1)], axis=-1)
    y = ops.where(y > 0.5, y, ops.mean(y, axis=-1, keepdims=True))
    return ops.einsum("bi,bj->bij", y[:, :2], y**2)


def casts(x):
    whole = ops.cast(ops.floor(ops.abs(x) * 2), "int32")
    return ops.cast(whole // 2, "float32") + layers.Embedding(50, 4)(whole)[..., 0]


def sequences(x):
    y = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x)
    y = layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], return_sequences=True)(y)
    return layers.TimeDistributed(keras.Sequential([layers.Dense(2)]))(y)


def attention(x):
    y = layers.MultiHeadAttention(2, 3, dropout=0.1)(x, x, key=x + 1)
    state = layers.Dense(3)(x[:, 0])
    return layers.GRU(3)(y, initial_state=state)


def masked(x):
    y = layers.Masking(0.0)(x)
    return layers.LSTM(2)(layers.Dense(3)(y))


def many(x):
    y = layers.Dense(3)(x)
    return {"y": y, "x": x, "both": [y, y + 1]}


def frozen(x):
    y = layers.Dense(3, trainable=False, name="frozen")(x)
    return layers.Dense(2, name="free")(y)


def normalised(x):
    y = layers.SpectralNormalization(layers.Dense(4))(x)
    return layers.GroupNormalization(2)(layers.LayerNormalization()(y))


MODELS = {
    "Sequential": lambda: keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, "relu"), layers.Dropout(0.5), block_of(3)],
        name="net",
    ),
    "nested": lambda: functional(nested, (4,)),
    "shared": lambda: functional(shared, (4,)),
    "operations": lambda: functional(operations, (4,)),
    "casts": lambda: functional(casts, (4,)),
    "sequences": lambda: functional(sequences, (5, 4)),
    "attention": lambda: functional(attention, (5, 4)),
    "masked": lambda: functional(masked, (5, 4)),
    "many": lambda: functional(many, (4,)),
    "frozen": lambda: functional(frozen, (4,)),
    "normalised": lambda: functional(normalised, (4,)),
    "two inputs": lambda: functional(lambda a, b: layers.Dense(2)(a) + b, (4,), (2,)),
    "fixed batch": lambda: keras.Sequential(
        [keras.Input(batch_shape=(3, 4)), layers.Dense(2)]
    ),
    "mixed_float16": lambda: functional(layers.Dense(3, dtype="mixed_float16"), (4,)),
    "MCDropout": lambda: functional(MCDropout(1.0), (4,)),
}


def block_of(size):
    return keras.Sequential(
        [keras.Input((size,)), layers.BatchNormalization(), layers.Dense(2)], name="b"
    )


def inputs_of(model):
    return [normal(3, *x.shape[1:], seed=i) for i, x in enumerate(model.inputs)]


def call(model):
    x = inputs_of(model)
    return model(x if len(x) > 1 else x[0], training=False)


def outputs_of(model):
    return keras.tree.flatten(call(model))


def layers_of(model):
    """Without input layers, which hold nothing."""
    found = model._flatten_layers()
    return [x for x in found if not isinstance(x, layers.InputLayer)]


def description(model):
    """Everything that a copy must have too."""
    return {
        "names": [x.name for x in model.layers if not isinstance(x, layers.InputLayer)],
        "types": [type(x) for x in layers_of(model)],
        "inputs": [(x.name, x.shape, x.dtype) for x in model.inputs],
        "outputs": [(x.shape, x.dtype) for x in model.outputs],
        "trainable": [x.trainable for x in layers_of(model)],
        "variables": [(v.name, v.shape, v.dtype, v.trainable) for v in model.variables],
        "trainable weights": [v.name for v in model.trainable_variables],
        "policies": [x.dtype_policy.name for x in layers_of(model)],
    }


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def model(request):
    return scrambled(request.param())


def test_a_copy_is_the_same(model):
    copy = rebuild(model)

    assert description(copy) == description(model)
    for old, new in zip(model.variables, copy.variables, strict=True):
        np.testing.assert_array_equal(old, new, err_msg=old.path)
    keras.tree.map_structure(np.testing.assert_array_equal, call(model), call(copy))


def test_a_copy_shares_nothing(model):
    used = [len(x._inbound_nodes) for x in model._flatten_layers()]
    copy = rebuild(model)
    for things in (
        lambda m: m.variables,
        lambda m: m._flatten_layers(),
        lambda m: m.inputs,
    ):
        assert not {id(x) for x in things(model)} & {id(x) for x in things(copy)}
    assert used == [len(x._inbound_nodes) for x in model._flatten_layers()]


def test_a_copy_in_float64(model):
    copy = rebuild(model, dtype="float64")

    for layer in layers_of(copy):
        if not isinstance(layer, keras.Model):
            assert layer.dtype_policy.name == "float64", f"{layer.name}: other dtype"
    for old, new in zip(model.variables, copy.variables, strict=True):
        if keras.backend.is_float_dtype(old.dtype):
            assert new.dtype == "float64", new.path
        np.testing.assert_array_equal(np.array(old), np.array(new), err_msg=old.path)
    half = any(x.dtype_policy.name == "mixed_float16" for x in model.layers)
    tolerance = {"rtol": 1e-2, "atol": 1e-2} if half else {"rtol": 1e-4, "atol": 1e-5}
    for old, new in zip(outputs_of(model), outputs_of(copy), strict=True):
        assert keras.backend.standardize_dtype(new.dtype) == "float64"
        np.testing.assert_allclose(np.array(old, "float64"), new, **tolerance)


def test_names_of_input_layers_are_kept():
    model = functional(lambda a, b: layers.Dense(2)(a) + b, (4,), (2,))
    named = [[x.name for x in m.layers] for m in (model, rebuild(model))]
    assert named[0] == named[1]


def test_trainable_flags_are_kept():
    for flags in ((True, False), (False, True), (False, False)):
        copy_of = functional(frozen, (4,))
        for layer, flag in zip(copy_of.layers[1:], flags, strict=True):
            layer.trainable = flag
        copy = rebuild(copy_of)
        assert tuple(x.trainable for x in copy.layers[1:]) == flags
        assert len(copy.trainable_variables) == 2 * sum(flags)


def test_frozen_layers_in_a_nested_model_stay_frozen():
    inner = block()
    inner.layers[-1].trainable = False
    model = functional(inner, (4,))
    copy = rebuild(model)
    assert not copy.get_layer("block").get_layer("inner").trainable
    assert len(copy.trainable_variables) == len(model.trainable_variables)


def test_a_frozen_model_stays_frozen():
    model = functional(nested, (4,))
    model.trainable = False
    copy = rebuild(model)
    assert not copy.trainable
    assert copy.trainable_variables == []


def test_nested_and_shared_layers_stay_one():
    copy = rebuild(functional(nested, (4,)))
    assert [x.name for x in copy.layers].count("block") == 1
    assert len(rebuild(functional(shared, (4,))).weights) == 2 + 0


def test_inputs_given_by_name():
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    model = keras.Model({"b": b, "a": a}, {"z": layers.Dense(2)(a), "y": b + 1})
    copy = rebuild(model)
    x = {"a": normal(3, 2), "b": normal(3, 3)}
    before, after = model(x), copy(x)
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


@needs_keras(15, "take None for an optional input in a dict")
def test_an_optional_input_stays_optional():
    x = keras.Input((4,), name="x")
    maybe = keras.Input((4,), name="maybe", optional=True)
    model = keras.Model({"x": x, "maybe": maybe}, OrZero()([x, maybe]))
    copy = rebuild(model)
    given = {"x": normal(3, 4), "maybe": None}
    np.testing.assert_array_equal(copy(given), model(given))


class OrZero(layers.Layer):
    def call(self, inputs):
        x, maybe = inputs
        return x if maybe is None else x + maybe

    def compute_output_shape(self, shapes):
        return shapes[0]


def test_inputs_keep_their_dtype():
    model = functional(layers.Embedding(5, 2), (3,), dtype="int32")
    assert rebuild(model).inputs[0].dtype == "int32"
    copy = rebuild(model, dtype="float64")
    assert copy.inputs[0].dtype == "int32"
    words = np.array([[1, 2, 4]])
    np.testing.assert_array_equal(np.array(copy(words)), np.array(model(words)))


def test_masks_pass_through():
    x = keras.Input((4,), dtype="int32")
    y = layers.Embedding(9, 3, mask_zero=True)(x)
    model = keras.Model(x, layers.LSTM(2)(layers.Dropout(0.5)(y)))
    copy = rebuild(model)
    np.testing.assert_array_equal(
        copy(np.array([[1, 2, 0, 0]])), model(np.array([[1, 2, 0, 0]]))
    )
    np.testing.assert_allclose(
        copy(np.array([[1, 2, 0, 0]])), copy(np.array([[1, 2, 5, 0]])[:, [0, 1, 3, 3]])
    )


def test_a_sequential_with_masks_is_copied_and_changed():
    """Its graph holds operations that compute the masks, which are not its layers."""
    model = scrambled(
        keras.Sequential(
            [
                keras.Input((5,), dtype="int32"),
                layers.Embedding(9, 3, mask_zero=True),
                layers.LSTM(4, return_sequences=True),
                layers.Dropout(0.5),
                layers.GlobalAveragePooling1D(),
            ]
        )
    )
    words = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 7]])
    for copy in (
        rebuild(model),
        rebuild(model, lambda x: None if isinstance(x, layers.Dropout) else x),
    ):
        assert type(copy) is keras.Sequential
        np.testing.assert_array_equal(copy(words), model(words))
    outer = functional(model, (5,), dtype="int32")
    np.testing.assert_array_equal(rebuild(outer)(words), outer(words))


def test_a_lambda_layer_is_copied():
    double = layers.Lambda(lambda x: 2 * x, output_shape=(4,))
    copy = rebuild(functional(double, (4,)))
    np.testing.assert_array_equal(copy(normal(3, 4)), 2 * normal(3, 4))


def test_a_model_from_inner_tensors_is_copied():
    whole = functional(
        lambda x: layers.Dense(2, name="b")(layers.Dense(3, name="a")(x)), (4,)
    )
    part = keras.Model(whole.get_layer("a").output, whole.output)
    copy = rebuild(part)
    np.testing.assert_array_equal(copy(normal(3, 3)), part(normal(3, 3)))


class Outer(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(2)

    def call(self, x):
        return self.dense(x)


def test_layers_that_layers_create_get_the_dtype_too():
    before = keras.config.dtype_policy()
    copy = rebuild(functional(Outer(), (4,)), dtype="float64")
    assert copy.layers[-1].dense.kernel.dtype == "float64"
    assert keras.config.dtype_policy() is before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "a"}, "Received: model='a'"),
        ({"replace": 3}, "Received: replace=3"),
        ({"dtype": "int8"}, "Received: dtype='int8'"),
    ],
)
def test_wrong_arguments(arguments, message):
    model = functional(layers.Dense(2), (4,))
    with pytest.raises(ValueError, match=message):
        rebuild(**{"model": model, **arguments})
