"""Networks with random layers, losses and data; all have right gradients, or one wrong.

Kinks are where people's networks have them: rows of zeros, pictures with black
borders, padding, biases of zero, blocks that begin at zero.
"""

import keras
import numpy as np
import tensorflow as tf

from keras_dnn._keras.layers import has_training_argument

layers = keras.layers
ROWS, CLASSES = 4, 3

ACTIVATIONS = (
    *("relu", "relu", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu"),
    *("tanh", "sigmoid", "softplus", "hard_sigmoid", "hard_silu", "mish", "softsign"),
)


@keras.saving.register_keras_serializable("random_networks")
class OneWrong(layers.Wrapper):
    """A layer with the gradient of one of its weights off by a factor."""

    def __init__(self, layer, index=0, factor=1.01, **kwargs):
        super().__init__(layer, **kwargs)
        self.index, self.factor = index, factor
        self.supports_masking = layer.supports_masking

    def compute_mask(self, x, mask=None):
        return self.layer.compute_mask(x, mask)

    def call(self, x, training=False, mask=None):
        weights = [w.value for w in self.layer.trainable_variables]
        weights[self.index] = scaled(weights[self.index], self.factor)
        others = [w.value for w in self.layer.non_trainable_variables]
        options = {"training": training} if has_training_argument(self.layer) else {}
        if isinstance(self.layer, layers.RNN | layers.Bidirectional):
            options["mask"] = mask
        outputs, _ = self.layer.stateless_call(weights, others, x, **options)
        return outputs

    def compute_output_shape(self, shape):
        return self.layer.compute_output_shape(shape)

    def get_config(self):
        return {**super().get_config(), "index": self.index, "factor": self.factor}


def scaled(tensor, factor):
    """The same tensor, with a gradient off by a factor."""

    @tf.custom_gradient
    def identity(z):
        return tf.identity(z), lambda upstream: factor * upstream

    return identity(tensor)


@keras.saving.register_keras_serializable("random_networks")
class Gain(layers.Layer):
    """Multiplies by a weight without axes, which begins at zero or one."""

    def __init__(self, start="zeros", **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def build(self, shape):
        self.gain = self.add_weight(shape=(), initializer=self.start, name="gain")
        self.empty = self.add_weight(shape=(0, 3), name="empty")

    def call(self, x):
        return x * self.gain + keras.ops.sum(self.empty)

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "start": self.start}


class Builder:
    """Draws layers, and makes that one wrong which holds a given weight."""

    def __init__(self, seed, wrong=None):
        self.rng = np.random.default_rng(seed)
        self.wrong = wrong
        self.weights = 0

    def one_of(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def chance(self, share):
        return bool(self.rng.random() < share)

    def activation(self):
        return self.one_of(*ACTIVATIONS)

    def options(self):
        """Of a layer with a kernel."""
        options = {"use_bias": self.chance(0.85), "activation": self.activation()}
        if self.chance(0.15):
            options["kernel_regularizer"] = self.one_of("l1", "l2")
        if self.chance(0.3):
            options["kernel_initializer"] = self.one_of("he_normal", "lecun_uniform")
        return options

    def put(self, layer, x):
        """The layer on its inputs, wrong if it holds the weight that is to be."""
        y = layer(x)
        first = self.weights
        self.weights += len(layer.trainable_variables)
        if self.wrong is None or not first <= self.wrong < self.weights:
            return y
        return OneWrong(layer, self.wrong - first)(x)

    def normalised(self, x):
        kinds = (layers.BatchNormalization, layers.LayerNormalization)
        return self.put(self.one_of(*kinds)(), x)

    def residual(self, x, layer):
        """A layer beside a way around it; its outputs may begin at zero."""
        y = self.put(layer, x)
        if self.chance(0.5):
            y = self.put(Gain(self.one_of("zeros", "ones")), y)
        return layers.Add()([x, y])

    def dense(self, x):
        for _ in range(self.rng.integers(1, 5)):
            width = int(self.rng.integers(2, 7))
            x = self.put(layers.Dense(width, **self.options()), x)
            if self.chance(0.25):
                x = self.normalised(x)
            if self.chance(0.15):
                x = layers.Dropout(0.3)(x)
            if self.chance(0.1):
                x = self.put(layers.PReLU(), x)
            if self.chance(0.25):
                layer = layers.Dense(x.shape[-1], **self.options())
                x = self.residual(x, layer)
        return x

    def pictures(self, x):
        for _ in range(self.rng.integers(1, 4)):
            filters, size = int(self.rng.integers(1, 5)), self.one_of(1, 2, 3)
            options = {"padding": self.one_of("same", "same", "valid")}
            if min(x.shape[1:3]) < 5:
                options["padding"] = "same"
            kind = self.one_of(
                layers.Conv2D,
                layers.Conv2D,
                layers.Conv2D,
                layers.DepthwiseConv2D,
                layers.SeparableConv2D,
                layers.Conv2DTranspose,
            )
            options |= self.options()
            if kind in (layers.DepthwiseConv2D, layers.SeparableConv2D):
                for name in ("kernel_regularizer", "kernel_initializer"):
                    options.pop(name, None)
            if kind is layers.DepthwiseConv2D:
                x = self.put(kind(size, **options), x)
            else:
                x = self.put(kind(filters, size, **options), x)
            if self.chance(0.3):
                x = self.normalised(x)
            if self.chance(0.5) and min(x.shape[1:3]) > 3:
                x = self.one_of(layers.MaxPooling2D, layers.AveragePooling2D)(2)(x)
        last = self.one_of(
            layers.Flatten, layers.GlobalMaxPooling2D, layers.GlobalAveragePooling2D
        )
        return last()(x)

    def steps(self, x):
        kind = self.one_of(layers.SimpleRNN, layers.LSTM, layers.GRU, layers.Conv1D)
        if self.chance(0.4) and kind is not layers.Conv1D:
            x = layers.Masking()(x)
        if kind is layers.Conv1D:
            x = self.put(kind(3, 2, padding="causal", activation="relu"), x)
            return layers.GlobalMaxPooling1D()(x)
        layer = kind(3, return_sequences=self.chance(0.3))
        if self.chance(0.3):
            layer = layers.Bidirectional(layer)
        x = self.put(layer, x)
        return x if len(x.shape) == 2 else layers.GlobalAveragePooling1D()(x)

    def films(self, x):
        layer = layers.ConvLSTM2D(2, 2, activation=self.one_of("tanh", "relu"))
        x = self.put(layer, x)
        return self.one_of(layers.Flatten, layers.GlobalMaxPooling2D)()(x)

    def tokens(self, x):
        x = self.put(layers.Embedding(40, 4, mask_zero=self.chance(0.4)), x)
        if self.chance(0.5):
            attention = layers.MultiHeadAttention(2, 2)
            x = layers.Add()([x, attention(x, x)])
            self.weights += len(attention.trainable_variables)
            x = self.put(layers.LayerNormalization(), x)
            x = self.put(layers.Dense(4, self.activation()), x)
        elif self.chance(0.5):
            return self.put(layers.GRU(3), x)
        return self.one_of(
            layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D, layers.Flatten
        )()(x)


SHAPES = {
    "rows": (6,),
    "pictures": (9, 9, 1),
    "steps": (5, 2),
    "films": (3, 5, 5, 1),
    "tokens": (5,),
    "shared": (6,),
}


def data(rng, kind):
    shape = (ROWS, *SHAPES[kind])
    if kind == "tokens":
        x = rng.integers(1, 40, shape)
        x[1, 3:] = 0
        return x
    x = rng.normal(size=shape)
    if kind in ("rows", "shared") and rng.random() < 0.5:
        x[0] = 0.0
    if kind == "pictures":
        x = rng.random(shape)
        x[:, :2] = x[:, -2:] = x[:, :, :2] = x[:, :, -2:] = 0.0
    if kind == "films":
        x[:, :, :2] = 0.0
    if kind == "steps":
        x[1, 3:] = 0.0
    return x


def ending(builder, x):
    """The last layer, a loss that suits it, and targets."""
    rng = builder.rng
    start = "zeros" if builder.chance(0.15) else "glorot_uniform"
    classes = rng.integers(0, CLASSES, ROWS)
    real = rng.normal(size=(ROWS, 2))
    kind = builder.one_of("classes", "logits", "yes_or_no", "hinge", "real", "real")

    def head(units, activation=None):
        layer = layers.Dense(units, activation, kernel_initializer=start)
        return builder.put(layer, x)

    if kind == "classes":
        return head(CLASSES, "softmax"), "sparse_categorical_crossentropy", classes
    if kind == "logits":
        loss = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=builder.one_of(0.0, 0.1)
        )
        return head(CLASSES), loss, np.eye(CLASSES)[classes]
    if kind == "yes_or_no":
        name = builder.one_of("binary_crossentropy", "binary_focal_crossentropy")
        return head(1, "sigmoid"), name, (classes > 0)[:, None].astype(float)
    if kind == "hinge":
        name = builder.one_of("hinge", "squared_hinge")
        return head(1), name, np.sign(classes - 0.5)[:, None]
    name = builder.one_of("mse", "mse", "mae", "huber", "log_cosh")
    return head(2), name, real


def network(seed, wrong=None):
    """A compiled network, its inputs and targets, and whether in training mode.

    Args:
        seed: draws everything.
        wrong: the index of the trainable variable whose gradient is off by 1%.
    """
    keras.utils.set_random_seed(seed)
    builder = Builder(seed, wrong)
    kind = builder.one_of(*SHAPES, "rows", "pictures", "pictures")
    inputs = keras.Input(SHAPES[kind])
    if kind == "shared":
        h = builder.dense(inputs)
        encoder = keras.Model(inputs, h, name="encoder")
        h = layers.Concatenate()([encoder(inputs), inputs])
    elif kind == "rows":
        h = builder.dense(inputs)
    else:
        h = getattr(builder, kind)(inputs)
        if builder.chance(0.4):
            h = builder.dense(h)
    outputs, loss, y = ending(builder, h)
    model = keras.Model(inputs, outputs)
    model.compile("sgd", loss)
    return model, data(builder.rng, kind), y, builder.chance(0.4)


def some_weight(found, seed):
    """The index of a variable with a gradient; `None` if nothing flows back at all.

    Args:
        found: the gradient check of the right network.
        seed: draws the variable.
    """
    sizes = np.array([np.linalg.norm(part) for part in found.automatic])
    # Rounding makes very small numbers of gradients that are zero by mathematics.
    possible = [
        i
        for i in np.flatnonzero(sizes > 1e-10 * max(sizes.max(), 1e-3))
        # Attention has several kernels, and is not wrapped.
        if "attention" not in found.names[i]
    ]
    return int(np.random.default_rng(seed).choice(possible)) if possible else None
