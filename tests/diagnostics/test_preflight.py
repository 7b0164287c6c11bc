"""Each problem is reported first, healthy networks get no warning, nothing changes."""

import collections
import contextlib
import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.diagnostics import (
    preflight,
    register_check,
    registered_checks,
    unregister_check,
)
from tests.diagnostics import networks, sick_networks

PROBLEMS = list(sick_networks.problems())
HEALTHY = list(networks.healthy())


@pytest.mark.quick
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*received `from_logits=True`")
@pytest.mark.parametrize(
    ("kind", "problem", "make", "data"),
    [(kind, name, make, data) for kind, name, _, make, data in PROBLEMS],
    ids=[f"{kind}-{name}-{word}" for kind, name, word, _, _ in PROBLEMS],
)
def test_a_problem_is_reported_first(kind, problem, make, data):
    report = preflight(make(kind), *data, verbose=0)
    assert report.findings[0].name == problem, str(report)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "data"),
    [(make, data) for _, make, data in HEALTHY],
    ids=[name for name, _, _ in HEALTHY],
)
def test_a_healthy_network_gets_no_warning(make, data):
    preflight(make(), *data, verbose=0).assert_healthy("warning")


def test_each_check_has_its_networks():
    strengths = collections.Counter((kind, name) for kind, name, *_ in PROBLEMS)
    # What needs validation data has tests of its own.
    names = {check.name for check in registered_checks()} - {"validation-data"}
    assert set(strengths) == {(kind, name) for kind in ("mlp", "cnn") for name in names}
    assert min(strengths.values()) >= 2
    assert len(HEALTHY) >= 20


@pytest.mark.parametrize(
    ("make", "layer", "message"),
    [
        (sick_networks.not_a_number, "dense", "Weights contain NaN"),
        (sick_networks.rooted, "root", "The gradient is NaN or infinite"),
    ],
)
def test_what_is_not_finite_is_named_with_its_layer(make, layer, message):
    (finding,) = preflight(make("mlp"), *networks.digits(), verbose=0).findings
    assert finding.severity == "error"
    assert finding.name == "nonfinite-values"
    assert layer in finding.layer.rpartition("/")[2]
    assert message in finding.message


def test_a_signal_that_overflows_explodes_in_the_layer_where_it_does():
    huge = networks.normal(1e30)
    model = networks.network("mlp", 3, "linear", huge)
    report = preflight(model, *networks.digits(), verbose=0)
    (finding,) = [f for f in report.findings if f.name == "exploding"]
    assert finding.layer == model.layers[1].path
    assert finding.message == "The signal overflows to infinity here."
    assert "nonfinite-values" not in [f.name for f in report.findings]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (slice(64), slice(96), r"x and y must.*same length.*x of 64; y of 96"),
        (slice(96), slice(64), r"x and y must.*same length.*x of 96; y of 64"),
        (slice(0), slice(0), "x and y must hold at least one row"),
    ],
)
def test_rows_that_do_not_fit_are_named(x, y, message):
    data = networks.digits()
    with pytest.raises(ValueError, match=message):
        preflight(networks.network(depth=1), data[0][x], data[1][y], verbose=0)


def test_lists_of_numbers_and_labels_that_are_strings_are_refused():
    x, y = networks.digits()
    model = networks.network(depth=1)
    with pytest.raises(ValueError, match=r"x must hold arrays.*np\.array"):
        preflight(model, x.tolist(), y, verbose=0)
    with pytest.raises(ValueError, match="y must hold numbers; labels that are str"):
        preflight(model, x, np.array(list("abcd"))[y], verbose=0)


def test_lists_generators_and_batches_are_read_as_fit_reads_them():
    i, j = keras.Input((20,)), keras.Input((20,))
    h = keras.layers.Add()([i, j])
    outputs = [keras.layers.Dense(4, name="a")(h), keras.layers.Dense(4, name="b")(h)]
    model = keras.Model([i, j], outputs)
    model.compile("sgd", ["mse", "mse"])
    x, _ = networks.digits()
    y = x[:, :4]
    reports = [
        preflight(model, *data, verbose=0, skip=["tiny-batch"]).to_dict()
        for data in (
            ([x, x], [y, y]),
            ((x, x), (y, y)),
            ((((x, x), (y, y)) for _ in range(3)),),
        )
    ]
    assert reports[0] == reports[1]
    assert reports[0]["checked"] == reports[2]["checked"]


def state(model):
    return [
        np.array(v)
        for v in (
            *model.variables,
            *model.optimizer.variables,
            *model.metrics_variables,
            *(v for la in model.layers for v in getattr(la, "_seed_generators", ())),
        )
        if hasattr(v, "numpy")
    ]


@pytest.mark.parametrize("trained", [False, True])
def test_nothing_changes(trained):
    data = networks.digits()
    model = networks.regularised_with_norm()
    if trained:
        model.fit(*data, verbose=0)
    seed = model.layers[3].seed_generator.state.numpy()
    before = state(model)
    preflight(model, *data, verbose=0)
    for old, new in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(seed, model.layers[3].seed_generator.state.numpy())
    assert model.layers[3].rate == 0.5
    assert not any("call" in vars(layer) for layer in model.layers)


def test_training_goes_on_as_if_nothing_had_been_checked():
    data = networks.digits()
    histories = []
    for checked in (False, True):
        keras.utils.set_random_seed(3)
        model = networks.regularised_with_norm()
        if checked:
            preflight(model, *data, verbose=0)
        fitted = model.fit(*data, epochs=2, verbose=0)
        histories.append(fitted.history)
    assert histories[0] == histories[1]


class Noisy(keras.layers.Layer):
    """Draws from Keras's global generator, and fails at one of its calls."""

    calls, fails_at = 0, None

    def call(self, x):
        self.calls += 1
        if self.calls == self.fails_at:
            raise RuntimeError("broken")
        return x + 0.01 * keras.random.normal(keras.ops.shape(x))


def noisy(fails_at=None):
    model = keras.Sequential([keras.Input((20,)), keras.layers.Dense(4, "softmax")])
    noise = Noisy()
    model = keras.Sequential([keras.Input((20,)), noise, *model.layers])
    model.compile("adam", "sparse_categorical_crossentropy")
    noise.calls, noise.fails_at = 0, fails_at
    return model


# The pass that all checks share, then the first step that memorises examples.
@pytest.mark.parametrize("fails_at", [None, 1, 2])
@pytest.mark.parametrize("drawn", [False, True])
def test_the_random_state_is_as_before(fails_at, drawn):
    model = noisy(fails_at)
    keras.backend.clear_session()  # A global generator that nothing drew from yet.
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(8)
    if drawn:
        keras.random.normal((2,))
    before = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    weights = [v.numpy() for v in model.variables]
    with pytest.raises(RuntimeError) if fails_at else contextlib.nullcontext():
        preflight(model, *networks.digits(), verbose=0)
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    for old, new in zip(weights, model.variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())
    after = keras.random.normal((3,)).numpy()
    keras.backend.clear_session()
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(8)
    if drawn:
        keras.random.normal((2,))
    np.testing.assert_array_equal(after, keras.random.normal((3,)).numpy())


def test_nothing_changes_after_an_exception():
    data = networks.digits()
    model = networks.regularised_with_norm()
    before = state(model)

    @register_check("breaks", looks_for="nothing", advice="")
    def breaks(examination, check):
        assert examination.loss > 0
        raise RuntimeError("broken")
        yield

    try:
        with pytest.raises(RuntimeError, match="broken"):
            preflight(model, *data, verbose=0)
    finally:
        unregister_check("breaks")
    for old, new in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(old, new)


# Arguments and kinds of data ----------------------------------------------------------


def test_data_in_batches():
    x, y = networks.digits()
    model = networks.network()
    arrays = preflight(model, x, y, samples=96, verbose=0)
    batches = tf.data.Dataset.from_tensor_slices((1000 * x, y)).batch(10)
    report = preflight(model, batches, verbose=0)
    assert not arrays.findings
    assert report.findings[0].name == "inputs-not-standardised"


def test_an_unbuilt_model_is_built():
    model = keras.Sequential([keras.layers.Dense(4, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    preflight(model, *networks.digits(), verbose=0).assert_healthy()


def test_several_inputs_and_outputs():
    a, b = keras.Input((20,), name="a"), keras.Input((3,), name="b")
    h = keras.layers.Concatenate()([a, b])
    h = keras.layers.Dense(16, "relu", kernel_initializer="he_normal")(h)
    outputs = {
        "kind": keras.layers.Dense(4, "softmax", name="kind")(h),
        "size": keras.layers.Dense(1, name="size")(h),
    }
    model = keras.Model({"a": a, "b": b}, outputs)
    model.compile("adam", {"kind": "sparse_categorical_crossentropy", "size": "mse"})
    x, y = networks.digits()
    data = {"a": x, "b": x[:, :3]}, {"kind": y, "size": x[:, :1]}
    preflight(model, *data, verbose=0).assert_healthy()


def test_a_subclassed_model():
    class Small(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = keras.layers.Dense(8, "relu", kernel_initializer="he_normal")
            self.last = keras.layers.Dense(4, "softmax")

        def call(self, x):
            return self.last(self.hidden(x))

    model = Small()
    model.compile("adam", "sparse_categorical_crossentropy")
    x, y = networks.digits()
    preflight(model, x, y, verbose=0).assert_healthy()
    assert preflight(model, 1000 * x, y, verbose=0).findings


def test_on_two_replicas(two_replicas):
    data = networks.digits()
    with two_replicas.scope():
        model = networks.network(depth=2)
    before = [v.numpy() for v in model.variables]
    preflight(model, *data, verbose=0).assert_healthy()
    assert "tiny-batch" in preflight(model, *data, verbose=0).checked
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_other_types(dtype):
    keras.config.set_dtype_policy(dtype)
    try:
        model = networks.network(depth=2)
    finally:
        keras.config.set_dtype_policy("float32")
    preflight(model, *networks.digits(), verbose=0).assert_healthy()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"skip": ["nothing"]}, "skip must hold names of checks"),
        ({"thresholds": {"nothing": 1}}, "thresholds must hold names of checks"),
        ({"samples": 0}, "samples must be a positive integer"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        preflight(networks.network(), *networks.digits(), verbose=0, **options)


def test_missing_arguments():
    model = networks.network()
    with pytest.raises(ValueError, match="y must be given"):
        preflight(model, networks.digits()[0])
    with pytest.raises(ValueError, match="model must be compiled"):
        preflight(keras.Sequential([keras.layers.Dense(1)]), *networks.digits())


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_a_float8_model_is_refused_with_the_remedy():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.quantize("float8")
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"before model\.quantize.*'dense.*float8"):
        preflight(model, np.ones((8, 4)), np.ones((8, 2)))
