"""A loaded optimizer continues as if it had not been saved."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_dnn
from keras_dnn.optimizers.schedules import OneCycle
from tests.optimizers.rule_cases import OTHER_SPELLINGS, RULES

EACH = RULES | OTHER_SPELLINGS
BATCH, CUT, STEPS = 4, 5, 12
RNG = np.random.default_rng(1)
X = RNG.normal(size=(STEPS * BATCH, 4))
Y = np.sin(X.sum(axis=1, keepdims=True))
# With `nonfinite="skip"` one of the steps before the cut is skipped.
X_BAD = X.copy()
X_BAD[6] = np.nan


def rate(name):
    return {"learning_rate": 1.0 if name == "adadelta" else 0.02}


def with_floats(name):
    return EACH[name].ours(**rate(name), weight_decay=0.1, global_clipnorm=1.0)


def with_everything(name):
    # The cut is in the middle of an accumulation.
    return EACH[name].ours(
        **rate(name),
        weight_decay=0.1,
        clipvalue=0.5,
        nonfinite="skip",
        gradient_accumulation_steps=3,
        use_ema=True,
        ema_momentum=0.75,
        ema_overwrite_frequency=2,
    )


def with_schedules(name):
    cycle = OneCycle(max_learning_rate=rate(name)["learning_rate"], total_steps=9)
    moving = {"learning_rate": cycle}
    for beta in ("momentum", "beta_1"):
        if beta in EACH[name].numbers:
            moving[beta] = cycle.momentum()
    return EACH[name].ours(**moving)


CASES = {
    f"{name} {make.__name__}": (make, name)
    for make, names in {
        with_everything: EACH,
        with_floats: ["sgd", "nesterov", "adamw", "nadam"],
        with_schedules: ["momentum", "nesterov", "adam", "nadam"],
    }.items()
    for name in names
}


def model_of(case):
    """A network with one large kernel; what does not decay depends on the case."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8200, activation="tanh"),
            keras.layers.Dense(3, activation="tanh"),
            keras.layers.Dense(1),
        ]
    )
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(size=w.shape) / 9 for w in model.get_weights()])
    make, name = CASES[case]
    optimizer = make(name)
    if make is with_floats:
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    if make is with_everything:
        first, second = model.layers[:2]
        optimizer.exclude_from_weight_decay(var_list=[first.kernel, second.bias])
    model.compile(optimizer, loss="mse", jit_compile=False)
    return model


def train(model, x, steps):
    for t in steps:
        rows = slice(t * BATCH, (t + 1) * BATCH)
        model.train_on_batch(x[rows], Y[rows])


def data_of(case):
    return X_BAD if CASES[case][0] is with_everything else X


CONTINUE = """
import sys
from pathlib import Path

import keras
import numpy as np

import keras_dnn

folder = Path(sys.argv[1])
data = np.load(folder / "data.npz")
for saved in sorted(folder.glob("*.keras")):
    model = keras.models.load_model(saved)
    for x, y in zip(data["x"], data["y"]):
        model.train_on_batch(x, y)
    state = [v.numpy() for v in model.weights + model.optimizer.variables]
    np.savez(saved.with_suffix(".npz"), *state)
"""


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """A case's model, trained further here, and its state after the same elsewhere.

    One new process continues the training of all of them.
    """
    folder = tmp_path_factory.mktemp("saved")
    cases, models = list(CASES), {}
    for i, case in enumerate(cases):
        model = model_of(case)
        train(model, data_of(case), range(CUT))
        model.save(folder / f"{i}.keras")
        train(model, X, range(CUT, STEPS))
        models[case] = model
    batches = (STEPS - CUT, BATCH, -1)
    np.savez(
        folder / "data.npz",
        x=X[CUT * BATCH :].reshape(batches),
        y=Y[CUT * BATCH :].reshape(batches),
    )
    package = Path(keras_dnn.__file__).parents[1]
    subprocess.run(
        [sys.executable, "-c", CONTINUE, folder],
        check=True,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
    )

    def model_and_state(case):
        with np.load(folder / f"{cases.index(case)}.npz") as arrays:
            return models[case], list(arrays.values())

    return model_and_state


@pytest.mark.quick
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_training_continues_in_a_new_process_bit_for_bit(case, resumed):
    model, state = resumed(case)
    variables = model.weights + model.optimizer.variables
    for variable, value in zip(variables, state, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, err_msg=variable.path)
    if CASES[case][0] is with_everything:
        assert int(model.optimizer.skipped_steps) == 1


def test_skipped_steps_are_saved(tmp_path):
    model = model_of("adam with_everything")
    train(model, X_BAD, range(3))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert int(loaded.optimizer.skipped_steps) == 1


@keras.saving.register_keras_serializable(package="test_saving")
def no_loss(y, y_hat):
    return 0 * y_hat


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("by", ["names", "variables"])
def test_exclusion_from_weight_decay_is_saved(name, by, tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    optimizer = EACH[name].ours(learning_rate=0.5, weight_decay=0.5)
    kernel = model.layers[0].kernel
    spared = {"var_names": ["kernel"]} if by == "names" else {"var_list": [kernel]}
    optimizer.exclude_from_weight_decay(**spared)
    model.compile(optimizer, loss=no_loss)
    model.set_weights([np.ones((4, 2)), np.ones(2)])
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 2)))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.train_on_batch(np.ones((2, 4)), np.ones((2, 2)))
    kernel, bias = loaded.get_weights()
    np.testing.assert_array_equal(kernel, np.ones((4, 2)))
    np.testing.assert_allclose(bias, np.full(2, 0.75**2), rtol=1e-6)


# Configurations


def copies(optimizer):
    yield type(optimizer).from_config(optimizer.get_config())
    yield keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    yield keras.optimizers.get(keras.optimizers.serialize(optimizer))


@pytest.mark.parametrize("case", CASES)
def test_configuration_round_trips(case):
    make, name = CASES[case]
    optimizers = [make(name), *copies(make(name))]
    rng = np.random.default_rng(3)
    gradients = [keras.ops.array(rng.normal(size=3), "float64") for _ in range(6)]
    ends = []
    for optimizer in optimizers:
        assert type(optimizer) is type(optimizers[0])
        assert optimizer.get_config() == optimizers[0].get_config()
        weight = keras.Variable(np.ones(3), dtype="float64")
        for g in gradients:
            optimizer.apply([g], [weight])
        ends.append(weight.numpy())
        np.testing.assert_array_equal(ends[-1], ends[0])
    assert np.abs(ends[0] - 1).min() > 1e-6


@pytest.mark.parametrize("name", EACH)
def test_configuration_has_the_arguments_given(name):
    given = {
        **{n: 0.375 for n in EACH[name].numbers if n != "epsilon"},
        **EACH[name].variant,
        "epsilon": 0.25,
        "weight_decay": 0.125,
        "clipnorm": 0.5,
        "use_ema": True,
        "ema_momentum": 0.75,
        "ema_overwrite_frequency": 7,
        "gradient_accumulation_steps": 2,
        "loss_scale_factor": 4.0,
        "sparse": "lazy",
        "nonfinite": "skip",
        "fused": False,
        "name": "mine",
    }
    if "epsilon" not in EACH[name].numbers:
        del given["epsilon"]
    config = EACH[name].ours(**given).get_config()
    assert {key: config[key] for key in given} == given
