"""Arguments, configuration and plot of the 1-cycle policy."""

import keras
import numpy as np
import pytest

from keras_dnn._keras.optimizers import learning_rate_source
from keras_dnn.optimizers.schedules import OneCycle

# Saving

EVERY_OPTION = {
    "max_learning_rate": 0.3,
    "total_steps": 123,
    "initial_divisor": 7.0,
    "final_divisor": 900.0,
    "warmup_fraction": 0.3,
    "final_fraction": 0.2,
    "anneal": "cosine",
    "name": "mine",
}


@pytest.mark.parametrize(
    "schedule",
    [
        OneCycle(0.1, 50),
        OneCycle(**EVERY_OPTION),
        OneCycle(0.1, 50).momentum(),
        OneCycle(**EVERY_OPTION).momentum(high=0.8, low=0.3),
    ],
    ids=["defaults", "every option", "momentum", "momentum of every option"],
)
def test_configuration_round_trip(schedule):
    config = schedule.get_config()
    serialised = keras.optimizers.schedules.serialize(schedule)
    for copy in (
        type(schedule).from_config(config),
        keras.optimizers.schedules.deserialize(serialised),
    ):
        assert copy.get_config() == config
        steps = np.arange(140)
        np.testing.assert_array_equal(copy.values(steps), schedule.values(steps))


def test_configuration_is_the_arguments():
    assert OneCycle(**EVERY_OPTION).get_config() == EVERY_OPTION


def test_defaults():
    config = OneCycle(0.1, 50).get_config()
    assert config == {
        "max_learning_rate": 0.1,
        "total_steps": 50,
        "initial_divisor": 10.0,
        "final_divisor": 1000.0,
        "warmup_fraction": 0.45,
        "final_fraction": 0.1,
        "anneal": "linear",
        "name": "one_cycle",
    }


def test_survives_a_keras_file(tmp_path):
    schedule = OneCycle(**EVERY_OPTION)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(schedule), loss="mse")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert learning_rate_source(loaded.optimizer).get_config() == EVERY_OPTION


# Bad arguments


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("max_learning_rate", v)
            for v in (0.0, -1.0, float("nan"), float("inf"), "1")
        ),
        *(("total_steps", v) for v in (0, -5, 10.5, float("nan"), "10", None)),
        *(("initial_divisor", v) for v in (0.5, 0.0, -1.0, float("nan"), "10")),
        *(("final_divisor", v) for v in (0.5, 0.0, -1.0, float("nan"), "10")),
        *(("warmup_fraction", v) for v in (0.0, 1.0, -0.1, 1.5, float("nan"), "1")),
        *(("final_fraction", v) for v in (-0.1, 1.0, 0.6, float("nan"), "0")),
        *(("anneal", v) for v in ("cos", "Linear", None)),
    ],
)
def test_bad_argument_is_named_and_shown(name, value):
    arguments = {"max_learning_rate": 1.0, "total_steps": 10, name: value}
    with pytest.raises(ValueError, match=f"^{name} must be") as error:
        OneCycle(**arguments)
    assert str(error.value).endswith(f"Received: {name}={value!r}")


@pytest.mark.parametrize(
    ("name", "momenta"),
    [
        ("high", {"high": 1.0}),
        ("high", {"high": "0.9"}),
        ("low", {"low": -0.1}),
        ("low", {"high": 0.9, "low": 0.95}),
    ],
)
def test_bad_momentum_is_named_and_shown(name, momenta):
    with pytest.raises(ValueError, match=f"^{name} must be") as error:
        OneCycle(1.0, 10).momentum(**momenta)
    assert str(error.value).endswith(f"Received: {name}={momenta[name]!r}")


def test_total_steps_may_be_an_integer_of_numpy():
    schedule = OneCycle(0.1, np.int64(50))
    assert schedule.get_config() == OneCycle(0.1, 50).get_config()


# The plot


@pytest.fixture
def axes():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    _, axes = pyplot.subplots()
    yield axes
    pyplot.close("all")


@pytest.mark.parametrize("part", ["rate", "momentum"])
def test_plot_shows_the_complete_cycle(part, axes):
    schedule = OneCycle(0.3, 50) if part == "rate" else OneCycle(0.3, 50).momentum()
    assert schedule.plot(ax=axes) is axes
    (line,) = axes.lines
    np.testing.assert_array_equal(line.get_xdata(), np.arange(50))
    np.testing.assert_array_equal(line.get_ydata(), schedule.values(np.arange(50)))


def test_plot_shows_as_many_steps_as_asked(axes):
    schedule = OneCycle(0.3, 50)
    (line,) = schedule.plot(steps=70, ax=axes).lines
    np.testing.assert_array_equal(line.get_ydata(), schedule.values(np.arange(70)))


def test_plot_opens_a_new_figure(axes):
    drawn = OneCycle(0.3, 50).plot()
    assert drawn.figure is not axes.figure
    assert not axes.lines
