"""The doctor leaves training unchanged, and survives what may happen to it."""

import contextlib

import keras
import numpy as np
import pytest

from keras_dnn.callbacks import Doctor, GradientNorms
from keras_dnn.optimizers import Nesterov
from tests.diagnostics import networks

pytestmark = pytest.mark.as_in_keras

# What it leaves unchanged -------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"jit_compile": True}, {"steps_per_execution": 2}], ids=str
)
def test_training_is_the_same_to_the_last_bit(options):
    x, y = networks.digits()
    ends = []
    for watched in (False, True):
        keras.utils.set_random_seed(7)
        model = networks.network(depth=2)
        model.add(keras.layers.Dropout(0.0))
        model = keras.Sequential(
            [keras.Input((20,)), keras.layers.Dropout(0.3, seed=1), model]
        )
        model.compile(Nesterov(0.05), "sparse_categorical_crossentropy", **options)
        callbacks = [Doctor((x, y), every=2, verbose=0)] if watched else []
        history = model.fit(
            x, y, batch_size=16, epochs=2, verbose=0, callbacks=callbacks
        )
        ends.append((history.history, [v.numpy() for v in model.variables]))
    assert ends[0][0] == ends[1][0]
    for old, new in zip(ends[0][1], ends[1][1], strict=True):
        np.testing.assert_array_equal(old, new)


def test_it_is_out_of_the_way_after_an_exception():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                raise RuntimeError("stop")

    model = networks.network(depth=2)
    data = networks.digits()
    doctor = Doctor(data, verbose=0)
    with pytest.raises(RuntimeError, match="stop"):
        model.fit(*data, batch_size=16, verbose=0, callbacks=[doctor, Stop()])
    model.fit(*data, batch_size=16, verbose=0)
    assert "apply" not in vars(model.optimizer)
    model.fit(*data, batch_size=16, verbose=0, callbacks=[doctor])
    assert not [f for f in doctor.report.findings if f.severity != "note"]


def test_it_composes_with_other_probes():
    data = networks.digits()
    model = networks.network(depth=2)
    doctor, gradients = Doctor(data, every=1, verbose=0), GradientNorms()
    model.fit(*data, batch_size=16, verbose=0, callbacks=[gradients, doctor])
    np.testing.assert_array_equal(
        doctor._history().global_norms, gradients.global_norms
    )


def test_fit_twice_adds_to_the_history_and_another_model_starts_a_new_one():
    data = networks.digits()
    model = networks.network(depth=2)
    doctor = Doctor(data, verbose=0)
    for _ in range(2):
        model.fit(*data, batch_size=16, epochs=2, verbose=0, callbacks=[doctor])
    history = doctor._history()
    assert len(history.epoch_losses) == 4
    assert len(history.losses) == 24
    networks.network(depth=3).fit(*data, verbose=0, callbacks=[doctor])
    assert len(doctor._history().epoch_losses) == 1


def test_on_two_replicas(two_replicas):
    x, y = networks.digits()
    with two_replicas.scope():
        model = networks.network(depth=2)
        model.compile(Nesterov(0.01), "sparse_categorical_crossentropy")
    doctor = Doctor((x, y), verbose=0)
    model.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=[doctor])
    doctor.report.assert_healthy()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = networks.network(depth=2)
    finally:
        keras.config.set_dtype_policy("float32")
    data = networks.digits()
    doctor = Doctor(data, verbose=0)
    model.fit(*data, batch_size=16, epochs=2, verbose=0, callbacks=[doctor])
    # Steps that loss scaling skips are part of it.
    assert not doctor.report.named("nonfinite")


def test_a_model_that_is_built_by_its_first_batch():
    model = keras.Sequential(
        [keras.layers.Dense(8, "relu"), keras.layers.Dense(4, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    data = networks.digits()
    doctor = Doctor(data, verbose=0)
    model.fit(*data, verbose=0, callbacks=[doctor])
    doctor.report.assert_healthy()


# What happens to it -------------------------------------------------------------------


class Stop(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise RuntimeError("stop")


def resumed(folder, *others, epochs=4, **options):
    """A training with a backup, of a new model, as after the end of a process."""
    keras.utils.set_random_seed(5)
    data = networks.digits()
    model = networks.network(depth=2, optimizer=keras.optimizers.Adam(1e-6))
    doctor = Doctor(data, every=2, **options)
    backup = keras.callbacks.BackupAndRestore(folder)
    with contextlib.suppress(RuntimeError):
        model.fit(
            *data,
            batch_size=16,
            epochs=epochs,
            shuffle=False,
            verbose=0,
            validation_data=data,
            callbacks=[backup, doctor, *others],
        )
    return doctor


def test_it_continues_where_a_process_ended(tmp_path, capsys):
    whole = resumed(tmp_path / "whole")
    assert capsys.readouterr().out.count("warning: rate-too-low") == 1
    killed = resumed(tmp_path / "killed", Stop(2))
    assert len(killed._history().epoch_losses) == 2
    assert capsys.readouterr().out.count("warning: rate-too-low") == 1
    went_on = resumed(tmp_path / "killed")
    # What the process that ended has printed is not printed again.
    assert "rate-too-low" not in capsys.readouterr().out
    one, other = whole._history(), went_on._history()
    assert len(other.epoch_losses) == 4
    for name in (
        "losses",
        "steps",
        "norms",
        "ratios",
        "epoch_losses",
        "validation_losses",
    ):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=2e-5)
    assert [f.name for f in whole.report.findings] == [
        f.name for f in went_on.report.findings
    ]
    assert not list(tmp_path.glob("**/Doctor-0.json"))


def test_nothing_remains_of_another_optimizer():
    """As when a model is recompiled with the smaller rate that the doctor advised."""
    data = networks.digits()
    model = networks.network(depth=2, optimizer=keras.optimizers.Adam(3.0))
    doctor = Doctor(data, every=1, verbose=0)
    model.fit(*data, batch_size=16, verbose=0, callbacks=[doctor])
    assert doctor.report.findings[0].name == "rate-too-high"
    model = networks.network(depth=2)
    model.fit(*data, batch_size=16, epochs=2, verbose=0, callbacks=[doctor])
    doctor.report.assert_healthy()
    assert len(doctor._history().losses) == 12


@pytest.mark.parametrize("made", [keras.optimizers.Adam, Nesterov])
def test_accumulated_gradients(made):
    """Micro-batches are no updates: one in three is recorded, but every loss."""
    data = networks.digits()
    model = networks.network(
        depth=2, optimizer=made(0.01, gradient_accumulation_steps=3)
    )
    doctor = Doctor(data, every=1, verbose=0)
    model.fit(*data, batch_size=16, epochs=2, verbose=0, callbacks=[doctor])
    history = doctor._history()
    assert (len(history.losses), len(history.global_norms)) == (12, 4)
    doctor.report.assert_healthy()


def test_a_bad_step_on_two_replicas(two_replicas):
    x, y = networks.digits()
    x[20] = np.nan
    with two_replicas.scope():
        model = networks.network(depth=2)
        model.compile(Nesterov(0.01), "sparse_categorical_crossentropy")
    doctor = Doctor((x, y), verbose=0)
    model.fit(x, y, batch_size=16, shuffle=False, verbose=0, callbacks=[doctor])
    assert doctor.report.findings[0].name == "nonfinite"
    assert doctor.report.findings[0].evidence["step"] == 1


def test_a_model_without_kernels():
    """There is no kernel to measure, and gradients are huge."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Normalization()])
    model.add(keras.layers.BatchNormalization())
    model.layers[0].adapt(np.ones((4, 1)))
    model.compile(keras.optimizers.SGD(1e-9), "mse")
    doctor = Doctor(every=1, verbose=0)
    x = np.arange(64.0)[:, None]
    model.fit(x, 1e6 * x, batch_size=1, verbose=0, callbacks=[doctor])
    (finding,) = doctor.report.named("exploding")
    assert finding.layer is None
