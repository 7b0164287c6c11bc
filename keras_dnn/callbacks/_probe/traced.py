"""What one tracing of a training step has shown, and where it was hidden."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from keras_dnn._typing import Tensor
from keras_dnn.callbacks._probe.training_step import current_graph

if TYPE_CHECKING:
    from keras_dnn.callbacks._probe.tapped_optimizer import TappedOptimizer


@dataclasses.dataclass
class Traced:
    """What a tracing of `train_step` has shown so far.

    Attributes:
        losses: how many losses it differentiates.
        applied: the optimizers that it applies, in order, each as often as it does.
        hidden: how many updates lie in a function that is compiled on its own.
        graph: in which it is traced; `None` if it runs eagerly.
    """

    losses: int = 0
    applied: list[TappedOptimizer] = dataclasses.field(default_factory=list)
    hidden: int = 0
    graph: Any = dataclasses.field(default_factory=current_graph)
    _seen: dict[int, Tensor] = dataclasses.field(default_factory=dict)

    @property
    def optimizers(self) -> list[TappedOptimizer]:
        """The optimizers that it applies, each once."""
        return list(dict.fromkeys(self.applied))

    def remember(self, loss: Tensor) -> None:
        """Notes that a loss has been shown, under whatever scale."""
        # The tensor itself too: the identity of one that is gone is used again.
        self._seen[id(loss)] = loss

    def has_seen(self, loss: Tensor) -> bool:
        """Whether a loss has been shown."""
        return id(loss) in self._seen


def hidden_in_function(traced: Traced | None) -> bool:
    """Whether the code that asks is in a `tf.function` that the step calls.

    That keeps its graph from one `fit` to the next, so no hook may be traced into it.
    Conditions and loops have graphs too, of other classes.
    """
    graph = current_graph()
    if traced is None:
        return False
    while graph is not None and graph is not traced.graph:
        if type(graph).__name__ == "FuncGraph":
            return True
        graph = getattr(graph, "outer_graph", None)
    return False
