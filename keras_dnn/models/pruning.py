r"""Magnitude pruning: the smallest weights become zero and remain zero.

Of $n$ weights $w$ and a sparsity $s$, those with the $\lfloor s n \rceil$ smallest
$|w|$ are set to zero, in each matrix or in all of them together.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._progress import Progress, Verbose
from keras_dnn._result import Result
from keras_dnn.models._output_difference import model_differences
from keras_dnn.models._pruning.kernels import Kernel
from keras_dnn.models._pruning.mask import PruningMask
from keras_dnn.models._pruning.selection import to_prune
from keras_dnn.models._rebuilding import rebuilt
from keras_dnn.models.sparsity import Sparsity
from keras_dnn.models.sparsity import sparsity as measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Scope: TypeAlias = Literal["layer", "global"]
"""Whether weights are compared within each kernel or across all kernels."""


@dataclasses.dataclass(frozen=True)
class PruneResult(Result):
    """What `prune` did, and the difference it makes.

    Attributes:
        model: the pruned model.
        sparsity: the fraction of its weights that is zero, by layer, including layers
            that were not pruned.
        kept: why a layer was not pruned, by its path, for each that has weights and was
            not.
        size: of all weights, in bytes, which pruning does not change.
        compressed_size_before: after compression as gzip does it, before pruning.
        compressed_size: after compression, after pruning.
        max_difference: the largest difference between the outputs of the two models, as
            a fraction of the standard deviation of those before pruning. NaN if an
            output is NaN, or if no `data` was given and the model does not run on
            random inputs.
        mean_difference: the mean of these differences.
        unsaved: the paths of pruned layers whose masks are not saved with the model.
    """

    model: keras.Model
    sparsity: Sparsity
    kept: dict[str, str]
    size: int
    compressed_size_before: int
    compressed_size: int
    max_difference: float
    mean_difference: float
    unsaved: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [str(self.sparsity)]
        lines += [f"  not pruned: {name}, {why}" for name, why in self.kept.items()]
        lines += [
            f"  the mask of {name} is not saved: prune the loaded model again to keep "
            "its zeros in training"
            for name in self.unsaved
        ]
        by_layer = self.sparsity.by_layer.items()
        empty = [name for name, fraction in by_layer if fraction == 1]
        lines += [f"  all weights of {name} are zero" for name in empty]
        lines.append(
            f"{self.size:,} bytes of weights, compressed {self.compressed_size:,}, "
            f"before pruning {self.compressed_size_before:,}"
        )
        lines.append(
            f"outputs differ by {self.mean_difference:.1e} of their standard deviation "
            f"on average, by {self.max_difference:.1e} at most"
        )
        return "\n".join(lines)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draws the fraction of zeros of each layer.

        Args:
            ax: where to draw; a new figure if `None`.

        Returns:
            The axes drawn on.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        return self.sparsity.plot(ax)


def prune(
    model: keras.Model,
    sparsity: float,
    *,
    scope: Scope = "layer",
    layers: Sequence[str | keras.layers.Layer] | None = None,
    data: Any = None,
    verbose: Verbose = "auto",
) -> PruneResult:
    r"""Returns a copy of a model with its smallest weights set to zero permanently.

    Of $n$ weights the $\lfloor s n \rceil$ with the smallest $|w|$ become zero, where
    $s$ is the sparsity. In the copy each pruned kernel has a constraint that puts the
    zeros back after every update, so that it can be compiled and trained further to
    recover what it has lost. The constraint is saved with the model, and a constraint
    that the layer already has is applied too. The model given is unchanged.

    It prunes the kernels of dense and convolutional layers of every kind (both parts of
    a separable one) and of recurrent layers (kernel and recurrent kernel), also in
    frozen layers, wrappers and nested models. It never prunes biases, normalisation,
    layers with a LoRA adapter and layers that are quantised, except to float8.

    Embeddings it prunes only if `layers` names them, and so it does attention and
    layers of your own: no config of theirs has room for masks, so the zeros are saved
    with the model but the constraint is not, and `unsaved` lists them. Prune the loaded
    model again at the same sparsity before it is trained further. `kept` says why a
    layer was not pruned.

    With `use_ema` take an optimizer of this package: Keras's own optimizers average the
    weights before constraints are applied, so the averages are not zero.

    Zeros make a model smaller once it is compressed. They do not make it faster:
    TensorFlow multiplies by zero as by any other number.

    Args:
        model: a functional model or a built Sequential.
        sparsity: the fraction of the weights to set to zero, at least 0 and below 1. A
            model that was pruned before keeps its zeros.
        scope: `"layer"` prunes that fraction of each kernel; `"global"` compares all
            kernels with one another, so that those with small weights lose more. That
            usually costs less at the same sparsity, but may remove a layer entirely.
        layers: names or layers to prune, with all weights of more than one axis in
            them except biases; by default all layers whose constraint can be saved,
            except embeddings.
        data: inputs to measure the difference on, as `model.predict` takes them and in
            the same order each time; random ones by default.
        verbose: 0 shows nothing, 1 a progress bar, `"auto"` one when it takes long.

    Returns:
        A `PruneResult` with `model`, `sparsity`, `kept`, `size`, `compressed_size` and
        `compressed_size_before`, `max_difference`, `mean_difference` and `unsaved`.

    Raises:
        ValueError: if the model is subclassed or not built, has nothing to prune, a
            named layer is not in it or can't be pruned, or an argument is out of range.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.models import prune
        >>> model = keras.Sequential(
        ...     [keras.Input((2,)), keras.layers.Dense(2, name="dense")]
        ... )
        >>> kernel = np.array([[0.5, -3.0], [-0.01, 2.0]])
        >>> model.set_weights([kernel, np.zeros(2)])
        >>> result = prune(model, sparsity=0.5)
        >>> result.model.get_layer("dense").kernel.numpy().tolist()
        [[0.0, -3.0], [0.0, 2.0]]
        >>> result.sparsity.by_layer
        {'dense': 0.5}

    Reference:
        S. Han et al., "Learning both Weights and Connections for Efficient Neural
        Networks", 2015.
    """
    sparsity = _arguments.number("sparsity", sparsity, high=1.0)
    scope = _arguments.choice("scope", scope, get_args(Scope))
    copies: dict[int, Any] = {}
    pruned = rebuilt(model, copies=copies)
    selection = to_prune(model, copies, layers)
    chosen = selection.kernels
    progress, total = Progress(verbose), len(chosen) + 2 * len(model.weights) + 1
    for kernel, mask in zip(chosen, _masks(chosen, sparsity, scope), strict=True):
        constraint = PruningMask(mask, kernel.variable.constraint)
        kernel.constrain(constraint)
        w = keras.ops.convert_to_numpy(kernel.variable)
        kernel.variable.assign(np.where(constraint.mask, w, 0))
        progress.after(None, total)
    size, before = _sizes(model, progress, total)
    _, after = _sizes(pruned, progress, total)
    largest, mean = progress.after(model_differences(model, pruned, data), total)
    return PruneResult(
        model=pruned,
        sparsity=measured(pruned),
        kept=selection.kept,
        size=size,
        compressed_size_before=before,
        compressed_size=after,
        max_difference=largest,
        mean_difference=mean,
        unsaved=tuple(selection.unsaved),
    )


def _masks(chosen: list[Kernel], sparsity: float, scope: Scope) -> list[np.ndarray]:
    """Where the weights of each kernel remain."""
    sizes = [
        np.abs(keras.ops.convert_to_numpy(kernel.variable).astype("float64"))
        for kernel in chosen
    ]
    if scope == "layer":
        return [_largest(w.ravel(), sparsity).reshape(w.shape) for w in sizes]
    remaining = _largest(np.concatenate([w.ravel() for w in sizes]), sparsity)
    ends = np.cumsum([w.size for w in sizes])
    parts = np.split(remaining, ends[:-1])
    return [part.reshape(w.shape) for part, w in zip(parts, sizes, strict=True)]


def _largest(sizes: np.ndarray, sparsity: float) -> np.ndarray:
    """A mask without the smallest, of the exact number even where some are equal."""
    mask = np.ones(len(sizes), bool)
    count = round(sparsity * len(sizes))
    if count:
        mask[np.argpartition(sizes, count - 1)[:count]] = False
    return mask


def _sizes(model: keras.Model, progress: Progress, total: int) -> tuple[int, int]:
    """Bytes of all weights, uncompressed and compressed as gzip does it."""
    size = compressed = 0
    compressor = zlib.compressobj()
    for variable in model.weights:
        content = keras.ops.convert_to_numpy(variable).tobytes()
        size += len(content)
        compressed += len(compressor.compress(content))
        progress.after(None, total)
    return size, compressed + len(compressor.flush())
