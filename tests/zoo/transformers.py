"""Encoder-decoders and transformers."""

from typing import Any

import keras
from keras import layers, ops

from tests.zoo.arrays import classes, tokens
from tests.zoo.model_case import Data, zoo_model

LENGTH, WORDS, WIDTH = 6, 20, 8


def translation() -> Data:
    target = tokens(LENGTH + 1, WORDS, seed=4)
    return Data([tokens(LENGTH, WORDS), target[:, :-1]], target[:, 1:])


def named_translation() -> Data:
    target = tokens(LENGTH + 1, WORDS, seed=4)
    source = {"source": tokens(LENGTH, WORDS), "target": target[:, :-1]}
    return Data(source, target[:, 1:], (target[:, 1:] > 0).astype("float32"))


@zoo_model(translation)
def recurrent_translation() -> keras.Model:
    """An encoder-decoder of GRUs: state handed over, attention to the encoder."""
    source = keras.Input((None,), dtype="int32")
    target = keras.Input((None,), dtype="int32")
    x = layers.Embedding(WORDS, WIDTH, mask_zero=True)(source)
    memory, state = layers.GRU(WIDTH, return_sequences=True, return_state=True)(x)
    x = layers.Embedding(WORDS, WIDTH, mask_zero=True)(target)
    x = layers.GRU(WIDTH, return_sequences=True)(x, initial_state=state)
    context = layers.Attention()([x, memory])
    x = layers.Dropout(0.2)(layers.Concatenate()([x, context]))
    model = keras.Model([source, target], layers.Dense(WORDS, "softmax")(x))
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


class PositionalEmbedding(layers.Layer):
    """Word vectors plus place vectors, with the mask of the words."""

    def __init__(self, length: int, words: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = layers.Embedding(words, width, mask_zero=True)
        self.places = layers.Embedding(length, width)

    def call(self, inputs: Any) -> Any:
        return self.words(inputs) + self.places(ops.arange(ops.shape(inputs)[-1]))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return self.words.compute_mask(inputs, previous_mask)


class TransformerBlock(layers.Layer):
    """The block of keras-io's text classification with a transformer."""

    def __init__(self, width: int, heads: int, units: int, rate: float = 0.1) -> None:
        super().__init__()
        self.att = layers.MultiHeadAttention(num_heads=heads, key_dim=width)
        self.ffn = keras.Sequential([layers.Dense(units, "relu"), layers.Dense(width)])
        self.norms = [layers.LayerNormalization(epsilon=1e-6) for _ in range(2)]
        self.dropouts = [layers.Dropout(rate) for _ in range(2)]
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        x = self.norms[0](inputs + self.dropouts[0](self.att(inputs, inputs)))
        return self.norms[1](x + self.dropouts[1](self.ffn(x)))


class DecoderBlock(layers.Layer):
    """Causal attention to itself and attention to the encoder, by keyword."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.itself = layers.MultiHeadAttention(heads, width, dropout=0.1)
        self.encoder = layers.MultiHeadAttention(heads, width, dropout=0.1)
        self.dense = layers.Dense(width, activation="gelu")
        self.norms = [layers.LayerNormalization() for _ in range(3)]
        self.add = layers.Add()
        self.supports_masking = True

    def call(self, inputs: Any, memory: Any, memory_mask: Any = None) -> Any:
        attended = self.itself(
            query=inputs, value=inputs, key=inputs, use_causal_mask=True
        )
        x = self.norms[0](self.add([inputs, attended]))
        attended = self.encoder(
            query=x, value=memory, key=memory, value_mask=memory_mask
        )
        x = self.norms[1](self.add([x, attended]))
        return self.norms[2](self.add([x, self.dense(x)]))


@zoo_model(lambda: Data(tokens(LENGTH, WORDS), classes(2)))
def transformer_classifier() -> keras.Model:
    """The transformer text classifier of keras-io, with blocks without a config."""
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = PositionalEmbedding(LENGTH, WORDS, WIDTH)(inputs)
    x = TransformerBlock(WIDTH, 2, 8)(x)
    x = layers.GlobalAveragePooling1D()(x)
    x = layers.Dropout(0.1)(layers.Dense(8, activation="relu")(x))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@zoo_model(named_translation)
def transformer_translation() -> keras.Model:
    """A transformer encoder-decoder on a dict of two sentences, with masks."""
    source = keras.Input((LENGTH,), dtype="int32", name="source")
    target = keras.Input((LENGTH,), dtype="int32", name="target")
    memory = PositionalEmbedding(LENGTH, WORDS, WIDTH)(source)
    memory = TransformerBlock(WIDTH, 2, 8)(memory)
    x = PositionalEmbedding(LENGTH, WORDS, WIDTH)(target)
    x = DecoderBlock(WIDTH, 2)(x, memory)
    x = layers.Dropout(0.5)(x)
    outputs = layers.Dense(WORDS, activation="softmax")(x)
    model = keras.Model({"source": source, "target": target}, outputs)
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


@zoo_model(lambda: Data(tokens(LENGTH, WORDS), tokens(LENGTH, WORDS, seed=4)))
def causal_decoder() -> keras.Model:
    """A causal decoder in a functional model: attention called by keyword."""
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = layers.Embedding(WORDS, WIDTH, mask_zero=True)(inputs)
    attention = layers.MultiHeadAttention(2, 4, dropout=0.1)
    attended = attention(query=x, value=x, use_causal_mask=True)
    x = layers.LayerNormalization()(x + layers.Dropout(0.1)(attended))
    model = keras.Model(inputs, layers.Dense(WORDS)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0)
    model.compile("sgd", loss)
    return model
