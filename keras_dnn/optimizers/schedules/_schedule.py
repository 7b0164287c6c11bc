"""The base class of all schedules: their values without training, and a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_dnn._typing import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Base class of the schedules in this package.

    A subclass writes `__call__(step)` in `keras.ops`, for a step that is an int, an
    array or a tensor of any shape, and `get_config`. Steps count from 0; steps past the
    end have the last value.

    Example:
        >>> import keras
        >>> from keras_dnn.optimizers.schedules import Schedule
        >>> class Halving(Schedule):
        ...     def __call__(self, step):
        ...         return 0.5 ** keras.ops.cast(step, "float32")
        >>> Halving().values([0, 1, 2])
        array([1.  , 0.5 , 0.25], dtype=float32)
    """

    def __call__(self, step: Tensor) -> Tensor:
        """The value at `step`, which may be an int, an array or a tensor."""
        raise NotImplementedError(f"{type(self).__name__} must define `__call__`.")

    def values(self, steps: Any) -> np.ndarray:
        """The values at `steps`, without training.

        Args:
            steps: an int or an array-like of ints.

        Returns:
            An array of the shape of `steps`.
        """
        return np.asarray(keras.ops.convert_to_numpy(self(np.asarray(steps))))

    def plot(self, steps: int, ax: Axes | None = None) -> Axes:
        """Plots the first `steps` values.

        Args:
            steps: how many steps to plot.
            ax: where to plot; a new figure if `None`.

        Returns:
            The axes with the plot.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        from keras_dnn import plotting

        positions = np.arange(steps)
        return plotting.schedule(
            positions, self.values(positions), label=self.plot_label, ax=ax
        )

    plot_label: str = "learning rate"
    """The label of the value in a plot."""
