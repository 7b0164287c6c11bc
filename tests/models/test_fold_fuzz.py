"""fold_batch_norm over random graphs, with an oracle of its own."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_dnn.models import fold_batch_norm
from tests.models.fold_cases import (
    BatchNorm,
    difference,
    normal,
    norms_in,
    randomised,
)

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
"""How often each step comes, one against the other."""


class RandomGraph:
    """A random image network that keeps its own books, as (layer, inputs, output).

    All tensors are images of one size, so that any step can follow any other.
    """

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.numbers = itertools.count()
        self.calls = []
        x = keras.Input((SIZE, SIZE, CHANNELS))
        self.tensors = [x]
        steps, weights = list(STEPS), np.array(list(STEPS.values()), float)
        while len(self.calls) < self.random.integers(4, 10):
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
        self.forget_what_leads_nowhere()

    def forget_what_leads_nowhere(self):
        wanted, live = {id(y) for y in self.outputs}, []
        for layer, inputs, output in reversed(self.calls):
            if id(output) in wanted:
                live.append((layer, inputs, output))
                wanted.update(map(id, inputs))
        self.calls = live[::-1]

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
            kwargs |= {"groups": self.one_of(1, 2), "dilation_rate": self.one_of(1, 2)}
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
        """Zeros on two sides, and a convolution that takes them away again."""
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
        """A layer that is there already."""
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


class Oracle:
    """Says which norms of a graph fold, on the books and with the rules in words.

    A norm goes back to a linear layer without activation if nothing else takes what
    lies between; it goes on if every way from it comes to a linear layer. Between may
    lie dropout, norms that are gone, and pooling: by the maximum if no scale is
    negative. Zeros between stop a shift on the way back, and nothing on the way on but
    pooling. A flatten lets all pass on, and back what is the same everywhere.
    """

    LINEAR = (
        layers.Dense,
        layers.Conv2D,
        layers.DepthwiseConv2D,
        layers.SeparableConv2D,
        layers.Conv2DTranspose,
    )

    def __init__(self, graph):
        self.calls = graph.calls
        self.ends = {id(y) for y in graph.outputs}
        self.folded = set()
        norms = {x.name: x for x, *_ in self.calls if isinstance(x, BatchNorm)}
        self.names = set(norms)
        found = True
        while found:
            found = {
                name
                for name, norm in norms.items()
                if name not in self.folded and all(map(self.folds, self.calls_of(norm)))
            }
            self.folded |= found
        nested = [x.name for x, *_ in self.calls if isinstance(x, keras.Sequential)]
        self.folded |= {f"{name}/n" for name in nested}
        self.names |= {f"{name}/n" for name in nested}

    def calls_of(self, layer):
        return [call for call in self.calls if call[0] is layer]

    def takers(self, tensor):
        return [call for call in self.calls if any(x is tensor for x in call[1])]

    def folds(self, call):
        s, t = numbers_of(call[0])
        return self.back(call[1][0], s, t) or self.on(call[2], s, t, padded=False)

    def back(self, tensor, s, t):
        made_by = [call for call in self.calls if call[2] is tensor]
        if not made_by or id(tensor) in self.ends or len(self.takers(tensor)) != 1:
            return False
        layer, inputs, _ = made_by[0]
        if isinstance(layer, self.LINEAR):
            linear = layer.activation is keras.activations.linear
            return linear and len(s) == tensor.shape[-1]
        if isinstance(layer, BatchNorm) and layer.name not in self.folded:
            return False
        if isinstance(layer, layers.ZeroPadding2D) and t.any():
            return False
        if isinstance(layer, layers.MaxPooling2D) and (s < 0).any():
            return False
        if isinstance(layer, layers.Flatten):
            s, t = (v.reshape(-1, CHANNELS) for v in (s, t))
            if (s != s[0]).any():
                return False
            return self.back_with_a_map(inputs[0], s[0], t)
        passes = BatchNorm | layers.ZeroPadding2D | layers.MaxPooling2D
        if not isinstance(layer, passes | Passing):
            return False
        return self.back(inputs[0], s, t)

    def back_with_a_map(self, tensor, s, t):
        if (t == t[0]).all():
            return self.back(tensor, s, t[0])
        return False

    def on(self, tensor, s, t, padded):
        if id(tensor) in self.ends:
            return False
        return all(self.goes_into(call, s, t, padded) for call in self.takers(tensor))

    def goes_into(self, call, s, t, padded):
        layer, _, output = call
        if isinstance(layer, self.LINEAR):
            return True
        if isinstance(layer, BatchNorm) and layer.name not in self.folded:
            return False
        if isinstance(layer, layers.ZeroPadding2D):
            return self.on(output, s, t, padded=padded or bool(t.any()))
        averages = layers.AveragePooling2D | layers.GlobalAveragePooling2D
        if isinstance(layer, averages | layers.MaxPooling2D) and padded:
            return False
        if isinstance(layer, layers.MaxPooling2D) and (s < 0).any():
            return False
        passes = BatchNorm | layers.MaxPooling2D | layers.Flatten
        if not isinstance(layer, passes | Passing):
            return False
        return self.on(output, s, t, padded)


Passing = (
    layers.Dropout
    | layers.SpatialDropout2D
    | layers.AveragePooling2D
    | layers.GlobalAveragePooling2D
)


def numbers_of(norm):
    """What a norm multiplies each channel by and adds."""
    one = np.ones(norm.moving_mean.shape)
    gamma = np.array(norm.gamma) if norm.scale else one
    beta = np.array(norm.beta) if norm.center else 0 * one
    s = gamma / np.sqrt(np.array(norm.moving_variance) + norm.epsilon)
    return s, beta - np.array(norm.moving_mean) * s


def assert_folds_as_expected(seed):
    graph = RandomGraph(seed)
    oracle = Oracle(graph)

    result = fold_batch_norm(graph.model)

    assert set(result.folded) == oracle.folded
    assert set(result.kept) == oracle.names - oracle.folded
    assert len(norms_in(result.model)) == len(result.kept)
    assert result.max_error < 1e-5
    x = normal(2, SIZE, SIZE, CHANNELS, seed=seed)
    assert difference(graph.model, result.model, x) < 1e-4


@pytest.mark.parametrize("seed", range(10))
def test_random_graphs(seed):
    assert_folds_as_expected(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(10, 510, 50))
def test_many_random_graphs(first):
    for seed in range(first, first + 50):
        assert_folds_as_expected(seed)


def test_folding_a_folded_graph_finds_nothing():
    for seed in range(10):
        once = fold_batch_norm(RandomGraph(seed).model)
        twice = fold_batch_norm(once.model)
        assert twice.folded == {}
        assert twice.kept.keys() == once.kept.keys()
        assert twice.max_error == 0
