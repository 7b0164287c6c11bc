"""Updates whose numbers float32 cannot count, and weights of no or one number."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.optimizers import numpy_rules
from tests.optimizers.rule_cases import RULES, exact, flat

FIRST = 2**24 + 1
# A weight of no numbers, and one that is a number.
SHAPES = [(0, 3), (), (2, 2)]
CALLS = 6


@keras.saving.register_keras_serializable("tests_far_steps")
class ByThrees(keras.optimizers.schedules.LearningRateSchedule):
    """Another rate for each of three updates in a row."""

    def __call__(self, step):
        return 2**-5 * (1 + tf.cast(tf.cast(step, "int64") % 3, "float64"))

    def get_config(self):
        return {}


def far(optimizer, micro_steps=1):
    """Weights after each call of an optimizer that has made `FIRST` updates."""
    rng = np.random.default_rng(1)
    start = [rng.normal(size=shape) for shape in SHAPES]
    gradients = [rng.normal(size=(CALLS, *shape)) for shape in SHAPES]
    variables = [keras.Variable(w, dtype="float64") for w in start]
    optimizer.build(variables)
    iteration = optimizer.variables[0]
    assert "iteration" in iteration.path
    iteration.assign(FIRST * micro_steps)
    for variable in optimizer.variables:
        if "product" in variable.path:
            # Betas below 1, multiplied that often.
            variable.assign(keras.ops.zeros_like(variable))
    found = []
    for t in range(CALLS):
        optimizer.apply([tf.constant(g[t]) for g in gradients], variables)
        found.append(keras.ops.convert_to_numpy(flat(variables)))
    return start, gradients, np.array(found)


AROUND = {
    "accumulated": {"gradient_accumulation_steps": 2},
    "averaged": {"ema_momentum": 0.75, "ema_overwrite_frequency": 2},
}


@pytest.mark.parametrize(
    ("name", "around"),
    [*((name, "") for name in RULES), *(("adam", name) for name in AROUND)],
)
def test_updates_beyond_two_to_the_24th_are_those_of_numpy(name, around, monkeypatch):
    rule, options = RULES[name], AROUND.get(around, {})
    arguments = {**exact(rule), "learning_rate": ByThrees()}
    averaged = {"use_ema": True} if "ema_momentum" in options else {}
    optimizer = rule.ours(**arguments, **options, **averaged, fused=False)
    micro_steps = options.get("gradient_accumulation_steps", 1)
    start, gradients, found = far(optimizer, micro_steps)

    monkeypatch.setattr(numpy_rules, "product", lambda beta, t: 0.0)
    rate = numpy_rules.moving(lambda t: 2**-5 * (1 + t % 3))
    arguments = {**arguments, "learning_rate": rate, **options}
    expected = rule.in_numpy(start, gradients, first=FIRST, **arguments)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert int(optimizer.iterations) == FIRST + CALLS // micro_steps
