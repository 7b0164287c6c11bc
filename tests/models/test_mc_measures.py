"""The measures of samples: those of NumPy, in chunks or at once, in both precisions."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.models import MCPrediction
from keras_dnn.models._sampling import measures
from tests.models.mc_cases import measured

KINDS = {"numbers": 3, "classes": 3, "one of two": 1}


def samples_of(kind, count=23):
    """Of shape `(samples, inputs, outputs)`; the first input has equal samples."""
    rng = np.random.default_rng(1)
    y = rng.dirichlet([0.5] * 3, (count, 6))[..., : KINDS[kind]]
    y[:, 0] = y[0, 0]
    return y


def test_a_measure_is_an_attribute_of_the_prediction():
    names = [field.name for field in dataclasses.fields(MCPrediction)]
    assert names == [*measures.MEASURES, *measures.ON_DEMAND]
    y = tf.constant(samples_of("classes").swapaxes(0, 1))
    found = measures.measures_of(measures.moments_of(y, "classes"), "classes")
    assert tuple(found) == measures.MEASURES


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)]
)
def test_measures_are_those_of_numpy(dtype, tolerance, kind):
    y = samples_of(kind)
    rows = tf.constant(y.swapaxes(0, 1), dtype)

    found = measures.measures_of(measures.moments_of(rows, kind), kind)

    expected = measured(y, classes=kind != "numbers")
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=tolerance, atol=tolerance)
    assert np.all(found["std"][0] == 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [[23], [1, 22], [5, 5, 5, 8], [1] * 23])
def test_chunks_together_have_the_moments_of_all_samples(sizes, kind):
    y = samples_of(kind)
    rows = tf.constant(y.swapaxes(0, 1) + 1e6 * (kind == "numbers"), tf.float64)
    moments = measures.no_samples([6, KINDS[kind]], kind)
    for part in tf.split(rows, sizes, axis=1):
        moments = measures.merged(moments, measures.moments_of(part, kind))

    expected = measures.moments_of(rows, kind)

    for one, other in zip(moments, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    assert bool(moments.proper) == (kind != "numbers")


@pytest.mark.parametrize("wrong", [1.1, -0.1])
def test_one_improper_sample_is_enough(wrong):
    y = samples_of("classes")
    y[7, 3, 0] = wrong
    rows = tf.constant(y.swapaxes(0, 1))
    assert not measures.moments_of(rows, "classes").proper
