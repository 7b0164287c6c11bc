"""Monte Carlo dropout: what a model does not know.

Y. Gal and Z. Ghahramani, "Dropout as a Bayesian approximation", 2016. The model is
split where randomness enters: the first part runs once, the second on chunks of
samples, which bound the memory, in one compiled function that keeps statistics only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._batches import batches
from keras_dnn._keras.prediction import inputs_for_keras
from keras_dnn._progress import Progress, Verbose
from keras_dnn._result import Result
from keras_dnn._tensorflow import require_tensorflow, tf
from keras_dnn._unchanged import moving_variables, restored
from keras_dnn.models._sampling.closed_form import closed_form
from keras_dnn.models._sampling.cut import rows_of
from keras_dnn.models._sampling.measures import MEASURES, ON_DEMAND, Task
from keras_dnn.models._sampling.not_finite import not_finite, warn_if_not_finite
from keras_dnn.models._sampling.random_stream import MASKS, Masks, Seed
from keras_dnn.models._sampling.sampler import sampler_of
from keras_dnn.models._sampling.switched_on import random_layers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Measured: TypeAlias = np.ndarray | list[np.ndarray]
"""A measure of the one output, or of each output."""

ClassMeasured: TypeAlias = np.ndarray | list[np.ndarray | None] | None
"""Likewise, with `None` for outputs that are not probabilities."""


@dataclasses.dataclass(frozen=True)
class MCPrediction(Result):
    """The measures that `mc_predict` finds, as float64 arrays with a row per input.

    For a model of several outputs each attribute is a list. The class measures are
    `None` for outputs that are not probabilities. Logarithms are natural.

    Attributes:
        mean: mean over the samples; of probabilities, the predictive distribution.
        std: standard deviation over the samples (divided by their number).
        entropy: entropy of the mean: the total uncertainty.
        expected_entropy: mean entropy of a sample: uncertainty that more training data
            would not remove (aleatoric).
        mutual_information: the difference of the two: what the model does not know
            (epistemic).
        variation_ratio: fraction of the samples that vote against the most voted class.
        quantiles: of the samples, of shape `(quantiles, *mean.shape)`, if asked for.
        covariance: of the numbers in each output row, of shape `(rows, n, n)`; only in
            closed form, with `samples=0`.
        samples: all samples, of shape `(samples, *mean.shape)`, if asked for.
    """

    mean: Measured
    std: Measured
    entropy: ClassMeasured
    expected_entropy: ClassMeasured
    mutual_information: ClassMeasured
    variation_ratio: ClassMeasured
    quantiles: Measured | None = None
    covariance: Measured | None = None
    samples: Measured | None = None

    def __str__(self) -> str:
        wrong = int(not_finite(self.mean).sum())
        return (f"{wrong} inputs: not finite\n" if wrong else "") + self._measured()

    def _measured(self) -> str:
        found = {name: getattr(self, name) for name in MEASURES}
        if not isinstance(self.mean, list):
            return _averages(found)
        return "\n".join(
            _averages({name: values[i] for name, values in found.items()})
            for i in range(len(self.mean))
        )

    def plot(self, y: np.ndarray | None = None) -> Figure:
        """Draws how uncertain the predictions are.

        For classes: the distribution of the entropy, and how it divides into what the
        data leave open and what the model does not know; with `y`, right and wrong
        answers are drawn apart. For numbers: mean and standard deviation of each input,
        in order.

        Args:
            y: true labels (integers) or numbers.

        Returns:
            The figure.

        Raises:
            ImportError: if matplotlib is not installed.
            ValueError: for a model of several outputs.
        """
        if isinstance(self.mean, list):
            raise ValueError("plot draws one output. Received: a list of outputs")
        from keras_dnn import plotting

        mean, std = np.asarray(self.mean), np.asarray(self.std)
        if self.entropy is None:
            return plotting.predicted_numbers(mean, std, y)
        return plotting.predicted_classes(
            np.asarray(self.expected_entropy),
            np.asarray(self.mutual_information),
            None if y is None else _right(mean, np.asarray(y)),
        )


def _averages(measures: dict[str, Any]) -> str:
    """The averages over the inputs of one output, as a line of text."""
    averages = ", ".join(
        f"{name.replace('_', ' ')} {np.mean(values):.3g}"
        for name, values in measures.items()
        if name != "mean" and values is not None
    )
    return f"{len(measures['mean'])} inputs; on average {averages}"


def _right(mean: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether the most probable class of each answer is the label."""
    answers = mean.shape[:-1]
    if y.size != np.prod(answers):
        raise ValueError(
            f"y must hold {np.prod(answers)} labels, one for each answer. Received: "
            f"shape {y.shape}"
        )
    if mean.shape[-1] == 1:
        return np.asarray((mean[..., 0] > 0.5) == (y.reshape(-1) > 0.5))
    return np.asarray(mean.argmax(-1) == y.reshape(answers))


def mc_predict(
    model: keras.Model,
    x: Any,
    samples: int = 100,
    *,
    batch_size: int = 32,
    seed: int | None = None,
    masks: Masks = "independent",
    return_samples: bool = False,
    quantiles: Sequence[float] | None = None,
    layers: Sequence[str | keras.layers.Layer] | None = None,
    verbose: Verbose = "auto",
) -> MCPrediction:
    r"""Predicts many times with dropout on, and measures how far the samples differ.

    With samples $p_s(x)$ of a classifier and $H(p) = -\sum_c p_c \ln p_c$,

    $$
    \underbrace{H(\bar p)}_{\text{entropy}} =
    \underbrace{\overline{H(p_s)}}_{\text{expected entropy}} +
    \underbrace{I}_{\text{mutual information}}, \qquad \bar p = \frac{1}{S} \sum_s p_s
    $$

    A model with ordinary `Dropout` needs no conversion. Only dropout is switched on,
    including that of recurrent and attention layers and in nested models, and layers of
    your own that draw from a `keras.random.SeedGenerator`; batch norm, augmentation and
    everything else stay in inference mode, and nothing in the model changes, not even
    its seed generators. Samples are those of `predict`, also where the model overrides
    it to preprocess. A warning says where they are not finite.

    A sample of an input depends only on `seed`, `samples`, and the input's position in
    `x`: neither on `batch_size` nor on how the work is divided.

    - `masks="independent"`: each sample of each input has its own masks.
    - `"coherent"`: a sample has the same masks for all inputs, so that it is one
      network. This is the cheapest for large batches.
    - `"stratified"`: over the samples of an input, each unit is dropped as often as it
      should be (a Latin hypercube). A single sample is distributed as with independent
      masks, but half as many samples, or fewer, give the same error of the mean and
      the entropy.

    Args:
        model: any Keras model with dropout in it. The part of a functional or
            Sequential model that comes before the first dropout runs only once.
        x: inputs as `predict` takes them: an array, a list or dict of arrays, a
            `tf.data.Dataset` or a `keras.utils.PyDataset` (targets are ignored).
        samples: how many predictions to draw for each input. 0 gives mean and
            covariance in closed form, if the only dropout feeds a last linear `Dense`.
        batch_size: inputs in a batch, if `x` is not batched already.
        seed: integer of at least 0 for the same samples each time.
        masks: `"independent"`, `"coherent"` or `"stratified"`.
        return_samples: whether to return all samples, which needs memory for them.
        quantiles: numbers in [0, 1]: the quantiles of the samples to return.
        layers: names or layers to sample from, with what is inside them; all others
            stay off. `None` for all that have dropout.
        verbose: 0 shows nothing, 1 a progress bar, `"auto"` a bar when it takes long.

    Returns:
        An `MCPrediction` with the measures above, standard deviations and, if asked
        for, the samples.

    Raises:
        ValueError: if the model has no dropout, `layers` names no layer with dropout,
            an argument is invalid, `samples` is 0 and there is no closed form, the
            model's own `predict` changes predictions, or a layer draws without a seed.
        RuntimeError: if Keras does not run on TensorFlow, or inside a `tf.function`.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.models import mc_predict
        >>> model = keras.Sequential(
        ...     [
        ...         keras.Input((4,)),
        ...         keras.layers.Dense(16, activation="relu"),
        ...         keras.layers.Dropout(0.5),
        ...         keras.layers.Dense(3, activation="softmax"),
        ...     ]
        ... )
        >>> prediction = mc_predict(model, np.ones((10, 4)), samples=50, seed=1)
        >>> prediction.mean.shape, prediction.entropy.shape
        ((10, 3), (10,))

    Reference:
        Gal and Ghahramani, "Dropout as a Bayesian approximation: representing model
        uncertainty in deep learning", 2016.
    """
    require_tensorflow("keras_dnn.models.mc_predict")
    if tf.inside_function():
        raise RuntimeError(
            "mc_predict returns NumPy arrays and compiles what it runs itself, so it "
            "can't be called inside a tf.function. Call it outside, or call the model "
            "that to_monte_carlo returns"
        )
    batch_size = _arguments.count("batch_size", batch_size)
    task = Task(
        _arguments.count("samples", samples, least=0),
        None if seed is None else _arguments.count("seed", seed, least=0),
        _arguments.choice("masks", masks, MASKS),
        _arguments.switch("return_samples", return_samples),
        _levels(quantiles),
    )
    sampler = sampler_of(model, random_layers(model, layers))
    x, batch_size = inputs_for_keras(model, x, batch_size)
    if samples == 0:
        sample = closed_form(sampler, task)
    else:
        random_seed = Seed.of(task.seed, task.samples, task.masks)
        sample = partial(sampler.sample, task=task, seed=random_seed)
    progress, rows = Progress(verbose), 0
    groups: list[list[dict[str, np.ndarray]]] = []
    with restored(moving_variables(model)):
        for batch, total in batches(x, batch_size):
            here = rows_of(batch)
            groups += sample(batch, rows) if here else []
            rows += here
            progress.after(None, total)
    if not groups:
        raise ValueError("x must hold at least one input. Received: no batch")
    prediction = _prediction(groups)
    warn_if_not_finite(model, prediction.mean)
    return prediction


def _levels(quantiles: Sequence[float] | None) -> tuple[float, ...]:
    if quantiles is None:
        return ()
    return tuple(
        _arguments.number("quantiles", q, high=1.0, bounds="[]")
        for q in _arguments.several("quantiles", quantiles)
    )


def _prediction(groups: Sequence[Sequence[dict[str, np.ndarray]]]) -> MCPrediction:
    """The measures of all groups of inputs, each with a dict for each output."""
    outputs = [_joined(parts) for parts in zip(*groups, strict=True)]
    found: dict[str, Any] = {
        name: [output.get(name) for output in outputs]
        for name in (*MEASURES, *ON_DEMAND)
    }
    if len(outputs) == 1:
        return MCPrediction(**{name: values[0] for name, values in found.items()})
    for name in ON_DEMAND:
        if all(values is None for values in found[name]):
            found[name] = None
    return MCPrediction(**found)


def _joined(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The measures of one output, with all inputs in one array."""
    # Class measures mean something only if the samples of all inputs are distributions.
    proper = all(part["proper"] for part in parts)
    return {
        name: np.concatenate(
            [part[name] for part in parts], axis=int(name in ("samples", "quantiles"))
        )
        for name in parts[0]
        if name in ("mean", "std", *ON_DEMAND) or (proper and name in MEASURES)
    }
