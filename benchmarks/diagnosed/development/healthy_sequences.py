"""Healthy networks for words, series, sets and graphs."""

import keras
import numpy as np
from keras import layers

from diagnosed import data
from diagnosed.case import healthy, task
from diagnosed.parts import (
    TokenAndPosition,
    TransformerBlock,
    adam,
    from_logits,
    functional,
    sequential,
)


@healthy("transformer")
def tied_language_model(rng):
    """Word vectors serve as the last layer too."""
    x = keras.Input((16,), dtype="int32")
    words = (
        layers.ReversibleEmbedding(24, 32)
        if hasattr(layers, "ReversibleEmbedding")
        else layers.Embedding(24, 32)
    )
    h = TransformerBlock(32, 4, 64, causal=True)(words(x))
    if hasattr(layers, "ReversibleEmbedding"):
        h = words(h, reverse=True)
    else:
        h = layers.Dense(24)(h)
    model = functional(x, h, adam(0.003), from_logits())
    return task(model, *data.sentences(rng))


@healthy("transformer")
def reversal(rng):
    """An encoder-decoder that reads a word backwards."""
    source = rng.integers(3, 12, (data.ROWS, 6))
    target = np.concatenate([np.ones((data.ROWS, 1)), source[:, ::-1]], axis=1)
    inputs = [keras.Input((6,), dtype="int32"), keras.Input((6,), dtype="int32")]
    memory = TransformerBlock(32, 2, 64, 0.0)(TokenAndPosition(6, 12, 32)(inputs[0]))
    h = TokenAndPosition(6, 12, 32)(inputs[1])
    h = TransformerBlock(32, 2, 64, 0.0, causal=True)(h)
    a = layers.MultiHeadAttention(2, 16)(h, memory)
    h = layers.LayerNormalization()(h + a)
    model = functional(inputs, layers.Dense(12, "softmax")(h), adam(0.003))
    x = [source.astype("int32"), target[:, :-1].astype("int32")]
    return task(model, x, target[:, 1:].astype("int32"), epochs=6)


@healthy("recurrent")
def sentiment(rng):
    """An embedding with masked padding and an LSTM."""
    body = [layers.Embedding(100, 16, mask_zero=True), layers.LSTM(16)]
    last = layers.Dense(1, "sigmoid")
    model = sequential(
        (16,),
        *body,
        last,
        dtype="int32",
        loss="binary_crossentropy",
        optimizer=adam(0.005),
    )
    x, y = data.reviews(rng)
    return task(model, x, y[:, None].astype("float32"))


@healthy("recurrent")
def tagger(rng):
    """A bidirectional LSTM that tags each word; padding is masked."""
    x, _ = data.reviews(rng)
    y = np.where(x > 50, 2, (x > 20).astype(int))
    both = layers.Bidirectional(layers.LSTM(12, return_sequences=True))
    body = [layers.Embedding(100, 12, mask_zero=True), both, layers.Dense(3, "softmax")]
    model = sequential((16,), *body, dtype="int32", optimizer=adam(0.005))
    return task(model, x, y.astype("int32"), epochs=4)


@healthy("recurrent")
def next_value(rng):
    """A GRU that forecasts a periodic series."""
    model = sequential((24, 1), layers.GRU(24), layers.Dense(1), loss="mse")
    return task(model, *data.forecast(rng))


@healthy("recurrent")
def series_autoencoder(rng):
    """An LSTM that repeats the series that another has read."""
    x, _ = data.forecast(rng, length=12)
    body = [
        layers.LSTM(24),
        layers.RepeatVector(12),
        layers.LSTM(24, return_sequences=True),
        layers.Dense(1),
    ]
    model = sequential((12, 1), *body, optimizer=adam(0.005), loss="mse")
    return task(model, x, x, epochs=6)


@healthy("recurrent")
def echo_of_a_simple_network(rng):
    """A simple recurrent network with an orthogonal kernel, short sequences."""
    x = rng.normal(size=(data.ROWS, 8, 2)).astype("float32")
    y = x[:, -3:, 0].sum(axis=1, keepdims=True) / 1.7
    model = sequential(
        (8, 2), layers.SimpleRNN(16), layers.Dense(1), loss="mse", optimizer=adam(0.005)
    )
    return task(model, x, y)


@healthy("convolution in time")
def text_convolution(rng):
    """Word vectors, convolutions of three widths, the largest over time."""
    x = keras.Input((16,), dtype="int32")
    h = layers.Embedding(100, 16)(x)
    found = [
        layers.GlobalMaxPooling1D()(layers.Conv1D(12, width, activation="relu")(h))
        for width in (2, 3, 4)
    ]
    h = layers.Dropout(0.3)(layers.Concatenate()(found))
    model = functional(x, layers.Dense(3, "softmax")(h), adam(0.002))
    return task(model, *data.reviews(rng, classes=3))


@healthy("convolution in time")
def dilated_gates(rng):
    """Causal dilated convolutions with gates and skips, as WaveNet has."""
    x = keras.Input((24, 1))
    h, skips = layers.Conv1D(12, 1)(x), []
    for dilation in (1, 2, 4):
        now = {"padding": "causal", "dilation_rate": dilation}
        z = layers.Conv1D(12, 2, activation="tanh", **now)(h)
        z = z * layers.Conv1D(12, 2, activation="sigmoid", **now)(h)
        skips.append(layers.Conv1D(12, 1)(z))
        h = h + layers.Conv1D(12, 1)(z)
    out = layers.Dense(1)(layers.ReLU()(layers.Add()(skips))[:, -1])
    return task(functional(x, out, adam(0.003), "mse"), *data.forecast(rng))


@healthy("sets and graphs")
def graph_attention(rng):
    """Attention between neighbours, with a residual."""
    features, adjacency, y = data.graphs(rng)
    inputs = [keras.Input((10, 4)), keras.Input((10, 10))]
    h = layers.Dense(16)(inputs[0])
    neighbours = inputs[1] > 0
    a = layers.MultiHeadAttention(2, 8)(h, h, attention_mask=neighbours)
    h = layers.LayerNormalization()(h + a)
    h = layers.GlobalMaxPooling1D()(layers.Dense(16, "relu")(h))
    out = layers.Dense(1, "sigmoid")(h)
    model = functional(inputs, out, adam(0.005), "binary_crossentropy")
    return task(model, [features, adjacency], y[:, None])


@healthy("sets and graphs")
def deep_set(rng):
    """The mean of a set through two networks: its largest element."""
    x = rng.normal(size=(data.ROWS, 8, 2)).astype("float32")
    y = x[:, :, 0].max(axis=1, keepdims=True) - 1.4
    body = [
        layers.Dense(32, "relu"),
        layers.Dense(32, "relu"),
        layers.GlobalAveragePooling1D(),
        layers.Dense(32, "relu"),
        layers.Dense(1),
    ]
    return task(sequential((8, 2), *body, optimizer=adam(0.003), loss="mse"), x, y)


@healthy("sets and graphs")
def two_towers(rng):
    """People and articles: the product of two towers decides on a click."""
    people = rng.normal(size=(800, 6)).astype("float32")
    things = rng.normal(size=(800, 6)).astype("float32")
    y = ((people * things).sum(axis=1) > 0).astype("float32")
    inputs = [keras.Input((6,)), keras.Input((6,))]
    ends = [layers.Dense(16)(layers.Dense(32, "relu")(i)) for i in inputs]
    out = layers.Activation("sigmoid")(layers.Dot(1)(ends))
    model = functional(inputs, out, adam(0.005), "binary_crossentropy")
    return task(model, [people, things], y[:, None], epochs=6)
