"""Layers of a trained model in a new one."""

import keras
import numpy as np
import pytest

from keras_dnn._keras.layers import sublayers
from keras_dnn.callbacks import GradualUnfreezing
from keras_dnn.models import reuse_layers, unfreeze

layers = keras.layers


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(3)


def digits(shape, rows=6):
    return np.random.default_rng(0).normal(size=(rows, *shape)).astype("float32")


def donor():
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, "relu", name="low"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(6, "tanh", name="high"),
            layers.Dense(3, "softmax", name="top"),
        ],
        name="donor",
    )


def two_inputs():
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    low = layers.Dense(5, name="low")(a)
    both = layers.Concatenate(name="both")([low, b])
    return keras.Model({"a": a, "b": b}, layers.Dense(2, name="top")(both))


def numbers_before(model, name, x):
    """The output of a layer, computed with a model that Keras cuts."""
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return keras.Model(inputs, model.get_layer(name).output)(x).numpy()


@pytest.mark.parametrize("up_to", ["high", -2, 2])
def test_returns_what_the_layer_returned(up_to):
    model, x = donor(), digits((4,))
    reused = reuse_layers(model, up_to)
    assert isinstance(reused, keras.Sequential)
    assert [layer.name for layer in reused.layers] == ["low", "norm", "high"]
    np.testing.assert_array_equal(reused(x), numbers_before(model, "high", x))


def test_puts_the_head_on_top():
    model, x = donor(), digits((4,))
    head = [layers.Dense(7, name="new"), layers.Dense(1, name="out")]
    new = reuse_layers(model, "low", head)
    expected = head[1](head[0](numbers_before(model, "low", x)))
    np.testing.assert_allclose(new(x), expected, rtol=1e-6)
    assert [layer.trainable for layer in new.layers] == [False, True, True]


def test_training_leaves_the_donor_unchanged():
    model, x = donor(), digits((4,), 32)
    before = [w.copy() for w in model.get_weights()]
    calls = len(model.get_layer("low")._inbound_nodes)
    new = reuse_layers(model, "high", layers.Dense(1), freeze=False)
    new.compile(keras.optimizers.SGD(0.1), "mse")
    new.fit(x, x.sum(axis=1), epochs=2, verbose=0)
    moved = [
        np.abs(a - b).max()
        for a, b in zip(before, new.get_weights()[: len(before) - 2], strict=False)
    ]
    assert min(moved) > 0
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(model.get_layer("low")._inbound_nodes) == calls
    assert not {id(v) for v in model.variables} & {id(v) for v in new.variables}


def test_frozen_layers_do_not_move_and_batch_norm_stays_in_inference_mode():
    model, x = donor(), 5 + digits((4,), 32)
    new = reuse_layers(model, "high", layers.Dense(1))
    frozen = [v.numpy() for layer in new.layers[:3] for v in layer.variables]
    new.compile(keras.optimizers.SGD(0.1), "mse")
    new.fit(x, x.sum(axis=1), verbose=0)
    np.testing.assert_allclose(new(x, training=True), new(x), rtol=1e-6)
    for was, v in zip(
        frozen, [v for la in new.layers[:3] for v in la.variables], strict=True
    ):
        np.testing.assert_array_equal(was, v.numpy())

    assert unfreeze(new, 9) == ["high", "low"]
    norm = new.get_layer("norm")
    statistics = [v.numpy() for v in norm.variables]
    low = new.get_layer("low").kernel.numpy()
    new.compile(keras.optimizers.SGD(0.01), "mse")
    new.fit(x, x.sum(axis=1), verbose=0)
    assert np.abs(new.get_layer("low").kernel.numpy() - low).max() > 0
    for was, v in zip(statistics, norm.variables, strict=True):
        np.testing.assert_array_equal(was, v.numpy())
    np.testing.assert_allclose(new(x, training=True), new(x), rtol=1e-6)


def with_norms():
    """A nested model, a wrapper and a shared layer, with norms and random states."""
    base = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, name="first"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.5),
        ],
        name="base",
    )
    x = keras.Input((3, 4))
    y = layers.TimeDistributed(base, name="each")(x)
    y = layers.TimeDistributed(layers.BatchNormalization(), name="norms")(y)
    shared = layers.Dense(5, name="shared")
    y = layers.Flatten()(shared(shared(y)))
    return keras.Model(x, layers.Dense(2, name="top")(y))


def test_shares_neither_weights_nor_layers_nor_states():
    model = with_norms()
    new = reuse_layers(model, -2, layers.Dense(1, name="new"))
    for parts in (sublayers, lambda m: m.variables):
        assert not {id(part) for part in parts(model)} & {id(p) for p in parts(new)}


def test_nested_batch_norms_stay_in_inference_mode_when_all_is_unfrozen(
    tmp_path,
):
    model = with_norms()
    head = [layers.BatchNormalization(name="new_norm"), layers.Dense(1, name="new")]
    new, x = reuse_layers(model, -2, head), 3 + digits((3, 4), 32)
    # The wrapped model is unfrozen without the batch norm in it.
    assert unfreeze(new, 9) == ["shared", "each"]
    new.save(tmp_path / "new.keras")
    for one in (new, keras.models.load_model(tmp_path / "new.keras")):
        wrapped, norms = (one.get_layer(name).layer for name in ("each", "norms"))
        kept = [*wrapped.get_layer("norm").weights, *norms.weights]
        before = [v.numpy() for v in kept]
        first = wrapped.get_layer("first").kernel
        start = first.numpy()
        own = one.get_layer("new_norm").moving_mean.numpy()
        one.compile(keras.optimizers.SGD(0.01), "mse")
        one.fit(x, x[:, 0, :1], verbose=0)
        for was, now in zip(before, kept, strict=True):
            np.testing.assert_array_equal(was, now.numpy())
        assert np.abs(first.numpy() - start).max() > 0
        assert np.abs(one.get_layer("new_norm").moving_mean.numpy() - own).max() > 0


def test_gradual_unfreezing_by_names_leaves_batch_norms_unchanged():
    new, x = reuse_layers(donor(), "high", layers.Dense(1, name="new")), digits((4,))
    norm = new.get_layer("norm")
    before = [w.copy() for w in norm.get_weights()]
    new.compile(keras.optimizers.SGD(0.1), "mse")
    schedule = {0: ["new"], 1: ["high", "low"]}
    new.fit(x, x[:, 0], epochs=2, verbose=0, callbacks=[GradualUnfreezing(schedule)])
    assert [layer.trainable for layer in new.layers] == [True, False, True, True]
    for was, now in zip(before, norm.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_inputs_that_are_not_needed_are_left_out():
    x = digits((4,))
    model = two_inputs()
    new = reuse_layers(model, "low")
    assert [tensor.name for tensor in new.inputs] == ["a"]
    expected = x @ model.get_layer("low").kernel + model.get_layer("low").bias
    np.testing.assert_allclose(new({"a": x}), expected, rtol=1e-5, atol=1e-6)


def test_keeps_a_dict_of_inputs():
    model, x = two_inputs(), {"a": digits((4,)), "b": digits((3,))}
    new = reuse_layers(model, "both", layers.Dense(1, name="new"))
    assert set(new.input) == {"a", "b"}
    expected = new.get_layer("new")(numbers_before(model, "both", x))
    np.testing.assert_allclose(new(x), expected, rtol=1e-5)


def nested():
    base = keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, name="a"), layers.Dense(5, name="b")],
        name="base",
    )
    x = keras.Input((4,))
    y = layers.Dense(3, name="c")(base(x))
    return keras.Model(x, layers.Dense(2, name="top")(y))


def test_layers_of_nested_models_are_unfrozen_separately():
    new = reuse_layers(nested(), "c", layers.Dense(1, name="new"))
    base = new.get_layer("base")
    assert len(new.trainable_weights) == 2
    assert unfreeze(new, 2) == ["c", "b"]
    assert [layer.trainable for layer in base.layers] == [False, True]
    assert len(new.trainable_weights) == 6
    assert unfreeze(new, 0) == []
    assert unfreeze(new, 5) == ["a"]
    assert len(new.trainable_weights) == 8


def test_unfreezing_nothing_changes_nothing():
    new = reuse_layers(nested(), "c")
    new.trainable = False
    assert unfreeze(new, 0) == []
    assert not new.trainable
    assert new.trainable_weights == []


def test_layers_without_weights_to_train_do_not_count():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3, name="dense"),
            layers.Normalization(name="scale"),
            layers.ReLU(),
        ]
    )
    new = reuse_layers(model, -1)
    assert unfreeze(new, 1) == ["dense"]
    assert not new.get_layer("scale").trainable


def test_without_freezing_layers_train_as_before():
    model = donor()
    model.get_layer("low").trainable = False
    new = reuse_layers(model, "high", freeze=False)
    assert [layer.trainable for layer in new.layers] == [False, True, True]


def test_is_saved_and_loaded(tmp_path):
    new, x = reuse_layers(donor(), "high", layers.Dense(1)), digits((4,))
    new.save(tmp_path / "new.keras")
    loaded = keras.models.load_model(tmp_path / "new.keras")
    np.testing.assert_array_equal(new(x), loaded(x))
    assert [layer.trainable for layer in loaded.layers] == [False] * 3 + [True]


def called_twice():
    x, shared = keras.Input((4,)), layers.Dense(4, name="shared")
    return keras.Model(x, layers.Dense(1)(shared(shared(x))))


def two_outputs():
    x = keras.Input((4, 2))
    y, state = layers.GRU(3, return_state=True, name="gru")(x)
    return keras.Model(x, layers.Dense(1)(layers.Add()([y, state])))


class Subclassed(keras.Model):
    def call(self, x):
        return x


def test_a_layer_of_several_outputs_needs_no_head():
    model, x = two_outputs(), digits((4, 2))
    y, state = reuse_layers(model, "gru")(x)
    np.testing.assert_array_equal(y, state)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (
            donor,
            {"up_to": "absent"},
            r"up_to must be .*'low'.*Received: up_to='absent'",
        ),
        (donor, {"up_to": 4}, "up_to must be .*Received: up_to=4"),
        (donor, {"up_to": -5}, "up_to must be .*Received: up_to=-5"),
        (donor, {"up_to": True}, "up_to must be .*Received: up_to=True"),
        (donor, {"up_to": 1.0}, "up_to must be .*Received: up_to=1.0"),
        (called_twice, {"up_to": "shared"}, "called 2 times. Received: up_to='shared'"),
        (donor, {"up_to": 1, "head": "x"}, "head must be .*Received: head='x'"),
        (donor, {"up_to": 1, "head": [3]}, r"head must be .*Received: head=\[3\]"),
        (donor, {"up_to": 1, "freeze": 1}, "freeze must be .*Received: freeze=1"),
        (
            two_outputs,
            {"up_to": "gru", "head": layers.Dense(1)},
            "head needs a layer with one output",
        ),
        (
            donor,
            {"up_to": 1, "head": layers.Dense(1, name="low")},
            "'low' is taken",
        ),
        (Subclassed, {"up_to": 0}, "model must be functional"),
    ],
)
def test_refuses(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        reuse_layers(make(), **arguments)


def test_refuses_a_layer_of_the_donor_as_head():
    model = donor()
    with pytest.raises(ValueError, match="head must be made of new layers"):
        reuse_layers(model, 1, model.layers[-1])


@pytest.mark.parametrize("n", [-1, 1.5, True, "all"])
def test_refuses_a_count(n):
    with pytest.raises(ValueError, match=r"n must be .*Received: n="):
        unfreeze(donor(), n)


def test_a_kernel_below_low_rank_adapters_stays_frozen():
    model = donor()
    layer = next(x for x in model.layers if isinstance(x, layers.Dense))
    kernel = layer.kernel
    layer.enable_lora(2)
    layer.trainable = False
    assert layer.name in unfreeze(model, len(model.layers))
    assert not kernel.trainable
    assert any("lora" in v.path for v in layer.trainable_variables)
    assert all(v is not kernel for v in model.trainable_variables)
