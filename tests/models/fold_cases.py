"""What the tests of fold_batch_norm share: models as if they were trained."""

import functools

import keras
import numpy as np
from keras import layers, ops

BatchNorm = layers.BatchNormalization
IMAGE = (6, 6, 3)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def norms_in(model):
    found = {id(x): x for x in model._flatten_layers()}.values()
    return [x for x in found if isinstance(x, layers.BatchNormalization)]


def randomised(model, seed=0):
    """The model as if it were trained: no weight at its first value, scales of both
    signs."""
    generator = np.random.default_rng(seed)
    seen = set()
    for layer in model._flatten_layers(include_self=False):
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        if isinstance(layer, layers.BatchNormalization):
            shape = layer.moving_mean.shape
            layer.moving_mean.assign(generator.normal(size=shape))
            layer.moving_variance.assign(generator.uniform(0.3, 2, shape))
            if layer.scale:
                sign = generator.choice([-1, 1], shape)
                layer.gamma.assign(sign * generator.uniform(0.5, 1.5, shape))
            if layer.center:
                layer.beta.assign(generator.normal(size=shape))
        elif hasattr(layer, "adapt_mean"):
            shape = layer.adapt_mean.shape
            layer.adapt_mean.assign(generator.normal(size=shape))
            layer.adapt_variance.assign(generator.uniform(0.3, 2, shape))
            layer.finalize_state()
        elif getattr(layer, "use_bias", True) and (
            getattr(layer, "bias", None) is not None
        ):
            layer.bias.assign(generator.normal(size=layer.bias.shape))
    return model


def outputs(model, x):
    y = keras.tree.flatten(model(x, training=False))
    return [ops.convert_to_numpy(a).astype("float64") for a in y]


def difference(model, folded, x):
    """The largest one, as a fraction of the outputs' standard deviation."""
    pairs = zip(outputs(model, x), outputs(folded, x), strict=True)
    return max(np.abs(a - b).max() / (a.std() or 1.0) for a, b in pairs)


def chain(shape, *parts, dtype=None):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *parts])


def conv(*args, **kwargs):
    return layers.Conv2D(*(args or (4, 3)), padding="same", **kwargs)


def kernel_and_bias(linear, norm):
    """What the folded layer must hold, one channel at a time."""
    kernel = np.array(linear.kernel, "float64")
    channels = len(np.array(norm.moving_mean))
    bias = (
        np.array(linear.bias, "float64").copy()
        if linear.use_bias
        else np.zeros(channels)
    )
    expected = kernel.copy()
    for c in range(channels):
        gamma = float(norm.gamma[c]) if norm.scale else 1.0
        beta = float(norm.beta[c]) if norm.center else 0.0
        mean, variance = float(norm.moving_mean[c]), float(norm.moving_variance[c])
        factor = gamma / (variance + norm.epsilon) ** 0.5
        kind = type(linear).__name__
        if kind.startswith("Depthwise"):
            copies = kernel.shape[-1]
            expected[..., c // copies, c % copies] *= factor
        elif kind.endswith("Transpose"):
            expected[..., c, :] *= factor
        else:
            expected[..., c] *= factor
        bias[c] = (bias[c] - mean) * factor + beta
    return expected, bias


class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense, self.norm = layers.Dense(3), BatchNorm()

    def call(self, x):
        return self.norm(self.dense(x))


def build(shape):
    """Makes a function of an input into one that makes a model."""

    def decorate(function):
        @functools.wraps(function)
        def make():
            x = keras.Input(shape)
            return keras.Model(x, function(x))

        return make

    return decorate


def small_block(name="block"):
    x = keras.Input((6, 6, 4))
    y = layers.ReLU()(BatchNorm(name="n")(conv(name="c")(x)))
    return keras.Model(x, y, name=name)
