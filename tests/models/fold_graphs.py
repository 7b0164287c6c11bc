"""Random graphs to fold, which record their calls."""

import itertools

import keras
import numpy as np
from keras import layers, ops

from tests.models.fold_cases import BatchNorm, norms_in, randomised

SIZE, CHANNELS = 4, 4
STEPS = {
    "convolution": 5,
    "norm": 8,
    "activation": 3,
    "pool": 2,
    "dropout": 2,
    "pad": 1,
    "merge": 2,
    "operation": 1,
    "again": 2,
    "nested": 1,
}
"""The relative frequency of each step."""


class RandomGraph:
    """A random image network that records its calls, as (layer, inputs, output).

    All tensors are images of one size, so that any step can follow any other.
    """

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.numbers = itertools.count()
        self.calls = []
        x = keras.Input((SIZE, SIZE, CHANNELS))
        self.tensors = [x]
        steps, weights = list(STEPS), np.array(list(STEPS.values()), float)
        while len(self.calls) < self.random.integers(3, 9):
            step = self.random.choice(steps, p=weights / weights.sum())
            self.tensors.append(getattr(self, step)())
        self.outputs = [self.tensors[-1]]
        if self.random.random() < 0.3:
            self.outputs.append(self.any())
        if self.random.random() < 0.3:
            self.outputs[0] = self.head()
        self.model = randomised(keras.Model(x, self.outputs), seed)
        for norm in norms_in(self.model):
            if norm.scale and self.flag():
                norm.gamma.assign(np.abs(norm.gamma))
        self.drop_dead_ends()

    def drop_dead_ends(self):
        """Forgets the calls that no output depends on."""
        wanted, used = {id(y) for y in self.outputs}, []
        for layer, inputs, output in reversed(self.calls):
            if id(output) in wanted:
                used.append((layer, inputs, output))
                wanted.update(map(id, inputs))
        self.calls = used[::-1]

    # What the graph is made of

    def any(self):
        return self.tensors[self.random.integers(len(self.tensors))]

    def recent(self):
        """Mostly the newest tensor, so that chains grow."""
        return self.tensors[-1] if self.random.random() < 0.75 else self.any()

    def flag(self):
        return bool(self.random.integers(2))

    def one_of(self, *values):
        return values[self.random.integers(len(values))]

    def call(self, kind, *inputs, **kwargs):
        name = f"{kind.__name__.lower()}{next(self.numbers)}"
        return self.called(kind(name=name, **kwargs), *inputs)

    def called(self, layer, *inputs):
        y = layer(list(inputs) if len(inputs) > 1 else inputs[0])
        self.calls.append((layer, inputs, y))
        return y

    def convolution(self):
        kind = self.one_of(
            layers.Conv2D,
            layers.Conv2D,
            layers.DepthwiseConv2D,
            layers.SeparableConv2D,
            layers.Conv2DTranspose,
            layers.Dense,
        )
        kwargs = {
            "activation": self.one_of("linear", "linear", "tanh"),
            "use_bias": self.flag(),
        }
        if kind is layers.Dense:
            return self.call(kind, self.recent(), units=CHANNELS, **kwargs)
        kwargs |= {"kernel_size": self.one_of(1, 2, 3), "padding": "same"}
        if kind is not layers.DepthwiseConv2D:
            kwargs["filters"] = CHANNELS
        if kind is layers.Conv2D:
            kwargs["dilation_rate"] = self.one_of(1, 2)
            if self.random.random() < 0.1:
                # Rarely: TensorFlow compiles such a convolution at each call.
                kwargs["groups"] = 2
        return self.call(kind, self.recent(), **kwargs)

    def norm(self):
        flags = {"scale": self.flag(), "center": self.flag()}
        return self.call(BatchNorm, self.recent(), **flags)

    def activation(self):
        return self.call(self.one_of(layers.ReLU, layers.Softmax), self.recent())

    def pool(self):
        kind = self.one_of(layers.MaxPooling2D, layers.AveragePooling2D)
        shape = {"pool_size": 2, "strides": 1, "padding": "same"}
        return self.call(kind, self.recent(), **shape)

    def dropout(self):
        kind = self.one_of(layers.Dropout, layers.SpatialDropout2D)
        return self.call(kind, self.recent(), rate=0.5)

    def pad(self):
        """Zeros on two sides, and a convolution that removes them again."""
        y = self.call(layers.ZeroPadding2D, self.recent(), padding=((1, 0), (0, 1)))
        if self.flag():
            y = self.call(BatchNorm, y)
        return self.call(layers.Conv2D, y, filters=CHANNELS, kernel_size=2)

    def merge(self):
        if self.flag():
            return self.call(layers.Add, self.any(), self.any())
        y = self.call(layers.Concatenate, self.any(), self.any())
        return self.call(layers.Conv2D, y, filters=CHANNELS, kernel_size=1)

    def operation(self):
        x = self.recent()
        y = ops.tanh(x)
        self.calls.append((None, (x,), y))
        return y

    def again(self):
        """Another call of a layer."""
        kinds = layers.Conv2D | layers.Dense | BatchNorm
        shapes = {(None, SIZE, SIZE, CHANNELS)}
        usable = [
            layer
            for layer, inputs, output in self.calls
            if isinstance(layer, kinds) and {inputs[0].shape, output.shape} == shapes
        ]
        if not usable:
            return self.convolution()
        return self.called(self.one_of(*usable), self.recent())

    def nested(self):
        parts = [layers.Conv2D(CHANNELS, 1, name="c"), BatchNorm(name="n")]
        start = keras.Input((SIZE, SIZE, CHANNELS))
        name = f"nested{next(self.numbers)}"
        model = keras.Sequential([start, *parts], name=name)
        return self.called(model, self.recent())

    def head(self):
        y = self.recent()
        if self.flag():
            y = self.call(BatchNorm, y)
        kind = self.one_of(layers.Flatten, layers.GlobalAveragePooling2D)
        y = self.call(kind, y)
        if self.flag():
            y = self.call(BatchNorm, y)
        return self.call(layers.Dense, y, units=3)
