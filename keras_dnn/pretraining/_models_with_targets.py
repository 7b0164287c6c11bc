"""Models that know their own targets, so that `fit(x)` is enough.

Keras hands `compute_loss` and `compute_metrics` the targets of the data. Where there
are none, these models put their own in their place; the rest, `train_step` too, is
Keras's.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn._typing import Tensor

BELOW = "below"
"""The layer that gives what a stage has to reconstruct."""


class OwnTargets:
    """Beside `keras.Model`: targets from the inputs where the data bring none.

    No subclass of it, since Keras turns the bases of a model that is made of inputs and
    outputs into functional models, for good.
    """

    def own_targets(self, x: Tensor) -> Tensor:
        """The targets of a batch."""
        raise NotImplementedError

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """The compiled loss."""
        y = self.own_targets(x) if y is None else y
        return super().compute_loss(  # type: ignore[misc]
            x, y, y_pred, sample_weight, training
        )

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> Any:
        """The compiled metrics."""
        y = self.own_targets(x) if y is None else y
        return super().compute_metrics(  # type: ignore[misc]
            x, y, y_pred, sample_weight
        )


@keras.saving.register_keras_serializable(package="keras_dnn")
class Reconstruction(OwnTargets, keras.Model):
    """Has to give back its inputs."""

    def own_targets(self, x: Tensor) -> Tensor:
        """The inputs."""
        return x


@keras.saving.register_keras_serializable(package="keras_dnn")
class Stage(OwnTargets, keras.Model):
    """Has to give back what the layers below it give."""

    def own_targets(self, x: Tensor) -> Tensor:
        """The features that the layers below give."""
        return self.get_layer(BELOW)(x, training=False)


@keras.saving.register_keras_serializable(package="keras_dnn")
class RightIsFirst(OwnTargets, keras.Model):
    """A classifier that puts the right class first."""

    def own_targets(self, x: Tensor) -> Tensor:
        """Zeros, the place of the right class."""
        return keras.ops.zeros(keras.ops.shape(x)[:1], "int32")
