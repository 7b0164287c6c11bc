"""Models that are classes of their own."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from tests.zoo.arrays import ROWS, classes, numbers, pixels
from tests.zoo.model_case import Data, zoo_model


class Classifier(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = layers.Dense(8, activation="relu")
        self.norm = layers.BatchNormalization()
        self.dropout = layers.Dropout(0.5)
        self.head = layers.Dense(3, activation="softmax")

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = self.norm(self.hidden(inputs), training=training)
        return self.head(self.dropout(x, training=training))


@zoo_model(lambda: Data(numbers(6), classes(3)))
def subclassed_model() -> keras.Model:
    """A subclass of Model with its layers as attributes."""
    model = Classifier()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class BuiltLate(keras.Model):
    def __init__(self, units: list[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.hidden: list[layers.Layer] = []

    def build(self, input_shape: tuple[int, ...]) -> None:
        for units in self.units:
            self.hidden.append(layers.Dense(units, activation="relu"))
            self.hidden.append(layers.Dropout(0.2))
        self.head = layers.Dense(input_shape[-1])
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        x = inputs
        for layer in self.hidden:
            x = layer(x)
        return self.head(x) + inputs


@zoo_model(lambda: Data(numbers(6), numbers(6, seed=4)))
def built_late() -> keras.Model:
    """A subclass that makes its layers in `build`, from the input's shape."""
    model = BuiltLate([8, 4])
    model.compile("adam", "mse")
    return model


class WithKeywords(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.query = layers.Dense(4)
        self.attention = layers.MultiHeadAttention(2, 2)
        self.dropout = layers.Dropout(0.2)
        self.head = layers.Dense(1)

    def call(
        self,
        inputs: dict[str, Any],
        *,
        training: bool = False,
        temperature: float = 1.0,
        return_features: bool = False,
    ) -> Any:
        query = self.query(inputs["query"]) / temperature
        x = self.attention(query=query, value=inputs["memory"], training=training)
        x = self.dropout(ops.mean(x, axis=1), training=training)
        return (self.head(x), x) if return_features else self.head(x)


@zoo_model(
    lambda: Data({"query": numbers(3, 4), "memory": numbers(5, 4)}, numbers(1)),
)
def call_with_keywords() -> keras.Model:
    """A subclass whose `call` takes a dict and keyword-only arguments."""
    model = WithKeywords()
    model.compile("adam", "mse")
    return model


class Branching(keras.Model):
    """A functional model in an attribute, as most public code has it."""

    def __init__(self) -> None:
        super().__init__()
        inputs = keras.Input((6,))
        x = layers.Dropout(0.3)(layers.Dense(8, activation="relu")(inputs))
        self.body = keras.Model(inputs, x)
        self.heads = {"mean": layers.Dense(1), "spread": layers.Dense(1, "softplus")}

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = self.body(inputs, training=training)
        return {name: head(x) for name, head in self.heads.items()}


@zoo_model(lambda: Data(numbers(6), {"mean": numbers(1), "spread": numbers(1)}))
def subclass_around_a_model() -> keras.Model:
    """A subclass with a functional model inside and its heads in a dict."""
    model = Branching()
    model.compile("adam", {"mean": "mse", "spread": "mae"})
    return model


@keras.saving.register_keras_serializable(package="zoo")
class FunctionalSubclass(keras.Model):
    """Hands inputs and outputs to `Model`, and is then a functional model."""

    def __init__(self, units: int = 8, **kwargs: Any) -> None:
        inputs = keras.Input((6,))
        x = layers.Dropout(0.3)(layers.Dense(units, activation="relu")(inputs))
        super().__init__(inputs, layers.Dense(3, activation="softmax")(x), **kwargs)
        self.units = units

    def get_config(self) -> dict[str, Any]:
        return {"units": self.units, "name": self.name}


@zoo_model(lambda: Data(numbers(6), classes(3)))
def functional_subclass() -> keras.Model:
    """A subclass that builds a functional graph in its constructor."""
    model = FunctionalSubclass()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class ImageTask(keras.Model):
    """Preprocesses in `fit`, `evaluate` and `predict`, as the tasks of KerasHub do."""

    def __init__(self) -> None:
        inputs = keras.Input((8, 8, 3))
        x = layers.Conv2D(4, 3, activation="relu")(inputs)
        x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))
        super().__init__(inputs, layers.Dense(3, activation="softmax")(x))

    def preprocessor(self, x: Any) -> Any:
        return ops.cast(x, "float32") / 127.5 - 1

    def fit(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        return super().fit(self.preprocessor(x), y, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        return super().evaluate(self.preprocessor(x), y, **kwargs)

    def predict(self, x: Any, **kwargs: Any) -> Any:
        return super().predict(self.preprocessor(x), **kwargs)


@zoo_model(lambda: Data(pixels(8, 8, 3), classes(3)))
def image_task() -> keras.Model:
    """A task whose `fit` and `predict` scale the raw pixels first."""
    model = ImageTask()
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


class TextTask(keras.Model):
    """Splits strings into words in `fit`, `evaluate` and `predict`."""

    words: tuple[str, ...] = ("", "good", "bad", "film", "a", "very")

    def __init__(self) -> None:
        inputs = {
            "token_ids": keras.Input((5,), dtype="int32", name="token_ids"),
            "padding_mask": keras.Input((5,), dtype="bool", name="padding_mask"),
        }
        x = layers.Embedding(len(self.words), 4)(inputs["token_ids"])
        mask = inputs["padding_mask"][:, None, :]
        x = x + layers.MultiHeadAttention(2, 2)(x, x, attention_mask=mask)
        x = layers.Dropout(0.2)(x[:, 0])
        super().__init__(inputs, layers.Dense(2, activation="softmax")(x))

    def preprocessor(self, texts: Any) -> dict[str, np.ndarray]:
        ids = np.zeros((len(texts), 5), "int32")
        for row, text in zip(ids, texts, strict=True):
            found = [self.words.index(word) for word in text.split()][:5]
            row[: len(found)] = found
        return {"token_ids": ids, "padding_mask": ids > 0}

    def fit(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        return super().fit(self.preprocessor(x), y, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        return super().evaluate(self.preprocessor(x), y, **kwargs)

    def predict(self, x: Any, **kwargs: Any) -> Any:
        return super().predict(self.preprocessor(x), **kwargs)


def reviews() -> Data:
    rng = np.random.default_rng(0)
    texts = [
        " ".join(rng.choice(TextTask.words[1:], rng.integers(1, 6)))
        for _ in range(ROWS)
    ]
    return Data(texts, classes(2))


@zoo_model(reviews)
def text_task() -> keras.Model:
    """A task that takes a list of strings and splits them into words."""
    model = TextTask()
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model
