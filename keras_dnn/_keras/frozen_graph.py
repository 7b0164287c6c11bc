"""A TensorFlow function whose variables have become constants."""

from __future__ import annotations

from typing import Any


def with_constants(function: Any) -> Any:
    """The concrete function of a `tf.function`, its variables replaced by constants.

    Args:
        function: a `tf.function` with an input signature.

    Returns:
        A function that returns a list of tensors, in the order of the sorted names
        where `function` returns a dict.
    """
    # Not public, though TensorFlow has nothing else for graphs of its second version.
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    return convert_variables_to_constants_v2(function.get_concrete_function())
