"""Nesterov against NumPy in float64, against Keras, and in every way of training."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import keras_dnn
from keras_dnn.optimizers import Nesterov
from keras_dnn.optimizers.schedules import OneCycle, Schedule

SHAPES = [(3, 2), (2,), ()]
CLIPS = [{}, {"clipnorm": 0.7}, {"global_clipnorm": 0.9}, {"clipvalue": 0.3}]


def label(arguments):
    return "-".join(f"{k}={v}" for k, v in arguments.items()) or "plain"


# The rule a second time


def reference(
    weights,
    gradient,
    steps,
    *,
    learning_rate=0.01,
    momentum=0.9,
    ahead=None,
    dampening=0.0,
    weight_decay=0.0,
    clipnorm=None,
    global_clipnorm=None,
    clipvalue=None,
    ema_momentum=None,
    ema_overwrite_frequency=None,
    gradient_accumulation_steps=1,
):
    """The weights after each call of `gradient(step, weights)`, in NumPy float64.

    `learning_rate` and `momentum` are numbers, or functions of the update's number;
    so is `ahead`, by default the momentum of the next update.
    """
    rate, beta, decay = map(moving, (learning_rate, momentum, weight_decay))
    ahead = ahead or (lambda t: beta(t + 1))
    weights = [np.array(w, dtype="float64") for w in weights]
    velocities = [np.zeros_like(w) for w in weights]
    averages = [np.zeros_like(w) for w in weights]
    waiting = []
    trajectory = []
    for step in range(steps):
        waiting.append(gradient(step, weights))
        if len(waiting) == gradient_accumulation_steps:
            t = step // gradient_accumulation_steps
            gradients = [np.mean(micro, axis=0) for micro in zip(*waiting, strict=True)]
            waiting = []
            if clipnorm:
                gradients = [shortened(g, norm(g), clipnorm) for g in gradients]
            if global_clipnorm:
                total = np.sqrt(sum(norm(g) ** 2 for g in gradients))
                gradients = [shortened(g, total, global_clipnorm) for g in gradients]
            if clipvalue:
                gradients = [np.clip(g, -clipvalue, clipvalue) for g in gradients]
            for i, g in enumerate(gradients):
                stride = rate(t) * (1 - dampening) * g
                velocities[i] = beta(t) * velocities[i] - stride
                weights[i] = weights[i] - rate(t) * decay(t) * weights[i]
                weights[i] = weights[i] + ahead(t) * velocities[i] - stride
            if ema_momentum:
                kept = ema_momentum if t > 0 else 0.0
                averages = [
                    kept * a + (1 - kept) * w
                    for a, w in zip(averages, weights, strict=True)
                ]
                if ema_overwrite_frequency and (t + 1) % ema_overwrite_frequency == 0:
                    weights = [a.copy() for a in averages]
        trajectory.append(flat(weights))
    return np.array(trajectory)


def moving(value):
    """A function of the update's number; floats are kept in float32, as in Keras."""
    return value if callable(value) else lambda _: float(np.float32(value))


def norm(g):
    return np.sqrt(np.sum(g * g))


def shortened(g, length, longest):
    return g * (longest / length) if length > longest else g


def flat(arrays):
    return np.concatenate([np.ravel(a) for a in arrays])


def random_arrays(seed, count):
    """`count` lists of arrays of `SHAPES`, about one long."""
    rng = np.random.default_rng(seed)
    return [[rng.normal(size=shape) for shape in SHAPES] for _ in range(count)]


def trained(optimizer, weights, gradients, dtype="float64", scale=1.0):
    """The weights after each `optimizer.apply`."""
    variables = [keras.Variable(w, dtype=dtype) for w in weights]
    trajectory = []
    for step in gradients:
        optimizer.apply([keras.ops.array(g * scale, dtype) for g in step], variables)
        trajectory.append(flat([v.numpy() for v in variables]))
    return np.array(trajectory)


def assert_equal(actual, expected, rtol=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol)


averaging = st.fixed_dictionaries(
    {"ema_momentum": st.floats(0.1, 0.99)},
    optional={"ema_overwrite_frequency": st.integers(1, 7)},
)
configurations = st.tuples(
    st.fixed_dictionaries(
        {
            "learning_rate": st.floats(1e-3, 0.5),
            "momentum": st.floats(0, 0.99),
            "dampening": st.just(0.0) | st.floats(0, 0.99),
        },
        optional={
            "weight_decay": st.floats(0, 0.5),
            "gradient_accumulation_steps": st.integers(2, 4),
        },
    ),
    st.sampled_from(CLIPS),
    st.just({}) | averaging,
).map(lambda parts: parts[0] | parts[1] | parts[2])


@given(configurations, st.integers(0, 2**16))
@settings(
    deadline=None,
    max_examples=12,
    derandomize=True,
    phases=[Phase.generate],  # A failure is legible; shrinking it takes minutes.
    suppress_health_check=[HealthCheck.differing_executors],
)
def test_random_configurations_follow_the_numpy_rule(arguments, seed):
    start, *gradients = random_arrays(seed, 61)
    ema = {"use_ema": True} if "ema_momentum" in arguments else {}
    actual = trained(Nesterov(**arguments, **ema), start, gradients)
    expected = reference(start, lambda t, _: gradients[t], 60, **arguments)
    assert_equal(actual, expected)


KERAS_CASES = [
    *CLIPS,
    {"weight_decay": 0.1},
    {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 5},
    {"gradient_accumulation_steps": 4},
    {"loss_scale_factor": 8.0},
]


def keras_nesterov(*args, **arguments):
    return keras.optimizers.SGD(*args, nesterov=True, **arguments)


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("arguments", KERAS_CASES, ids=label)
def test_same_trajectory_as_keras(arguments, dtype, rtol):
    start, *gradients = random_arrays(1, 101)
    ours = Nesterov(0.05, momentum=0.93, **arguments)
    theirs = keras_nesterov(0.05, momentum=0.93, **arguments)
    scale = arguments.get("loss_scale_factor", 1.0)
    actual = trained(ours, start, gradients, dtype, scale)
    expected = trained(theirs, start, gradients, dtype, scale)
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol / 10)


def test_defaults_are_those_of_keras_but_for_the_momentum():
    start, *gradients = random_arrays(2, 21)
    actual = trained(Nesterov(), start, gradients)
    theirs = keras_nesterov(momentum=0.9)
    assert_equal(actual, trained(theirs, start, gradients))


# The mathematics


def quadratic(size=5, seed=3):
    """The gradient of a convex quadratic with curvatures from 0.1 to 1."""
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.normal(size=(size, size)))
    hessian = axes @ np.diag(np.linspace(0.1, 1, size)) @ axes.T
    center = rng.normal(size=size)
    return lambda theta: hessian @ (theta - center)


def one_cycle_pair():
    rate = OneCycle(0.5, total_steps=60)
    return rate, rate.momentum()


@pytest.mark.parametrize(
    ("learning_rate", "momentum"),
    [(0.25, 0.9), (0.25, one_cycle_pair()[1]), one_cycle_pair()],
    ids=["constant", "momentum moves", "both move"],
)
def test_is_the_textbook_look_ahead(learning_rate, momentum):
    def value(hyperparameter, t):
        if isinstance(hyperparameter, Schedule):
            return float(hyperparameter.values(t))
        return moving(hyperparameter)(t)

    gradient = quadratic()
    theta = np.ones(5)
    m = np.zeros(5)
    w = keras.Variable(theta, dtype="float64")
    optimizer = Nesterov(learning_rate, momentum)
    for t in range(70):
        beta, beta_next = value(momentum, t), value(momentum, t + 1)
        m = beta * m - value(learning_rate, t) * gradient(theta + beta * m)
        theta = theta + m
        optimizer.apply([keras.ops.array(gradient(w.numpy()))], [w])
        assert_equal(w.numpy(), theta + beta_next * m)


def test_dampening_equal_to_momentum_averages_the_steps_exponentially():
    rate, beta, steps = 0.25, 0.75, 30
    start, *gradients = random_arrays(4, steps + 1)
    actual = trained(Nesterov(rate, beta, dampening=beta), start, gradients)
    g = np.array([flat(step) for step in gradients])
    weights = flat(start)
    for t in range(steps):
        shares = (1 - beta) * beta ** np.arange(t, -1.0, -1)
        average = shares @ g[: t + 1]
        weights = weights - rate * (beta * average + (1 - beta) * g[t])
        assert_equal(actual[t], weights)


def test_float_momentum_can_be_set_between_steps():
    start, *gradients = random_arrays(5, 41)
    optimizer = Nesterov(0.25, 0.9)
    variables = [keras.Variable(w, dtype="float64") for w in start]
    for t, step in enumerate(gradients):
        if t == 20:
            optimizer.momentum = 0.7
        optimizer.apply([keras.ops.array(g) for g in step], variables)

    def momentum(t):
        return moving(0.9 if t < 20 else 0.7)(t)

    # A float does not know that it will be set: step 19 still looks ahead with 0.9.
    expected = reference(
        start,
        lambda t, _: gradients[t],
        40,
        learning_rate=0.25,
        momentum=momentum,
        ahead=momentum,
    )
    assert_equal(flat([v.numpy() for v in variables]), expected[-1])


# In `fit`

# Keras feeds float32 and takes losses in it unless told otherwise; the data can bear
# the first, and the loss is told.
X = np.random.default_rng(6).normal(size=(48, 4)).round(2)
X, Y = (a.astype("float32").astype("float64") for a in (X, X @ [[1], [-2], [0.5], [3]]))
LOSS = keras.losses.MeanSquaredError(dtype="float64")
BATCH = 8


def linear_model(optimizer, dtype="float64", loss=LOSS, **compile_arguments):
    """Linear regression from zero; its gradient has a closed form."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(
                1, use_bias=False, kernel_initializer="zeros", dtype=dtype
            ),
        ]
    )
    model.compile(optimizer, loss=loss, **compile_arguments)
    return model


def fitted(model, epochs=2, **fit_arguments):
    """The kernel after training without shuffling."""
    model.fit(X, Y, BATCH, epochs=epochs, shuffle=False, verbose=0, **fit_arguments)
    return model.get_weights()[0]


def linear_gradient(step, weights):
    rows = slice(step * BATCH % len(X), step * BATCH % len(X) + BATCH)
    residual = X[rows] @ weights[0] - Y[rows]
    return [2 / BATCH * X[rows].T @ residual]


def fitted_reference(epochs=2, **arguments):
    steps = epochs * len(X) // BATCH
    return reference([np.zeros((4, 1))], linear_gradient, steps, **arguments)[-1]


@pytest.mark.parametrize(
    "mode",
    [
        {"jit_compile": False},
        {"jit_compile": True},
        {"jit_compile": "auto"},
        {"jit_compile": False, "steps_per_execution": 4},
        {"jit_compile": True, "steps_per_execution": 4},
        {"run_eagerly": True},
    ],
    ids=label,
)
def test_fit_follows_the_numpy_rule_in_every_mode(mode):
    arguments = {"learning_rate": 0.05, "momentum": 0.8, "global_clipnorm": 2.0}
    model = linear_model(Nesterov(**arguments), **mode)
    assert_equal(fitted(model).ravel(), fitted_reference(**arguments))


def test_fit_with_schedules_follows_the_numpy_rule():
    rate = OneCycle(0.1, total_steps=12)
    beta = rate.momentum()
    model = linear_model(Nesterov(rate, beta))
    expected = fitted_reference(
        learning_rate=lambda t: float(rate.values(t)),
        momentum=lambda t: float(beta.values(t)),
    )
    assert_equal(fitted(model).ravel(), expected)


def test_second_fit_goes_on_where_the_first_stopped():
    schedules = one_cycle_pair()
    twice = linear_model(Nesterov(*schedules))
    fitted(twice, epochs=1)
    once = linear_model(Nesterov(*schedules))
    np.testing.assert_array_equal(fitted(twice, epochs=1), fitted(once, epochs=2))


def test_weights_are_the_average_after_a_fit_with_ema():
    arguments = {"learning_rate": 0.05, "ema_momentum": 0.8}
    model = linear_model(Nesterov(**arguments, use_ema=True))
    # Keras puts the averages in when `fit` ends.
    expected = fitted_reference(**arguments, ema_overwrite_frequency=12)
    assert_equal(fitted(model).ravel(), expected)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_mixed_precision_trains_as_keras_does(policy, jit_compile):
    kernels = [
        fitted(linear_model(optimizer, dtype=policy, jit_compile=jit_compile))
        for optimizer in (Nesterov(0.05, 0.8), keras_nesterov(0.05, momentum=0.8))
    ]
    assert np.abs(kernels[0]).min() > 0.1
    np.testing.assert_allclose(*kernels, rtol=1e-5)


def test_overflow_under_loss_scaling_skips_the_step():
    optimizer = keras.optimizers.LossScaleOptimizer(Nesterov(0.05, 0.8))
    model = linear_model(optimizer, dtype="mixed_float16")
    fitted(model)
    before = [v.numpy() for v in optimizer.inner_optimizer.variables]
    kernel = model.get_weights()[0]
    model.train_on_batch(np.full((BATCH, 4), 1e4), np.full((BATCH, 1), -6e4))
    np.testing.assert_array_equal(model.get_weights()[0], kernel)
    for variable, value in zip(
        optimizer.inner_optimizer.variables, before, strict=True
    ):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_works_inside_multi_optimizer():
    kernels = []
    for make in (Nesterov, keras_nesterov):
        inputs = keras.Input((4,))
        outputs = [
            keras.layers.Dense(
                1, name=name, kernel_initializer="zeros", dtype="float64"
            )(inputs)
            for name in ("first", "second")
        ]
        model = keras.Model(inputs, keras.layers.Add(dtype="float64")(outputs))
        optimizers = keras.optimizers.OptimizerMap(make(0.05, momentum=0.8))
        optimizers["second/.*"] = make(0.01, momentum=0.5)
        model.compile(keras.optimizers.MultiOptimizer(optimizers), loss=LOSS)
        fitted(model)
        kernels.append(flat(model.get_weights()))
    assert_equal(*kernels)


# Embeddings

TOKENS = np.random.default_rng(7).integers(0, 5, size=(48, 6))


def token_model(first, input_shape, **compile_arguments):
    """A network whose first layer's kernel is a table of five rows."""
    model = keras.Sequential(
        [
            keras.Input(input_shape),
            first,
            keras.layers.GlobalAveragePooling1D(dtype="float64"),
            keras.layers.Dense(1, dtype="float64"),
        ]
    )
    rng = np.random.default_rng(8)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    model.compile(loss=LOSS, **compile_arguments)
    return model


@pytest.mark.parametrize(
    "jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("clip", CLIPS, ids=label)
def test_embedding_trains_like_its_one_hot_twin(clip, jit_compile):
    clip = {name: 0.1 * bound for name, bound in clip.items()}
    twins = [
        (keras.layers.Embedding(5, 3, dtype="float64"), (6,), TOKENS),
        (
            keras.layers.Dense(3, use_bias=False, dtype="float64"),
            (6, 5),
            np.eye(5)[TOKENS],
        ),
    ]
    weights = []
    for layer, shape, inputs in twins:
        model = token_model(
            layer,
            shape,
            optimizer=Nesterov(0.1, 0.8, **clip),
            jit_compile=jit_compile,
        )
        model.fit(inputs, Y, BATCH, epochs=2, shuffle=False, verbose=0)
        weights.append(flat(model.get_weights()))
    assert_equal(*weights)


# Several devices


@pytest.mark.parametrize(
    "arguments",
    [
        *({n: 5 * b for n, b in clip.items()} for clip in CLIPS),
        {"weight_decay": 0.1},
        {"gradient_accumulation_steps": 4, "global_clipnorm": 1.0},
        {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3},
        {"loss_scale": True},
    ],
    ids=label,
)
def test_two_replicas_train_like_one_device(two_replicas, arguments):
    arguments = {"learning_rate": 0.05, "momentum": 0.8, **arguments}
    wrapped = arguments.pop("loss_scale", False)
    with two_replicas.scope():
        optimizer = Nesterov(**arguments)
        if wrapped:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        model = linear_model(optimizer, jit_compile=False)
    actual = fitted(model)
    arguments.pop("use_ema", None)
    assert_equal(actual.ravel(), fitted_reference(**arguments))


# Saving

CONTINUE = """
import sys
import keras
import numpy as np
import keras_dnn

saved, data, trained = sys.argv[1:]
data = np.load(data)
model = keras.models.load_model(saved)
model.fit(data["X"], data["Y"], 8, shuffle=False, verbose=0)
variables = [v.numpy() for v in model.weights + model.optimizer.variables]
np.savez(trained, *variables)
"""


def half_trained_with_floats():
    model = linear_model(Nesterov(0.05, 0.9, weight_decay=0.01), loss="mse")
    fitted(model, epochs=1)
    model.optimizer.momentum = 0.7
    model.optimizer.learning_rate = 0.03
    return model


def half_trained_with_one_cycle():
    model = linear_model(Nesterov(*one_cycle_pair()), loss="mse")
    fitted(model, epochs=1)
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    "half_trained", [half_trained_with_floats, half_trained_with_one_cycle]
)
def test_training_goes_on_in_a_new_process_bit_for_bit(half_trained, tmp_path):
    model = half_trained()
    saved, data, trained = (
        tmp_path / name for name in ("model.keras", "data.npz", "trained.npz")
    )
    model.save(saved)
    np.savez(data, X=X, Y=Y)
    package = Path(keras_dnn.__file__).parents[1]
    subprocess.run(
        [sys.executable, "-c", CONTINUE, saved, data, trained],
        check=True,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
    )
    fitted(model, epochs=1)
    with np.load(trained) as resumed:
        for variable, value in zip(
            model.weights + model.optimizer.variables, resumed.values(), strict=True
        ):
            np.testing.assert_array_equal(variable.numpy(), value)


ROUND_TRIPS = {
    "floats": lambda: {"learning_rate": 0.05, "momentum": 0.83, "weight_decay": 0.07},
    "every argument": lambda: {
        "dampening": 0.3,
        "global_clipnorm": 0.5,
        "use_ema": True,
        "ema_momentum": 0.7,
        "ema_overwrite_frequency": 3,
        "gradient_accumulation_steps": 2,
        "name": "mine",
    },
    "schedules": lambda: {
        "learning_rate": one_cycle_pair()[0],
        "momentum": one_cycle_pair()[1],
        "weight_decay": keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5),
    },
}


@pytest.mark.parametrize("arguments", ROUND_TRIPS.values(), ids=ROUND_TRIPS)
@pytest.mark.parametrize(
    "copied",
    [
        lambda optimizer: Nesterov.from_config(optimizer.get_config()),
        lambda optimizer: keras.optimizers.deserialize(
            keras.optimizers.serialize(optimizer)
        ),
    ],
    ids=["from_config", "deserialize"],
)
def test_configuration_round_trip(arguments, copied):
    optimizer = Nesterov(**arguments())
    copy = copied(optimizer)
    assert copy.get_config() == optimizer.get_config()
    start, *gradients = random_arrays(9, 7)
    np.testing.assert_array_equal(
        trained(copy, start, gradients), trained(optimizer, start, gradients)
    )


def test_configuration_holds_the_numbers_that_were_given():
    config = Nesterov(
        0.125, momentum=0.75, dampening=0.3, weight_decay=0.0625
    ).get_config()
    names = ("learning_rate", "momentum", "dampening", "weight_decay")
    assert [config[name] for name in names] == [0.125, 0.75, 0.3, 0.0625]


# Bad arguments


@pytest.mark.parametrize("momentum", [1.0, -0.1, 2, float("nan"), "0.9", None, True])
def test_bad_momentum_is_named_and_shown(momentum):
    with pytest.raises(ValueError, match=rf"momentum.*\[0.*1.*momentum={momentum!r}"):
        Nesterov(0.1, momentum)


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "0.1", [0.1], True])
def test_bad_number_is_named_and_shown(name, value):
    with pytest.raises(ValueError, match=name) as error:
        Nesterov(**{name: value})
    assert f"Received: {name}={value!r}" in str(error.value)


@pytest.mark.parametrize("dampening", [1, 1.5, -0.1, float("nan"), "0.5", None])
def test_bad_dampening_is_named_and_shown(dampening):
    with pytest.raises(ValueError, match=rf"dampening.*dampening={dampening!r}"):
        Nesterov(0.1, dampening=dampening)


@pytest.mark.parametrize("name", ["learning_rate", "momentum", "weight_decay"])
def test_variable_in_place_of_a_number_is_refused(name):
    with pytest.raises(ValueError, match=f"Received: {name}="):
        Nesterov(**{name: keras.Variable(0.5)})


@pytest.mark.parametrize("momentum", [1.0, -0.1, "0.9"])
def test_bad_momentum_is_refused_in_mid_training_too(momentum):
    optimizer = Nesterov(0.1, 0.5)
    with pytest.raises(ValueError, match=f"momentum={momentum!r}"):
        optimizer.momentum = momentum
    assert float(optimizer.momentum) == 0.5
