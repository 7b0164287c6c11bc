"""How activations are distributed, layer by layer, as training goes on."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._batches import first_batch
from keras_dnn._keras.layers import is_complete, require_call, rows_of_states
from keras_dnn._keras.prediction import batch_for_keras
from keras_dnn._kernel_axes import channel_axis
from keras_dnn._result import require_recorded
from keras_dnn._tensorflow import require_tensorflow, tf
from keras_dnn._typing import Every, Tensor
from keras_dnn._unchanged import moving_variables, restored, same_randomness
from keras_dnn.callbacks._only_once import require_once
from keras_dnn.callbacks._probe.histogram import SIZE, counts_and_edges, histogram
from keras_dnn.diagnostics._units import dead_fraction, saturated_fraction
from keras_dnn.models._layer_outputs import watched

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ActivationStatistics(keras.callbacks.Callback):
    """Records how the outputs of each layer are distributed on one fixed batch.

    It takes a snapshot when training begins and then after each epoch, or after every
    so many batches: one compiled forward pass in inference mode, which leaves the model
    as it was, random states included. Layers inside nested models and other layers are
    recorded too. Layers that only rearrange values or do nothing in inference mode
    (`Flatten`, `Dropout`) and the cells of recurrent layers are left out. The outputs
    of all calls of a shared layer are taken together.

    A unit is an entry of the last axis, or a channel. It is *dead* if it outputs
    exactly zero for the whole batch, and *saturated* if three quarters of its outputs
    lie where its activation's slope is below 5% of the steepest (both ends of a sigmoid
    or tanh, the negative end of an ELU or SELU).

    Calling `fit` again adds to the record; another model starts a new one.

    Args:
        data: the batch: what the model takes as `x`, a tuple `(x, y)`, whose `y` is
            not used, or a `tf.data.Dataset` or `keras.utils.PyDataset`, whose first
            batch is taken. A stateful model gets as many rows as it takes at once.
        every: `"epoch"`, or the number of batches between two snapshots. A block of
            `steps_per_execution` batches is never interrupted.

    Attributes:
        names: the layers' paths, in the order in which they are called.

    Raises:
        ValueError: if `every` is neither `"epoch"` nor a positive integer.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.callbacks import ActivationStatistics
        >>> model = keras.Sequential(
        ...     [
        ...         keras.Input((3,)),
        ...         keras.layers.Dense(4, activation="tanh"),
        ...         keras.layers.Dense(1),
        ...     ]
        ... )
        >>> model.compile("sgd", "mse")
        >>> x = np.ones((8, 3))
        >>> activations = ActivationStatistics(x)
        >>> history = model.fit(
        ...     x, x.sum(axis=1), epochs=2, verbose=0, callbacks=[activations]
        ... )
        >>> activations.stds.shape
        (3, 2)

    Reference:
        X. Glorot and Y. Bengio, "Understanding the difficulty of training deep
        feedforward neural networks", 2010.
    """

    def __init__(self, data: Any, every: Every = "epoch") -> None:
        super().__init__()
        self.data = data
        self.every: Every = _arguments.every(every)
        self._recorded_model: keras.Model | None = None
        self._begin_record()

    def _begin_record(self) -> None:
        self.names: list[str] = []
        self._batches = 0
        self._snapshots: list[_Snapshot] = []

    # What fit calls -------------------------------------------------------------------

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Takes the first snapshot, of the model as it was initialised."""
        require_tensorflow("keras_dnn.callbacks.ActivationStatistics")
        require_once(self)
        require_call(self.model, "ActivationStatistics")
        if self._recorded_model is not self.model:
            self._recorded_model = self.model
            self._begin_record()
        self._x = first_batch(
            self.data,
            rows_at_once=rows_of_states(self.model),
            prepare=functools.partial(batch_for_keras, self.model),
        )
        self._measure = tf.function(self._statistics)
        self._before_epoch = self._batches
        if is_complete(self.model):
            self._take_snapshot()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts the batches from here."""
        self._before_epoch = self._batches

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Takes a snapshot after every so many batches."""
        before = self._batches
        # The last block of an epoch may be a short one.
        done = min(batch + 1, self.params["steps"] or batch + 1)
        self._batches = self._before_epoch + done
        if self.every != "epoch" and (
            self._batches // int(self.every) > before // int(self.every)
        ):
            self._take_snapshot()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Takes a snapshot, unless `every` counts batches."""
        if self.every == "epoch":
            self._take_snapshot()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Frees the compiled function and the batch."""
        del self._measure, self._x

    # One snapshot ---------------------------------------------------------------------

    def _take_snapshot(self) -> None:
        if self._snapshots and self._snapshots[-1].step == self._batches:
            self._snapshots.pop()  # The weights may have been set since.
        # A layer that is random in inference too would advance its random state.
        with same_randomness(), restored(moving_variables(self.model)):
            measured = [np.asarray(value) for value in self._measure(self._x)]
        self._snapshots.append(_Snapshot(self._batches, *measured))

    def _statistics(self, x: Any) -> tuple[Tensor, ...]:
        """Traced once: the statistics of every layer."""
        graph = tf.compat.v1.get_default_graph()
        found: dict[int, tuple[keras.layers.Layer, list[Tensor]]] = {}

        def keep(layer: keras.layers.Layer, outputs: Any) -> None:
            output = keras.tree.flatten(outputs)[0]
            # The outputs inside a loop are not available outside it.
            if getattr(output, "graph", None) is graph and output.dtype.is_floating:
                found.setdefault(id(layer), (layer, []))[1].append(output)

        with watched(self.model, keep):
            self.model(x, training=False)
        # A layer without weights may have no path.
        self.names = [layer.path or layer.name for layer, _ in found.values()]
        if not found:
            raise ValueError(
                "The model has no layer whose outputs can be recorded. "
                f"Received: model={self.model.name!r}"
            )
        rows = [_of_layer(layer, outputs) for layer, outputs in found.values()]
        return tuple(tf.stack(column) for column in zip(*rows, strict=True))

    # The record -----------------------------------------------------------------------

    @property
    def steps(self) -> np.ndarray:
        """The batches trained on before each snapshot, of shape `(snapshots,)`."""
        return np.array([snapshot.step for snapshot in self._snapshots], "int64")

    @property
    def means(self) -> np.ndarray:
        """Mean of each layer's outputs, of shape `(snapshots, layers)`."""
        return self._stacked("means")

    @property
    def stds(self) -> np.ndarray:
        """Standard deviation of its outputs, of shape `(snapshots, layers)`."""
        return self._stacked("stds")

    @property
    def dead(self) -> np.ndarray:
        """Fraction of dead units in each layer, of shape `(snapshots, layers)`."""
        return self._stacked("dead")

    @property
    def saturated(self) -> np.ndarray:
        """Fraction of saturated units in each layer, of shape `(snapshots, layers)`.

        NaN where the activation has no flat side.
        """
        return self._stacked("saturated")

    @property
    def histograms(self) -> np.ndarray:
        """Counts of the finite outputs, of shape `(snapshots, layers, 64)`."""
        return counts_and_edges(self._stacked("histograms", SIZE))[0]

    @property
    def histogram_edges(self) -> np.ndarray:
        """Edges of the histograms' bins, of shape `(snapshots, layers, 65)`."""
        return counts_and_edges(self._stacked("histograms", SIZE))[1]

    def _stacked(self, name: str, *shape: int) -> np.ndarray:
        if not self._snapshots:
            return np.empty((0, len(self.names), *shape))
        return np.stack([getattr(snapshot, name) for snapshot in self._snapshots])

    def plot(self) -> Figure:
        """Draws means, dead and saturated units by layer, and histograms over time.

        Returns:
            The figure.

        Raises:
            ImportError: if matplotlib is not installed.
            ValueError: if nothing was recorded yet.
        """
        require_recorded(self._snapshots)
        from keras_dnn import plotting

        return plotting.activations(
            self.steps,
            self.names,
            self.means,
            self.stds,
            self.dead,
            self.saturated,
            self.histograms,
            self.histogram_edges,
        )


class _Snapshot(NamedTuple):
    """Statistics at one moment, an entry for each layer."""

    step: int
    means: np.ndarray
    stds: np.ndarray
    dead: np.ndarray
    saturated: np.ndarray
    histograms: np.ndarray


def _of_layer(layer: keras.layers.Layer, outputs: list[Tensor]) -> tuple[Tensor, ...]:
    """Mean, standard deviation, dead, saturated and histogram of one layer."""
    by_unit = [_by_unit(layer, output) for output in outputs]
    if len({output.shape[-1] for output in by_unit}) > 1:
        by_unit = [tf.reshape(output, (-1, 1)) for output in by_unit]
    y = tf.concat(by_unit, 0)
    mean = tf.reduce_mean(y)
    std = tf.sqrt(tf.reduce_mean(tf.square(y - mean)))
    dead, saturated = dead_fraction(y), saturated_fraction(layer, y)
    return mean, std, dead, saturated, histogram(y)


def _by_unit(layer: keras.layers.Layer, output: Tensor) -> Tensor:
    """The outputs as a matrix with a column for each unit."""
    y = tf.cast(output, tf.float64)
    if len(y.shape) == 1:
        return y[:, tf.newaxis]
    channels = channel_axis(layer, len(y.shape))
    if channels != len(y.shape) - 1:
        y = tf.experimental.numpy.moveaxis(y, channels, -1)
    return tf.reshape(y, (-1, y.shape[-1]))
