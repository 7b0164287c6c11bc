"""Networks for images: convolutional, residual, transformers."""

from typing import Any

import keras
from keras import layers, ops

from tests.zoo.arrays import classes, numbers, pixels
from tests.zoo.model_case import Data, zoo_model


def photos() -> Data:
    return Data(pixels(8, 8, 3), classes(3))


def compiled(inputs: Any, features: Any) -> keras.Model:
    x = layers.GlobalAveragePooling2D()(features)
    x = layers.Dropout(0.2)(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class Patches(layers.Layer):
    """Cuts an image into patches, puts a class token before them, adds places."""

    def __init__(self, size: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size, self.width = size, width
        self.project = layers.Dense(width)

    def build(self, input_shape: tuple[int, ...]) -> None:
        number = (input_shape[1] // self.size) * (input_shape[2] // self.size)
        self.token = self.add_weight(shape=(1, 1, self.width), initializer="zeros")
        self.places = self.add_weight(
            shape=(1, number + 1, self.width), initializer="random_normal"
        )
        self.project.build((None, number, self.size**2 * input_shape[-1]))

    def call(self, images: Any) -> Any:
        patches = ops.image.extract_patches(images, self.size)
        rows, width = ops.shape(patches)[0], patches.shape[-1]
        x = self.project(ops.reshape(patches, (rows, -1, width)))
        token = ops.broadcast_to(self.token, (rows, 1, self.width))
        return ops.concatenate([token, x], axis=1) + self.places


@zoo_model(photos)
def vision_transformer() -> keras.Model:
    """A vision transformer: patches, a class token, attention."""
    inputs = keras.Input((8, 8, 3))
    x = Patches(4, 8)(layers.Rescaling(1 / 255)(inputs))
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    x = x + layers.MultiHeadAttention(2, 4, dropout=0.1)(y, y)
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    x = x + layers.Dropout(0.1)(layers.Dense(8, activation="gelu")(y))
    x = layers.LayerNormalization(epsilon=1e-6)(x)[:, 0]
    model = keras.Model(inputs, layers.Dense(3)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(weight_decay=1e-4), loss)
    return model


class LayerScale(layers.Layer):
    """Scales each channel by a learned factor that starts small."""

    def __init__(self, initial: float, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initial, self.channels = initial, channels

    def build(self, _: Any) -> None:
        self.gamma = self.add_weight(
            shape=(self.channels,),
            initializer=keras.initializers.Constant(self.initial),
        )

    def call(self, x: Any) -> Any:
        return x * self.gamma


@zoo_model(photos)
def convnext() -> keras.Model:
    """A ConvNeXt block: depthwise, layer norm, a layer scale of its own."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 2, strides=2)(layers.Rescaling(1 / 255)(inputs))
    y = layers.Conv2D(4, 3, padding="same", groups=4)(x)
    y = layers.LayerNormalization(epsilon=1e-6)(y)
    y = layers.Dense(8, activation="gelu")(y)
    y = LayerScale(1e-6, 4)(layers.Dense(4)(y))
    return compiled(inputs, layers.Add()([x, y]))


class ResidualBlock(layers.Layer):
    """Two convolutions with batch norms, added to what came in."""

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        same = {"padding": "same", "use_bias": False}
        self.convolutions = [layers.Conv2D(channels, 3, **same) for _ in range(2)]
        self.norms = [layers.BatchNormalization() for _ in range(2)]

    def call(self, x: Any, training: bool | None = None) -> Any:
        y = self.norms[0](self.convolutions[0](x), training=training)
        y = self.norms[1](self.convolutions[1](ops.relu(y)), training=training)
        return ops.relu(x + y)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels}


@zoo_model(photos)
def residual_network() -> keras.Model:
    """A small ResNet whose batch norms are inside a block layer of its own."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return compiled(inputs, ResidualBlock(4)(ResidualBlock(4)(x)))


@zoo_model(lambda: Data(numbers(8, 8, 3), classes(2, 8, 8)))
def u_net() -> keras.Model:
    """A U-Net: down, up by transposed convolution, joined with what went down."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", use_bias=False)(inputs)
    skip = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.MaxPooling2D()(skip)
    x = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    x = layers.Dropout(0.3)(x)
    x = layers.Conv2DTranspose(4, 2, strides=2, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Concatenate()([skip, x])
    model = keras.Model(inputs, layers.Conv2D(2, 1, activation="softmax")(x))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@zoo_model(photos)
def separable_convolutions() -> keras.Model:
    """Separable and depthwise convolutions, each with a batch norm."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.SeparableConv2D(4, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU(max_value=6)(layers.BatchNormalization()(x))
    x = layers.ZeroPadding2D()(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, strides=2, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(scale=False)(x))
    x = layers.Conv2D(4, 1, use_bias=False)(x)
    return compiled(inputs, layers.BatchNormalization()(x))


@zoo_model(photos)
def transfer_with_frozen_base() -> keras.Model:
    """A frozen base in inference mode under a new head, as in transfer learning."""
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, use_bias=False)(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    base = keras.Model(image, x, name="base")
    base.trainable = False
    inputs = keras.Input((8, 8, 3))
    x = layers.RandomFlip("horizontal")(inputs)
    x = base(layers.Rescaling(1 / 255)(x), training=False)
    return compiled(inputs, x)


@zoo_model(lambda: Data(numbers(3, 8, 8), classes(3)))
def channels_first() -> keras.Model:
    """Images whose channels come before their rows and columns."""
    first = {"data_format": "channels_first"}
    inputs = keras.Input((3, 8, 8))
    x = layers.Conv2D(4, 3, use_bias=False, **first)(inputs)
    x = layers.ReLU()(layers.BatchNormalization(axis=1)(x))
    x = layers.SpatialDropout2D(0.2, **first)(x)
    x = layers.GlobalAveragePooling2D(**first)(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model
