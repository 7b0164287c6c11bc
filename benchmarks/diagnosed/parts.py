"""Layers and blocks that several networks are made of."""

import keras
from keras import layers, ops


def sequential(shape, *body, optimizer="adam", loss=None, dtype=None, **compiled):
    """A compiled `Sequential`; inputs of numbers unless `dtype` says otherwise."""
    model = keras.Sequential([keras.Input(shape, dtype=dtype), *body])
    loss = loss or "sparse_categorical_crossentropy"
    model.compile(optimizer, loss, **compiled)
    return model


def functional(inputs, outputs, optimizer="adam", loss=None, **compiled):
    """A compiled functional model."""
    model = keras.Model(inputs, outputs)
    model.compile(optimizer, loss or "sparse_categorical_crossentropy", **compiled)
    return model


def adam(rate):
    return keras.optimizers.Adam(rate)


def sgd(rate, momentum=0.0, **options):
    return keras.optimizers.SGD(rate, momentum, **options)


def from_logits():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def conv_block(filters, **options):
    """Convolution, batch norm, ReLU, pooling."""
    return [
        layers.Conv2D(filters, 3, padding="same", use_bias=False, **options),
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(),
        layers.MaxPooling2D(),
    ]


@keras.saving.register_keras_serializable("diagnosed")
class TokenAndPosition(layers.Layer):
    """Word vectors plus place vectors."""

    def __init__(self, length, words, width, mask_zero=False, **options):
        super().__init__(**options)
        self.words = layers.Embedding(words, width, mask_zero=mask_zero)
        self.places = layers.Embedding(length, width)

    def call(self, x):
        return self.words(x) + self.places(ops.arange(ops.shape(x)[-1]))

    def compute_mask(self, x, previous=None):
        return self.words.compute_mask(x, previous)


@keras.saving.register_keras_serializable("diagnosed")
class TransformerBlock(layers.Layer):
    """The block of the examples of keras.io: norms after the additions."""

    def __init__(self, width, heads, units, rate=0.1, causal=False, **options):
        super().__init__(**options)
        self.causal = causal
        self.attention = layers.MultiHeadAttention(heads, width // heads)
        self.feed_forward = keras.Sequential(
            [layers.Dense(units, "relu"), layers.Dense(width)]
        )
        self.norms = [layers.LayerNormalization(epsilon=1e-6) for _ in range(2)]
        self.dropouts = [layers.Dropout(rate) for _ in range(2)]

    def call(self, x, training=None):
        a = self.attention(x, x, use_causal_mask=self.causal)
        x = self.norms[0](x + self.dropouts[0](a, training=training))
        f = self.dropouts[1](self.feed_forward(x), training=training)
        return self.norms[1](x + f)


def pre_norm_block(x, width, heads=2, rate=0.1, causal=False):
    """A Transformer block with norms before attention and feed-forward."""
    a = layers.LayerNormalization()(x)
    a = layers.MultiHeadAttention(heads, width // heads, dropout=rate)(
        a, a, use_causal_mask=causal
    )
    x = layers.Add()([x, layers.Dropout(rate)(a)])
    f = layers.LayerNormalization()(x)
    f = layers.Dense(width)(layers.Dense(2 * width, "gelu")(f))
    return layers.Add()([x, layers.Dropout(rate)(f)])


@keras.saving.register_keras_serializable("diagnosed")
class Patches(layers.Layer):
    """Cuts pictures into squares, one row of numbers each, with learnt positions."""

    def __init__(self, size, width, class_token=False, **options):
        super().__init__(**options)
        self.cut = layers.Conv2D(width, size, strides=size)
        self.width, self.class_token = width, class_token

    def build(self, shape):
        patches = (shape[1] // self.cut.strides[0]) * (shape[2] // self.cut.strides[1])
        self.cut.build(shape)
        if self.class_token:
            self.token = self.add_weight(shape=(1, 1, self.width), initializer="zeros")
        length = patches + self.class_token
        self.places = self.add_weight(
            shape=(1, length, self.width),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
        )

    def call(self, x):
        x = self.cut(x)
        x = ops.reshape(x, (ops.shape(x)[0], -1, self.width))
        if self.class_token:
            token = ops.broadcast_to(self.token, (ops.shape(x)[0], 1, self.width))
            x = ops.concatenate([token, x], axis=1)
        return x + self.places
