"""What of a random graph must fold, worked out a second way."""

import keras
import numpy as np
from keras import layers

from tests.models.fold_cases import BatchNorm
from tests.models.fold_graphs import CHANNELS

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


class Oracle:
    """Says which norms of a graph fold, from its recorded calls and rules in words.

    A norm folds backward into a linear layer without activation if nothing else
    consumes what lies between; it folds forward if every path from it leads to a linear
    layer. Dropout, removed norms and pooling may lie between, max pooling if no scale
    is negative. Padding with zeros stops a shift on the way back, and pooling of padded
    numbers stops it on the way forward. A norm folds only if all its calls do. A
    flatten passes everything forward, and backward what is the same everywhere.
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
        self.outputs = {id(y) for y in graph.outputs}
        self.folded = set()
        norms = {x.name: x for x, *_ in self.calls if isinstance(x, BatchNorm)}
        self.names = set(norms)
        found = True
        while found:
            found = {
                name
                for name, norm in norms.items()
                if name not in self.folded and self.folds(norm)
            }
            self.folded |= found
        nested = [x.name for x, *_ in self.calls if isinstance(x, keras.Sequential)]
        self.folded |= {f"{name}/n" for name in nested}
        self.names |= {f"{name}/n" for name in nested}

    def folds(self, norm):
        self.transparent = {*self.folded, norm.name}
        return all(self.call_folds(call) for call in self.calls if call[0] is norm)

    def consumers(self, tensor):
        return [call for call in self.calls if any(x is tensor for x in call[1])]

    def call_folds(self, call):
        s, t = numbers_of(call[0])
        return self.backward(call[1][0], s, t) or self.forward(
            call[2], s, t, padded=False
        )

    def backward(self, tensor, s, t):
        producers = [call for call in self.calls if call[2] is tensor]
        if (
            not producers
            or id(tensor) in self.outputs
            or len(self.consumers(tensor)) != 1
        ):
            return False
        layer, inputs, _ = producers[0]
        if isinstance(layer, self.LINEAR):
            linear = layer.activation is keras.activations.linear
            return linear and len(s) == tensor.shape[-1]
        if isinstance(layer, BatchNorm) and layer.name not in self.transparent:
            return False
        if isinstance(layer, layers.ZeroPadding2D) and t.any():
            return False
        if isinstance(layer, layers.MaxPooling2D) and (s < 0).any():
            return False
        if isinstance(layer, layers.Flatten):
            s, t = (v.reshape(-1, CHANNELS) for v in (s, t))
            if (s != s[0]).any():
                return False
            return self.backward_with_a_map(inputs[0], s[0], t)
        passes = BatchNorm | layers.ZeroPadding2D | layers.MaxPooling2D
        if not isinstance(layer, passes | Passing):
            return False
        return self.backward(inputs[0], s, t)

    def backward_with_a_map(self, tensor, s, t):
        if (t == t[0]).all():
            return self.backward(tensor, s, t[0])
        return False

    def forward(self, tensor, s, t, padded):
        if id(tensor) in self.outputs:
            return False
        calls = self.consumers(tensor)
        return all(self.into_consumer(call, s, t, padded) for call in calls)

    def into_consumer(self, call, s, t, padded):
        layer, _, output = call
        if isinstance(layer, self.LINEAR):
            return True
        if isinstance(layer, BatchNorm) and layer.name not in self.transparent:
            return False
        if isinstance(layer, layers.ZeroPadding2D):
            return self.forward(output, s, t, padded=padded or bool(t.any()))
        averages = layers.AveragePooling2D | layers.GlobalAveragePooling2D
        if isinstance(layer, averages | layers.MaxPooling2D) and padded:
            return False
        if isinstance(layer, layers.MaxPooling2D) and (s < 0).any():
            return False
        passes = BatchNorm | layers.MaxPooling2D | layers.Flatten
        if not isinstance(layer, passes | Passing):
            return False
        return self.forward(output, s, t, padded)
