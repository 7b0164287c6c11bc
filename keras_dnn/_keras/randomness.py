"""The random states that Keras and TensorFlow keep for the whole process."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import keras

from keras_dnn._tensorflow import tf

GLOBAL_GENERATOR = "global_seed_generator"
GLOBAL_SEED = "global_random_seed"


@contextlib.contextmanager
def same_global_seeds() -> Iterator[None]:
    """Puts the global generators of Keras and TensorFlow back at the end."""
    state = keras.src.backend.common.global_state
    names = (GLOBAL_GENERATOR, GLOBAL_SEED)
    attributes = {name: state.get_global_attribute(name) for name in names}
    generator = attributes[GLOBAL_GENERATOR]
    position = (
        None if generator is None else keras.ops.convert_to_numpy(generator.state)
    )
    with contextlib.ExitStack() as stack:
        if tf is not None:
            stack.enter_context(_same_generator_of_tensorflow())
            stack.enter_context(_same_seeds_of_operations())
        try:
            yield
        finally:
            for name, value in attributes.items():
                state.set_global_attribute(name, value)
            if generator is not None:
                generator.state.assign(position)


def drawn_seed() -> int:
    """A seed from a sequence of its own, which `keras.utils.set_random_seed` restarts.

    Drawing it moves no generator that anything else draws from, so a function that
    draws one has no influence on the initial weights of the next model.
    """
    state = keras.src.backend.common.global_state
    seed = state.get_global_attribute(GLOBAL_SEED)
    if seed is None:
        return random.SystemRandom().randrange(2**31)
    if not isinstance(seed, _SeedInUse):
        # `set_random_seed` puts a plain integer in its place.
        seed = _SeedInUse(seed)
        state.set_global_attribute(GLOBAL_SEED, seed)
    return seed.sequence.randrange(2**31)


class _SeedInUse(int):
    """The integer given to `set_random_seed`, with the sequence drawn from it."""

    def __init__(self, seed: int) -> None:
        # Another sequence than the one that Keras draws from Python's generator.
        self.sequence = random.Random(f"keras_dnn {int(seed)}")


@contextlib.contextmanager
def _same_generator_of_tensorflow() -> Iterator[None]:
    from tensorflow.python.ops import stateful_random_ops

    generator = stateful_random_ops.global_generator
    position = None if generator is None else generator.state.numpy()
    try:
        yield
    finally:
        stateful_random_ops.global_generator = generator
        if generator is not None:
            generator.state.assign(position)


@contextlib.contextmanager
def _same_seeds_of_operations() -> Iterator[None]:
    """The sequence of seeds for operations such as `tf.random.normal` and a shuffle."""
    from tensorflow.python.eager import context as eager

    context: Any = eager.context()
    # There is a sequence only after `set_seed`; without it nothing can repeat itself.
    seed, sequence = context._seed, getattr(context, "_rng", None)
    position = None if sequence is None else sequence.getstate()
    try:
        yield
    finally:
        now = getattr(context, "_rng", None)
        if sequence is None:
            context._seed = seed
        elif now is not sequence or now.getstate() != position:
            # This also forgets kernels: one in the cache would go on counting draws.
            tf.random.set_seed(seed)
            context._rng = sequence
            sequence.setstate(position)
