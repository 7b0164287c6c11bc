"""What `keras_dnn._keras.graph` relies on in Keras; a failure names what changed."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras.src.models import Functional

from keras_dnn._keras.graph import flat_inputs, graph_of, output_layers, run
from keras_dnn._keras.layers import float64_view, has_seeds, layer_scale, sublayers
from tests.keras_versions import needs_keras


def ones(*shape):
    return np.ones(shape, "float32")


def diamond():
    """x → a → (b, c) → add, where c was called before b."""
    x = keras.Input((4,), name="x")
    a = layers.Dense(4, name="a")(x)
    c = layers.Dense(4, name="c")(a)
    b = layers.Dense(4, name="b")(a)
    return keras.Model(x, layers.Add(name="add")([b, c]), name="diamond")


# The private parts of Keras


def test_keras_still_keeps_its_nodes():
    model = diamond()
    nodes = [n for nodes in model._nodes_by_depth.values() for n in nodes]
    for name in ("operation", "input_tensors", "outputs", "arguments", "is_input"):
        assert all(hasattr(n, name) for n in nodes), f"Node.{name} is gone"
    assert max(model._nodes_by_depth) > min(model._nodes_by_depth), "no depths"
    deepest = model._nodes_by_depth[max(model._nodes_by_depth)]
    assert [n.is_input for n in deepest] == [True], (
        "depth no longer falls to the output"
    )


def test_functional_is_what_keras_makes_of_tensors():
    x = keras.Input((4,))
    assert isinstance(keras.Model(x, x + 1), Functional)
    assert Functional.call is not keras.Model.call


def test_a_sequential_builds_a_functional_model():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    assert isinstance(model._functional, Functional)


def test_an_instance_attribute_overrides_call():
    """mc_predict switches layers on that way."""
    layer = layers.Dropout(0.5)
    vars(layer)["call"] = lambda inputs, training=None: inputs + 1
    np.testing.assert_array_equal(layer(ones(1, 2)), 2 * ones(1, 2))
    wrapper = layers.TimeDistributed(layer)
    np.testing.assert_array_equal(wrapper(ones(1, 2, 3)), 2 * ones(1, 2, 3))


def test_a_mask_hangs_on_its_tensor():
    y = layers.Embedding(5, 2, mask_zero=True)(np.array([[1, 0]]))
    assert np.array(y._keras_mask).tolist() == [[True, False]]


def test_a_call_keeps_its_mask_as_an_argument():
    """So a layer's input is the first of them, and the mask comes from other calls."""
    x = keras.Input((3,))
    y = layers.Embedding(5, 2, mask_zero=True)(x)
    y = layers.BatchNormalization()(layers.Dense(2)(y))
    node = graph_of(keras.Model(x, y)).nodes[-1]
    assert len(node.inputs) == 2, "Keras no longer passes masks as arguments"
    assert node.data.shape == (None, 3, 2)


def test_a_layer_reads_its_variables_as_float64():
    dense = layers.Dense(3, activity_regularizer="l2")
    x = np.random.default_rng(0).normal(size=(5, 4))
    dense(x)
    losses = len(dense.losses)
    dense.bias.assign([1, 2, 3])
    found = float64_view(dense)(x)
    assert found.dtype == "float64", "the private parts of a dtype policy have changed"
    expected = x @ np.array(dense.kernel, "float64") + [1, 2, 3]
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    assert len(dense.losses) == losses, "the view leaves its losses on the layer"
    assert dense(x).dtype == "float32"


def test_convnext_still_has_its_layer_scale():
    layer = layer_scale()(0.5, 3)
    np.testing.assert_array_equal(layer(ones(2, 3)), 0.5 * ones(2, 3))
    assert layer.gamma.shape == (3,)


def test_seeds_are_found():
    assert has_seeds(layers.Dropout(0.5))
    assert not has_seeds(layers.Dense(2))


# What is made of them


def test_the_first_argument_of_a_call():
    x, m = keras.Input((3, 4)), keras.Input((3,), dtype="bool")
    for y in (
        layers.BatchNormalization()(x, mask=m),
        layers.BatchNormalization()(mask=m, inputs=x),
        ops.where(x, m[..., None], 0.0),
        ops.tanh(x=x),
    ):
        node = graph_of(keras.Model([x, m], y)).nodes[-1]
        assert node.data.shape == (None, 3, 4)


def test_the_training_argument_of_a_call():
    x = keras.Input((4,))
    for y, expected in (
        (layers.BatchNormalization()(x), None),
        (layers.BatchNormalization()(x, training=True), True),
        (layers.Dropout(0.5)(x, training=False), False),
        (ops.tanh(x), None),
    ):
        assert graph_of(keras.Model(x, y)).nodes[0].training is expected


def test_calls_come_after_what_they_need():
    graph = graph_of(diamond())
    names = [n.operation.name for n in graph.nodes]
    assert names[0] == "a"
    assert sorted(names[1:3]) == ["b", "c"]
    assert names[3] == "add"
    known = {id(x) for x in graph.inputs}
    for node in graph.nodes:
        assert all(id(x) in known for x in node.inputs), (
            f"{node.operation} is too early"
        )
        known.update(id(x) for x in node.outputs)
    assert all(id(y) in known for y in graph.outputs)


def test_shortcuts_do_not_disturb_the_order():
    x = keras.Input((4,))
    y = x
    for _ in range(6):
        y = layers.Dense(4)(y) + x
    graph = graph_of(keras.Model(x, layers.Concatenate()([x, y])))
    values = {id(x): ones(2, 4) for x in graph.inputs}
    run(graph.nodes, values)
    assert values[id(graph.outputs[0])].shape == (2, 8)


def test_calls_that_lead_nowhere_are_left_out():
    x = keras.Input((4,))
    layers.Dense(3)(x)
    y = layers.Dense(2, name="y")(x)
    layers.Dense(3)(y)
    assert [n.operation.name for n in graph_of(keras.Model(x, y)).nodes] == ["y"]


def test_each_call_of_a_shared_layer_is_a_node():
    x = keras.Input((4,))
    dense = layers.Dense(4)
    graph = graph_of(keras.Model(x, dense(dense(x))))
    first, second = graph.nodes
    assert first.operation is second.operation is dense
    assert second.inputs[0] is first.outputs[0]


def test_consumers():
    graph = graph_of(diamond())
    a = graph.nodes[0].outputs[0]
    assert {n.operation.name for n in graph.consumers(a)} == {"b", "c"}
    assert graph.consumers(graph.outputs[0]) == []


def test_a_tensor_taken_twice_has_one_consumer():
    x = keras.Input((4,))
    model = keras.Model(x, layers.Add()([x, x]))
    graph = graph_of(model)
    assert len(graph.consumers(graph.inputs[0])) == 1


def test_arguments_are_filled_in():
    x, m = keras.Input((3, 4)), keras.Input((3,), dtype="bool")
    y = layers.LSTM(2)(x, mask=m, initial_state=[x[:, 0, :2], x[:, 1, :2]])
    node = graph_of(keras.Model([x, m], y)).nodes[-1]
    values = {id(t): i for i, t in enumerate(node.inputs)}
    args, kwargs = node.arguments(values)
    filled = keras.tree.flatten((args, kwargs))
    assert set(values.values()) <= set(filled), "fill_in no longer fills in arguments"
    assert kwargs["mask"] == values[id(m)]
    assert len(kwargs["initial_state"]) == 2


def test_arguments_that_are_no_tensors_are_kept():
    x = keras.Input((3, 4))
    y = layers.BatchNormalization()(x, training=True)
    node = graph_of(keras.Model(x, y)).nodes[0]
    args, kwargs = node.arguments({id(x): "value"})
    assert args == ("value",)
    assert kwargs == {"training": True}


@pytest.mark.parametrize("structure", ["one", "list", "dict", "nested"])
def test_structures_are_kept(structure):
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    inputs = {
        "one": a,
        "list": [a, b],
        "dict": {"b": b, "a": a},
        "nested": {"a": a, "rest": [b]},
    }[structure]
    model = keras.Model(inputs, keras.tree.map_structure(lambda x: x + 1, inputs))
    graph = graph_of(model)
    keras.tree.assert_same_structure(graph.input_structure, inputs)
    keras.tree.assert_same_structure(graph.output_structure, inputs)
    assert [x.name for x in graph.inputs] == [
        x.name for x in keras.tree.flatten(inputs)
    ]


class Subclassed(keras.Model):
    def call(self, x):
        return x


class OwnCall(keras.Sequential):
    def call(self, x, training=None, mask=None):
        return super().call(x) + 1


class OwnFunctional(keras.Model):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)

    def call(self, x, training=None, mask=None):
        return super().call(x) + 1


class WithoutCall(keras.Model):
    pass


def test_what_has_no_graph():
    x = keras.Input((4,))
    for thing in (
        Subclassed(),
        keras.Sequential([layers.Dense(2)]),
        OwnCall([x, layers.Dense(2)]),
        OwnFunctional(x, x + 1),
        layers.Dense(2),
        ops.relu,
    ):
        assert graph_of(thing) is None
    assert graph_of(WithoutCall(x, x + 1)) is not None


def test_the_last_layers():
    y = keras.Input((4,))
    inner = keras.Model(y, [layers.Dense(2, name="deep")(y), ops.tanh(y)])
    x = keras.Input((4,))
    deep, tanh = inner(x)
    found = output_layers(
        keras.Model(x, [tanh, deep, layers.Dense(2, name="top")(x), x])
    )
    assert type(found[0]).__name__ == "Tanh"
    assert [layer.name for layer in found[1:3]] == ["deep", "top"]
    assert found[3] is None
    assert output_layers(Subclassed()) == []


@needs_keras(15, "have models with unconnected inputs")
def test_inputs_are_flat_and_cast():
    a, b = keras.Input((2,), name="a"), keras.Input((), name="b", dtype="int32")
    model = keras.Model({"b": b, "a": a}, layers.Dense(2)(a))
    found = flat_inputs(model, {"a": ones(3, 2).astype("float64"), "b": ones(3)})
    by_name = dict(zip([x.name for x in model.inputs], found, strict=True))
    assert by_name["a"].shape == (3, 2)
    assert by_name["b"].shape == (3,)
    assert keras.backend.standardize_dtype(by_name["a"].dtype) == "float32"


def test_sublayers_are_all_layers_inside_each_once():
    dense = layers.Dense(2, name="shared")
    inner = keras.Sequential([keras.Input((2,)), dense, layers.Dropout(0.5, name="d")])
    x = keras.Input((3, 2))
    y = layers.Bidirectional(layers.LSTM(2, name="lstm"))(x)
    y = (
        layers.RNN([layers.GRUCell(2, name="cell")])(layers.TimeDistributed(inner)(x))
        + y[:, :2]
    )
    model = keras.Model(x, dense(y))

    found = list(sublayers(model))

    assert found[0] is model
    assert len({id(x) for x in found}) == len(found)
    names = [x.name for x in found]
    for name in ("shared", "d", "forward_lstm", "backward_lstm", "cell"):
        assert names.count(name) == 1, f"_flatten_layers no longer finds {name}"
    assert list(sublayers(ops.relu)) == []


def test_calls_run_in_inference_mode():
    x = keras.Input((4,))
    y = layers.Dropout(0.5)(
        layers.BatchNormalization()(x, training=True), training=True
    )
    model = keras.Model(x, ops.relu(y) + 1)
    before = [np.array(v) for v in model.variables]
    graph = graph_of(model)
    values = {id(graph.inputs[0]): 3 * ones(5, 4)}

    run(graph.nodes, values)

    found = np.array(values[id(graph.outputs[0])])
    np.testing.assert_allclose(found, 3 / np.sqrt(1.001) + 1, rtol=1e-5)
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new)
