"""Networks with one problem each."""

import keras

from tests.diagnostics.networks import (
    CLASSES,
    digits,
    from_logits,
    network,
    normal,
    seeded,
    spoiled,
)

layers = keras.layers
GLOROT = "glorot_uniform"


def reward(kernel):
    return -0.01 * keras.ops.sum(keras.ops.square(kernel))


def without_a_way_out(kind, count=1):
    """Layers that are connected to no output with a loss."""
    seeded()
    x = keras.Input((12, 12, 1) if kind == "cnn" else (20,))
    h = layers.Flatten()(x)
    h = layers.Dense(16, "relu", kernel_initializer="he_normal")(h)
    lost = h
    for _ in range(count):
        lost = layers.Dense(16, "relu", kernel_initializer="he_normal")(lost)
    h = h + keras.ops.stop_gradient(lost)
    model = keras.Model(x, layers.Dense(CLASSES, "softmax")(h))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def frozen(kind, each=False):
    model = network(kind)
    for part in model.layers if each else [model]:
        part.trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def not_a_number(kind):
    model = network(kind)
    bias = model.layers[1].bias
    bias.assign(bias + float("nan"))
    return model


class SquareRoot(layers.Layer):
    """Its slope at zero is infinite: a dead unit below makes NaN of it."""

    def call(self, x):
        return keras.ops.sqrt(x)


def rooted(kind):
    model = network(kind)
    root = SquareRoot(name="root")
    model = keras.Sequential([*model.layers[:2], root, *model.layers[2:]])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def rearranged(kind):
    """Keras finds the logits of a softmax only if nothing comes after it."""
    model = network(kind)
    model = keras.Sequential([*model.layers, layers.Reshape((CLASSES,))])
    model.compile("adam", from_logits())
    return model


def learner(kind):
    """Its units are not zero for any example."""
    return network(kind, 2, "elu")


def linear(kind):
    return network(kind, 2, output=None, loss="mse")


def problems():
    """The kind of network, the check, its strength, the model and the data."""
    for kind in ("mlp", "cnn"):
        good = digits(kind)
        # The check, the strength, and a function that makes the model.
        for name, word, make in (
            (
                "vanishing",
                "small weights",
                lambda k: network(k, 6, "tanh", normal(0.03)),
            ),
            (
                "vanishing",
                "tiny weights",
                lambda k: network(k, 4, "relu", normal(1e-3)),
            ),
            (
                "vanishing",
                "sigmoid",
                lambda k: network(k, 12, "sigmoid", "glorot_normal"),
            ),
            (
                "vanishing",
                "sigmoid, deeper",
                lambda k: network(k, 24, "sigmoid", "glorot_normal"),
            ),
            (
                "exploding",
                "large weights",
                lambda k: network(k, 6, "relu", normal(1.0)),
            ),
            (
                "exploding",
                "huge weights",
                lambda k: network(k, 8, "linear", normal(3.0)),
            ),
            ("symmetric-weights", "zeros", lambda k: network(k, 3, "relu", "zeros")),
            ("symmetric-weights", "ones", lambda k: network(k, 3, "tanh", "ones")),
            (
                "dead-units",
                "biases of -4",
                lambda k: network(
                    k, 3, bias_initializer=keras.initializers.Constant(-4.0)
                ),
            ),
            (
                "dead-units",
                "biases of -20",
                lambda k: network(
                    k, 3, bias_initializer=keras.initializers.Constant(-20.0)
                ),
            ),
            (
                "saturated-units",
                "weights of 4",
                lambda k: network(k, 2, "tanh", normal(4.0)),
            ),
            (
                "saturated-units",
                "biases of 8",
                lambda k: network(
                    k, 2, "sigmoid", bias_initializer=keras.initializers.Constant(8.0)
                ),
            ),
            (
                "initial-loss",
                "last layer of 2",
                lambda k: network(k, 2, last=normal(2.0)),
            ),
            (
                "initial-loss",
                "last layer of 20",
                lambda k: network(k, 2, last=normal(20.0)),
            ),
            (
                "loss-and-activation",
                "softmax as logits",
                rearranged,
            ),
            (
                "loss-and-activation",
                "logits as softmax",
                lambda k: network(k, output=None),
            ),
            (
                "loss-and-activation",
                "sigmoid for exclusive classes",
                lambda k: network(k, output="sigmoid"),
            ),
            (
                "regularisation",
                "l2 of 1",
                lambda k: network(k, kernel_regularizer=keras.regularizers.L2(1.0)),
            ),
            (
                "regularisation",
                "l1 of 10",
                lambda k: network(k, kernel_regularizer=keras.regularizers.L1(10.0)),
            ),
            (
                "regularisation",
                "negative",
                lambda k: network(k, kernel_regularizer=reward),
            ),
            ("self-normalisation", "He", lambda k: network(k, 4, "selu", "he_normal")),
            (
                "self-normalisation",
                "uniform",
                lambda k: network(k, 8, "selu", "glorot_uniform"),
            ),
            ("nonfinite-values", "NaN in a weight", not_a_number),
            ("nonfinite-values", "a root", rooted),
            ("nothing-trainable", "the model", frozen),
            ("nothing-trainable", "each layer", lambda k: frozen(k, each=True)),
            ("no-gradient", "a lost layer", without_a_way_out),
            ("no-gradient", "three lost", lambda k: without_a_way_out(k, 3)),
            (
                "useless-bias",
                "in two layers",
                lambda k: network(k, 2, norm=True, use_bias=True),
            ),
            (
                "useless-bias",
                "in five",
                lambda k: network(k, 5, norm=True, use_bias=True),
            ),
            ("initializer", "3 layers", lambda k: network(k, 3, "relu", GLOROT)),
            ("initializer", "6 layers", lambda k: network(k, 6, "relu", GLOROT)),
        ):
            yield kind, name, word, make, good
        for name, word in (
            ("nonfinite-data", "a NaN"),
            ("nonfinite-data", "many NaN"),
            ("nonfinite-data", "infinite"),
            ("labels", "from 1"),
            ("labels", "negative"),
            ("inputs-not-standardised", "bytes"),
            ("inputs-not-standardised", "huge"),
            ("inputs-not-standardised", "tiny"),
            ("inputs-not-standardised", "one image"),
        ):
            yield kind, name, word, network, spoiled(kind, word)
        for word in ("two images", "three images"):
            yield kind, "tiny-batch", word, learner, spoiled(kind, word)
        for end in ("tanh", "relu"):
            yield (
                kind,
                "output-range",
                end,
                lambda k, end=end: network(k, 2, output=end, loss="mse"),
                spoiled(kind, "around 0"),
            )
        for word in ("around 30", "around 500"):
            yield kind, "targets-not-standardised", word, linear, spoiled(kind, word)
