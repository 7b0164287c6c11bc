"""Differences between outputs, against counting by hand."""

import keras
import numpy as np
import pytest

from keras_dnn.models._output_difference import (
    LargestDifference,
    largest,
    means,
    model_differences,
    relative_differences,
)


def test_differences_are_fractions_of_the_standard_deviation():
    expected = np.array([[0.0, 4.0], [8.0, 4.0]], "float32")  # deviates by √8
    found = expected + np.array([[0.5, 0.0], [0.0, -0.1]], "float32")
    differences = relative_differences([expected], [found])
    assert largest(differences) == pytest.approx(0.5 / np.sqrt(8), rel=1e-6)
    assert means(differences) == pytest.approx([0.6 / 4 / np.sqrt(8)], rel=1e-6)


def test_each_output_has_its_own_standard_deviation():
    generator = np.random.default_rng(1)
    expected = [generator.normal(scale=s, size=(50, 3)) for s in (1.0, 100.0)]
    # Larger in the second output as numbers, in the first one as fractions.
    found = [expected[0] + 0.1, expected[1] + 1.0]
    fractions = [0.1 / expected[0].std(), 1.0 / expected[1].std()]
    differences = relative_differences(expected, found)
    assert largest(differences) == pytest.approx(fractions[0], rel=1e-9)
    assert means(differences) == pytest.approx(fractions, rel=1e-9)


@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize("outputs", [1, 2])
def test_nan_is_never_a_match(place, outputs):
    """Wherever it is, in any output, and in both models at once too."""
    right = np.array([0.0, 2.0, 5.0])
    broken = right.copy()
    broken[place] = np.nan
    for a, b in ((right, broken), (broken, right), (broken, broken)):
        for order in (slice(None), slice(None, None, -1)):
            expected, found = [a, right][:outputs][order], [b, right][:outputs][order]
            differences = relative_differences(expected, found)
            assert np.isnan(largest(differences))
            assert np.isnan(means(differences)).sum() == 1


def test_equal_infinities_match_and_others_do_not():
    expected = np.array([0.0, 2.0, np.inf, -np.inf])
    found = expected.copy()
    found[0] = 0.5
    differences = relative_differences([expected], [found])
    # The standard deviation of 0 and 2 is 1.
    np.testing.assert_array_equal(differences[0], [0.5, 0.0, 0.0, 0.0])
    assert largest(relative_differences([expected], [-expected])) == np.inf
    found[2] = 2.0
    assert largest(relative_differences([expected], [found])) == np.inf


def test_constant_outputs_are_compared_as_they_are():
    differences = relative_differences([np.ones(4)], [np.full(4, 1.25)])
    assert (largest(differences), means(differences)) == (0.25, [0.25])


def test_outputs_without_rows_do_not_differ():
    differences = relative_differences([np.ones((0, 3))], [np.ones((0, 3))])
    assert (largest(differences), means(differences)) == (0.0, [0.0])


def test_another_shape_is_an_error():
    with pytest.raises(ValueError, match=r"\(2, 1\) instead of \(2,\)"):
        relative_differences([np.ones(2)], [np.ones((2, 1))])


def doubled(model):
    changed = keras.models.clone_model(model)
    changed.set_weights([2 * w for w in model.get_weights()])
    return changed


def test_models_are_compared_by_their_predictions():
    x = keras.Input((4,))
    dense = keras.layers.Dense
    model = keras.Model(x, [dense(3, name="one")(x), dense(2, name="two")(x)])
    data = np.random.default_rng(1).normal(size=(70, 4))
    fractions = [np.abs(y) / y.std() for y in model.predict(data, verbose=0)]
    found = model_differences(model, doubled(model), data)
    assert found[0] == pytest.approx(max(f.max() for f in fractions), rel=1e-5)
    assert found[1] == pytest.approx(np.mean([f.mean() for f in fractions]), rel=1e-5)


def test_a_model_that_predicts_nan_is_no_match():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    broken = keras.models.clone_model(model)
    broken.set_weights([np.nan * w for w in model.get_weights()])
    assert np.isnan(model_differences(model, broken, np.ones((5, 4)))).all()


def test_random_inputs_stand_in_for_data_where_the_model_runs_on_them():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    assert model_differences(model, doubled(model), None)[0] > 0.1
    picky = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Reshape((7,))])
    assert np.isnan(model_differences(picky, picky, None)).all()


class Preprocessing(keras.Model):
    """Scales its inputs before Keras predicts, with a constructor of its own."""

    def __init__(self):
        inputs = keras.Input((3,))
        super().__init__(inputs, keras.layers.Dense(2)(inputs))

    def predict(self, x, **kwargs):
        return super().predict(x / 100, **kwargs)


def test_both_models_get_what_a_predict_of_ones_own_makes_of_the_data():
    model = Preprocessing()
    plain = keras.Model(model.inputs, model.outputs)
    data = 100 * np.random.default_rng(3).normal(size=(6, 3)).astype("float32")
    assert model_differences(model, plain, data) == (0.0, 0.0)
    assert model_differences(model, plain, None) == (0.0, 0.0)
    outputs = model.predict(data, verbose=0)
    expected = np.abs(outputs).max() / outputs.std()
    found = model_differences(model, doubled(plain), data)[0]
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("special", [None, np.nan, np.inf])
def test_batches_give_the_largest_difference_of_all_rows(special):
    generator = np.random.default_rng(0)
    # Means that move from batch to batch, far from zero.
    drift = 1e4 + 50 * np.arange(40)[:, None]
    expected = [drift + generator.normal(size=(40, 3)), generator.normal(size=(40, 2))]
    found = [x + generator.normal(scale=0.1, size=x.shape) for x in expected]
    if special is not None:
        expected[1][25, 1] = special
        found[1][25, 1] = special
    running = LargestDifference()
    for rows in (slice(7), slice(7, 8), slice(8, 30), slice(30, 30), slice(30, 40)):
        running.add([x[rows] for x in expected], [x[rows] for x in found])
    right = largest(relative_differences(expected, found))
    assert np.isnan(right) == (special is not None and np.isnan(special))
    np.testing.assert_allclose(running.result(), right, rtol=1e-12)
