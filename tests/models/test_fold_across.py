"""Folding backward across what lies between a batch norm and a linear layer."""

import numpy as np
import pytest
from keras import layers

from keras_dnn.models import fold_batch_norm
from tests.models.fold_cases import (
    IMAGE,
    BatchNorm,
    chain,
    conv,
    difference,
    normal,
    randomised,
)

BETWEEN = {
    "dropout": lambda: [layers.Dropout(0.5)],
    "identities": lambda: [layers.Activation("linear"), layers.SpatialDropout2D(0.1)],
    "reshape": lambda: [layers.Reshape((3, 12, 4))],
    "permute": lambda: [layers.Permute((2, 1, 3))],
    "crop": lambda: [layers.Cropping2D(((1, 0), (0, 2)))],
    "upsample": lambda: [layers.UpSampling2D(2, interpolation="bilinear")],
    "mean": lambda: [layers.AveragePooling2D(4, 2, padding="same")],
    "mean of all": lambda: [layers.GlobalAveragePooling2D()],
    "mean of all, axes kept": lambda: [layers.GlobalAveragePooling2D(keepdims=True)],
}


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
def test_across_layers_that_only_move_or_average(between):
    model = chain(IMAGE, conv(name="c"), *between(), BatchNorm(name="n"))
    result = fold_batch_norm(randomised(model))
    assert result.folded == {"n": "c"}
    assert len(result.model.layers) == len(model.layers) - 1
    assert result.max_error < 1e-6
    assert difference(model, result.model, normal(3, *IMAGE)) < 5e-6


def test_across_a_flatten_where_each_place_has_the_same_scale():
    """One number for each place, so that a map of biases takes the shifts in."""
    norm = BatchNorm(scale=False, name="n")
    model = randomised(chain((3, 2), layers.Dense(2, name="c"), layers.Flatten(), norm))
    assert fold_batch_norm(model).folded == {}
    norm.moving_variance.assign(np.ones(6))
    result = fold_batch_norm(model)
    assert result.folded == {"n": "c"}
    assert [x.name for x in result.model.layers][:2] == ["c", "c_bias_map"]
    assert difference(model, result.model, normal(3, 3, 2)) < 5e-6


@pytest.mark.parametrize("kind", [layers.MaxPooling2D, layers.GlobalMaxPooling2D])
def test_across_the_maximum_where_no_scale_is_negative(kind):
    norm = BatchNorm(name="n")
    model = randomised(chain(IMAGE, conv(name="c"), kind(name="p"), norm))
    assert "a scale is negative" in fold_batch_norm(model).kept["n"]
    norm.gamma.assign(np.abs(norm.gamma) * [1, 0, 1, 1])
    result = fold_batch_norm(model)
    assert result.folded == {"n": "c"}
    assert difference(model, result.model, normal(3, *IMAGE)) < 5e-6


def test_zeros_between_do_not_matter_without_a_shift():
    norm = BatchNorm(center=False, name="n")
    model = randomised(chain(IMAGE, conv(), layers.ZeroPadding2D(1), norm))
    norm.moving_mean.assign(np.zeros(4))
    result = fold_batch_norm(model)
    assert list(result.folded) == ["n"]
    assert difference(model, result.model, normal(3, *IMAGE)) < 5e-6
