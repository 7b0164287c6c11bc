"""Networks whose data, loss or ending is wrong, unseen.

Do not read this file if you write or tune checks: its networks are there to judge
them, and judge only as long as nobody has looked.
"""

import keras
import numpy as np
from keras import layers, ops

from diagnosed import data
from diagnosed.case import sick, task
from diagnosed.parts import adam, conv_block, from_logits, functional, sequential
from diagnosed.words import GUESS, INPUTS, LABELS, RANGE, WRONG_END


@sick("nonfinite-data")
def missing_values(rng):
    """A table in which a few cells are empty."""
    x, y = data.houses(rng)
    x = data.standardised(x)
    x[rng.random(x.shape) < 0.03] = np.nan
    body = [layers.Dense(32, "relu"), layers.Dense(1)]
    return task(sequential((5,), *body, loss="mse"), x, data.standardised(y))


@sick("nonfinite-data")
def ratio_with_zero_denominator(rng):
    """A target that is a ratio, its denominator zero for some rows."""
    x, y = data.curve(rng)
    below = np.where(rng.random(y.shape) < 0.02, 0.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        y = (y / below).astype("float32")
    body = [layers.Dense(32, "relu"), layers.Dense(1)]
    return task(sequential((6,), *body, loss="mse"), x, y)


@sick("nonfinite-data")
def standardised_constant_column(rng):
    """A constant column divided by its deviation of zero."""
    x, y = data.columns(rng)
    x[:, 4] = 7.0
    with np.errstate(divide="ignore", invalid="ignore"):
        x = (x - x.mean(axis=0)) / x.std(axis=0)
    body = [layers.Dense(32, "relu"), layers.Dense(3, "softmax")]
    return task(sequential((10,), *body), x.astype("float32"), y)


@sick("labels")
def labels_from_one(rng):
    """Labels from 1 to 10 for ten units."""
    x, y = data.small_fashion(rng)
    body = [layers.Flatten(), layers.Dense(64, "relu"), layers.Dense(10, "softmax")]
    return task(sequential((14, 14, 1), *body), x, y + 1)


@sick("labels", *WRONG_END, *RANGE)
def masks_as_bytes(rng):
    """Masks read from files: 0 and 255."""
    x, _, mask = data.flowers(rng, 480)
    body = [layers.Conv2D(12, 3, padding="same", activation="relu") for _ in range(2)]
    last = layers.Conv2D(1, 1, activation="sigmoid")
    model = sequential((16, 16, 3), *body, last, loss="binary_crossentropy")
    return task(model, x, 255 * mask)


@sick("labels", *WRONG_END)
def several_tags_for_a_softmax(rng):
    """Rows with several ones for the categorical crossentropy."""
    x, _ = data.columns(rng)
    y = (x @ rng.normal(size=(10, 5)) > 0).astype("float32")
    body = [layers.Dense(48, "relu"), layers.Dense(5, "softmax")]
    return task(sequential((10,), *body, loss="categorical_crossentropy"), x, y)


@sick("inputs-not-standardised", *INPUTS)
def bytes_of_pictures(rng):
    """Pixels of type uint8, as they come from a file."""
    x, y, _ = data.flowers(rng)
    body = [layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D()]
    body += [layers.Flatten(), layers.Dense(32, "relu"), layers.Dense(4, "softmax")]
    return task(sequential((16, 16, 3), *body), (255 * x).astype("uint8"), y)


@sick("inputs-not-standardised", *INPUTS)
def raw_columns(rng):
    """Areas, years and incomes as they are."""
    x, y = data.houses(rng)
    body = [layers.Dense(48, "relu"), layers.Dense(48, "relu"), layers.Dense(1)]
    return task(sequential((5,), *body, loss="mse"), x, data.standardised(y))


@sick("inputs-not-standardised", *INPUTS)
def divided_twice(rng):
    """Pixels divided by 255 when loaded, and again by a layer."""
    x, y = data.small_fashion(rng)
    body = [layers.Rescaling(1 / 255), layers.Conv2D(12, 3, activation="relu")]
    body += [layers.Flatten(), layers.Dense(10, "softmax")]
    return task(sequential((14, 14, 1), *body), x, y)


@sick("targets-not-standardised")
def kelvin(rng):
    """Temperatures around 285 kelvin."""
    x, y = data.forecast(rng)
    model = sequential((24, 1), layers.GRU(16), layers.Dense(1), loss="mae")
    return task(model, x, 285 + 8 * y)


@sick("targets-not-standardised")
def tiny_returns(rng):
    """Daily returns of about a thousandth of a percent."""
    x, y = data.curve(rng)
    body = [layers.Dense(32, "relu"), layers.Dense(1)]
    return task(sequential((6,), *body, loss="mse"), x, 1e-5 * y)


@sick("loss-and-activation", *WRONG_END)
def rounded_softmax_taken_for_logits(rng):
    """Probabilities are averaged over two heads, then taken for logits."""
    x, y = data.small_fashion(rng)
    inputs = keras.Input((14, 14, 1))
    h = layers.Flatten()(inputs)
    heads = [layers.Dense(10, "softmax")(layers.Dense(32, "relu")(h)) for _ in range(2)]
    return task(functional(inputs, layers.Average()(heads), loss=from_logits()), x, y)


@sick("loss-and-activation", *WRONG_END)
def forgotten_sigmoid(rng):
    """One linear unit and the binary crossentropy by its name."""
    x, y = data.reviews(rng)
    body = [layers.Embedding(100, 8), layers.GlobalAveragePooling1D(), layers.Dense(1)]
    model = sequential((16,), *body, dtype="int32", loss="binary_crossentropy")
    return task(model, x, y[:, None].astype("float32"))


@sick("loss-and-activation", *WRONG_END)
def sigmoid_taken_for_logit(rng):
    """A sigmoid computed by hand and `from_logits=True`."""
    x, y = data.columns(rng, classes=2)
    inputs = keras.Input((10,))
    h = layers.Dense(1)(layers.Dense(32, "relu")(inputs))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    out = 1.0 / (1.0 + ops.exp(-h))
    return task(functional(inputs, out, loss=loss), x, y[:, None].astype("float32"))


@sick("loss-and-activation", *WRONG_END)
def sigmoid_and_one_hot(rng):
    """Sigmoids, one-hot rows and the categorical crossentropy."""
    x, y = data.columns(rng)
    body = [layers.Dense(48, "relu"), layers.Dense(3, "sigmoid")]
    model = sequential((10,), *body, loss="categorical_crossentropy")
    return task(model, x, np.eye(3, dtype="float32")[y])


@sick("loss-and-activation", "no-gradient", *WRONG_END)
def softmax_of_one_unit(rng):
    """A softmax over a single unit is always one."""
    x, y = data.columns(rng, classes=2)
    body = [layers.Dense(32, "relu"), layers.Dense(1, "softmax")]
    model = sequential((10,), *body, loss="binary_crossentropy")
    return task(model, x, y[:, None].astype("float32"))


@sick("loss-and-activation", *WRONG_END, *LABELS)
def softmax_for_tags(rng):
    """Softmax for tags that occur together, binary crossentropy."""
    x, _ = data.columns(rng)
    y = (x @ rng.normal(size=(10, 6)) > 0).astype("float32")
    body = [layers.Dense(48, "relu"), layers.Dense(6, "softmax")]
    return task(sequential((10,), *body, loss="binary_crossentropy"), x, y)


@sick("loss-and-activation", "tiny-batch", *WRONG_END)
def softmax_over_pixels(rng):
    """A softmax over a row of pixels in place of the classes."""
    x, y, mask = data.flowers(rng, 480)
    labels = ((1 + y[:, None, None]) * mask[..., 0]).astype("int32")
    body = [layers.Conv2D(16, 3, padding="same", activation="relu")]
    body += [layers.Conv2D(5, 1), layers.Softmax(axis=2)]
    return task(sequential((16, 16, 3), *body), x, labels)


@sick("output-range", *RANGE, *WRONG_END)
def sigmoid_for_standardised_targets(rng):
    """A sigmoid at the end, targets of mean 0 and deviation 1."""
    x, y = data.houses(rng)
    body = [layers.Dense(48, "relu"), layers.Dense(1, "sigmoid")]
    model = sequential((5,), *body, loss="mse")
    return task(model, data.standardised(x), data.standardised(y))


@sick("output-range", *RANGE, *WRONG_END)
def tanh_for_stars(rng):
    """Ratings from 1 to 5 out of a tanh."""
    x, y = data.curve(rng)
    y = np.clip(np.round(3 + y), 1, 5)
    body = [layers.Dense(48, "relu"), layers.Dense(1, "tanh")]
    return task(sequential((6,), *body, loss="mae"), x, y)


@sick("output-range", *RANGE, *WRONG_END)
def decoder_of_standardised_pictures(rng):
    """An autoencoder that ends in a sigmoid; its pictures have mean 0."""
    x, _ = data.small_fashion(rng)
    x = (x - x.mean()) / x.std()
    body = [layers.Flatten(), layers.Dense(32, "relu"), layers.Dense(196, "sigmoid")]
    return task(
        sequential((14, 14, 1), *body, layers.Reshape((14, 14, 1)), loss="mse"), x, x
    )


@sick("validation-data")
def oversampled_before_the_split(rng):
    """Rare pictures were repeated before the split, so that copies lie in both."""
    x, y = data.small_fashion(rng)
    rare = np.flatnonzero(y == 3)
    chosen = np.concatenate([np.arange(len(x)), np.repeat(rare, 4)])
    chosen = rng.permutation(chosen)
    body = [*conv_block(12), layers.Flatten(), layers.Dense(10, "softmax")]
    return task(sequential((14, 14, 1), *body), x[chosen], y[chosen])


@sick("validation-data")
def split_of_sorted_classes(rng):
    """The rows are sorted by class, and the last fifth is held out."""
    x, y = data.small_fashion(rng)
    order = np.argsort(y, kind="stable")
    body = [layers.Flatten(), layers.Dense(64, "relu"), layers.Dense(10, "softmax")]
    return task(sequential((14, 14, 1), *body), x[order], y[order])


@sick("no-better-than-a-guess", *GUESS, by="Doctor")
def shuffled_labels(rng):
    """The labels were shuffled, the rows not."""
    x, y = data.columns(rng, 900)
    body = [layers.Dense(16, "relu"), layers.Dense(3, "softmax")]
    return task(sequential((10,), *body), x, rng.permutation(y), epochs=8)


@sick("no-better-than-a-guess", *GUESS, by="Doctor")
def pictures_shuffled_without_labels(rng):
    """Pictures were shuffled without their labels; validation too."""
    x, y = data.small_fashion(rng, 900)
    body = [
        *conv_block(8),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10, "softmax"),
    ]
    return task(sequential((14, 14, 1), *body), rng.permutation(x), y, epochs=8)


@sick("no-better-than-a-guess", *GUESS, by="Doctor")
def telling_words_removed(rng):
    """The words that tell the class were removed as stop words."""
    x, y = data.reviews(rng, 900)
    x = np.where(x <= 10, 0, x)
    body = [layers.Embedding(100, 4), layers.GlobalAveragePooling1D()]
    model = sequential((16,), *body, layers.Dense(2, "softmax"), dtype="int32")
    return task(model, x, y, epochs=8)


@sick("no-better-than-a-guess", *GUESS, "tiny-batch", by="Doctor")
def shapes_that_broadcast(rng):
    """Targets of shape (n,), outputs (n, 1), and a loss of one's own between them."""
    x, y = data.curve(rng, 800)

    def squares(y_true, y_pred):
        return ops.mean(ops.square(ops.reshape(y_true, (-1,)) - y_pred))

    body = [layers.Dense(32, "relu"), layers.Dense(1)]
    return task(
        sequential((6,), *body, loss=squares, optimizer=adam(0.003)), x, y, epochs=8
    )


@sick("no-better-than-a-guess", *GUESS, "overfitting", by="Doctor")
def validation_labels_of_another_order(rng):
    """The classes of the validation data are numbered in another order."""
    x, y = data.small_fashion(rng, 800)
    body = [layers.Flatten(), layers.Dense(64, "relu"), layers.Dense(10, "softmax")]
    made = task(sequential((14, 14, 1), *body), x, y, epochs=6)
    made.validation = (made.validation[0], (7 * made.validation[1] + 3) % 10)
    return made


@sick("no-better-than-a-guess", *GUESS, "overfitting", by="Doctor")
def noise_memorised(rng):
    """Random labels, memorised by a wide network."""
    x, y = data.columns(rng, 300)
    body = [
        layers.Dense(256, "relu"),
        layers.Dense(256, "relu"),
        layers.Dense(3, "softmax"),
    ]
    model = sequential((10,), *body, optimizer=adam(0.003))
    return task(model, x, rng.permutation(y), epochs=14)
