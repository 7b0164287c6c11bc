"""Compares automatic gradients with central differences in float64."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._keras.layers import require_call, sublayers
from keras_dnn._keras.losses import require_loss_outside_step
from keras_dnn._progress import Progress, Verbose
from keras_dnn._result import Result
from keras_dnn._tensorflow import require_tensorflow
from keras_dnn._unchanged import same_randomness
from keras_dnn.diagnostics._examples import examples, for_keras, require_labels
from keras_dnn.diagnostics._gradients.central_differences import (
    COARSE,
    LossOfWeights,
    Slope,
    relative_difference,
)
from keras_dnn.diagnostics._gradients.float64 import float64_by_default, float64_copy
from keras_dnn.diagnostics._gradients.lines import compared, drawn, lines_of, not_finite

if TYPE_CHECKING:
    from matplotlib.figure import Figure


TOLERANCE_IN_FLOAT32 = 2.5e-3
"""Half of the difference that a factor wrong by 1% makes."""


@dataclasses.dataclass(frozen=True)
class GradientCheck(Result):
    """Automatic gradients beside central differences.

    Attributes:
        names: paths of the trainable variables.
        differences: the relative difference for each variable, between 0 (equal) and 1:
            of its coordinates, or of the slope when all of its entries move together if
            that differs more.
        difference: the same for all coordinates together.
        tolerance: how large a difference may be.
        kinks: how many coordinates of each variable lie on a kink, where there is no
            derivative to compare with; they are compared at weights nearby.
        coordinates: flat indices of the coordinates of each variable.
        automatic: automatic gradients at these coordinates, one array per variable.
        numeric: central differences at the same coordinates.
        seed: of the choice of coordinates.
        nonfinite: where values that are not finite begin, in words; empty where all
            are finite. The differences of such gradients are NaN, and the check fails.
    """

    names: tuple[str, ...]
    differences: np.ndarray
    difference: float
    tolerance: float
    kinks: np.ndarray
    coordinates: tuple[np.ndarray, ...]
    automatic: tuple[np.ndarray, ...]
    numeric: tuple[np.ndarray, ...]
    seed: int
    nonfinite: str = ""

    @property
    def by_variable(self) -> dict[str, float]:
        """The difference of each variable, by its path."""
        return dict(zip(self.names, self.differences.tolist(), strict=True))

    @property
    def passed(self) -> bool:
        """Whether the difference of every variable is within the tolerance.

        A gradient or a loss that is not finite has failed.
        """
        # NaN is within no tolerance.
        return not self.nonfinite and bool((self.differences <= self.tolerance).all())

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        count = sum(map(len, self.coordinates))
        head = (
            f"gradient check {verdict}: difference {self.difference:.2g} over {count} "
            f"coordinates (seed {self.seed}), tolerance {self.tolerance:.2g}, "
            f"{int(self.kinks.sum())} on a kink"
        )
        lines = [head]
        if self.nonfinite:
            lines.append(f"  not finite: {self.nonfinite}")
        for name, difference in self.by_variable.items():
            mark = "ok   " if difference <= self.tolerance else "WRONG"
            lines.append(f"  {mark} {difference:.2e}  {name}")
        return "\n".join(lines)

    def plot(self) -> Figure:
        """Draws the difference of each variable, with the tolerance.

        Returns:
            The figure.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        from keras_dnn import plotting

        # A difference of zero has no place on a logarithmic axis.
        shown = np.maximum(self.differences, 1e-17)
        curves = {"difference": shown}
        healthy = (1e-17, self.tolerance)
        panel = ("Gradient check", self.names, "variable", curves, True, healthy)
        return plotting.charts([panel])


def check_gradients(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    loss: Any = None,
    training: bool = False,
    coordinates: int = 32,
    tolerance: float = 1e-5,
    seed: int = 0,
    verbose: Verbose = "auto",
) -> GradientCheck:
    r"""Compares automatic gradients with central differences, in float64.

    For coordinates $\theta_i$ of each trainable variable, drawn at random where there
    are more than `coordinates` (half of them where the gradient is not zero), it
    computes

    $$
    \hat g_i = \frac{L(\theta_i + h) - L(\theta_i - h)}{2h}, \qquad
    h = \epsilon^{1/3} \max(1, |\theta_i|)
    $$

    with the loss $L$, penalties included, of a copy of the model in float64, and
    reports $\lVert g - \hat g \rVert_2 / (\lVert g \rVert_2 + \lVert \hat g \rVert_2)$
    for each variable and for all together. Correct gradients give about 1e-9; a factor
    that is wrong by 1% gives 0.005. Of a variable with more entries than `coordinates`
    it also compares the slope along one random direction that moves all of them.

    Where the two disagree, $h$ is made up to 1,000 times smaller, so that a kink of a
    ReLU between $\theta_i \pm h$ no longer matters. Where they still disagree, the
    weights themselves may be on a kink, as biases of zero are where inputs are zero:
    there is no derivative then, and an automatic gradient is one choice of several.
    All weights are moved by 1% or less, which leaves the kink, and the two are compared
    there, at up to five such points. A right gradient agrees at nearly all points; a
    wrong one at none, for its code is the same. Variables whose gradient is zero, as
    below a last layer that begins at zero, are compared there too.

    How large rounding errors are is measured on the loss itself; differences that they
    explain count as zero. Where a part of the model casts to float32 by itself, as CTC
    does, a check that fails is repeated with larger steps and a tolerance of 2.5e-3.

    The model, its optimizer and the random state are left unchanged.

    Args:
        model: a built model that Keras can copy from its configuration.
        x: inputs, a few examples.
        y: targets, unless the loss needs none.
        sample_weight: weights of the examples.
        loss: what `compile` takes; `None` for that of the compiled model.
        training: `False` for inference mode, with dropout off and batch norms fixed;
            `True` for training mode, with the same masks at every evaluation.
        coordinates: how many to check in each variable.
        tolerance: how large a difference may be.
        seed: of the choice of coordinates.
        verbose: 0 for no output, 1 for a progress bar, `"auto"` for one that appears if
            it takes long.

    Returns:
        A `GradientCheck`.

    Raises:
        RuntimeError: if Keras's backend is not TensorFlow.
        ValueError: if an argument lies outside its range, there is no loss, nothing is
            trainable, or the model is quantised or cannot be copied.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.diagnostics import check_gradients
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "tanh")])
        >>> model.compile("sgd", "mse")
        >>> x = np.random.default_rng(0).normal(size=(4, 3))
        >>> check_gradients(model, x, x[:, :2]).passed
        True

    Reference:
        A. Karpathy, "CS231n: Neural Networks Part 3", on gradient checks. J. Moré and
        S. Wild, "Estimating Computational Noise", 2011.
    """
    require_tensorflow("keras_dnn.diagnostics.check_gradients")
    count = _arguments.count("coordinates", coordinates)
    tolerance = _arguments.number("tolerance", tolerance, high=1.0, bounds="()")
    seed = _arguments.count("seed", seed, least=0)
    training = _arguments.switch("training", training)
    if loss is None:
        if not getattr(model, "compiled", False):
            raise ValueError(
                "loss must be given, or the model compiled. Received: None"
            )
        require_loss_outside_step(model, "check_gradients")
        require_call(model, "check_gradients")
        loss = model.loss
    for layer in sublayers(model):
        if layer.quantization_mode is not None:
            raise ValueError(
                "model must not be quantised, for rounded weights turn its loss into "
                "steps, which have no slope. Check it before model.quantize. "
                f"Received: {layer.name!r} of {layer.quantization_mode}"
            )
    x, y, sample_weight = for_keras(model, x, y, sample_weight)
    with float64_by_default(), same_randomness():
        copy = float64_copy(model, loss)
        if not copy.trainable_variables:
            raise ValueError(
                f"model must have trainable weights. Received: model={model!r}"
            )
        batch = examples(x, y, sample_weight)
        require_labels(copy, batch[1])
        function = LossOfWeights(copy, batch, training)
        found = _checked(function, count, tolerance, seed, verbose)
        if found.passed or found.nonfinite or not function.has_parts_in_float32():
            return found
        function.epsilon = COARSE
        tolerance = max(tolerance, TOLERANCE_IN_FLOAT32)
        return _checked(function, count, tolerance, seed, verbose)


def _checked(
    loss: LossOfWeights, count: int, tolerance: float, seed: int, verbose: Verbose
) -> GradientCheck:
    rng = np.random.default_rng(seed)
    gradients = loss.gradients()
    here = loss.value()
    chosen = [drawn(rng, gradient, count) for gradient in gradients]
    lines = lines_of(rng, chosen, gradients)
    progress = Progress(verbose)
    slopes, kinks = compared(
        loss,
        lines,
        gradients,
        rng,
        tolerance,
        lambda slope: progress.after(slope, len(lines)),
    )
    entries: list[list[int]] = [[] for _ in gradients]
    directions: list[list[Slope]] = [[] for _ in gradients]
    for i, line in enumerate(lines):
        if line.entry is None:
            directions[line.variable].append(slopes[i])
        else:
            entries[line.variable].append(i)
    along = [[slopes[i] for i in part] for part in entries]
    nonfinite = not_finite(loss, here, gradients)
    differences = [
        max(relative_difference(part, tolerance) for part in (of_entries, of_all))
        if np.isfinite(gradient).all()
        else np.nan
        for of_entries, of_all, gradient in zip(
            along, directions, gradients, strict=True
        )
    ]
    return GradientCheck(
        names=tuple(v.path for v in loss.model.trainable_variables),
        differences=np.array(differences),
        difference=np.nan
        if nonfinite
        else relative_difference(
            [slope for part in along for slope in part], tolerance
        ),
        tolerance=tolerance,
        kinks=np.array([sum(kinks[i] for i in part) for part in entries], int),
        coordinates=tuple(chosen),
        automatic=tuple(np.array([s.automatic for s in part]) for part in along),
        numeric=tuple(np.array([s.numeric for s in part]) for part in along),
        seed=seed,
        nonfinite=nonfinite,
    )
