"""Every schedule is restored from its configuration, and in another process."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_dnn
from keras_dnn.optimizers import SGD
from keras_dnn.optimizers.schedules import (
    CosineDecay,
    ExponentialDecay,
    OneCycle,
    Scaled,
    Sequence,
    Warmup,
)
from tests.optimizers.schedules.curve_cases import CURVES, fixed

theirs = keras.optimizers.schedules
STEPS = np.concatenate([np.arange(200), [10**7]])


def schedules():
    """One of each, with no argument at its default, and some inside each other."""
    cycle = OneCycle(0.9, 80, initial_divisor=7.0, anneal="cosine", name="cycle")
    cosine = CosineDecay(0.7, 60, 0.1, name="cosine")
    keras_cosine = theirs.CosineDecay(0.7, 60, 0.1)
    halving = theirs.ExponentialDecay(0.5, 5, 0.5, staircase=True)
    warm = Warmup(cosine, 4, start=0.2, name="warm")
    return {
        **{name: fixed(name) for name in CURVES},
        "one cycle": cycle,
        "momentum": cycle.momentum(0.9, 0.3),
        "warmup": warm,
        "warmup keras": Warmup(keras_cosine, 3),
        "sequence": Sequence([cosine, halving, cycle], [3, 8], name="row"),
        "scaled": Scaled(cycle, 0.3, name="less"),
        "scaled keras": Scaled(halving, 1.5),
        "scaled by a variable": Scaled(cosine, keras.Variable(0.3, trainable=False)),
        "nested": Scaled(Sequence([warm, Warmup(Scaled(cycle, 0.3), 2)], [3]), 0.5),
    }


every_schedule = pytest.mark.parametrize("name", schedules())


@every_schedule
def test_round_trip_through_the_configuration(name):
    schedule = schedules()[name]
    config = schedule.get_config()
    kept = copy.deepcopy(config)
    again = type(schedule).from_config(config)
    assert config == kept
    assert again.get_config() == config
    assert again.name == schedule.name
    np.testing.assert_array_equal(again.values(STEPS), schedule.values(STEPS))


@every_schedule
def test_round_trip_through_serialisation_as_text(name):
    schedule = schedules()[name]
    serialised = keras.saving.serialize_keras_object(schedule)
    assert serialised["registered_name"].startswith("keras_dnn>")
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(serialised)))
    assert type(again) is type(schedule)
    assert again.get_config() == schedule.get_config()
    np.testing.assert_array_equal(again.values(STEPS), schedule.values(STEPS))


@keras.saving.register_keras_serializable(package="somebody")
class Tripled(theirs.LearningRateSchedule):
    """A schedule of the user that contains one of ours."""

    def __init__(self, schedule):
        self.schedule = schedule

    def __call__(self, step):
        return 3 * self.schedule(step)

    def get_config(self):
        return {"schedule": keras.saving.serialize_keras_object(self.schedule)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["schedule"]))


def test_contains_a_schedule_of_the_user_and_is_contained_in_one():
    schedule = Warmup(Tripled(Scaled(ExponentialDecay(0.5, 10), 0.5)), 5)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(schedule)
    )
    np.testing.assert_array_equal(again.values(STEPS), schedule.values(STEPS))
    np.testing.assert_allclose(again.values([5, 15]), [0.75, 0.075], rtol=1e-6)


class Halved(theirs.LearningRateSchedule):
    """A schedule that is not registered."""

    def __init__(self, start):
        self.start = start

    def __call__(self, step):
        return keras.ops.cast(self.start / 2, "float32")

    def get_config(self):
        return {"start": self.start}


def test_finds_a_schedule_among_the_custom_objects():
    config = Scaled(Halved(0.5), 0.5).get_config()
    again = Scaled.from_config(config, custom_objects={"Halved": Halved})
    assert again(0) == 0.125
    with keras.saving.custom_object_scope({"Halved": Halved}):
        assert Scaled.from_config(config)(0) == 0.125


# In a file, and in another process

# Each row picks one weight, which is below its target and moves up by the rate.
HALF = 6
ROWS = np.eye(2 * HALF, dtype="float32")
TARGETS = np.ones((HALF, 1), "float32")

ELSEWHERE = """
import json, sys
import keras
import numpy as np
import keras_dnn

folder, names, half = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
rows = np.eye(2 * half, dtype="float32")[half:]
found = {}
for i, name in enumerate(names):
    model = keras.models.load_model(f"{folder}/{i}.keras")
    model.fit(rows, np.ones((half, 1)), 1, shuffle=False, verbose=0)
    weights = model.get_weights()[0][:, 0].tolist()
    rates = []
    for step in (0, 5, 50, 500):
        model.optimizer.iterations.assign(step)
        rates.append(float(model.optimizer.learning_rate))
    found[name] = weights, rates
print(json.dumps(found))
"""


@pytest.mark.slow
def test_training_continues_from_a_keras_file_in_another_process(tmp_path):
    made = schedules()
    for i, schedule in enumerate(made.values()):
        model = keras.Sequential(
            [
                keras.Input((2 * HALF,)),
                keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros"),
            ]
        )
        model.compile(SGD(schedule), loss="mean_absolute_error", run_eagerly=True)
        model.fit(ROWS[:HALF], TARGETS, 1, shuffle=False, verbose=0)
        model.save(tmp_path / f"{i}.keras")
    run = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, tmp_path, json.dumps([*made]), str(HALF)],
        cwd=Path(keras_dnn.__file__).parents[1],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    for name, schedule in made.items():
        weights, rates = found[name]
        np.testing.assert_array_equal(
            np.float32(rates), schedule.values([0, 5, 50, 500]), err_msg=name
        )
        np.testing.assert_allclose(
            weights, schedule.values(range(2 * HALF)), rtol=1e-6, err_msg=name
        )
