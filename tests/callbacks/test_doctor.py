"""The doctor names what is wrong, leaves the healthy in peace, changes nothing."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.callbacks import Doctor, GradientNorms
from keras_dnn.callbacks._course import CHECKS
from keras_dnn.optimizers import Nesterov
from tests.callbacks import doctor_cases
from tests.diagnostics import networks

DISEASES = list(doctor_cases.diseases())
HEALTHY = list(doctor_cases.healthy())
retraces = pytest.mark.filterwarnings("ignore:.*triggered tf.function retracing")


def trained(model, data, epochs, validation=None, **options):
    keras.utils.set_random_seed(2)
    doctor = Doctor(data, **{"every": 4, "verbose": 0, **options})
    model.fit(
        *data,
        epochs=epochs,
        batch_size=16,
        verbose=0,
        validation_data=validation,
        callbacks=[doctor],
    )
    return doctor


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "disease", "make", "data", "epochs", "validation"),
    [(kind, name, *rest) for kind, name, _, *rest in DISEASES],
    ids=[f"{kind}-{name}-{word}" for kind, name, word, *_ in DISEASES],
)
def test_a_disease_is_named_first(kind, disease, make, data, epochs, validation):
    report = trained(make(kind), data, epochs, validation).report
    assert report.findings[0].name == disease, str(report)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "data", "validation"),
    [rest for _, *rest in HEALTHY],
    ids=[name for name, *_ in HEALTHY],
)
def test_a_healthy_training_is_left_in_peace(make, data, validation):
    trained(make(), data, 4, validation).report.assert_healthy("warning")


def test_each_check_has_its_training():
    assert {name for _, name, *_ in DISEASES} == set(CHECKS) - {"update-ratio"}
    assert len(HEALTHY) >= 20


# Where it began -----------------------------------------------------------------------


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("steps", [1, 3])
def test_the_first_bad_step_is_told(steps, jit):
    x, y = networks.digits(rows=192)
    x[100] = np.nan  # in the seventh batch of 16
    model = networks.network(depth=2)
    model.compile(
        Nesterov(0.01),
        "sparse_categorical_crossentropy",
        jit_compile=jit,
        steps_per_execution=steps,
    )
    doctor = Doctor((x, y), verbose=0)
    model.fit(
        x, y, epochs=2, batch_size=16, shuffle=False, verbose=0, callbacks=[doctor]
    )
    (finding,) = doctor.report.named("nonfinite")
    assert finding.evidence["step"] == 6


def test_the_layer_in_which_it_began():
    model = doctor_cases.with_layer("mlp", doctor_cases.Logarithm(name="culprit"))
    doctor = trained(model, networks.digits(), 1)
    (finding,) = doctor.report.named("nonfinite")
    assert finding.layer.endswith("culprit")
    assert "its outputs" in finding.message


def test_without_data_the_gradient_tells_the_layer():
    """The one above the root is fine, those below are not."""
    model = doctor_cases.with_layer("mlp", doctor_cases.Root())
    keras.utils.set_random_seed(2)
    doctor = Doctor(verbose=0)
    model.fit(*networks.digits(), verbose=0, callbacks=[doctor])
    (finding,) = doctor.report.named("nonfinite")
    assert finding.layer == model.layers[1].path


def test_looking_for_the_layer_leaves_the_weights():
    model = doctor_cases.with_layer("mlp", doctor_cases.Logarithm())
    doctor = Doctor(networks.digits(), verbose=0)
    model.fit(*networks.digits(), verbose=0, callbacks=[doctor])
    before = [v.numpy() for v in model.variables]
    assert doctor.report.named("nonfinite")
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


# What it leaves alone -----------------------------------------------------------------


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
    np.testing.assert_array_equal(doctor._course().global_norms, gradients.global_norms)


def test_fit_twice_adds_to_the_record_and_another_model_starts_anew():
    data = networks.digits()
    model = networks.network(depth=2)
    doctor = Doctor(data, verbose=0)
    for _ in range(2):
        model.fit(*data, batch_size=16, epochs=2, verbose=0, callbacks=[doctor])
    course = doctor._course()
    assert len(course.epochs) == 4
    assert len(course.losses) == 24
    networks.network(depth=3).fit(*data, verbose=0, callbacks=[doctor])
    assert len(doctor._course().epochs) == 1


def test_on_two_replicas():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    x, y = networks.digits()
    with strategy.scope():
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


# What it says -------------------------------------------------------------------------


def test_it_says_a_thing_once(capsys):
    data = networks.digits()
    model = networks.network(depth=2, optimizer=keras.optimizers.Adam(1e-6))
    doctor = Doctor(data, every=1)
    model.fit(*data, batch_size=16, epochs=3, verbose=0, callbacks=[doctor])
    said = capsys.readouterr().out
    assert said.count("rate-too-low") == 2  # its name, and where the guide is
    assert "Epoch 1" in said
    assert "update-ratio" not in said


def test_the_report_of_no_training_is_empty():
    assert not Doctor(verbose=0).report.findings


def test_the_report_is_drawn(tmp_path):
    data = networks.digits()
    doctor = trained(networks.network(depth=2), data, 1)
    titles = [ax.get_title(loc="left") for ax in doctor.report.plot().axes]
    assert titles == [
        "Loss",
        "Gradients",
        "Update to weight",
        "Units of the worst layer",
    ]
    assert "<img" in doctor.report.to_html(tmp_path / "report.html").read_text("utf-8")


def test_thresholds_and_skipping():
    data = networks.digits()
    slow = {"optimizer": keras.optimizers.Adam(1e-6)}
    doctor = trained(networks.network(depth=2, **slow), data, 1, skip="rate-too-low")
    assert not doctor.report.named("rate-too-low")
    doctor = trained(
        networks.network(depth=2, optimizer=keras.optimizers.Adam(1e-6)),
        data,
        1,
        thresholds={"rate-too-low": 1e-9},
    )
    assert not doctor.report.named("rate-too-low")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be a positive integer"),
        ({"samples": 0}, "samples must be a positive integer"),
        ({"skip": ["nothing"]}, "skip must hold names of checks"),
        ({"thresholds": {"nothing": 1}}, "thresholds must hold names of checks"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        Doctor(**options)
