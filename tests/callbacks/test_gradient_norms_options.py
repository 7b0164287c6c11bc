"""What `GradientNorms` is told to record, and where it writes it."""

import importlib.util
import inspect
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.callbacks import GradientNorms
from tests.callbacks.gradient_replay import (
    BATCH,
    batches,
    data,
    fit,
    in_float64,  # noqa: F401
    nesterov,
    network,
    refit,
    replay,
    sgd,
    slow,
)

# Options


@pytest.mark.parametrize("compile_options", [slow({}), {"steps_per_execution": 4}])
@pytest.mark.parametrize("every", [slow(1), 3, slow(10), slow(11)])
def test_every_kth_update_is_recorded(every, compile_options):
    x, y = data()
    probe = GradientNorms(every=every)
    fit(network(), sgd(), x, y, probe, epochs=2, **compile_options)
    truth = replay(network(), sgd(), batches(x, y) * 2)
    steps = np.arange(0, 20, every)
    np.testing.assert_array_equal(probe.steps, steps)
    np.testing.assert_allclose(probe.norms, truth.norms[steps], rtol=1e-9)
    np.testing.assert_allclose(probe.ratios, truth.ratios[steps], rtol=1e-9)
    np.testing.assert_allclose(probe.global_norms, truth.global_norms[steps], rtol=1e-9)


def test_every_counts_updates_not_micro_batches():
    x, y = data()
    probe = GradientNorms(every=2)
    fit(network(), nesterov(gradient_accumulation_steps=3), x, y, probe, epochs=2)
    np.testing.assert_array_equal(probe.steps, [0, 2, 4])
    truth = replay(network(), nesterov(), batches(x, y) * 2, accumulate=3)
    np.testing.assert_allclose(probe.norms, truth.norms[::2], rtol=1e-9)


def test_without_variables_the_model_is_one_vector():
    x, y = data()
    probe = GradientNorms(per_variable=False)
    fit(network(), sgd(global_clipnorm=1.5), x, y, probe)
    truth = replay(network(), sgd(), batches(x, y), clips={"global_clipnorm": 1.5})
    assert list(probe.names) == ["model"]
    for field in ("norms", "clipped_norms", "ratios"):
        expected = getattr(truth, f"global_{field}")
        found = getattr(probe, field)
        assert found.shape == (10, 1)
        np.testing.assert_allclose(found[:, 0], expected, rtol=1e-9)
        np.testing.assert_allclose(getattr(probe, f"global_{field}"), expected)


@pytest.mark.parametrize("per_variable", [True, slow(False)])
def test_without_ratios_there_are_none(per_variable):
    x, y = data()
    probe = GradientNorms(ratios=False, per_variable=per_variable)
    history = fit(network(), sgd(clipvalue=0.3), x, y, probe)
    truth = replay(network(), sgd(), batches(x, y), clips={"clipvalue": 0.3})
    assert probe.ratios is None
    assert probe.global_ratios is None
    assert "update_ratio" not in history.history
    np.testing.assert_allclose(probe.global_norms, truth.global_norms, rtol=1e-9)
    np.testing.assert_allclose(
        probe.global_clipped_norms, truth.global_clipped_norms, rtol=1e-9
    )


@pytest.mark.parametrize("every", [0, -1, 1.5, "2", None])
def test_every_must_be_a_positive_integer(every):
    with pytest.raises(ValueError, match=rf"every .*Received: every={every!r}"):
        GradientNorms(every=every)


# History


@pytest.mark.parametrize("compile_options", [{}, slow({"steps_per_execution": 4})])
@pytest.mark.parametrize("per_variable", [True, slow(False)])
def test_history_summarises_each_epoch(per_variable, compile_options):
    x, y = data()
    probe = GradientNorms(per_variable=per_variable)
    history = fit(
        network(),
        sgd(clipnorm=0.8),
        x,
        y,
        probe,
        epochs=3,
        validation_data=(x, y),
        **compile_options,
    ).history
    norms = probe.global_norms.reshape(3, 10)
    ratios = probe.global_ratios.reshape(3, 10)
    np.testing.assert_allclose(history["gradient_norm"], norms.mean(axis=1))
    np.testing.assert_allclose(history["gradient_norm_max"], norms.max(axis=1))
    np.testing.assert_allclose(history["update_ratio"], ratios.mean(axis=1))
    assert [len(values) for values in history.values()] == [3] * 5


def test_history_is_of_plain_numbers_for_other_callbacks():
    x, y = data()
    seen = []

    class Reader(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(dict(logs))

    fit(network(), sgd(), x, y, [GradientNorms(), Reader()])
    assert all(type(value) is float for value in seen[0].values())
    assert {"gradient_norm", "gradient_norm_max", "update_ratio"} <= set(seen[0])


def test_an_epoch_without_a_recorded_update_has_nan_in_history():
    """Every key has as many entries as there are epochs."""
    x, y = data()
    probe = GradientNorms(every=15)
    history = fit(network(), sgd(), x, y, probe, epochs=3).history
    np.testing.assert_array_equal(probe.steps, [0, 15])
    assert np.isnan(history["gradient_norm"]).tolist() == [False, False, True]
    assert np.isnan(history["gradient_norm_max"]).tolist() == [False, False, True]
    assert np.isnan(history["update_ratio"]).tolist() == [False, False, True]


# Long epochs


@pytest.mark.parametrize(
    ("block", "every"),
    [(1, 1), slow(7, 1), slow(7, 2), slow(256, 1), (300, 1), slow(500, 2)],
)
def test_nothing_is_lost_in_a_long_epoch(block, every):
    """Each step has its own gradient, 1, 2, 3, ..., so none can be missed."""
    x = np.arange(1, 701, dtype="float32")[:, None]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    probe = GradientNorms(every=every)
    fit(
        model,
        keras.optimizers.SGD(0.0),
        x,
        x,
        probe,
        batch_size=1,
        loss=lambda y, y_hat: y_hat,
        steps_per_execution=block,
    )
    steps = np.arange(0, 700, every)
    np.testing.assert_array_equal(probe.steps, steps)
    np.testing.assert_array_equal(probe.norms[:, 0], steps + 1.0)
    np.testing.assert_array_equal(probe.global_norms, steps + 1.0)


def test_data_of_unknown_length_adds_no_rows():
    """The end of such data comes as an error within the step."""
    x, y = data()
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)
    dataset = dataset.filter(lambda x, y: True)
    probe = GradientNorms()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*ran out of data")
        fit(network(), sgd(), dataset, None, probe, batch_size=None, epochs=3)
    truth = replay(network(), sgd(), batches(x, y) * 3)
    assert np.all(np.diff(probe.steps) > 0)
    np.testing.assert_allclose(probe.norms, truth.norms, rtol=1e-9)
    np.testing.assert_allclose(probe.ratios, truth.ratios, rtol=1e-9)


@pytest.mark.slow
def test_arrays_are_up_to_date_at_each_epochs_end():
    x, y = data()
    seen = []
    probe = GradientNorms()
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(len(probe.norms))
    )
    fit(network(), sgd(), x, y, [probe, look], epochs=3)
    assert seen == [10, 20, 30]


# TensorBoard


def scalars(folder):
    """Tag to list of (step, value), from all event files below `folder`."""
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    found = {}
    for file in sorted(folder.rglob("*tfevents*")):
        events = event_accumulator.EventAccumulator(
            str(file), size_guidance={"tensors": 0, "scalars": 0}
        )
        events.Reload()
        for tag in events.Tags()["tensors"]:
            found.setdefault(tag, []).extend(
                (e.step, float(tf.make_ndarray(e.tensor_proto)))
                for e in events.Tensors(tag)
            )
    return found


@pytest.mark.parametrize("ratios", [True, slow(False)])
def test_tensorboard_shows_each_step_and_variable(tmp_path, ratios):
    pytest.importorskip("tensorboard")
    x, y = data()
    probe = GradientNorms(log_dir=str(tmp_path), every=2, ratios=ratios)
    fit(network(), sgd(clipnorm=0.8), x, y, probe, epochs=2)
    found = scalars(tmp_path)
    columns = {
        "gradient_norm": probe.global_norms,
        "clipped_gradient_norm": probe.global_clipped_norms,
    }
    if ratios:
        columns["update_ratio"] = probe.global_ratios
    for i, name in enumerate(probe.names):
        columns[f"gradient_norm/{name}"] = probe.norms[:, i]
        columns[f"clipped_gradient_norm/{name}"] = probe.clipped_norms[:, i]
        if ratios:
            columns[f"update_ratio/{name}"] = probe.ratios[:, i]
    assert set(found) == set(columns)
    for tag, values in columns.items():
        steps, shown = zip(*sorted(found[tag]), strict=True)
        np.testing.assert_array_equal(steps, probe.steps)
        np.testing.assert_allclose(shown, values, rtol=1e-6, err_msg=tag)


@pytest.mark.slow
def test_tensorboard_goes_on_in_the_next_fit(tmp_path):
    pytest.importorskip("tensorboard")
    x, y = data()
    model = network()
    probe = GradientNorms(log_dir=str(tmp_path), per_variable=False)
    fit(model, sgd(), x, y, probe)
    refit(model, x, y, probe)
    shown = sorted(scalars(tmp_path)["gradient_norm"])
    np.testing.assert_array_equal([step for step, _ in shown], np.arange(20))
    np.testing.assert_allclose(
        [value for _, value in shown], probe.global_norms, rtol=1e-6
    )


def test_missing_tensorboard_is_named_with_its_extra(tmp_path, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: (
            None if name.startswith("tensorboard") else find_spec(name, *rest)
        ),
    )
    with pytest.raises(ImportError, match=r"keras_dnn\[tensorboard\]"):
        GradientNorms(log_dir=str(tmp_path))
    GradientNorms()


# Pictures


def test_plot_shows_the_recorded_norms():
    figure_module = pytest.importorskip("matplotlib.figure")
    x, y = data()
    probe = GradientNorms()
    fit(network(), sgd(clipnorm=0.8), x, y, probe)
    figure = probe.plot()
    assert isinstance(figure, figure_module.Figure)
    lines = [line for ax in figure.axes for line in ax.get_lines()]
    shown = {"clip" in line.get_label(): line for line in lines}
    for clipped, values in (
        (False, probe.global_norms),
        (True, probe.global_clipped_norms),
    ):
        np.testing.assert_array_equal(shown[clipped].get_xdata(), probe.steps)
        np.testing.assert_allclose(shown[clipped].get_ydata(), values, rtol=1e-12)
    (heat_map,) = [image for ax in figure.axes for image in ax.get_images()]
    np.testing.assert_allclose(10 ** heat_map.get_array(), probe.norms.T, rtol=1e-9)


def test_plot_needs_something_recorded():
    with pytest.raises(ValueError, match="fit"):
        GradientNorms().plot()


def test_missing_matplotlib_is_named_with_its_extra(monkeypatch):
    x, y = data()
    probe = GradientNorms()
    fit(network(), sgd(), x, y, probe)
    for name in [m for m in sys.modules if m.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"keras_dnn\[plot\]"):
        probe.plot()


def test_arguments_are_those_of_the_design():
    names = list(inspect.signature(GradientNorms).parameters)
    assert names[:4] == ["per_variable", "every", "log_dir", "ratios"]
