"""Networks whose data, loss or ending is wrong."""

import keras
import numpy as np
from keras import layers, ops

from diagnosed import data
from diagnosed.case import sick, task
from diagnosed.parts import adam, from_logits, functional, sequential
from diagnosed.words import GUESS, INPUTS, RANGE, WRONG_END


@sick("nonfinite-data")
def logarithms_of_counts(rng):
    """Logarithms of counts, some of which are zero."""
    x = rng.poisson(2.0, (data.ROWS, 8))
    y = (x[:, 0] > x[:, 1]).astype("float32")[:, None]
    with np.errstate(divide="ignore"):
        x = np.log(x).astype("float32")
    body = [layers.Dense(32, "relu"), layers.Dense(1, "sigmoid")]
    return task(sequential((8,), *body, loss="binary_crossentropy"), x, y)


@sick("labels")
def ignored_label(rng):
    """Padding labelled -1, as other libraries take it."""
    x, _ = data.reviews(rng)
    y = np.where(x == 0, -1, x > 50).astype("int32")
    body = [layers.Embedding(100, 12), layers.LSTM(12, return_sequences=True)]
    return task(
        sequential((16,), *body, layers.Dense(2, "softmax"), dtype="int32"), x, y
    )


@sick("labels", *WRONG_END)
def plus_and_minus_one(rng):
    """Labels of -1 and 1 for a sigmoid and the binary crossentropy."""
    x, y = data.columns(rng, classes=2)
    body = [layers.Dense(32, "relu"), layers.Dense(1, "sigmoid")]
    y = (2 * y - 1).astype("float32")[:, None]
    return task(sequential((10,), *body, loss="binary_crossentropy"), x, y)


@sick("labels")
def one_class_too_few(rng):
    """Nine units for ten classes."""
    x, y = data.small_fashion(rng)
    body = [layers.Conv2D(12, 3, activation="relu"), layers.MaxPooling2D()]
    body += [layers.Flatten(), layers.Dense(9)]
    return task(sequential((14, 14, 1), *body, loss=from_logits()), x, y)


@sick("inputs-not-standardised", *INPUTS)
def bytes_as_floats(rng):
    """Pixels from 0 to 255 as floats, into a dense network."""
    x, y = data.small_fashion(rng)
    body = [layers.Flatten(), layers.Dense(64, "relu"), layers.Dense(10, "softmax")]
    return task(sequential((14, 14, 1), *body), 255 * x, y)


@sick("inputs-not-standardised", *INPUTS)
def seconds_since_1970(rng):
    """A time stamp among standardised columns."""
    x, y = data.columns(rng)
    x[:, 3] = 1.6e9 + 1e5 * x[:, 3]
    body = [layers.Dense(32, "relu"), layers.Dense(3, "softmax")]
    return task(sequential((10,), *body), x, y)


@sick("inputs-not-standardised", *INPUTS)
def sensor_in_pascal(rng):
    """A series of pressures around 101,325 pascal."""
    x, y = data.waves(rng)
    model = sequential((32, 1), layers.LSTM(16), layers.Dense(3, "softmax"))
    return task(model, 101_325 + 400 * x, y)


@sick("inputs-not-standardised", "no-gradient", "tiny-batch", *INPUTS, *GUESS)
def integer_division(rng):
    """Bytes divided by 255 as integers: every pixel but white is zero."""
    x, y = data.small_fashion(rng)
    x = ((250 * x).astype("uint8") // 255).astype("float32")
    body = [layers.Conv2D(12, 3, activation="relu"), layers.Flatten()]
    return task(sequential((14, 14, 1), *body, layers.Dense(10, "softmax")), x, y)


@sick("inputs-not-standardised", "tiny-batch", *INPUTS, *GUESS)
def cropped_to_the_border(rng):
    """Only a black corner of each picture is left."""
    x, y = data.fashion(rng)
    x[:, :6, :6] = 0.0
    body = [
        layers.Cropping2D(((0, 22), (0, 22))),
        layers.Conv2D(8, 3, activation="relu"),
    ]
    body += [layers.Flatten(), layers.Dense(10, "softmax")]
    return task(sequential((28, 28, 1), *body), x, y)


@sick("targets-not-standardised")
def prices_in_euros(rng):
    """Prices around 300,000 as targets."""
    x, y = data.houses(rng)
    body = [layers.Dense(48, "relu"), layers.Dense(48, "relu"), layers.Dense(1)]
    return task(sequential((5,), *body, loss="mse"), data.standardised(x), 1000 * y)


@sick("targets-not-standardised")
def boxes_in_pixels(rng):
    """Corners of a box in pixels of a large picture."""
    x, _, mask = data.flowers(rng)
    rows, columns = mask[..., 0].any(axis=2), mask[..., 0].any(axis=1)
    edges = [rows.argmax(1), columns.argmax(1), rows.sum(1), columns.sum(1)]
    y = 40.0 * np.stack(edges, axis=1)
    body = [layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D()]
    body += [layers.Flatten(), layers.Dense(32, "relu"), layers.Dense(4)]
    return task(sequential((16, 16, 3), *body, loss="mse"), x, y.astype("float32"))


@sick("loss-and-activation", *WRONG_END)
def softmax_taken_for_logits(rng):
    """A `Softmax` layer at the end and `from_logits=True`."""
    x, y = data.columns(rng)
    inputs = keras.Input((10,))
    h = layers.Dense(32, "relu")(inputs)
    h = layers.Reshape((3,))(ops.softmax(layers.Dense(3)(h)))
    return task(functional(inputs, h, loss=from_logits()), x, y)


@sick("loss-and-activation", *WRONG_END)
def forgotten_softmax(rng):
    """No activation at the end, the loss by its name."""
    x, y = data.columns(rng)
    body = [layers.Dense(48, "relu"), layers.Dense(48, "relu"), layers.Dense(3)]
    return task(sequential((10,), *body), x, y)


@sick("loss-and-activation", *WRONG_END)
def sigmoid_for_exclusive_classes(rng):
    """Ten sigmoids for ten classes that exclude each other."""
    x, y = data.small_fashion(rng)
    body = [layers.Flatten(), layers.Dense(64, "relu"), layers.Dense(10, "sigmoid")]
    return task(sequential((14, 14, 1), *body), x, y)


@sick("loss-and-activation", "tiny-batch", "no-gradient", *WRONG_END)
def softmax_over_rows(rng):
    """A softmax over the examples of a batch in place of the classes."""
    x, y = data.columns(rng)
    body = [layers.Dense(48, "relu"), layers.Dense(3), layers.Softmax(axis=0)]
    return task(sequential((10,), *body), x, y)


@sick("output-range", *RANGE, *WRONG_END)
def relu_for_signed_targets(rng):
    """A ReLU at the end of a regression whose targets are half negative."""
    x, y = data.curve(rng)
    body = [layers.Dense(48, "relu"), layers.Dense(1, "relu")]
    return task(sequential((6,), *body, loss="mse"), x, y)


@sick("validation-data")
def validation_not_divided(rng):
    """Training pictures divided by 255, those of validation not."""
    x, y = data.small_fashion(rng)
    body = [layers.Flatten(), layers.Dense(64, "relu"), layers.Dense(10, "softmax")]
    made = task(sequential((14, 14, 1), *body), x, y)
    made.validation = (255 * made.validation[0], made.validation[1])
    return made


@sick("validation-data")
def validation_not_standardised(rng):
    """Columns standardised for training only."""
    x, y = data.houses(rng)
    y = data.standardised(y)
    body = [layers.Dense(48, "relu"), layers.Dense(1)]
    made = task(sequential((5,), *body, loss="mse"), data.standardised(x), y)
    made.validation = (x[-128:], y[-128:])
    return made


@sick("validation-data")
def validation_of_training_rows(rng):
    """A third of the validation rows stand in the training data too."""
    made = task(
        sequential((10,), layers.Dense(32, "relu"), layers.Dense(3, "softmax")),
        *data.columns(rng),
    )
    x, y = made.validation
    x[:42], y[:42] = made.x[100:142], made.y[100:142]
    return made


@sick("validation-data")
def validation_without_positives(rng):
    """No row of the validation data is positive."""
    x, y = data.columns(rng, 900, classes=2)
    body = [layers.Dense(32, "relu"), layers.Dense(1, "sigmoid")]
    model = sequential((10,), *body, loss="binary_crossentropy")
    made = task(model, x, y[:, None].astype("float32"))
    chosen = made.validation[1][:, 0] == 0
    made.validation = tuple(part[chosen] for part in made.validation)
    return made


@sick("no-better-than-a-guess", *GUESS, by="Doctor")
def target_of_another_row(rng):
    """A regression whose targets are one row off, after a sort by another column."""
    x, y = data.curve(rng, 900)
    body = [layers.Dense(24, "relu"), layers.Dense(1)]
    return task(sequential((6,), *body, loss="mse"), x, np.roll(y, 7, axis=0), epochs=8)


@sick("no-better-than-a-guess", *GUESS, by="Doctor")
def rows_mixed_by_a_reshape(rng):
    """`reshape` in place of a transposition mixes the rows of a batch."""
    x, y = data.columns(rng, 900)
    inputs = keras.Input((10,))
    h = layers.Dense(32, "relu")(inputs)
    h = ops.transpose(ops.reshape(h, (32, -1)))
    model = functional(inputs, layers.Dense(3, "softmax")(h), adam(0.003))
    return task(model, x[:880], y[:880], epochs=8)
