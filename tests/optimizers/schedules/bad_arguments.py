"""Values that no schedule takes, by the kind of argument."""

import re

import pytest

RATES = (-1e-9, -1.0, float("nan"), float("inf"), "1", None, True, [0.1])
LENGTHS = (0, 0.0, -5, float("nan"), float("inf"), "10", None, [5])
FRACTIONS = (0.0, -0.1, 1.01, 2.0, float("nan"), "0.5", None)
STEPS = (0, -1, 2.5, float("nan"), "7", None, True)
SCHEDULES = (0.1, None, "cosine", lambda step: 0.1, int)


def each(**arguments):
    """Parametrises a test by `name` and `value` over each value of each argument."""
    return pytest.mark.parametrize(
        ("name", "value"),
        [(name, value) for name, values in arguments.items() for value in values],
        # Without addresses: all workers must see the same names.
        ids=lambda v: re.sub(" at 0x[0-9a-f]+", "", getattr(v, "__name__", str(v))),
    )


def refused(name, value, kind="a number in"):
    """An error that begins with the name of the argument and ends in the value."""
    ending = re.escape(f"Received: {name}={value!r}")
    return pytest.raises(ValueError, match=rf"^{name} must be {kind}.*{ending}$")
