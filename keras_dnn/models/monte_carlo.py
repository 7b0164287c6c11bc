"""Monte Carlo dropout: what a model does not know.

Y. Gal and Z. Ghahramani, "Dropout as a Bayesian approximation", 2016. The model is cut
where randomness enters; the part before the cut runs once, the part behind it on chunks
of samples, inside one compiled function that keeps statistics only. Memory is bounded
by the chunk, not by the number of samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._batches import batches
from keras_dnn._progress import Progress, Verbose
from keras_dnn._result import Result
from keras_dnn._tensorflow import require_tensorflow, tf
from keras_dnn.models._sampling.closed_form import exact
from keras_dnn.models._sampling.random_stream import MASKS
from keras_dnn.models._sampling.sampler import Draws, Task, sampler_of
from keras_dnn.models._sampling.switched_on import random_layers, unmoved

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES = (
    "mean",
    "std",
    "entropy",
    "expected_entropy",
    "mutual_information",
    "variation_ratio",
)
ON_DEMAND = ("quantiles", "covariance", "samples")


@dataclasses.dataclass(frozen=True)
class MCPrediction(Result):
    """What the samples of `mc_predict` say, as float64 arrays with a row per input.

    For a model of several outputs each attribute is a list. The class measures are
    `None` for outputs that are not probabilities. Logarithms are natural.

    Attributes:
        mean: mean over the samples; of probabilities, the predictive distribution.
        std: standard deviation over the samples (divided by their number).
        entropy: of the mean: all uncertainty.
        expected_entropy: mean entropy of a sample: what more training data would not
            take away (aleatoric).
        mutual_information: the difference of the two: what the model does not know
            (epistemic).
        variation_ratio: share of the samples that vote against the most voted class.
        quantiles: of the samples, of shape `(quantiles, *mean.shape)`, if asked for.
        covariance: of the numbers of each output row, of shape `(rows, n, n)`; only of
            the exact head.
        samples: all samples, of shape `(samples, *mean.shape)`, if asked for.
    """

    mean: Any
    std: Any
    entropy: Any
    expected_entropy: Any
    mutual_information: Any
    variation_ratio: Any
    quantiles: Any = None
    covariance: Any = None
    samples: Any = None

    def __str__(self) -> str:
        several = isinstance(self.mean, list)
        lines = []
        for i in range(len(self.mean) if several else 1):
            values = {m: getattr(self, m) for m in MEASURES}
            if several:
                values = {m: v[i] for m, v in values.items()}
            about = ", ".join(
                f"{name.replace('_', ' ')} {np.mean(v):.3g}"
                for name, v in values.items()
                if name != "mean" and v is not None
            )
            lines.append(f"{values['mean'].shape[0]} inputs; on average {about}")
        return "\n".join(lines)

    def plot(self, y: np.ndarray | None = None) -> Figure:
        """Draws how uncertain the predictions are.

        For classes: how the entropy is distributed and how it divides into what the
        data leaves open and what the model does not know, right and wrong answers apart
        if `y` is given. For numbers: mean and spread of each input, in order.

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

        if self.entropy is None:
            return plotting.predicted_numbers(self.mean, self.std, y)
        right = None if y is None else self._right(np.asarray(y))
        return plotting.predicted_classes(
            self.expected_entropy, self.mutual_information, right
        )

    def _right(self, y: np.ndarray) -> np.ndarray:
        if y.size != np.prod(self.mean.shape[:-1]):
            raise ValueError(
                f"y must hold {np.prod(self.mean.shape[:-1])} labels, one for each "
                f"answer. Received: shape {y.shape}"
            )
        if self.mean.shape[-1] == 1:
            return np.asarray((self.mean[..., 0] > 0.5) == (y.reshape(-1) > 0.5))
        return np.asarray(self.mean.argmax(-1) == y.reshape(self.mean.shape[:-1]))


def mc_predict(
    model: keras.Model,
    x: Any,
    samples: int = 100,
    *,
    batch_size: int = 32,
    seed: int | None = None,
    masks: str = "independent",
    return_samples: bool = False,
    quantiles: Sequence[float] | None = None,
    layers: Sequence[str | keras.layers.Layer] | None = None,
    verbose: Verbose = "auto",
) -> MCPrediction:
    r"""Predicts with dropout switched on, many times, and says how far samples differ.

    With samples $p_s(x)$ of a classifier and $H(p) = -\sum_c p_c \ln p_c$,

    $$
    \underbrace{H(\bar p)}_{\text{entropy}} =
    \underbrace{\overline{H(p_s)}}_{\text{expected entropy}} +
    \underbrace{I}_{\text{mutual information}}, \qquad \bar p = \frac{1}{S} \sum_s p_s
    $$

    A model with ordinary `Dropout` needs no conversion. Only dropout is switched on,
    also that of recurrent and attention layers and in nested models; batch norm,
    augmentation and everything else stay in inference mode, and nothing in the model
    changes, not even the state of its seed generators.

    A sample of an input depends on nothing but `seed`, `samples`, and the input's
    position in `x`: neither on `batch_size` nor on how the work is divided.

    - `masks="independent"`: each sample of each input has masks of its own.
    - `"coherent"`: a sample has the same masks for all inputs, so that it is one
      network. Large batches cost least so.
    - `"stratified"`: over the samples of an input, each unit is dropped as often as it
      should be (a Latin hypercube). Each sample by itself is distributed as before, but
      half the samples or fewer give the same error of the mean and the entropy.

    Args:
        model: any Keras model with dropout in it. The part of a functional or
            Sequential model that comes before the first dropout runs only once.
        x: inputs as `predict` takes them: an array, a list or dict of arrays, a
            `tf.data.Dataset` or a `keras.utils.PyDataset` (targets are ignored).
        samples: how many predictions to draw for each input. 0 gives mean and
            covariance in closed form, where the only dropout feeds a last linear
            `Dense`.
        batch_size: inputs at once, where `x` is not batched already.
        seed: integer of at least 0 for the same samples each time.
        masks: `"independent"`, `"coherent"` or `"stratified"`.
        return_samples: whether to keep all samples, which needs memory for them.
        quantiles: shares in [0, 1] whose quantiles of the samples to return.
        layers: names or layers to sample from, with what is inside them; all others
            stay off. `None` for all that have dropout.
        verbose: 0 shows nothing, 1 a progress bar, `"auto"` a bar when it takes long.

    Returns:
        An `MCPrediction` with the measures above, standard deviations and, if asked
        for, the samples.

    Raises:
        ValueError: if the model has no dropout, `layers` names none of it, an argument
            is not as said above, or `samples` is 0 and there is no closed form.
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
            "mc_predict gives NumPy arrays and compiles what it runs itself, so it "
            "can't be called inside a tf.function. Call it outside, or call the model "
            "that to_monte_carlo gives"
        )
    batch_size = _arguments.count("batch_size", batch_size)
    task = Task(
        _arguments.count("samples", samples, least=0),
        None if seed is None else _arguments.count("seed", seed, least=0),
        _arguments.choice("masks", masks, MASKS),
        _arguments.switch("return_samples", return_samples),
        _shares(quantiles),
    )
    sampler = sampler_of(model, random_layers(model, layers))
    sample = (
        exact(sampler, task)
        if samples == 0
        else partial(sampler.sample, task=task, draws=Draws.of(task))
    )
    progress, rows = Progress(verbose), 0
    groups: list[list[dict[str, np.ndarray]]] = []
    with unmoved(model):
        for batch, total in batches(x, batch_size):
            groups += sample(batch, rows)
            rows += int(keras.tree.flatten(batch)[0].shape[0])
            progress.after(None, total)
    if not groups:
        raise ValueError("x must hold at least one input. Received: no batch")
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


def _shares(quantiles: Sequence[float] | None) -> tuple[float, ...]:
    if quantiles is None:
        return ()
    return tuple(
        _arguments.number("quantiles", q, high=1.0, bounds="[]")
        for q in _arguments.several("quantiles", quantiles)
    )


def _joined(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The measures of one output, of all batches together."""
    proper = all(part["proper"] for part in parts)
    return {
        name: np.concatenate(
            [p[name] for p in parts], axis=int(name in ("samples", "quantiles"))
        )
        for name in parts[0]
        if name in ("mean", "std", *ON_DEMAND) or (proper and name in MEASURES)
    }
