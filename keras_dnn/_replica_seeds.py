"""A different random seed on each replica.

Replicas share the state of a seed generator, so without this all of them draw the same
numbers.
"""

from __future__ import annotations

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor

STRIDE = 0x9E3779B1
"""Between the seeds of replicas; larger than the distances between successive draws."""


def seed_of_replica(seed: Tensor) -> Tensor:
    """The seed that all replicas share, shifted by the number of this one.

    The first word is shifted: the second counts draws, and with a shift there a replica
    would repeat numbers that another one drew a step before.
    """
    replica = tf.distribute.get_replica_context() if tf is not None else None
    if replica is None:
        return seed
    number = tf.cast(replica.replica_id_in_sync_group, seed.dtype)
    return seed + tf.stack([number * STRIDE, tf.zeros_like(number)])
