"""The CSV file, the TensorBoard scalars and the plot of `GradientNorms`."""

import csv
import importlib.util
import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.callbacks import GradientNorms
from tests.callbacks.gradient_replay import (  # noqa: F401
    BATCH,
    CLIPS,
    MODES,
    OPTIMIZERS,
    OPTIONS,
    Subclassed,
    adam,
    assert_recorded,
    batches,
    data,
    dense,
    fit_again,
    in_float64,
    mixed_float16,
    nesterov,
    network,
    replay,
    several,
    sgd,
    train,
)
from tests.callbacks.harness import slow

# CSV


def test_the_csv_file_has_a_row_for_each_step(tmp_path):
    path = tmp_path / "norms.csv"
    x, y = data()
    probe = GradientNorms(csv_path=str(path), limit=3)
    model = network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = GradientNorms()
        train(model, nesterov(clipnorm=0.8), x, y, [probe, whole], epochs=2)
        fit_again(model, x, y, [probe, whole])
    with path.open() as file:
        header, *rows = csv.reader(file)
    table = np.array(rows, float)
    assert len(table) == 30
    columns = {
        "step": whole.steps,
        "gradient_norm": whole.global_norms,
        "clipped_gradient_norm": whole.global_clipped_norms,
        "update_ratio": whole.global_ratios,
    }
    for i, name in enumerate(whole.names):
        columns[f"gradient_norm/{name}"] = whole.norms[:, i]
        columns[f"clipped_gradient_norm/{name}"] = whole.clipped_norms[:, i]
        columns[f"update_ratio/{name}"] = whole.ratios[:, i]
    assert sorted(header) == sorted(columns)
    for name, column in zip(header, table.T, strict=True):
        np.testing.assert_array_equal(column, columns[name], err_msg=name)


def test_another_model_starts_the_csv_file_again(tmp_path):
    path = tmp_path / "norms.csv"
    x, y = data()
    probe = GradientNorms(csv_path=str(path), ratios=False)
    for _ in range(2):
        train(network(), sgd(), x, y, probe)
    lines = path.read_text().splitlines()
    assert len(lines) == 11
    assert "update_ratio" not in lines[0]


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
    train(network(), sgd(clipnorm=0.8), x, y, probe, epochs=2)
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
def test_tensorboard_continues_in_the_next_fit(tmp_path):
    pytest.importorskip("tensorboard")
    x, y = data()
    model = network()
    probe = GradientNorms(log_dir=str(tmp_path), per_variable=False)
    train(model, sgd(), x, y, probe)
    fit_again(model, x, y, probe)
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


# Plot


def test_plot_shows_the_recorded_norms():
    figure_module = pytest.importorskip("matplotlib.figure")
    x, y = data()
    probe = GradientNorms()
    train(network(), sgd(clipnorm=0.8), x, y, probe)
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
    train(network(), sgd(), x, y, probe)
    for name in [m for m in sys.modules if m.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"keras_dnn\[plot\]"):
        probe.plot()
