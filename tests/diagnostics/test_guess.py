"""The loss of the best constant answer, against closed forms and float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import losses
from scipy import optimize

from keras_dnn.diagnostics._yardstick.guess import yardstick
from keras_dnn.diagnostics._yardstick.output_loss import output_losses

layers = keras.layers
RNG = np.random.default_rng(0)
ROWS, CLASSES = 40, 4
LABELS = RNG.choice(CLASSES, ROWS, p=[0.1, 0.2, 0.3, 0.4])
ONE_HOT = np.eye(CLASSES)[LABELS]
WEIGHTS = RNG.uniform(0.1, 2.0, ROWS)
NUMBERS = RNG.gamma(1.5, size=(ROWS, 3))
SOFT = 0.9 * ONE_HOT + 0.1 * RNG.dirichlet(np.ones(CLASSES), ROWS)
SHARES = ONE_HOT.mean(axis=0)


def measured(loss, y, units=1, activation=None, weight=None, **options):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(units, activation)])
    model.compile("sgd", loss, **options)
    outputs = model(np.zeros((len(y), 3)))
    tensors = [None if v is None else tf.convert_to_tensor(v) for v in (y, weight)]
    return yardstick(model, output_losses(model), *tensors, outputs)


def entropy(shares):
    return -np.sum(shares * np.log(shares))


def lowest(cost, low, high):
    """The least mean over columns of a cost of one number for each."""
    columns = NUMBERS.T
    return np.mean(
        [
            optimize.minimize_scalar(
                lambda c, y=y: np.mean(cost(y, c)),
                bounds=(low, high),
                method="bounded",
                options={"xatol": 1e-10},
            ).fun
            for y in columns
        ]
    )


def least_over(cost):
    """A convex cost of straight pieces is least at one of the numbers themselves."""
    return np.mean([min(np.mean(cost(y, c)) for c in y) for y in NUMBERS.T])


def focal(y, c):
    p = np.where(y == 1, c, 1 - c)
    return -np.mean((1 - p) ** 2 * np.log(p))


LOG1P = np.log1p(NUMBERS)
DIRECTIONS = NUMBERS / np.linalg.norm(NUMBERS, axis=1, keepdims=True)
CLOSED_FORMS = {
    "mse": (NUMBERS, NUMBERS.var(axis=0).mean()),
    "mae": (NUMBERS, np.abs(NUMBERS - np.median(NUMBERS, axis=0)).mean()),
    "mape": (NUMBERS, 100 * least_over(lambda y, c: np.abs((y - c) / y))),
    "msle": (NUMBERS, LOG1P.var(axis=0).mean()),
    "huber": (
        NUMBERS,
        lowest(
            lambda y, c: np.where(
                np.abs(y - c) <= 1, (y - c) ** 2 / 2, np.abs(y - c) - 0.5
            ),
            0,
            9,
        ),
    ),
    "log_cosh": (NUMBERS, lowest(lambda y, c: np.log(np.cosh(y - c)), 0, 9)),
    "poisson": (
        NUMBERS,
        np.mean(NUMBERS.mean(axis=0) * (1 - np.log(NUMBERS.mean(axis=0)))),
    ),
    "cosine_similarity": (NUMBERS, -np.linalg.norm(DIRECTIONS.mean(axis=0))),
    "hinge": (ONE_HOT, np.mean(2 * np.minimum(SHARES, 1 - SHARES))),
    "squared_hinge": (ONE_HOT, np.mean(4 * SHARES * (1 - SHARES))),
}


@pytest.mark.parametrize(("name", "y", "value"), [
    (name, *given) for name, given in CLOSED_FORMS.items()
], ids=CLOSED_FORMS)  # fmt: skip
def test_the_best_constant_of_numbers(name, y, value):
    found = measured(name, y, y.shape[1])
    np.testing.assert_allclose(found.guess, value, rtol=2e-5)
    least = {"cosine_similarity": -1.0}.get(name, 0.0)
    if name == "poisson":
        least = np.mean(NUMBERS - NUMBERS * np.log(NUMBERS))
    np.testing.assert_allclose(found.least, least, rtol=1e-5, atol=1e-6)
    assert np.isnan(found.uniform)


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_shares_of_the_classes(logits, smoothing):
    options = {"from_logits": logits, "label_smoothing": smoothing}
    activation = None if logits else "softmax"
    found = measured(
        losses.CategoricalCrossentropy(**options), ONE_HOT, CLASSES, activation
    )
    smooth = (1 - smoothing) * SHARES + smoothing / CLASSES
    assert found.guess == pytest.approx(entropy(smooth), rel=1e-5)
    assert found.uniform == pytest.approx(np.log(CLASSES), rel=1e-6)
    row = np.full(CLASSES, smoothing / CLASSES)
    row[0] += 1 - smoothing
    least = entropy(row) if smoothing else 0.0
    assert found.least == pytest.approx(least, rel=1e-5, abs=1e-6)

    found = measured(
        losses.BinaryCrossentropy(**options),
        ONE_HOT,
        CLASSES,
        None if logits else "sigmoid",
    )
    smooth = (1 - smoothing) * SHARES + smoothing / 2
    binary = np.mean([entropy(np.array([p, 1 - p])) for p in smooth])
    assert found.guess == pytest.approx(binary, rel=1e-5)
    assert found.uniform == pytest.approx(np.log(2), rel=1e-6)


@pytest.mark.parametrize("logits", [False, True])
def test_weights_of_examples_count(logits):
    sparse = losses.SparseCategoricalCrossentropy(from_logits=logits)
    activation = None if logits else "softmax"
    found = measured(sparse, LABELS, CLASSES, activation, WEIGHTS)
    shares = WEIGHTS @ ONE_HOT / WEIGHTS.sum()
    # Keras divides by the number of examples, not by their weights.
    value = entropy(shares) * WEIGHTS.mean()
    assert found.guess == pytest.approx(value, rel=1e-5)
    assert found.uniform == pytest.approx(np.log(4) * WEIGHTS.mean(), rel=1e-5)

    found = measured("mse", NUMBERS, 3, weight=WEIGHTS)
    mean = WEIGHTS @ NUMBERS / WEIGHTS.sum()
    value = np.mean(WEIGHTS[:, None] * (NUMBERS - mean) ** 2)
    assert found.guess == pytest.approx(value, rel=1e-5)
    found = measured("mae", NUMBERS, 3, weight=WEIGHTS)
    errors = [min(np.mean(WEIGHTS * np.abs(y - c)) for c in y) for y in NUMBERS.T]
    assert found.guess == pytest.approx(np.mean(errors), rel=1e-5)


def test_classes_with_weights_are_guessed_more_often():
    balanced = (ROWS / np.bincount(LABELS) / CLASSES)[LABELS]
    found = measured(
        "sparse_categorical_crossentropy", LABELS, CLASSES, "softmax", balanced
    )
    assert found.guess == pytest.approx(np.log(CLASSES), rel=1e-5)


def test_soft_targets_leave_a_loss_to_the_perfect_answer():
    means = SOFT.mean(axis=0)
    rows = np.mean([entropy(row) for row in SOFT])
    found = measured("categorical_crossentropy", SOFT, CLASSES, "softmax")
    assert found.guess == pytest.approx(entropy(means), rel=1e-5)
    assert found.least == pytest.approx(rows, rel=1e-5)
    found = measured("kl_divergence", SOFT, CLASSES, "softmax")
    assert found.guess == pytest.approx(entropy(means) - rows, rel=1e-4)
    assert found.least == pytest.approx(0.0, abs=1e-6)
    grey = RNG.uniform(size=(ROWS, 2))
    found = measured("binary_crossentropy", grey, 2, "sigmoid")
    least = np.mean([entropy(np.array([p, 1 - p])) for p in grey.ravel()])
    assert found.least == pytest.approx(least, rel=1e-4)


def test_focal_losses():
    found = measured(losses.BinaryFocalCrossentropy(), ONE_HOT, CLASSES, "sigmoid")
    best = np.mean(
        [
            optimize.minimize_scalar(
                lambda c, y=y: focal(y, c), bounds=(0, 1), method="bounded"
            ).fun
            for y in ONE_HOT.T
        ]
    )
    assert found.guess == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("loss", [losses.Dice, losses.CategoricalFocalCrossentropy])
def test_no_constant_is_better(loss):
    found = measured(loss(), ONE_HOT, CLASSES, "softmax")
    for row in RNG.dirichlet(np.ones(CLASSES), 60):
        tried = np.broadcast_to(row, ONE_HOT.shape)
        assert found.guess <= float(loss()(ONE_HOT, tried)) + 1e-5


def test_the_positions_of_a_sequence_share_one_answer():
    y = RNG.integers(0, 3, (8, 5))
    i = keras.Input((5,), dtype="int32")
    h = layers.Embedding(9, 4, mask_zero=True)(i)
    model = keras.Model(i, layers.Dense(3, "softmax")(h))
    x = RNG.integers(0, 3, (8, 5))
    for options in ({}, {"ignore_class": 2}):
        loss = losses.SparseCategoricalCrossentropy(**options)
        model.compile("sgd", loss)
        outputs = model(x)
        found = yardstick(model, output_losses(model), tf.constant(y), None, outputs)
        used = y[(x > 0) & (y != options.get("ignore_class", -1))]
        shares = np.bincount(used, minlength=3) / len(used)
        constant = np.broadcast_to(np.maximum(shares, 1e-7), (8, 5, 3))
        weight = ((x > 0) & (y != options.get("ignore_class", -1))) * 1.0
        errors = -np.log(np.take_along_axis(constant, y[..., None], -1))[..., 0]
        if not options:
            value = np.sum(errors * weight) / weight.sum()
            assert found.guess == pytest.approx(value, rel=1e-5)
        # No other constant is better.
        for row in RNG.dirichlet(np.ones(3), 20):
            tried = tf.Variable(np.broadcast_to(row, (8, 5, 3)).astype("float32"))
            tried = tf.identity(tried)
            tried._keras_mask = outputs._keras_mask
            assert found.guess <= float(loss(y, tried)) + 1e-6


def two_outputs(weights=None):
    i = keras.Input((3,))
    outputs = [
        layers.Dense(CLASSES, "softmax", name="b")(i),
        layers.Dense(3, name="a")(i),
    ]
    model = keras.Model(i, outputs)
    model.compile(
        "sgd", ["sparse_categorical_crossentropy", "mse"], loss_weights=weights
    )
    return model


@pytest.mark.parametrize("as_dict", [False, True])
def test_several_outputs_count_with_their_weights(as_dict):
    model = two_outputs([0.5, 2.0])
    y = [tf.constant(LABELS), tf.constant(NUMBERS)]
    if as_dict:
        y = {"b": y[0], "a": y[1]}
    outputs = model(np.zeros((ROWS, 3)))
    before = [v.numpy() for v in model.metrics_variables]
    found = yardstick(model, output_losses(model), y, None, outputs)
    value = 0.5 * entropy(SHARES) + 2.0 * NUMBERS.var(axis=0).mean()
    assert found.guess == pytest.approx(value, rel=1e-5)
    assert found.least == pytest.approx(0.0, abs=1e-5)
    assert np.isnan(found.uniform)
    for old, new in zip(before, model.metrics_variables, strict=False):
        np.testing.assert_array_equal(old, new.numpy())


def test_what_has_no_constant_answer_is_unknown():
    labels = np.stack([LABELS, LABELS], axis=1)
    assert np.isnan(measured(losses.CTC(), labels, CLASSES).guess)

    class Own(keras.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, *_, **__):
            return keras.ops.mean(y_pred)

    model = Own([keras.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    outputs = model(np.zeros((2, 3)))
    assert np.isnan(
        yardstick(model, output_losses(model), tf.zeros((2, 1)), None, outputs).guess
    )
