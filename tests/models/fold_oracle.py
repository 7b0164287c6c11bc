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
    """Says which norms of a graph fold, on the books and with the rules in words.

    A norm goes back to a linear layer without activation if nothing else takes what
    lies between; it goes on if every way from it comes to a linear layer. Between may
    lie dropout, norms that are gone, and pooling: by the maximum if no scale is
    negative. Zeros between stop a shift on the way back, and nothing on the way on but
    pooling. Other calls of the same norm go with it. A flatten lets all pass on, and
    back what is the same everywhere.
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
                if name not in self.folded and self.goes(norm)
            }
            self.folded |= found
        nested = [x.name for x, *_ in self.calls if isinstance(x, keras.Sequential)]
        self.folded |= {f"{name}/n" for name in nested}
        self.names |= {f"{name}/n" for name in nested}

    def goes(self, norm):
        self.transparent = {*self.folded, norm.name}
        return all(self.folds(call) for call in self.calls if call[0] is norm)

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
        if isinstance(layer, BatchNorm) and layer.name not in self.transparent:
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
