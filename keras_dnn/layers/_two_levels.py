"""Which cluster each class belongs to, and its position in the cluster."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from keras_dnn import _arguments

Clusters: TypeAlias = int | Sequence[int] | np.ndarray | None
Frequencies: TypeAlias = Sequence[float] | np.ndarray | None


@dataclasses.dataclass(frozen=True)
class TwoLevels:
    """Classes in clusters.

    Attributes:
        cluster_of: the cluster of each class.
        position_of: the position of each class in its cluster.
        sizes: how many classes each cluster has.
    """

    cluster_of: np.ndarray
    position_of: np.ndarray
    sizes: np.ndarray

    @property
    def width(self) -> int:
        """Places in each row of a table of clusters; some are empty."""
        return int(self.sizes.max())

    def class_at(self) -> np.ndarray:
        """The class at each place, of shape clusters × width; 0 where it is empty."""
        table = np.zeros((len(self.sizes), self.width), "int32")
        table[self.cluster_of, self.position_of] = np.arange(len(self.cluster_of))
        return table

    def filled(self) -> np.ndarray:
        """Whether there is a class at each place."""
        return np.arange(self.width) < self.sizes[:, np.newaxis]


def two_levels(
    n_classes: int, clusters: Clusters, frequencies: Frequencies
) -> TwoLevels:
    """Divides classes into clusters as the arguments of `HierarchicalSoftmax` say."""
    if clusters is None:
        clusters = min(n_classes, math.isqrt(16 * n_classes - 1) + 1)
    if np.ndim(clusters):
        if frequencies is not None:
            raise ValueError(
                "frequencies decide about clusters and can't be given with them. "
                "Received: both clusters, one for each class, and frequencies"
            )
        return _numbered(_given_clusters(n_classes, clusters))
    count = _arguments.count("clusters", clusters)
    if count > n_classes:
        raise ValueError(
            f"clusters must not be more than the {n_classes} classes. "
            f"Received: clusters={count}"
        )
    order = np.arange(n_classes)
    if frequencies is not None:
        order = np.argsort(-_checked_frequencies(n_classes, frequencies), kind="stable")
    cluster_of = np.empty(n_classes, "int32")
    for cluster, classes in enumerate(np.array_split(order, count)):
        cluster_of[classes] = cluster
    return _numbered(cluster_of)


def _numbered(cluster_of: np.ndarray) -> TwoLevels:
    """Numbers the classes of each cluster in the order of all classes."""
    sizes = np.bincount(cluster_of)
    order = np.argsort(cluster_of, kind="stable")
    position_of = np.empty(len(cluster_of), "int32")
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    position_of[order] = np.arange(len(cluster_of)) - starts
    return TwoLevels(cluster_of, position_of, sizes.astype("int32"))


def _given_clusters(n_classes: int, clusters: Clusters) -> np.ndarray:
    given = np.asarray(clusters)
    if given.shape != (n_classes,) or given.dtype.kind not in "iu":
        raise ValueError(
            "clusters must be a number, or an integer for each of the "
            f"{n_classes} classes. Received: clusters of shape {given.shape} and dtype "
            f"{given.dtype}"
        )
    found = np.unique(given)
    if found[0] != 0 or found[-1] != len(found) - 1:
        raise ValueError(
            "clusters must number them from 0, and leave none empty. Received: "
            f"{len(found)} clusters from {found[0]} to {found[-1]}"
        )
    return given.astype("int32")


def _checked_frequencies(n_classes: int, frequencies: Frequencies) -> np.ndarray:
    found = np.asarray(frequencies, "float64")
    if found.shape != (n_classes,):
        raise ValueError(
            f"frequencies must hold a number for each of the {n_classes} classes. "
            f"Received: frequencies of shape {found.shape}"
        )
    if not (np.isfinite(found).all() and (found >= 0).all()):
        raise ValueError(
            "frequencies must be finite and not negative. Received: frequencies from "
            f"{found.min()} to {found.max()}"
        )
    return found
