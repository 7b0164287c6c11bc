"""Layers that users wrote, and functions in their place."""

import functools
from typing import Any

import keras
from keras import layers, ops

from tests.zoo.arrays import classes, numbers
from tests.zoo.model_case import Data, zoo_model


def table() -> Data:
    return Data(numbers(6), classes(3))


def around(*between: layers.Layer) -> keras.Model:
    """A compiled classifier with the layers in its middle."""
    inputs = keras.Input((6,))
    x = layers.Dense(6, activation="relu")(inputs)
    for layer in between:
        x = layer(x)
    x = layers.Dropout(0.2)(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class WithoutConfig(layers.Layer):
    """Takes an argument and has no `get_config`."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.w = self.add_weight(shape=(input_shape[-1], self.units))
        self.b = self.add_weight(shape=(self.units,), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        return ops.matmul(inputs, self.w) + self.b


@zoo_model(table)
def layer_without_config() -> keras.Model:
    """A layer with an argument and no `get_config`."""
    return around(WithoutConfig(5))


class WithoutBuild(layers.Layer):
    """Makes its sublayers in `__init__`; has no `build`."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.expand = layers.Dense(2 * units, activation="relu", use_bias=False)
        self.norm = layers.BatchNormalization()
        self.project = layers.Dense(units)
        self.dropout = layers.Dropout(0.2)

    def call(self, inputs: Any, training: bool = False) -> Any:
        x = self.norm(self.expand(inputs), training=training)
        return inputs + self.dropout(self.project(x), training=training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@zoo_model(table)
def layer_without_build() -> keras.Model:
    """A block of layers that has no `build`."""
    return around(WithoutBuild(6))


class NamelessConfig(layers.Layer):
    """Its config has its own argument and nothing of Keras's."""

    def __init__(self, factor: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs: Any) -> Any:
        return self.factor * inputs

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor}


@zoo_model(table)
def config_without_name() -> keras.Model:
    """A layer whose config lacks the name."""
    return around(NamelessConfig(3.0), NamelessConfig(0.5))


@zoo_model(table)
def lambda_as_activation() -> keras.Model:
    """A lambda in place of an activation's name."""
    return around(layers.Dense(6, activation=lambda x: ops.maximum(x, 0.1 * x)))


@zoo_model(table)
def partial_as_activation() -> keras.Model:
    """A `functools.partial` in place of an activation's name."""
    leaky = functools.partial(keras.activations.leaky_relu, negative_slope=0.3)
    return around(layers.Dense(6, activation=leaky))


@zoo_model(table)
def lambda_layer() -> keras.Model:
    """A Lambda layer."""
    return around(layers.Lambda(lambda x: ops.concatenate([x, -x], axis=-1)))


class DropPath(layers.Layer):
    """Stochastic depth: drops the whole branch of a row."""

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not training:
            return inputs
        shape = (ops.shape(inputs)[0],) + (1,) * (len(inputs.shape) - 1)
        keep = 1 - self.rate
        kept = ops.floor(keep + keras.random.uniform(shape, seed=self.seed_generator))
        return inputs / keep * kept

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}


@zoo_model(table)
def drop_path() -> keras.Model:
    """A residual branch with stochastic depth, a random layer of its own."""
    inputs = keras.Input((6,))
    x = layers.Dense(6, activation="relu")(inputs)
    x = inputs + DropPath(0.3)(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


class Noise(layers.Layer):
    """Gaussian noise during training, from Keras's global seed."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def call(self, inputs: Any, training: bool = False) -> Any:
        if training:
            noise = keras.random.normal(ops.shape(inputs), dtype=inputs.dtype)
            return inputs + self.deviation * noise
        return inputs


@zoo_model(table)
def own_noise() -> keras.Model:
    """A noise layer of its own that has neither a seed generator nor a config."""
    return around(Noise(0.1))


class Gate(layers.Layer):
    """Weighs a branch with one learned number, as ReZero does."""

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.alpha = self.add_weight(shape=(), initializer="zeros", name="alpha")

    def call(self, inputs: Any) -> Any:
        return inputs * (1 + self.alpha)


@zoo_model(table)
def scalar_weight() -> keras.Model:
    """A layer whose weight is a single number without axes."""
    return around(Gate(), layers.PReLU())
