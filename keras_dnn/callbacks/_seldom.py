"""What hardly a step needs, made cheap for the steps that don't."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor


def aside(python_function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that stays one operation in the graph: idle ones cost time too."""
    function: Callable[..., Any] = tf.function(
        python_function, autograph=False, experimental_attributes={"_noinline": True}
    )
    return function


def seldom(
    wanted: Tensor, make: Callable[[], Any], otherwise: Callable[[], Any]
) -> Any:
    """`tf.cond`, for what hardly a step wants.

    TensorFlow takes the branches apart and makes them a part of the step, with a switch
    in front of each tensor that they might read: dozens of operations that find out at
    each step that there is nothing to do. Here the choice stays one operation.
    """
    made = tf.cond(wanted, aside(make), otherwise)
    if not tf.executing_eagerly() and _one_device():
        _keep_whole(tf.nest.flatten(made)[0].op)
    return made


def _one_device() -> bool:
    """Whether all that a branch may read lies where it runs: it can't ask elsewhere."""
    alone = tf.distribute.get_strategy().num_replicas_in_sync == 1
    return alone and not tf.config.list_logical_devices("GPU")


def _keep_whole(operation: Any) -> None:
    if operation.type == "Identity":
        operation = operation.inputs[0].op
    if operation.type in ("If", "StatelessIf"):
        whole = tf.compat.v1.AttrValue(b=False)
        operation._set_attr("_lower_using_switch_merge", whole)
