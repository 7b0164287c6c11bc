"""Lower rates for lower layers."""

import keras
import numpy as np
import pytest

from keras_dnn import optimizers
from keras_dnn.models import discriminative_rates, reuse_layers, unfreeze
from keras_dnn.optimizers.schedules import PowerDecay

layers = keras.layers


def network(top="top"):
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5, "tanh", name="low"),
            layers.BatchNormalization(name="norm", trainable=False),
            layers.Dense(4, "tanh", name="middle"),
            layers.Dense(2, name=top),
        ],
        name="network",
    )


def nested():
    x = keras.Input((6,))
    y = layers.Dense(6, name="first")(x)
    return keras.Model(x, layers.Dense(1, name="last")(network()(y)))


def fitted(model, optimizer, epochs=1):
    x = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
    model.compile(optimizer, "mse")
    model.fit(x, x[:, :1], batch_size=16, epochs=epochs, shuffle=False, verbose=0)
    return model


def moves(model, optimizer):
    """How much each weight changes in one step."""
    start = [np.asarray(v) for v in model.trainable_variables]
    fitted(model, optimizer)
    return {
        v.path: np.asarray(v, "float64") - was
        for v, was in zip(model.trainable_variables, start, strict=True)
    }


@pytest.mark.parametrize(
    ("rule", "groups", "powers"),
    [
        (optimizers.Momentum, None, {"low": 2, "middle": 1, "top": 0}),
        (
            keras.optimizers.SGD,
            [["low"], ["middle", "top"]],
            {"low": 1, "middle": 0, "top": 0},
        ),
    ],
)
def test_a_layer_moves_at_its_rate(rule, groups, powers):
    model = network()
    weights = model.get_weights()
    plain = moves(model, keras.optimizers.SGD(0.5))
    model.set_weights(weights)
    found = moves(model, discriminative_rates(model, rule(0.5), 0.3, groups))
    for path, move in plain.items():
        power = powers[path.split("/")[-2]]
        np.testing.assert_allclose(found[path], 0.3**power * move, atol=3e-7)
        assert np.abs(0.3**power * move).max() > 1e-3


@pytest.mark.parametrize("rule", [optimizers.Nesterov, keras.optimizers.Adam])
def test_a_schedule_is_scaled(rule):
    model, schedule = network(), PowerDecay(0.2, 1)
    optimizer = discriminative_rates(model, rule(schedule), 0.25)
    fitted(model, optimizer, epochs=3)
    rates = [float(each.learning_rate) for each in optimizer.optimizers]
    np.testing.assert_allclose(rates, [0.05 / 16, 0.05 / 4, 0.05], rtol=1e-6)


def test_layers_of_nested_models_count_separately_or_as_one():
    model = nested()
    each = discriminative_rates(model, optimizers.Adam(1.0), 0.5)
    rates = [float(o.learning_rate) for o in each.optimizers]
    np.testing.assert_allclose(rates, [0.0625, 0.125, 0.25, 0.5, 1.0])
    groups = [["first"], [model.get_layer("network")], ["last"]]
    three = discriminative_rates(model, optimizers.Adam(1.0), 0.5, groups)
    rates = [float(o.learning_rate) for o in three.optimizers]
    np.testing.assert_allclose(rates, [0.25, 0.5, 1.0])
    fitted(model, three)
    assert [len(o._trainable_variables) for o in three.optimizers] == [2, 6, 2]


@pytest.mark.parametrize("make", [network, nested])
def test_a_loaded_model_continues_where_it_stopped(make, tmp_path):
    model = make()
    optimizer = discriminative_rates(
        model, optimizers.Momentum(0.05, momentum=0.9), 0.4
    )
    fitted(model, optimizer).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        x = np.random.default_rng(1).normal(size=(16, 6)).astype("float32")
        one.fit(x, x[:, :1], shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_reused_network_is_unfrozen_in_steps():
    model = reuse_layers(network(), "middle", layers.Dense(1, name="head"))
    unfreeze(model, 1)
    optimizer = discriminative_rates(model, optimizers.Adam(0.01), 0.1)
    fitted(model, optimizer)
    norm = model.get_layer("norm")
    statistics = [np.array(w) for w in norm.get_weights()]
    low = np.array(model.get_layer("low").kernel)

    assert unfreeze(model, 9) == ["low"]
    optimizer = discriminative_rates(model, optimizers.Adam(0.01), 0.1)
    assert len(optimizer.optimizers) == 3
    fitted(model, optimizer)
    # In its first step Adam changes a weight by its learning rate.
    moved = np.abs(np.array(model.get_layer("low").kernel) - low)
    np.testing.assert_allclose(moved.max(), 1e-4, rtol=1e-2)
    for was, now in zip(statistics, norm.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def frozen():
    model = network()
    model.trainable = False
    return model


BUILT = optimizers.Adam()
BUILT.build([keras.Variable([1.0])])


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (network, {"factor": 0.0}, "factor must be .*Received: factor=0.0"),
        (network, {"factor": "2"}, "factor must be .*Received: factor='2'"),
        (network, {"optimizer": "adam"}, "optimizer must be .*Received: .*'adam'"),
        (network, {"optimizer": BUILT}, "optimizer must be a new .*Received: "),
        (frozen, {}, "have trainable layers. Received: model='network'"),
        (lambda: keras.Sequential([layers.Dense(2)]), {}, "model must be built"),
        (network, {"groups": "low"}, "groups must be a list. Received: groups='low'"),
        (network, {"groups": [["norm"]]}, r"of \['low', .*Received: 'norm'"),
        (network, {"groups": [["low", "middle"]]}, "top is there 0 times. Received"),
        (
            network,
            {"groups": [["low"], ["low", "middle", "top"]]},
            "low is there 2 times. Received",
        ),
    ],
)
def test_refuses(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        discriminative_rates(
            model(),
            **{"optimizer": keras.optimizers.Adam(), "factor": 0.5, **arguments},
        )


def test_refuses_names_that_do_not_identify_the_group():
    x = keras.Input((6,))
    model = keras.Model(x, layers.Dense(2, name="low")(network()(x)))
    with pytest.raises(ValueError, match=r"have one of the path .* another name"):
        discriminative_rates(model, keras.optimizers.Adam(), 0.5)


def shared_names():
    """Two networks whose layers have the same names, a loop over one, and a top."""
    x = keras.Input((3, 6))
    parts = [
        keras.Sequential([keras.Input((6,)), layers.Dense(4, name="low")], name=name)
        for name in ("left", "right")
    ]
    y = [layers.TimeDistributed(part)(x) for part in parts]
    y = layers.Flatten()(layers.Concatenate()(y))
    return keras.Model(x, layers.Dense(1, name="top")(y))


def rates_of(model, optimizer):
    """The learning rate of each variable, by its path."""
    model.compile(optimizer, "mse")
    optimizer.build(model.trainable_variables)
    rates = {}
    for part in optimizer.optimizers:
        for variable in model.trainable_variables:
            path = variable.path
            names = [v.path for v in part.variables]
            if any(path.replace("/", "_") in name for name in names):
                rates[path] = float(part.learning_rate)
    return rates


def test_layers_of_one_name_in_several_networks_have_rates_of_their_own():
    model = shared_names()
    optimizer = discriminative_rates(model, keras.optimizers.Adam(0.8), 0.5)
    rates = rates_of(model, optimizer)
    assert rates["top/kernel"] == pytest.approx(0.8)
    assert sorted(rates.values()) == pytest.approx([0.2, 0.2, 0.4, 0.4, 0.8, 0.8])


@keras.saving.register_keras_serializable(package="test_discriminative")
class Tied(layers.Layer):
    """Multiplies by the transposed kernel of another layer."""

    def __init__(self, dense, **kwargs):
        super().__init__(**kwargs)
        self.dense = dense

    def build(self, shape):
        self.shift = self.add_weight(shape=(6,), initializer="zeros", name="shift")

    def call(self, x):
        kernel = keras.ops.transpose(self.dense.kernel)
        return keras.ops.matmul(x, kernel) + self.shift


def test_a_weight_that_two_groups_share_belongs_to_the_lower():
    x = keras.Input((6,))
    low = layers.Dense(4, name="low")
    model = keras.Model(x, Tied(low, name="top")(low(x)))
    optimizer = discriminative_rates(model, keras.optimizers.Adam(0.8), 0.5)
    rates = rates_of(model, optimizer)
    by_name = {path.rsplit("/", 1)[-1]: rate for path, rate in rates.items()}
    assert by_name == pytest.approx({"kernel": 0.4, "bias": 0.4, "shift": 0.8})
