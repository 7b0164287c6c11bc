"""What a `Doctor` says of what it has not seen, and of losses it sees in logs alone."""

import keras
import numpy as np
import pytest

from keras_dnn.callbacks import Doctor
from tests.callbacks.own_steps import Hiding, data, fit, pair, single


@pytest.fixture(scope="module")
def dead():
    """A network of which all units are dead, which no check looks at without data."""
    never = keras.initializers.Constant(-99)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, "relu", bias_initializer=never),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    return model


def test_before_the_first_fit_nothing_was_checked():
    report = Doctor().report
    assert report.summary == "no training yet: nothing was checked"
    with pytest.raises(AssertionError, match="nothing was checked"):
        report.assert_healthy()


def test_only_checks_with_data_count(dead):
    doctor = Doctor(verbose=0)
    options = {"epochs": 3, "initial_epoch": 3, "verbose": 0, "callbacks": [doctor]}
    dead.fit(data(), data()[:, 0], **options)
    assert doctor.report.checked == ()
    dead.fit(data(), data()[:, 0], **options | {"epochs": 4})
    unseen = {"dead-units", "saturated-units", "overfitting", "underfitting", "plateau"}
    assert "rate-too-high" in doctor.report.checked
    assert not unseen & set(doctor.report.checked)


def test_a_step_of_two_optimizers_is_examined():
    doctor = Doctor(every=1, verbose=0)
    fit(pair(keras.optimizers.SGD), doctor)
    assert {"nonfinite", "exploding", "update-ratio"} <= set(doctor.report.checked)


def test_a_rate_that_overflows_in_a_step_of_the_user():
    doctor = Doctor(verbose=0)
    fit(single(keras.optimizers.SGD(1e20)), doctor, epochs=2)
    assert doctor.report.findings[0].name == "nonfinite"


@pytest.mark.filterwarnings("ignore:Doctor sees no")
def test_a_loss_that_only_the_logs_show():
    doctor = Doctor(verbose=0)
    fit(single(keras.optimizers.SGD(1e20), Hiding), doctor, epochs=3)
    (found,) = doctor.report.findings
    assert (found.name, found.severity) == ("nonfinite", "error")
    assert found.message.startswith("g_loss is not finite")


def test_the_warning_names_the_doctor_and_not_its_probes():
    with pytest.warns(UserWarning, match="^Doctor sees no") as caught:
        fit(single(keras.optimizers.SGD(0.1), Hiding), Doctor(verbose=0))
    texts = [str(w.message) for w in caught if "sees no" in str(w.message)]
    assert len(texts) == 2  # No loss, and no update.


@pytest.mark.parametrize("given", [lambda x: x, lambda x: (x,)])
def test_data_without_a_loss_to_evaluate_do_not_end_fit(given):
    doctor = Doctor(given(data()), verbose=0)
    fit(single(keras.optimizers.SGD(0.1)), doctor)
    assert np.isfinite(doctor._recording._steps.losses).all()
