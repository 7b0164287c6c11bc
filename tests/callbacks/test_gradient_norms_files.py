"""The CSV file, the TensorBoard scalars and the plot of `GradientNorms`."""

import csv
import importlib.util
import shutil
import sys
import warnings

import keras
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


class Stop(keras.callbacks.Callback):
    """Ends the training at a batch, after the probe's rows were written."""

    def __init__(self, probe, epoch, batch):
        super().__init__()
        self.probe, self.at, self.epoch = probe, (epoch, batch), 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            assert len(self.probe.steps)
            raise InterruptedError


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """The CSV file of a training that stopped in its third epoch, and a backup."""
    folder = tmp_path_factory.mktemp("resumed")
    with pytest.raises(InterruptedError):
        _train_with_backup(folder, 2)
    return folder


def _train_with_backup(folder, until=9):
    """Three batches an epoch; a model of its own, as in another process."""
    keras.utils.set_random_seed(1)
    x, y = data()
    backup = keras.callbacks.BackupAndRestore(folder / "backup")
    probe = GradientNorms(csv_path=str(folder / "norms.csv"))
    model = network()
    model.compile("sgd", "mse")
    model.fit(
        *(x[:12], y[:12]),
        batch_size=4,
        epochs=4,
        shuffle=False,
        verbose=0,
        callbacks=[probe, backup, Stop(probe, until, 1)],
    )
    return probe


@pytest.mark.parametrize(
    "cut", [0, 1, 2, 30], ids=["whole", "no end", "no end of line", "torn"]
)
def test_the_csv_file_goes_on_after_a_resume(cut, resumed, tmp_path):
    folder = shutil.copytree(resumed, tmp_path / "resumed")
    path = folder / "norms.csv"
    before = path.read_bytes()
    assert before.count(b"\n") == 9
    path.write_bytes(before[: len(before) - cut])
    probe = _train_with_backup(folder)
    with path.open() as file:
        _, *rows = csv.reader(file)
    # Steps 6 and 7 were repeated.
    assert [int(row[0]) for row in rows] == list(range(12))
    np.testing.assert_array_equal([float(r[1]) for r in rows[6:]], probe.global_norms)
    kept = b"".join(before.splitlines(keepends=True)[1:7])
    assert kept in path.read_bytes()


def test_a_torn_line_in_the_middle_is_cut_off(resumed, tmp_path):
    folder = shutil.copytree(resumed, tmp_path / "resumed")
    path = folder / "norms.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3][:9] + b"\r\n"
    path.write_bytes(b"".join(lines))
    _train_with_backup(folder)
    steps = [line.split(",")[0] for line in path.read_text().splitlines()[1:]]
    assert steps == [str(n) for n in range(12) if n != 2]


@pytest.mark.parametrize("content", [b"", b"step,other\r\n0,1\r\n", b"\xff\x00"])
def test_another_csv_file_is_overwritten(content, resumed, tmp_path):
    folder = shutil.copytree(resumed, tmp_path / "resumed")
    (folder / "norms.csv").write_bytes(content)
    _train_with_backup(folder)
    lines = (folder / "norms.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", *map(str, range(6, 12))]


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
