"""Models that earlier versions of this package saved still load, and train on.

`saved_files` holds small models written at commit e620ca4, before files moved inside
the package, and what they predicted then, also after one more epoch of training.
"""

from pathlib import Path

import keras
import numpy as np
import pytest

FOLDER = Path(__file__).parent / "saved_files"
NAMES = sorted(file.stem for file in FOLDER.glob("*.keras"))


@pytest.fixture(scope="module")
def expected():
    with np.load(FOLDER / "expected.npz") as file:
        return dict(file)


def test_there_are_files():
    assert {"folded", "pruned", "random_layers", "rule_adam"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_loads_and_predicts_what_it_did(name, expected):
    model = keras.models.load_model(FOLDER / f"{name}.keras")
    predicted = model.predict(expected[f"{name}/x"], verbose=0)
    assert np.isfinite(predicted).all()
    if f"{name}/predicted" in expected:
        np.testing.assert_allclose(predicted, expected[f"{name}/predicted"], rtol=1e-5)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "folded"])
def test_trains_on_where_it_stopped(name, expected):
    model = keras.models.load_model(FOLDER / f"{name}.keras")
    x, y = expected[f"{name}/x"], expected.get(f"{name}/y")
    before = [w.copy() for w in model.get_weights()]
    model.fit(x, y, batch_size=8, verbose=0, shuffle=False)
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
    if f"{name}/after" in expected:
        after = model.predict(x, verbose=0)
        np.testing.assert_allclose(after, expected[f"{name}/after"], rtol=1e-4)
