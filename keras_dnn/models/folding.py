r"""Folding batch normalisation into the linear layers around it.

At inference batch normalisation multiplies each channel by a constant and adds another,

    y = s·z + t,    s = γ / √(σ² + ε),    t = β − μ·s

and a linear layer before it, z = W·x + b, can do the same on its own:

    y = (s·W)·x + (s·b + t)

So can one behind it, W·y + b:

    W·(s·z + t) + b = (W·s)·z + (W·t + b)
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from keras_dnn._keras.graph import required_graph
from keras_dnn._result import Result
from keras_dnn._unchanged import same_randomness
from keras_dnn.models._folding.error import max_error
from keras_dnn.models._folding.plan import Plan
from keras_dnn.models._folding.replacements import Replacements
from keras_dnn.models._folding.report import reports
from keras_dnn.models._rebuilding import rebuilt


@dataclasses.dataclass(frozen=True)
class FoldResult(Result):
    """What `fold_batch_norm` did.

    Layers are named by their path: `block/norm` is the layer `norm` of the nested model
    `block`.

    Attributes:
        model: the folded model.
        folded: for each batch norm that was removed, the layer that does its work now,
            or several of them with commas between.
        kept: for each batch norm that stayed, the reason.
        max_error: the largest difference between the outputs of the two models, as a
            fraction of their standard deviation, computed in float64. NaN if no `data`
            was given and the model does not run on random inputs.
        affine_folded: as `folded`, for other layers that multiply by fixed numbers and
            add some: `Rescaling`, `Normalization`, and the `LayerScale` of ConvNeXt.
        affine_kept: as `kept`, for those, and for `GroupNormalization`, which takes its
            statistics from each input and never folds.
    """

    model: keras.Model
    folded: dict[str, str]
    kept: dict[str, str]
    max_error: float
    affine_folded: dict[str, str] = dataclasses.field(default_factory=dict)
    affine_kept: dict[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        total = len(self.folded) + len(self.kept)
        lines = [f"{len(self.folded)} of {total} batch norms folded"]
        if self.affine_folded or self.affine_kept:
            total = len(self.affine_folded) + len(self.affine_kept)
            lines[0] += f", {len(self.affine_folded)} of {total} other affine layers"
        lines.append(
            f"largest difference between outputs: {self.max_error:.1e} of their "
            "standard deviation"
        )
        folded, kept = self.folded | self.affine_folded, self.kept | self.affine_kept
        lines += [f"  {norm} -> {layer}" for norm, layer in folded.items()]
        lines += [f"  {norm} stays: {reason}" for norm, reason in kept.items()]
        return "\n".join(lines)


@same_randomness()
def fold_batch_norm(model: keras.Model, data: Any = None) -> FoldResult:
    r"""Returns a model that computes the same without its batch norms.

    A batch norm at inference is $y = s z + t$ with
    $s = \gamma / \sqrt{\sigma^2 + \epsilon}$ and $t = \beta - \mu s$. Where it follows
    a linear layer $z = W x + b$, that layer becomes $y = (s W) x + (s b + t)$, with a
    bias if it had none. Otherwise, where a linear layer follows it, $W y + b$ becomes
    $(W s) z + (W t + b)$; if that pads with zeros, among which $t$ is missing, the bias
    is a `keras_dnn.layers.BiasMap`. The arithmetic is done in float64.

    Linear layers are Dense, EinsumDense, convolutions of one to three dimensions,
    transposed, depthwise and separable ones. Dropout and layers that only move values
    may lie between, as may average pooling, and max pooling if no scale is negative. A
    linear layer whose calls need different weights becomes several. Nested models are
    folded too, and so are other layers that multiply by fixed numbers and add some. A
    batch norm whose fold would not be exact stays, and the result says why.

    The model itself does not change and shares nothing with the new one, which is meant
    for inference: folded layers lose their regularizers and constraints, and a LoRA in
    them is merged.

    Args:
        model: a functional model or a built Sequential.
        data: inputs to measure the difference on, as `model.predict` takes them, of any
            number: only a few rows are in memory at once. By default random ones,
            images of at most 96 by 96 pixels if the model takes these.

    Returns:
        A `FoldResult` with `model`, `folded`, `kept` and `max_error`.

    Raises:
        ValueError: if the model is subclassed or not built, so that its graph is not
            known.

    Example:
        >>> import keras
        >>> from keras_dnn.models import fold_batch_norm
        >>> layers = keras.layers
        >>> model = keras.Sequential(
        ...     [
        ...         keras.Input((8, 8, 3)),
        ...         layers.Conv2D(4, 3, use_bias=False, name="conv"),
        ...         layers.BatchNormalization(name="norm1"),
        ...         layers.ReLU(),
        ...         layers.BatchNormalization(name="norm2"),
        ...         layers.Flatten(),
        ...         layers.Dense(3, name="dense"),
        ...     ]
        ... )
        >>> result = fold_batch_norm(model)
        >>> result.folded, result.kept
        ({'norm1': 'conv', 'norm2': 'dense'}, {})
        >>> result.max_error < 1e-6
        True

    Reference:
        B. Jacob et al., "Quantization and training of neural networks for efficient
        integer-arithmetic-only inference", 2018, section 3.2.
    """
    required_graph(model)
    plan = Plan(model)
    replacements = Replacements(plan)
    folded = rebuilt(model, calls=replacements.calls)
    replacements.fill()
    norms, others = reports(plan, replacements.calls)
    return FoldResult(
        folded,
        norms.folded,
        norms.kept,
        max_error(model, folded, data),
        others.folded,
        others.kept,
    )
