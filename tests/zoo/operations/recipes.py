"""Settings for training that are found by trying."""

from __future__ import annotations

import keras

from keras_dnn import recipes
from tests.zoo.battery import operation
from tests.zoo.subject import Subject

GROUP = "checking"


@operation(GROUP, "recipes.training", "recipes.Training", needs=["trains"])
def training(subject: Subject) -> None:
    settings = recipes.training(subject.model, max_learning_rate=0.01, monitor=None)
    assert settings.learning_rate == 0.01
    assert isinstance(settings.optimizer, keras.optimizers.Optimizer)
    assert str(settings)
