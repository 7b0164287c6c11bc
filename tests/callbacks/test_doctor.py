"""The doctor reports the problem first, and healthy trainings get no warning."""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.callbacks import Doctor
from keras_dnn.diagnostics import registered_checks
from keras_dnn.optimizers import Nesterov
from tests.callbacks import doctor_cases
from tests.callbacks.harness import with_built_optimizer
from tests.diagnostics import networks

PROBLEMS = list(doctor_cases.problems())
HEALTHY = list(doctor_cases.healthy())
retraces = pytest.mark.filterwarnings("ignore:.*triggered tf.function retracing")


def trained(model, data, epochs, validation=None, **options):
    keras.utils.set_random_seed(2)
    doctor = Doctor(data, **{"every": 4, "verbose": 0, **options})
    with_built_optimizer(model).fit(
        *data,
        epochs=epochs,
        batch_size=16,
        verbose=0,
        validation_data=validation,
        callbacks=[doctor],
    )
    return doctor


@pytest.mark.quick
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "problem", "make", "data", "epochs", "validation"),
    [(kind, name, *rest) for kind, name, _, *rest in PROBLEMS],
    ids=[f"{kind}-{name}-{word}" for kind, name, word, *_ in PROBLEMS],
)
def test_a_problem_is_reported_first(kind, problem, make, data, epochs, validation):
    report = trained(make(kind), data, epochs, validation).report
    assert report.findings[0].name == problem, str(report)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "data", "validation"),
    [rest for _, *rest in HEALTHY],
    ids=[name for name, *_ in HEALTHY],
)
def test_a_healthy_training_gets_no_warning(make, data, validation):
    trained(make(), data, 4, validation).report.assert_healthy("warning")


def test_each_check_has_its_training():
    strengths = collections.Counter((kind, name) for kind, name, *_ in PROBLEMS)
    assert set(strengths) == {
        (kind, check.name)
        for kind in ("mlp", "cnn")
        for check in registered_checks("during")
    }
    assert min(strengths.values()) >= 2
    assert len(HEALTHY) >= 20


@pytest.mark.parametrize(("momentum", "known"), [(0.68, True), (0.69, False)])
def test_units_are_measured_once_batch_norms_have_settled(momentum, known):
    """After twelve steps 0.98 % of the first statistics are left, or 1.16 %."""
    model = keras.Sequential(
        [
            keras.Input((20,)),
            keras.layers.Dense(8),
            keras.layers.BatchNormalization(momentum=momentum),
            keras.layers.Activation("relu"),
            keras.layers.Dense(4, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    history = trained(model, networks.digits(), 2)._history()
    assert bool(history.dead.size) is known
    assert np.isfinite(history.regularisation_gaps).all() == known


# Where it started ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "jit", "nonfinite"),
    [
        (1, False, "propagate"),
        (1, True, "propagate"),
        (3, False, "propagate"),
        (3, True, "propagate"),
        (1, False, "skip"),
        (3, True, "skip"),
    ],
)
def test_the_first_bad_step_is_reported(steps, jit, nonfinite):
    x, y = networks.digits(rows=192)
    x[100] = np.nan  # in the seventh batch of 16
    model = networks.network(depth=2)
    model.compile(
        Nesterov(0.01, nonfinite=nonfinite),
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


def test_the_layer_in_which_it_started():
    model = doctor_cases.with_layer("mlp", doctor_cases.Logarithm(name="culprit"))
    doctor = trained(model, networks.digits(), 1)
    (finding,) = doctor.report.named("nonfinite")
    assert finding.layer.endswith("culprit")
    assert "the outputs of" in finding.message


@pytest.mark.parametrize("given", [None, 30, 96])
def test_where_the_data_are_bad_no_layer_is_blamed(given):
    """The doctor gets no examples, only good ones, or the bad one too."""
    x, y = doctor_cases.spoiled(networks.digits(), 40)
    doctor = Doctor(None if given is None else (x[:given], y[:given]), verbose=0)
    networks.network(depth=2).fit(x, y, verbose=0, callbacks=[doctor])
    (finding,) = doctor.report.named("nonfinite")
    assert finding.layer is None
    assert "inspect the data of that step" in finding.message


def test_the_layer_whose_gradient_fails():
    model = doctor_cases.with_layer("mlp", doctor_cases.Root(name="culprit"))
    doctor = trained(model, networks.digits(), 1)
    (finding,) = doctor.report.named("nonfinite")
    assert finding.layer.endswith("culprit")
    assert "the gradient of" in finding.message


def test_without_data_the_layer_is_found_by_its_gradient():
    """The one above the root is finite, those below are not."""
    model = doctor_cases.with_layer("mlp", doctor_cases.Root())
    keras.utils.set_random_seed(2)
    doctor = Doctor(verbose=0)
    model.fit(*networks.digits(), verbose=0, callbacks=[doctor])
    (finding,) = doctor.report.named("nonfinite")
    assert finding.layer == model.layers[1].path


@pytest.mark.parametrize("form", [tuple, tf.data.Dataset, keras.utils.PyDataset])
def test_the_one_example_is_found_on_which_a_layer_fails(form):
    """The last but one of 96, which are read eight at a time."""
    x, y = networks.digits()
    x = np.abs(x)
    x[94, 0] = -1.0
    model = keras.Sequential(
        [
            keras.Input((20,)),
            doctor_cases.Logarithm(name="culprit"),
            keras.layers.Dense(4, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    data = (x, y)
    if form is tf.data.Dataset:
        data = tf.data.Dataset.from_tensor_slices(data).batch(8)
    elif form is keras.utils.PyDataset:
        data = InBatches(x, y)
    doctor = Doctor(data, samples=8, verbose=0)
    model.fit(x, y, batch_size=32, shuffle=False, verbose=0, callbacks=[doctor])
    (finding,) = doctor.report.named("nonfinite")
    assert (finding.layer, finding.evidence["step"]) == (
        model.layers[0].path,
        2,
    )


class InBatches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x) // 8

    def __getitem__(self, index):
        rows = slice(8 * index, 8 * index + 8)
        return self.x[rows], self.y[rows]


def test_searching_for_the_layer_leaves_the_weights():
    model = doctor_cases.with_layer("mlp", doctor_cases.Logarithm())
    doctor = Doctor(networks.digits(), verbose=0)
    model.fit(*networks.digits(), verbose=0, callbacks=[doctor])
    before = [v.numpy() for v in model.variables]
    assert doctor.report.named("nonfinite")
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


# What it prints -----------------------------------------------------------------------


def test_a_finding_is_printed_once(capsys):
    data = networks.digits()
    model = networks.network(depth=2, optimizer=keras.optimizers.Adam(1e-6))
    doctor = Doctor(data, every=1)
    model.fit(*data, batch_size=16, epochs=3, verbose=0, callbacks=[doctor])
    printed = capsys.readouterr().out
    assert printed.count("rate-too-low") == 2  # its name, and its place in the guide
    assert "Epoch 1" in printed
    assert "update-ratio" not in printed


def test_the_report_of_no_training_is_empty():
    assert not Doctor(verbose=0).report.findings


def test_the_report_is_drawn(tmp_path):
    data = networks.digits()
    doctor = trained(networks.network(depth=2), data, 1)
    titles = [ax.get_title(loc="left") for ax in doctor.report.plot().axes]
    assert titles == [
        "Loss",
        "Gradient norm",
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
