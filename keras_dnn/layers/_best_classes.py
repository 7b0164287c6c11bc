"""The most probable classes, cluster after cluster until no other can be better."""

from __future__ import annotations

from collections.abc import Callable

from keras import ops

from keras_dnn._typing import Tensor


def best_classes(
    clusters: Tensor,
    hidden: Tensor,
    classes_in: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    top_k: int,
) -> tuple[Tensor, Tensor]:
    """The largest logarithms of probability and their classes, for each example.

    No class is more probable than its cluster. So the search takes clusters in the
    order of their probability, and stops at one that is less probable than the worst of
    the best classes found.

    Args:
        clusters: log-probabilities of shape examples × clusters.
        hidden: of shape examples × units.
        classes_in: gives log-probabilities in a cluster for one example, and classes.
        top_k: how many classes to find.
    """
    n_clusters = clusters.shape[-1]

    def search(example: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        clusters, hidden = example
        order = ops.argsort(-clusters)

        def unfinished(tried: Tensor, best: Tensor, classes: Tensor) -> Tensor:
            following = clusters[order[ops.minimum(tried, n_clusters - 1)]]
            settled = best[-1] >= following
            return ops.logical_and(tried < n_clusters, ops.logical_not(settled))

        def widen(
            tried: Tensor, best: Tensor, classes: Tensor
        ) -> tuple[Tensor, Tensor, Tensor]:
            cluster = order[tried]
            within, others = classes_in(cluster, hidden)
            best = ops.concatenate([best, clusters[cluster] + within])
            best, places = ops.top_k(best, top_k)
            classes = ops.take(ops.concatenate([classes, others]), places)
            return tried + 1, best, classes

        nothing = ops.full((top_k,), -float("inf"), clusters.dtype)
        start = (ops.zeros((), "int32"), nothing, ops.zeros((top_k,), "int32"))
        _, best, classes = ops.while_loop(unfinished, widen, start)
        return best, classes

    best, classes = ops.map(search, (clusters, hidden))
    return best, classes
