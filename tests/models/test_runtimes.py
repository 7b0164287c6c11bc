"""Runtimes that a user registers, and the registry."""

import io
import pickle
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from keras_dnn.models import (
    InferenceResult,
    Runtime,
    optimize_for_inference,
    register_runtime,
    registered_runtimes,
    unregister_runtime,
)
from keras_dnn.models._measuring import benchmark
from tests.models.inference_cases import candidate, normal

pytestmark = pytest.mark.usefixtures("short_turns")


def perceptron():
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, "relu"),
            layers.Dropout(0.5),
            layers.Dense(3),
        ]
    )


class NumPy(Runtime):
    """The forward pass of dense layers with ReLU between them, in NumPy."""

    description = "dense layers in NumPy"
    bits = 32

    def __init__(self, error=0.0):
        self.error = error

    def build(self, source):
        if len(source.original.inputs) > 1:
            raise ValueError("only models with one input")
        # Dropout is not among the layers any more.
        dense = source.model.layers
        assert {type(layer) for layer in dense} == {layers.Dense}
        file = io.BytesIO()
        np.savez(file, *(w for layer in dense for w in layer.get_weights()))
        return {"weights.npz": file.getvalue()}

    def load(self, files, threads):
        weights = list(np.load(io.BytesIO(files["weights.npz"])).values())

        def run(inputs):
            (x,) = inputs
            assert x.dtype == np.float32
            for i in range(0, len(weights), 2):
                x = (np.maximum(x, 0) if i else x) @ weights[i] + weights[i + 1]
            return [x + self.error]

        return run


@pytest.fixture
def registered():
    """Registers runtimes, and restores the registry at the end."""
    before = registered_runtimes()
    yield register_runtime
    for name in registered_runtimes():
        unregister_runtime(name)
    for name, runtime in before.items():
        register_runtime(name, runtime)


def measure(model, x, names, **given):
    return optimize_for_inference(
        model, x, candidates=names, rounds=1, verbose=0, **given
    )


def test_a_registered_runtime_is_built_compared_and_chosen(registered, tmp_path):
    registered("NumPy", NumPy())
    assert list(registered_runtimes())[-1] == "NumPy"
    model, x = perceptron(), normal(70, 6)
    # The only candidate within the tolerance is the fastest.
    result = measure(model, x, ["NumPy"])
    found = candidate(result, "NumPy")
    assert (found.bits, found.within, found.failure) == (32, True, "")
    assert found.seconds > 0
    assert result.fastest == "NumPy"
    np.testing.assert_allclose(result(x[:9]), model(x[:9]), atol=1e-6)
    # Its files are what is saved, and what a copy in another process reads.
    result.save(tmp_path / "fast.zip")
    loaded = InferenceResult.load(tmp_path / "fast.zip")
    pickled = pickle.loads(pickle.dumps(result))
    assert found.bytes == len(loaded.predictor.files["weights.npz"])
    for one in (loaded, pickled):
        np.testing.assert_array_equal(one(x[:9]), result(x[:9]))
    assert str(loaded) == str(result)

    unregister_runtime("NumPy")
    assert "NumPy" not in registered_runtimes()
    with pytest.raises(ValueError, match=r"candidates must be some of.*\['NumPy'\]"):
        measure(model, x, ["NumPy"])
    with pytest.raises(ValueError, match=r"registered in this process.*'NumPy'"):
        InferenceResult.load(tmp_path / "fast.zip")
    with pytest.raises(ValueError, match=r"registered runtime.*Received: name='NumPy'"):
        pickle.loads(pickle.dumps(result))(x)


def test_the_fastest_registered_runtime_within_the_tolerance_wins(
    registered, monkeypatch
):
    """Times are given; which one is fast enough and right enough is what counts."""
    model, x = perceptron(), normal(70, 6)
    deviation = float(np.std(model(x)))
    registered("slow", NumPy())
    registered("fast", NumPy())
    registered("wrong", NumPy(error=0.01 * deviation))
    registered("broken", NumPy(error=np.nan))
    seconds = {"slow": 2.0, "fast": 1.0, "wrong": 0.1, "broken": 0.1}
    turns = []

    def durations(calls, rounds):
        turns.append(" ".join(calls))
        return {name: seconds.get(name, 4.0) for name in calls}

    monkeypatch.setattr(benchmark, "interleaved", durations)
    result = measure(model, x, [*seconds])
    assert result.fastest == "fast"
    assert candidate(result, "fast").speed_up == 4.0
    wrong = candidate(result, "wrong")
    assert not wrong.within
    assert wrong.largest_difference == pytest.approx(0.01, rel=1e-3)
    broken = candidate(result, "broken")
    assert not broken.within
    assert np.isnan(broken.largest_difference)
    assert "nan in 70 of 70 rows, in column 0, 1, 2" in broken.failure
    assert turns == [
        "model.predict model(x)",
        "model(x) slow",
        "slow fast",
        "fast wrong",
    ]
    assert measure(model, x, [*seconds], tolerance=0.011).fastest == "wrong"


def test_all_registered_runtimes_are_tried_in_their_order(registered):
    for name in registered_runtimes():
        unregister_runtime(name)
    registered("one", NumPy(error=1.0))
    registered("two", NumPy())
    registered("one", NumPy())  # Takes the place of the first.
    result = measure(perceptron(), normal(9, 6), None)
    names = [each.name for each in result.candidates]
    assert names == ["model.predict", "model(x)", "one", "two"]
    assert candidate(result, "one").within


class Fixed(NumPy):
    """Takes batches of one size, as TFLite does."""

    any_batch = False

    def build(self, source):
        size = str(source.batch_size).encode()
        return {"size": size, **super().build(source)}

    def load(self, files, threads):
        run, size = super().load(files, threads), int(files["size"])

        def checked(inputs):
            assert len(inputs[0]) == size
            return run(inputs)

        return checked


def test_a_runtime_for_one_batch_size_gets_no_other(registered):
    registered("fixed", Fixed())
    model, x = perceptron(), normal(70, 6)
    result = measure(model, x, ["fixed"], batch_size=4)
    assert result.fastest == "fixed"
    for rows in (0, 1, 4, 9):
        np.testing.assert_allclose(result(x[:rows]), model(x[:rows]), atol=1e-6)


class Missing(NumPy):
    def why_unavailable(self):
        return "needs what nobody has: pip install it"


class Reserved(NumPy):
    def build(self, source):
        return {"contents.json": b""}


def test_why_a_registered_runtime_is_no_candidate(registered):
    registered("missing", Missing())
    registered("reserved", Reserved())
    registered("of one input", NumPy())
    a, b = keras.Input((2,)), keras.Input((2,))
    model = keras.Model([a, b], layers.Add()([a, b]))
    names = ["missing", "reserved", "of one input"]
    result = measure(model, [normal(5, 2), normal(5, 2)], names)
    assert [each.failure for each in result.candidates[2:]] == [
        "needs what nobody has: pip install it",
        "contents.json is the name of the saved table",
        "only models with one input",
    ]
    assert result.fastest is None
    assert all(np.isnan(each.seconds) for each in result.candidates[2:])


@pytest.mark.parametrize("name", ["", 3, "model.predict", "model(x)"])
def test_refuses_a_name(name):
    with pytest.raises(ValueError, match=r"name must be a text .*Received: name="):
        register_runtime(name, NumPy())


@pytest.mark.parametrize("runtime", [NumPy, lambda files: None, "NumPy"])
def test_refuses_what_is_no_runtime(runtime):
    with pytest.raises(ValueError, match=r"runtime must be .*Received: runtime="):
        register_runtime("mine", runtime)
    assert "mine" not in registered_runtimes()


def test_refuses_to_unregister_what_is_not_there():
    with pytest.raises(ValueError, match=r"tf.function.*Received: name='absent'"):
        unregister_runtime("absent")


def test_the_guide_lists_every_runtime_with_its_bits():
    page = Path(__file__).parents[2] / "docs" / "guides" / "shipping_a_fast_model.md"
    section = (
        page.read_text("utf-8").partition("## The runtimes\n")[2].partition("\n## ")[0]
    )
    rows = [line.split("|")[1:-1] for line in section.splitlines() if "| `" in line]
    listed = [(name.strip(" `"), int(bits)) for name, _, bits in rows]
    runtimes = registered_runtimes().items()
    assert listed == [(name, runtime.bits or 32) for name, runtime in runtimes]


class Broken(NumPy):
    """Fails where it is told to."""

    def __init__(self, where):
        super().__init__()
        self.where = where
        self.calls = 0

    def why_unavailable(self):
        return 1 / 0 if self.where == "why" else ""

    def build(self, source):
        files = super().build(source)
        if self.where == "build":
            raise KeyError("no such layer")
        if self.where == "name":
            return {"../weights.npz": files["weights.npz"]}
        return [1] if self.where == "files" else files

    def load(self, files, threads):
        if self.where == "load":
            raise OSError("no such device")
        run = super().load(files, threads)

        def broken(inputs):
            self.calls += 1
            if self.where == "time" and self.calls > 2:
                raise RuntimeError("out of memory")
            (y,) = run(inputs)
            found = {"outputs": [y, y], "rows": [y[:-1]], "shape": [y[:, :1]]}
            return found.get(self.where, [y])

        return broken


BROKEN = {
    "why": "division by zero",
    "build": "no such layer",
    "name": "stay in their folder",
    "files": "names stay|object|int",
    "load": "no such device",
    "outputs": "gives 2 outputs instead of 1",
    "rows": r"gives outputs of \[63\] rows for 64",
    "shape": r"gives the shape \(70, 1\) instead of \(70, 3\)",
    "time": "out of memory",
}


def test_errors_of_runtimes_are_listed_and_the_others_go_on(registered):
    for where in BROKEN:
        registered(where, Broken(where))
    registered("NumPy", NumPy())
    result = measure(perceptron(), normal(70, 6), [*BROKEN, "NumPy"])
    assert result.fastest == "NumPy"
    for where, message in BROKEN.items():
        found = candidate(result, where)
        assert re.search(message, found.failure), (where, found.failure)
        assert not found.within
        assert np.isnan(found.seconds)
        assert found.failure in str(result)


def test_a_call_that_fails_names_its_runtime(registered):
    runtime = Broken("")
    registered("mine", runtime)
    result = measure(perceptron(), normal(9, 6), ["mine"])
    runtime.where, runtime.calls = "time", 5
    with pytest.raises(RuntimeError, match="runtime 'mine' failed: out of memory"):
        result(normal(3, 6))


def test_not_finite_has_failed_whatever_the_accuracy(registered):
    registered("broken", NumPy(error=np.array([0, 0, np.nan])))
    model, x = perceptron(), normal(9, 6)
    labels = np.zeros(9, int)
    result = measure(model, x, ["broken"], labels=labels, max_accuracy_loss=1.0)
    assert result.fastest is None
    found = candidate(result, "broken")
    assert found.failure == "gives nan in 9 of 9 rows, in column 2"
    with pytest.raises(RuntimeError, match="None of the candidates"):
        result(x)
