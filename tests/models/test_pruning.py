"""The smallest weights become zero, and remain zero."""

import contextlib
import gzip
import json
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

from keras_dnn import optimizers
from keras_dnn.callbacks import MaxNorm
from keras_dnn.models import PruneResult, prune
from keras_dnn.models._pruning.kernels import kernels, layers_by_path
from keras_dnn.models._pruning.mask import PruningMask
from keras_dnn.models.rebuild import rebuild

layers = keras.layers


def network():
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, "tanh", name="low"),
            layers.Dense(7, "tanh", name="middle"),
            layers.Dense(2, name="top"),
        ]
    )


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def all_kernels(model):
    found = [k for layer in layers_by_path(model).values() for k in kernels(layer)]
    return {k.variable.path: k.variable for k in found}


def values(model):
    return [v.numpy() for v in all_kernels(model).values()]


def without_smallest(w, count):
    """The reference: zero unless larger than the last one to be removed."""
    if not count:
        return w
    return np.where(np.abs(w) > np.sort(np.abs(w).ravel())[count - 1], w, 0)


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


@pytest.fixture(scope="module")
def pruned():
    keras.utils.set_random_seed(1)
    return prune(network(), 0.6)


def fitted(model, optimizer, jit_compile=False, **kwargs):
    x = numbers(64, 6)
    model.compile(optimizer, "mse", jit_compile=jit_compile)
    model.fit(x, x[:, :2].sum(axis=1, keepdims=True), verbose=0, **kwargs)
    return model


def several(model):
    low = "|".join(v.path for v in model.get_layer("low").weights)
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(
            optimizers.Adam(0.01), {low: optimizers.Momentum(0.01)}
        )
    )


@pytest.mark.parametrize(
    ("optimizer", "jit_compile"),
    [
        (lambda _: keras.optimizers.SGD(0.01, momentum=0.9), True),
        (
            lambda _: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
            False,
        ),
        (
            lambda _: optimizers.Nesterov(
                0.01, gradient_accumulation_steps=2, use_ema=True, ema_momentum=0.5
            ),
            True,
        ),
        (several, False),
    ],
    ids=["keras momentum", "keras accumulates", "averages", "several"],
)
def test_zeros_remain_and_the_others_train(pruned, optimizer, jit_compile):
    model = rebuild(pruned.model)
    before = values(model)
    fitted(model, optimizer(model), jit_compile)
    for was, now in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(now == 0, was == 0)
        # Some lead to units without remaining outputs, and have no gradient.
        assert np.count_nonzero(now != was) > 0.5 * np.count_nonzero(was)


def test_trains_as_gradient_descent_on_the_remaining_weights():
    dense = layers.Dense(8, use_bias=False, dtype="float64")
    model = keras.Sequential([keras.Input((6,), dtype="float64"), dense])
    result = prune(model, 0.5)
    x = numbers(32, 6).astype("float64")
    y = np.cos(x @ np.ones((6, 8))).astype("float32")  # As `fit` takes it.
    w = values(result.model)[0].copy()
    mask = w != 0
    for _ in range(3):
        w = mask * (w - 0.125 * 2 * x.T @ (x @ w - y) / y.size)
    loss = keras.losses.MeanSquaredError(dtype="float64")
    result.model.compile(keras.optimizers.SGD(0.125), loss)
    result.model.fit(x, y, batch_size=32, epochs=3, verbose=0)
    np.testing.assert_allclose(values(result.model)[0], w, rtol=1e-10, atol=1e-13)


@pytest.mark.slow
def test_two_replicas_train_as_one_device_and_keep_the_zeros(two_replicas):
    given, found = network(), []
    for scope in (contextlib.nullcontext(), two_replicas.scope()):
        with scope:
            model = prune(given, 0.6).model
            optimizer = optimizers.Momentum(0.05, momentum=0.9)
            fitted(model, optimizer, batch_size=16, epochs=2)
        found.append(values(model))
    for one, two, w in zip(*found, values(given), strict=True):
        np.testing.assert_array_equal(one == 0, two == 0)
        np.testing.assert_array_equal(
            two == 0, without_smallest(w, round(0.6 * w.size)) == 0
        )
        assert np.abs(one - w)[one != 0].max() > 0.01
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)
    for kernel in all_kernels(model).values():
        first, second = two_replicas.experimental_local_results(kernel.value)
        np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_continues_training_with_its_zeros_in_a_new_process(pruned, tmp_path):
    pruned.model.save(tmp_path / "pruned.keras")
    code = """
        import sys, keras, numpy as np, keras_dnn
        model = keras.models.load_model(sys.argv[1])
        before = model.get_weights()
        x = np.random.default_rng(0).normal(size=(64, 6))
        model.compile(keras_dnn.optimizers.Adam(0.01), "mse")
        model.fit(x, x[:, :2], verbose=0)
        for was, now in zip(before, model.get_weights(), strict=True):
            assert (was != now).any()
            if was.ndim > 1:
                assert ((was == 0) == (now == 0)).all()
        print([round(100 * (w == 0).mean()) for w in before if w.ndim > 1])
    """
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path / "pruned.keras"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "[60, 61, 57]"


@keras.saving.register_keras_serializable(package="tests")
class AddsOne(keras.constraints.Constraint):
    def __call__(self, w):
        return w + 1.0


def test_the_layers_own_constraint_is_applied_too():
    model = network()
    config = model.layers[0].get_config()
    unit, one = keras.constraints.UnitNorm(axis=0), AddsOne()
    model = keras.Sequential(
        [
            model.inputs[0],
            layers.Dense.from_config({**config, "kernel_constraint": unit}),
            layers.Dense(2, kernel_constraint=one),
        ]
    )
    result = prune(model, 0.5)
    before = values(result.model)
    fitted(result.model, keras.optimizers.SGD(1e-3), batch_size=64)
    low, high = values(result.model)
    np.testing.assert_array_equal(low == 0, before[0] == 0)
    np.testing.assert_allclose(np.linalg.norm(low, axis=0), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(high == 0, before[1] == 0)
    assert (np.abs(high - before[1] - 1)[high != 0] < 0.1).all()


def test_the_layers_own_constraint_measures_the_remaining_weights():
    w, mask = numbers(6, 8), numbers(8, 6).T > -1
    found = PruningMask(mask, keras.constraints.UnitNorm(axis=0))(w)
    remaining = np.where(mask, w, 0)
    np.testing.assert_allclose(
        found, remaining / np.linalg.norm(remaining, axis=0), rtol=1e-5, atol=1e-7
    )


def test_max_norm_keeps_zeros_and_mask(pruned):
    model = rebuild(pruned.model)
    fitted(model, optimizers.Adam(0.01), callbacks=[MaxNorm(0.4)])
    for was, now in zip(values(pruned.model), values(model), strict=True):
        np.testing.assert_array_equal(now == 0, was == 0)
        assert np.linalg.norm(now, axis=0).max() < 0.40001
    assert isinstance(model.get_layer("low").kernel.constraint, PruningMask)


def test_pruned_again_it_keeps_the_zeros_it_has(pruned):
    for fraction, expected in ((0.8, 0.8), (0.2, 0.6)):
        again = prune(pruned.model, fraction)
        for before, after in zip(
            values(pruned.model), values(again.model), strict=True
        ):
            assert not after[before == 0].any()
            assert np.count_nonzero(after) == after.size - round(expected * after.size)
        low = again.model.get_layer("low")
        assert low.kernel_constraint.constraint is None
        np.testing.assert_array_equal(low.kernel_constraint.mask, low.kernel != 0)


def test_nan_is_zero_when_it_is_masked():
    masked = PruningMask(np.array([True, False]))(np.array([1.0, np.nan]))
    assert np.asarray(masked).tolist() == [1.0, 0.0]


def test_reports_the_size_after_compression(pruned):
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
        ({"layers": ["attention"]}, r"not attention: .*Received: layers="),
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
