"""Models that compute their own targets, so that `fit(x)` is enough.

Where the data have no targets, these models pass their own to Keras's `compute_loss`
and `compute_metrics`. Everything else, `train_step` too, is Keras's.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn._tensorflow import refuse_backend
from keras_dnn._typing import Tensor

BELOW = "below"
"""Name of the layer whose output a stage has to reconstruct."""


class OwnTargets:
    """Mixin for `keras.Model`: targets computed from the inputs if the data have none.

    It is not a subclass of `keras.Model`, since Keras permanently replaces that base
    class when such a model is made of inputs and outputs.
    """

    def own_targets(self, x: Tensor) -> Tensor:
        """Returns the targets of a batch."""
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
        # The first is the mean of the loss, which is computed already.
        if y is None and len(self.metrics) > 1:  # type: ignore[attr-defined]
            y = self.own_targets(x)
        return super().compute_metrics(  # type: ignore[misc]
            x, y, y_pred, sample_weight
        )


@keras.saving.register_keras_serializable(package="keras_dnn")
class Reconstruction(OwnTargets, keras.Model):
    """A model that has to reconstruct its inputs."""

    def own_targets(self, x: Tensor) -> Tensor:
        """Returns the inputs."""
        return x


@keras.saving.register_keras_serializable(package="keras_dnn")
class Stage(OwnTargets, keras.Model):
    """A model that has to reconstruct the features of the layers below."""

    def own_targets(self, x: Tensor) -> Tensor:
        """Returns the features of the layers below."""
        return self.get_layer(BELOW)(x, training=False)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> Any:
        """The compiled metrics."""
        if y is None and len(self.metrics) > 1:
            refuse_backend(
                "jax",
                "A metric of a stage of keras_dnn.pretraining.stacked_autoencoder",
                "where metrics cannot use the weights of the layers below; compile "
                "the stage without metrics",
            )
        return super().compute_metrics(x, y, y_pred, sample_weight)


@keras.saving.register_keras_serializable(package="keras_dnn")
class RightIsFirst(OwnTargets, keras.Model):
    """A classifier that puts the right class first."""

    def own_targets(self, x: Tensor) -> Tensor:
        """Returns zeros, the index of the right class."""
        return keras.ops.zeros(keras.ops.shape(x)[:1], "int32")
