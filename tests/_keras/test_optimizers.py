"""Keras's optimizers behave as `keras_dnn._keras.optimizers` needs, and so does it."""

import keras
import pytest

from keras_dnn._keras.multi_optimizer import multi_optimizer
from keras_dnn._keras.optimizers import (
    KerasOptimizer,
    calls_of,
    innermost,
    learning_rate_source,
    override_learning_rate,
    parts_of,
    set_learning_rate_source,
    variables_of,
)
from tests._keras.optimizer_canaries import OPTIMIZER_CANARIES, built, ones


@pytest.mark.parametrize(
    "case", OPTIMIZER_CANARIES, ids=[case.name for case in OPTIMIZER_CANARIES]
)
def test_keras_still_has(case):
    try:
        works = case.works()
    except AttributeError:
        works = False
    assert works, (
        f"{case.name} of Keras {keras.__version__} is missing or has changed. "
        f"Without it {case.promise}."
    )


def test_innermost_optimizer_is_inside_a_loss_scale_optimizer():
    plain = keras.optimizers.SGD()
    assert innermost(plain) is plain
    assert innermost(keras.optimizers.LossScaleOptimizer(plain)) is plain


def test_calls_of_an_optimizer_are_not_its_updates():
    optimizer, _ = built(gradient_accumulation_steps=2)
    for _ in range(3):
        optimizer.apply([ones(2), ones(2)])
    assert (int(calls_of(optimizer)), int(optimizer.iterations)) == (3, 1)


def test_parts_are_the_optimizers_with_one_learning_rate_each():
    plain = keras.optimizers.SGD()
    assert parts_of(plain) == [plain]
    other = keras.optimizers.Adam()
    several = multi_optimizer(plain, {"a/.*": other})
    assert set(map(id, parts_of(several))) == {id(plain), id(other)}


def test_optimizer_of_a_compiled_model_is_found():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD())
    assert innermost(model) is model.optimizer
    assert parts_of(model) == [model.optimizer]


def test_variables_are_those_that_the_optimizer_was_built_on():
    optimizer, weights = built()
    assert [id(v) for v in variables_of(optimizer)] == [id(w) for w in weights]


def test_source_of_a_learning_rate_is_replaced():
    optimizer, _ = built()
    schedule = keras.optimizers.schedules.CosineDecay(0.25, 9)
    set_learning_rate_source(optimizer, schedule)
    assert learning_rate_source(optimizer) is schedule


def test_override_of_a_learning_rate_ends():
    optimizer, _ = built()
    override_learning_rate(optimizer, lambda: 0.5)
    assert float(optimizer.learning_rate) == 0.5
    for _ in range(2):
        override_learning_rate(optimizer, None)
        assert float(optimizer.learning_rate) == 1.0


def test_clipping_goes_through_the_hook_and_the_method_to_override():
    class Halving(KerasOptimizer):
        def _clip_to_bounds(self, gradients):
            return [g / 2 for g in super()._clip_to_bounds(gradients)]

    optimizer = Halving(1.0, clipvalue=0.5)
    assert float(optimizer._clip_gradients([ones()])[0]) == 0.25
    vars(optimizer)["_clip_gradients"] = lambda gradients: ["seen"]
    assert optimizer._clipped_gradients([ones()]) == ["seen"]


def test_averages_are_written_by_the_method_to_override():
    class Noting(KerasOptimizer):
        def _write_averages(self, variables):
            self.noted = variables

    optimizer = Noting(1.0, use_ema=True)
    optimizer.finalize_variable_values(["weights"])
    assert optimizer.noted == ["weights"]
