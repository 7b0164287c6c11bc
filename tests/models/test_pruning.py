"""The smallest weights become zero, in the right layers, and what is reported."""

import gzip
import json
import random

import keras
import numpy as np
import pytest

from keras_dnn.models import PruneResult, prune
from keras_dnn.models.rebuild import rebuild
from tests.models.prune_cases import (
    all_kernels,
    network,
    numbers,
    values,
    without_smallest,
)

layers = keras.layers


@pytest.mark.parametrize("fraction", [0.0, 0.31, 0.5, 0.9])
def test_prunes_the_smallest_of_each_kernel(fraction):
    model = network()
    before = [w.copy() for w in model.get_weights()]
    result = prune(model, fraction)
    for w, pruned in zip(values(model), values(result.model), strict=True):
        np.testing.assert_array_equal(
            pruned, without_smallest(w, int(np.floor(fraction * w.size + 0.5)))
        )
    # Everything else, and the model given, is unchanged.
    for was, now, given in zip(
        before, result.model.get_weights(), model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(was, given)
        if was.ndim == 1:
            np.testing.assert_array_equal(was, now)
    assert all(layer.kernel_constraint is None for layer in model.layers)


@pytest.mark.parametrize("fraction", [0.43, 0.8])
def test_prunes_the_smallest_of_all(fraction):
    model = network()
    # Of different scales, so that comparing them makes a difference.
    for scale, layer in zip((0.3, 1.0, 2.0), model.layers, strict=True):
        layer.kernel.assign(scale * layer.kernel)
    result = prune(model, fraction, scope="global")
    together = np.concatenate([w.ravel() for w in values(model)])
    expected = without_smallest(together, round(fraction * together.size))
    found = np.concatenate([w.ravel() for w in values(result.model)])
    np.testing.assert_array_equal(found, expected)
    by_layer = result.sparsity.by_layer
    assert by_layer["low"] > fraction > by_layer["top"]


def test_prunes_the_exact_number_where_weights_are_equal():
    model = network()
    for layer in model.layers:
        layer.kernel.assign(np.full(layer.kernel.shape, -0.5))
    counts = [np.count_nonzero(w) for w in values(prune(model, 0.25).model)]
    assert counts == [36, 42, round(0.75 * 14)]


def kinds():
    image, steps = keras.Input((6, 6, 2)), keras.Input((5, 3))
    same = {"padding": "same"}
    x = layers.Conv2D(4, 3, groups=2, name="conv", **same)(image)
    x = layers.DepthwiseConv2D(3, name="depthwise", **same)(x)
    x = layers.SeparableConv2D(4, 3, name="separable", **same)(x)
    x = layers.Conv2DTranspose(3, 2, name="transposed")(x)
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, name="dense")], name="inner"
    )
    cells = [layers.LSTMCell(2), layers.SimpleRNNCell(3)]
    parts = [
        layers.GlobalAveragePooling2D()(x),
        layers.Bidirectional(layers.GRU(2), name="both_ways")(steps),
        layers.RNN(cells, name="cells")(steps),
        layers.Flatten()(
            layers.TimeDistributed(layers.Dense(3), name="each_step")(steps)
        ),
        layers.Flatten()(
            layers.EinsumDense(
                "abc,cd->abd", output_shape=(5, 4), bias_axes="bd", name="einsum"
            )(steps)
        ),
    ]
    shared = layers.Dense(4, name="shared", trainable=False)
    x = shared(
        layers.BatchNormalization()(
            shared(layers.Dense(4, name="first")(layers.Concatenate()(parts)))
        )
    )
    return keras.Model([image, steps], inner(x))


def test_prunes_layers_of_every_kind_with_masks_that_are_saved():
    model = kinds()
    result = prune(model, 0.5)
    assert result.kept == {}
    found = all_kernels(result.model)
    # Two of the separable layer, four in two directions, four in two cells.
    assert len(found) == len(all_kernels(model)) == 18
    for before, after in zip(all_kernels(model).values(), found.values(), strict=True):
        w = before.numpy()
        np.testing.assert_array_equal(
            after.numpy(), without_smallest(w, round(0.5 * w.size))
        )
    # A model that Keras builds from the config has the same masks.
    for old, new in zip(
        found.values(), all_kernels(rebuild(result.model)).values(), strict=True
    ):
        np.testing.assert_array_equal(old.constraint.mask, new.constraint.mask)
        np.testing.assert_array_equal(old.numpy() != 0, new.constraint.mask)
    assert result.sparsity.by_layer["inner/dense"] == 0.5
    assert not result.model.get_layer("shared").trainable


def test_reports_the_size_after_compression():
    keras.utils.set_random_seed(1)
    pruned = prune(network(), 0.6)
    keras.utils.set_random_seed(1)
    for model, size in (
        (network(), pruned.compressed_size_before),
        (pruned.model, pruned.compressed_size),
    ):
        content = b"".join(w.tobytes() for w in model.get_weights())
        assert pruned.size == len(content)
        # The header and trailer of a gzip file are twelve bytes longer.
        assert size == len(gzip.compress(content, 6)) - 12
    assert pruned.compressed_size < 0.8 * pruned.compressed_size_before


def test_reports_the_difference_it_makes():
    a = keras.Input((5,), name="a")
    sum_, large = layers.Dense(3, name="one"), layers.Dense(4, name="two")
    model = keras.Model({"a": a}, [sum_(a), large(a)])
    large.kernel.assign(100 * large.kernel)
    x = numbers(70, 5)
    result = prune(model, 0.4, data={"a": x})
    fractions = []
    for before, after in zip(values(model), values(result.model), strict=True):
        y, z = (x.astype("float64") @ w for w in (before, after))
        fractions.append(np.abs(y - z) / np.std(y))
    assert result.max_difference == pytest.approx(
        max(s.max() for s in fractions), rel=1e-4
    )
    assert result.mean_difference == pytest.approx(
        np.mean([s.mean() for s in fractions]), rel=1e-4
    )
    assert prune(model, 0.0, data={"a": x}).max_difference == 0


def words():
    x = keras.Input((4,), dtype="int32")
    y = layers.Embedding(9, 4, name="words")(x)
    y = layers.MultiHeadAttention(2, 2, name="attention")(y, y)
    return keras.Model(x, layers.Dense(1, name="top")(y))


def test_says_which_layers_it_does_not_prune_and_why():
    model = words()
    result = prune(model, 0.5)
    assert "looked up" in result.kept["words"]
    assert "no place for masks" in result.kept["attention"]
    assert result.sparsity.by_layer == {"words": 0.0, "attention": 0.0, "top": 0.5}
    np.testing.assert_array_equal(
        model.get_layer("attention").get_weights()[0],
        result.model.get_layer("attention").get_weights()[0],
    )
    assert "  not pruned: words, its rows are looked up" in str(result)


def test_prunes_the_layers_that_are_named():
    model = words()
    result = prune(model, 0.25, layers=["words", model.get_layer("top")])
    assert result.sparsity.by_layer == {"words": 0.25, "attention": 0.0, "top": 0.25}
    assert result.kept == {}
    nested = keras.Sequential([keras.Input((6,)), network(), layers.Dense(3)])
    nested.layers[0].name = "inner"
    for choice, count in (("inner", 3), ("inner/low", 1), ("low", 1)):
        found = prune(nested, 0.5, layers=[choice]).sparsity.by_layer
        assert sum(fraction > 0 for fraction in found.values()) == count


def test_attention_is_pruned_if_it_is_named_with_masks_that_last_in_training():
    model = words()
    result = prune(model, 0.5, layers=["attention"])
    assert result.unsaved == ("attention",)
    assert "the mask of attention is not saved: prune the loaded" in str(result)
    assert result.sparsity.by_layer == {"words": 0.0, "attention": 0.5, "top": 0.0}
    kernels = [
        (old, new)
        for old, new in zip(model.weights, result.model.weights, strict=True)
        if "attention" in old.path and "kernel" in old.path
    ]
    assert len(kernels) == 4
    for old, new in kernels:
        expected = without_smallest(old.numpy(), round(0.5 * old.numpy().size))
        np.testing.assert_array_equal(new.numpy(), expected)
    zeros = [new.numpy() == 0 for _, new in kernels]
    x = np.arange(32).reshape(8, 4) % 9
    result.model.compile("adam", "mse")
    result.model.fit(x, np.ones((8, 4, 1)), verbose=0)
    for (_, new), zero in zip(kernels, zeros, strict=True):
        assert (new.numpy()[zero] == 0).all()
        assert (new.numpy()[~zero] != 0).all()
    copied = rebuild(result.model).get_layer("attention").weights
    assert [v.constraint is None for v in copied if "kernel" in v.path] == [False] * 4


def test_a_model_of_attention_only_says_how_to_prune_it():
    x = keras.Input((4, 3))
    model = keras.Model(x, layers.MultiHeadAttention(1, 2, name="attention")(x, x))
    with pytest.raises(ValueError, match=r"attention: its config .* name it in layers"):
        prune(model, 0.5)
    assert prune(model, 0.5, layers=["attention"]).sparsity.overall == 0.5


class Twins(keras.Model):
    """Two layers of one name, in a class that has no config."""

    def __init__(self):
        super().__init__(name="twins")
        self.first = layers.Dense(4, name="same")
        self.second = layers.Dense(4, name="same")

    def call(self, x):
        return self.second(self.first(x))


def test_layers_of_one_name_in_a_subclassed_model_are_told_apart():
    x = keras.Input((4,))
    model = keras.Model(x, Twins()(x))
    result = prune(model, 0.5)
    expected = {"twins/same": 0.5, "twins/same_2": 0.5}
    assert result.sparsity.by_layer == expected
    twins, pruned = model.layers[-1], result.model.layers[-1]
    for name in ("first", "second"):
        np.testing.assert_array_equal(
            getattr(pruned, name).kernel.numpy(),
            without_smallest(getattr(twins, name).kernel.numpy(), 8),
        )


def test_the_difference_leaves_the_seeds_of_the_model_alone():
    model = keras.Sequential(
        [keras.Input((3, 2)), layers.GRU(2, recurrent_dropout=0.5), layers.Dense(1)]
    )
    before = [v.numpy() for v in model.variables]
    state = random.getstate()
    prune(model, 0.5, data=numbers(4, 3, 2))
    assert random.getstate() == state
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


def test_prints_what_it_did():
    model = network()
    model.layers[0].kernel.assign(1e-3 * model.layers[0].kernel)
    result = prune(model, 0.47, scope="global")
    text = str(result)
    assert text.startswith(" 46.6% of 118 weights are zero\n  100.0% of 48 in low")
    assert "\n  all weights of low are zero\n540 bytes of weights, compressed " in text
    assert f"by {result.max_difference:.1e} at most" in text
    plain = json.loads(json.dumps(result.to_dict()))
    assert "model" not in plain
    assert plain["sparsity"]["weights"] == {"low": 48, "middle": 56, "top": 14}
    assert isinstance(result, PruneResult)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sparsity": 1.0}, r"sparsity must be .*Received: sparsity=1.0"),
        ({"sparsity": -0.1}, r"sparsity must be .*Received: sparsity=-0.1"),
        ({"sparsity": True}, r"sparsity must be .*Received: sparsity=True"),
        ({"scope": "all"}, r"scope must be 'layer' or 'global'. Received: scope='all'"),
        ({"layers": "low"}, r"layers must be a list. Received: layers='low'"),
        ({"layers": ["absent"]}, r"of \['words', 'attention', 'top'\]. Received: "),
        ({"layers": []}, r"must have a kernel to prune. Received: .*layers=\[\]"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        prune(words(), **{"sparsity": 0.5, **arguments})


def test_refuses_models_without_graph_or_kernels():
    with pytest.raises(ValueError, match="must be functional"):
        prune(keras.Sequential([layers.Dense(2)]), 0.5)
    model = keras.Sequential([keras.Input((4,)), layers.BatchNormalization()])
    with pytest.raises(ValueError, match="must have a kernel to prune"):
        prune(model, 0.5)


def test_prunes_a_model_that_trains_in_float8_and_no_int8_one():
    model = network()
    model.layers[0].quantize("int8")
    model.layers[1].quantize("float8")
    result = prune(model, 0.5, data=numbers(3, 6))
    assert result.sparsity.by_layer["middle"] == 0.5
    assert "quantised" in result.kept["low"]
    result.model.compile("sgd", "mse")
    result.model.fit(numbers(4, 6), numbers(4, 2), verbose=0)
    assert (result.model.layers[1].kernel.numpy() == 0).mean() == 0.5
