"""Whole networks of keras.applications; benchmarks/compare_folding.py has them all."""

import keras
import pytest

from keras_dnn.models import fold_batch_norm
from tests.models.fold_cases import norms_in, randomised


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "others"), [("MobileNetV2", 0), ("EfficientNetB0", 2)]
)
def test_they_lose_all_their_norms(name, others):
    model = getattr(keras.applications, name)(
        input_shape=(64, 64, 3), weights=None, classes=10, classifier_activation=None
    )
    randomised(model)
    count = len(norms_in(model))

    result = fold_batch_norm(model)

    assert len(result.folded) == count
    assert result.kept == result.affine_kept == {}
    assert len(result.affine_folded) == others
    assert norms_in(result.model) == []
    assert result.max_error <= 1e-5
