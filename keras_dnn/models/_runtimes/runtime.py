"""The base class of everything that can execute a trained model in place of Keras."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, TypeAlias

import numpy as np

from keras_dnn.models._runtimes.source import RuntimeSource

Files: TypeAlias = Mapping[str, bytes]
"""All that a runtime needs: the contents of files by name."""

Run: TypeAlias = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
"""Takes the arrays of all inputs and returns those of all outputs."""


class Runtime(abc.ABC):
    """Executes a trained model in place of Keras.

    `optimize_for_inference` builds every registered runtime from the model, loads and
    measures it. What `build` returns is files, and `load` needs nothing else, so that a
    result can be saved, pickled and loaded in a process without the model.

    Attributes:
        description: what the runtime is, in a few words.
        bits: the bits of a weight; `None` for as many as the model's weights have.
        any_batch: whether any number of rows can be run. If not, `load` returns a
            function for `source.batch_size` rows; other numbers are run in batches of
            that size, the last one padded with zeros.

    Example:
        >>> import io
        >>> import keras, numpy as np
        >>> from keras_dnn.models import (
        ...     Runtime,
        ...     optimize_for_inference,
        ...     register_runtime,
        ...     unregister_runtime,
        ... )
        >>> class NumPy(Runtime):
        ...     description = "one dense layer without activation, in NumPy"
        ...     bits = 32
        ...
        ...     def build(self, source):
        ...         file = io.BytesIO()
        ...         np.savez(file, *source.model.get_weights())
        ...         return {"weights.npz": file.getvalue()}
        ...
        ...     def load(self, files, threads):
        ...         kernel, bias = np.load(io.BytesIO(files["weights.npz"])).values()
        ...         return lambda inputs: [inputs[0] @ kernel + bias]
        >>> register_runtime("NumPy", NumPy())
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> x = np.random.default_rng(1).normal(size=(50, 4)).astype("float32")
        >>> result = optimize_for_inference(
        ...     model, x, candidates=["NumPy"], rounds=1, verbose=0
        ... )
        >>> result.fastest
        'NumPy'
        >>> unregister_runtime("NumPy")
    """

    description: ClassVar[str] = ""
    bits: ClassVar[int | None] = None
    any_batch: ClassVar[bool] = True

    def why_unavailable(self) -> str:
        """Says why this machine cannot run it, such as the package to install.

        Returns:
            A sentence, or `""` where the runtime is available.
        """
        return ""

    @abc.abstractmethod
    def build(self, source: RuntimeSource) -> Files:
        """Converts a model into files.

        An exception of any kind means that this model cannot be converted; its text is
        listed as the reason.

        Args:
            source: the model, and what is known of its inputs.

        Returns:
            The contents of files by name. `InferenceResult.save` writes them as they
            are.
        """

    @abc.abstractmethod
    def load(self, files: Files, threads: int) -> Run:
        """Opens what `build` returned, perhaps in another process.

        Args:
            files: the contents of files by name.
            threads: how many a call may use, where that can be set.

        Returns:
            A function that may be called from several threads. It takes a list of the
            arrays of all inputs, of the shapes and dtypes of `source.data`, and returns
            a list of the arrays of all outputs in the order of the model's.
        """


def numbered(names: Iterable[str]) -> list[str]:
    """The names `x0`, `x1`, ... or `y0`, `y1`, ... in the order of their numbers."""
    return sorted(names, key=lambda name: int(name[1:]))
