"""Inputs and outputs in lists, tuples, dicts and nested structures."""

import keras
from keras import layers, ops

from tests.zoo.arrays import classes, numbers, pixels
from tests.zoo.model_case import Data, zoo_model


@zoo_model(lambda: Data([numbers(4), numbers(5, seed=6)], classes(3)))
def inputs_in_a_list() -> keras.Model:
    """Two inputs in a list, joined before the classifier."""
    inputs = [keras.Input((4,)), keras.Input((5,))]
    x = layers.Concatenate()([layers.Dense(4, "relu")(one) for one in inputs])
    x = layers.Dropout(0.3)(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@zoo_model(lambda: Data([numbers(4)], [numbers(2)]))
def one_input_in_a_list() -> keras.Model:
    """One input and one output, each in a list of one."""
    inputs = keras.Input((4,))
    x = layers.Dropout(0.2)(layers.Dense(6, activation="relu")(inputs))
    model = keras.Model([inputs], [layers.Dense(2)(x)])
    model.compile("adam", "mse")
    return model


@zoo_model(lambda: Data((numbers(4), numbers(5)), (numbers(1), classes(3))))
def tuples_in_and_out() -> keras.Model:
    """Two inputs and two outputs in tuples, with a loss and a weight for each."""
    inputs = keras.Input((4,)), keras.Input((5,))
    x = layers.Concatenate()([layers.Dense(4, "tanh")(one) for one in inputs])
    x = layers.Dropout(0.3)(x)
    outputs = layers.Dense(1)(x), layers.Dense(3, activation="softmax")(x)
    model = keras.Model(inputs, outputs)
    model.compile(
        "adam",
        loss=("mse", "sparse_categorical_crossentropy"),
        loss_weights=(1.0, 0.5),
        metrics=(["mae"], ["accuracy"]),
    )
    return model


def house() -> Data:
    return Data(
        {"photo": pixels(8, 8, 3), "facts": numbers(5)},
        {"price": numbers(1), "district": classes(4)},
    )


@zoo_model(house)
def dicts_in_and_out() -> keras.Model:
    """A photo and a row of facts in a dict; two outputs in a dict."""
    inputs = {
        "photo": keras.Input((8, 8, 3), name="photo"),
        "facts": keras.Input((5,), name="facts"),
    }
    x = layers.Rescaling(1 / 255)(inputs["photo"])
    x = layers.Conv2D(4, 3, strides=2, use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.GlobalMaxPooling2D()(layers.ReLU()(x))
    x = layers.Concatenate()([x, layers.Dense(4, activation="relu")(inputs["facts"])])
    x = layers.Dropout(0.4)(x)
    outputs = {
        "price": layers.Dense(1, name="price")(x),
        "district": layers.Dense(4, activation="softmax", name="district")(x),
    }
    model = keras.Model(inputs, outputs)
    model.compile(
        keras.optimizers.Adam(clipnorm=1.0),
        loss={"price": "mse", "district": "sparse_categorical_crossentropy"},
        metrics={"price": ["mae"], "district": ["accuracy"]},
    )
    return model


def visit() -> Data:
    x = {
        "user": {"age": numbers(1), "tags": numbers(3)},
        "items": [numbers(2), (numbers(2, seed=7), numbers(1, seed=8))],
    }
    return Data(x, {"click": classes(2), "times": [numbers(1), numbers(2)]})


@zoo_model(visit)
def nested_in_and_out() -> keras.Model:
    """Dicts in dicts and tuples in lists, as inputs and as outputs."""
    inputs = {
        "user": {"age": keras.Input((1,)), "tags": keras.Input((3,))},
        "items": [keras.Input((2,)), (keras.Input((2,)), keras.Input((1,)))],
    }
    x = layers.Concatenate()(keras.tree.flatten(inputs))
    x = layers.Dropout(0.1)(layers.Dense(8, activation="relu")(x))
    outputs = {
        "click": layers.Dense(2, activation="softmax")(x),
        "times": [layers.Dense(1)(x), layers.Dense(2)(x)],
    }
    model = keras.Model(inputs, outputs)
    loss = {"click": "sparse_categorical_crossentropy", "times": ["mse", "mae"]}
    model.compile("adam", loss)
    return model


@zoo_model(lambda: Data(numbers(6), {"score": numbers(1)}))
def loss_for_one_of_two_outputs() -> keras.Model:
    """Two outputs of which only one has a loss; the other shows the features."""
    inputs = keras.Input((6,))
    features = layers.Dense(8, activation="relu", name="features")(inputs)
    score = layers.Dense(1, name="score")(layers.Dropout(0.2)(features))
    model = keras.Model(inputs, {"features": features, "score": score})
    model.compile("adam", {"score": "mse"})
    return model


@zoo_model(lambda: Data([classes(10), classes(8)], numbers(1)))
def recommender() -> keras.Model:
    """Embeddings of users and items, multiplied; with a bias for each."""
    user, item = keras.Input((), dtype="int32"), keras.Input((), dtype="int32")
    vectors = [
        layers.Embedding(10, 4, embeddings_regularizer=keras.regularizers.L2(1e-4))(
            user
        ),
        layers.Embedding(8, 4)(item),
    ]
    score = layers.Dot(axes=1, normalize=False)(vectors)
    biases = [layers.Embedding(10, 1)(user), layers.Embedding(8, 1)(item)]
    model = keras.Model([user, item], layers.Add()([score, *biases]))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


@zoo_model(lambda: Data([numbers(6), numbers(6, seed=4)], numbers(1)))
def operations_beside_layers() -> keras.Model:
    """Operators and `keras.ops` on the tensors of a functional model."""
    left, right = keras.Input((6,)), keras.Input((6,))
    x = ops.concatenate([left - right, ops.abs(left * right)], axis=-1)
    x = layers.Dense(8)(x) / 2.0
    x = ops.relu(x) + ops.mean(x, axis=-1, keepdims=True)
    x = layers.Dropout(0.25)(x)
    outputs = ops.sigmoid(layers.Dense(1)(x[:, :6]))
    model = keras.Model([left, right], outputs)
    model.compile("adam", "mse")
    return model
