"""Plain Keras trains, evaluates and predicts each model of the zoo."""

import re

import keras
import numpy as np
import pytest

from tests.zoo.all_models import ZOO
from tests.zoo.model_case import ZooModel
from tests.zoo.sample import every_model


def numeric_leaves(value: object) -> list[np.ndarray]:
    arrays = [np.asarray(leaf) for leaf in keras.tree.flatten(value)]
    return [array for array in arrays if array.dtype.kind in "fiu"]


@pytest.mark.slow
# A dataset of unknown length makes Keras say so at the end of the first epoch.
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@every_model()
def test_keras_runs_it(zoo: ZooModel) -> None:
    case, model = zoo, zoo.make()
    # In graphs the battery runs it; tracing would take most of the time.
    model.run_eagerly = True
    if case.trains:
        history = model.fit(**case.data().training, epochs=1, verbose=0).history
        assert history
        assert all(np.isfinite(values).all() for values in history.values()), history
    if case.evaluates:
        data = case.data().evaluation
        results = model.evaluate(**data, verbose=0, return_dict=True)
        assert results
        assert all(np.isfinite(value).all() for value in numeric_leaves(results))
    if case.predicts:
        first, second = (
            model.predict(data.inputs, **data.evaluate, verbose=0)
            for data in (case.data(), case.data())
        )
        same = [
            np.array_equal(a, b)
            for a, b in zip(numeric_leaves(first), numeric_leaves(second), strict=True)
        ]
        assert all(same) != case.random_at_inference


def test_data_are_the_same_at_each_call() -> None:
    for case in ZOO.values():
        first, second = case.data(), case.data()
        if isinstance(first.x, np.ndarray):
            np.testing.assert_array_equal(first.x, second.x, case.name)


def test_the_zoo_is_large_and_described() -> None:
    assert len(ZOO) >= 90
    for case in ZOO.values():
        assert re.fullmatch(r"[A-Z][^.]*(\.[^ .][^.]*)*\.", case.about), case
