"""Layer-sequential unit variance: initial weights fitted to a batch of data.

D. Mishkin and J. Matas, "All you need is a good init", 2016: make each kernel
orthonormal; then, from the first layer to the last, divide it by the standard deviation
of its layer's outputs on a batch, until that is 1.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._batches import first_batch, is_batched, require_rows, rows_of
from keras_dnn._keras.graph import functional_inside
from keras_dnn._keras.layers import rows_of_states, sublayers
from keras_dnn._keras.prediction import batch_for_keras
from keras_dnn._keras.randomness import drawn_seed
from keras_dnn._layer_kinds import LINEAR
from keras_dnn._progress import Progress, Verbose
from keras_dnn._result import Result
from keras_dnn._typing import Tensor
from keras_dnn._unchanged import moving_variables, same_randomness
from keras_dnn.initializers._first_call import Layer, Run, first_calls_through
from keras_dnn.initializers._layer_kernels import kernels_of
from keras_dnn.initializers._orthogonal import orthogonal
from keras_dnn.initializers._seeds import Seed, checked_seed, seeds


@dataclasses.dataclass(frozen=True)
class LSUVResult(Result):
    """What `lsuv` did; `print` it.

    Attributes:
        layers: the paths of the initialised layers, in the order of their calls.
        before: the standard deviation of each layer's outputs on the batch, before its
            activation, with the old weights.
        after: the same with the new weights.
        iterations: how many times each kernel was scaled.
        skipped: the paths of dense layers and convolutions that kept their weights,
            each with the reason.
    """

    layers: list[str]
    before: np.ndarray
    after: np.ndarray
    iterations: np.ndarray
    skipped: dict[str, str]

    def __str__(self) -> str:
        width = max((len(path) for path in self.layers), default=5)
        lines = [f"{'layer':<{width}}  std before    after  iterations"]
        rows = zip(self.layers, self.before, self.after, self.iterations, strict=True)
        lines += [f"{p:<{width}}  {b:>10.3g} {a:>8.3g}  {n:>10}" for p, b, a, n in rows]
        lines += [f"{path} is unchanged: {why}" for path, why in self.skipped.items()]
        return "\n".join(lines)


def lsuv(
    model: keras.Model,
    batch: Any,
    target_std: float = 1.0,
    *,
    tolerance: float = 0.01,
    max_iterations: int = 10,
    seed: Seed = None,
    verbose: Verbose = "auto",
) -> LSUVResult:
    r"""Sets weights so that the outputs of every layer have unit variance on a batch.

    Each kernel becomes a random matrix with orthonormal rows or columns (in a
    convolution one for each group). Then, layer by layer in the order of their calls,

    $$
    W \leftarrow W \, \frac{s}{\mathrm{std}(W x + b)}
    $$

    until the standard deviation over the batch, before the activation, is $s$. Unlike a
    formula it measures the actual inputs of a layer, after any activation, merged
    branches, pooling and data that are not standardised.

    All `Dense`, `EinsumDense` and convolution layers are set, in nested and subclassed
    models and inside other layers too; a layer with several calls, at the first one.
    Biases, frozen layers, normalisation and all other kinds of layers keep their
    values. It takes about three forward passes, in inference mode. If it ends early, by
    an exception or Ctrl-C, the model is unchanged.

    Args:
        model: a built model.
        batch: inputs of the model; a few hundred examples are enough. A stateful model
            gets as many of them as it takes at once.
        target_std: $s$, above 0.
        tolerance: relative error of the standard deviation that is permitted.
        max_iterations: how many times a kernel is scaled at most. Without biases one
            time is enough.
        seed: seed of the orthonormal matrices, no two of which are equal; without one,
            `keras.utils.set_random_seed` governs.
        verbose: 1 shows a progress bar, 0 none, `"auto"` one when it takes long.

    Returns:
        An `LSUVResult`: standard deviations before and after, iterations, and the
        layers that were skipped.

    Raises:
        ValueError: if a value lies outside its range, if the model is not built or has
            no layers to set, if the outputs of a layer do not vary on the batch (or are
            not finite), or if a layer does not reach `target_std`, because its bias
            alone varies more.

    Example:
        >>> import keras
        >>> from keras_dnn.initializers import lsuv
        >>> keras.utils.set_random_seed(1)
        >>> layers = [keras.layers.Dense(64, activation="tanh") for _ in range(20)]
        >>> model = keras.Sequential([keras.Input((64,)), *layers])
        >>> result = lsuv(model, 3.0 + keras.random.normal((256, 64)), verbose=0)
        >>> bool((abs(result.after - 1.0) < 0.01).all())
        True

    Reference:
        D. Mishkin and J. Matas, "All you need is a good init", 2016.
    """
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(
            "model must be a built Keras model. Call it on a batch to build it, or "
            f"give {functional_inside(model)}. Received: model={model!r}"
        )
    target = _arguments.number("target_std", target_std, bounds="()")
    margin = _arguments.number("tolerance", tolerance, bounds="()") * target
    most = _arguments.count("max_iterations", max_iterations)
    draws = seeds(drawn_seed() if seed is None else checked_seed(seed))
    require_rows(batch, "batch")
    batch = batch_for_keras(model, batch)
    if is_batched(batch):
        batch = first_batch(batch, "batch")
    if (rows := rows_of_states(model)) is not None:
        batch = rows_of(batch, slice(rows))
    chosen, skipped = _layers(model)
    before: dict[Layer, float] = {}
    scaling = _Scaling(target, margin, most, draws, Progress(verbose), len(chosen))

    def measure(layer: Layer, run: Run) -> Tensor:
        outputs, before[layer] = run()
        return outputs

    try:
        with same_randomness(), _restoring(model, chosen):
            for handler in (measure, scaling):
                with first_calls_through(handler, chosen):
                    model(batch, training=False)
            if scaling.failure:
                raise ValueError(
                    "batch must let lsuv bring every layer to a standard deviation of "
                    f"{target}. Received: {scaling.failure}"
                )
    finally:
        scaling.progress.stop()
    done = scaling.done
    skipped |= {_path(layer): "not called" for layer in chosen if layer not in done}
    return LSUVResult(
        [_path(layer) for layer in done],
        np.array([before[layer] for layer in done]),
        np.array([std for std, _ in done.values()]),
        np.array([iterations for _, iterations in done.values()]),
        skipped,
    )


@dataclasses.dataclass
class _Scaling:
    """Scales the kernels of each layer at its call, until one fails."""

    target: float
    margin: float
    most: int
    seeds: Iterator[Any]
    progress: Progress
    total: int
    done: dict[Layer, tuple[float, int]] = dataclasses.field(default_factory=dict)
    failure: str = ""

    def __call__(self, layer: Layer, run: Run) -> Tensor:
        if self.failure:
            return run()[0]
        for variable, axes in kernels_of(layer):
            shape = tuple(variable.shape)
            matrices = orthogonal(axes.matrices(shape), next(self.seeds))
            variable.assign(axes.from_matrices(matrices, shape))
        for iteration in range(self.most + 1):
            outputs, std = run()
            if abs(std - self.target) <= self.margin:
                self.done[layer] = std, iteration
                return self.progress.after(outputs, self.total)
            if not 0.0 < std < math.inf:
                break
            if iteration < self.most:
                variable.assign(keras.ops.multiply(variable, self.target / std))
        # Not raised here, where Keras would add the arguments of the call to it.
        self.failure = f"{_path(layer)} with {std} after {iteration} iterations"
        return outputs


def _layers(model: keras.Model) -> tuple[list[Layer], dict[str, str]]:
    """The layers to set, and why the others with kernels are skipped."""
    loops = (keras.layers.RNN, keras.layers.TimeDistributed)
    inside = {
        id(part): loop
        for loop in sublayers(model)
        if isinstance(loop, loops)
        for part in sublayers(loop)
    }
    chosen, skipped = [], {}
    for layer in sublayers(model):
        if not isinstance(layer, LINEAR):
            continue
        kernels = kernels_of(layer)
        if id(layer) in inside:
            skipped[_path(layer)] = f"called in the loop of {_path(inside[id(layer)])}"
        elif not layer.built:
            skipped[_path(layer)] = "not built"
        elif layer.quantization_mode is not None:
            skipped[_path(layer)] = f"quantised to {layer.quantization_mode}"
        elif not kernels:
            skipped[_path(layer)] = "its kernel is not a variable"
        elif not all(variable.trainable for variable, _ in kernels):
            skipped[_path(layer)] = "frozen"
        else:
            chosen.append(layer)
    if not chosen:
        raise ValueError(
            "model must have dense layers or convolutions that are not frozen or "
            "quantised. "
            f"Received: model={model!r}, {skipped}"
        )
    return chosen, skipped


@contextmanager
def _restoring(model: keras.Model, layers: list[Layer]) -> Iterator[None]:
    """Restores variables at the end; after an exception the layers' kernels too."""
    values = [
        (variable, np.array(keras.ops.convert_to_numpy(variable)))
        for variable in [*model.variables, *moving_variables(model)]
    ]
    new: set[int] = set()
    try:
        yield
        new = {id(kernel) for layer in layers for kernel, _ in kernels_of(layer)}
    finally:
        for variable, value in values:
            if id(variable) not in new:
                variable.assign(value)


def _path(layer: Layer) -> str:
    return str(layer.path or layer.name)
