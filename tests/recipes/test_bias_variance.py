"""Bias and variance, computed by hand."""

import json

import matplotlib.pyplot as plt
import pytest

from keras_dnn.recipes import bias_variance


@pytest.mark.parametrize(
    ("train", "validation", "target", "expected"),
    [
        (0.08, 0.10, 0.00, "both"),
        (0.08, 0.085, 0.00, "bias"),
        (0.08, 0.10, 0.075, "variance"),
        (0.08, 0.085, 0.075, "neither"),
        (0.01, 0.15, 0.0, "both"),
        (0.005, 0.15, 0.0, "variance"),
        (0.10, 0.08, 0.0, "bias"),
        (0.10, 0.11, 0.2, "variance"),
    ],
)
def test_which_part_is_large(train, validation, target, expected):
    result = bias_variance(train, validation, target)
    assert result.diagnosis == expected
    assert result.avoidable_bias == pytest.approx(train - target, abs=1e-15)
    assert result.variance == pytest.approx(validation - train, abs=1e-15)
    total = target + result.avoidable_bias + result.variance
    assert total == pytest.approx(validation, rel=1e-12)


def test_the_target_is_zero_by_default():
    assert bias_variance(0.3, 0.3).avoidable_bias == 0.3


def test_the_tolerance_is_the_smallest_part_that_counts():
    assert bias_variance(0.3, 0.35, 0.3, tolerance=0.05).diagnosis == "variance"
    assert bias_variance(0.3, 0.35, 0.3, tolerance=0.0505).diagnosis == "neither"
    assert bias_variance(0.35, 0.35, 0.3, tolerance=0.05).diagnosis == "bias"
    assert bias_variance(0.35, 0.35, 0.3, tolerance=0.0505).diagnosis == "neither"
    assert bias_variance(0.3, 0.3, 0.3, tolerance=0.0).diagnosis == "neither"


def test_advice_goes_with_the_larger_part():
    bias = bias_variance(0.2, 0.21, 0.0, tolerance=0.05)
    assert "larger network" in bias.advice[0]
    assert "less regularisation" in " ".join(bias.advice)
    variance = bias_variance(0.005, 0.2)
    assert "more data" in variance.advice[0]
    assert "more regularisation" in " ".join(variance.advice)
    mixed = bias_variance(0.2, 0.5)
    assert "Variance is the larger part" in mixed.conclusion
    assert "more data" in mixed.advice[0]
    other = bias_variance(0.5, 0.7)
    assert "Bias is the larger part" in other.conclusion
    assert "larger network" in other.advice[0]
    # One part needs more of it, the other less.
    assert "regularisation" not in " ".join(mixed.advice + other.advice)


def test_text_dict_and_plot_show_the_numbers():
    result = bias_variance(0.08, 0.10, 0.01)
    text = str(result)
    assert "target 0.01 +0.07 avoidable bias" in text
    assert "+0.02 variance = validation 0.1" in text
    assert json.loads(json.dumps(result.to_dict()))["diagnosis"] == "both"
    ax = result.plot()
    bars = [(bar.get_x(), bar.get_width()) for bar in ax.patches]
    for found, expected in zip(
        bars, [(0, 0.01), (0.01, 0.07), (0.08, 0.02)], strict=True
    ):
        assert found == pytest.approx(expected)
    plt.close(ax.figure)


@pytest.mark.parametrize("errors", [(-0.1, 0.1), (0.1, float("nan")), (0.1, "0.2")])
def test_bad_errors_are_refused(errors):
    with pytest.raises(ValueError, match=r"_error must be a number in \[0, inf\)"):
        bias_variance(*errors)
    with pytest.raises(ValueError, match="tolerance must be"):
        bias_variance(0.1, 0.1, tolerance=-1)
