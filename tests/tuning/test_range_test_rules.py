"""Suggestions from curves whose good rates are known."""

import json
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from keras_dnn.tuning import RangeTest, range_test

RATES = np.geomspace(1e-7, 10, 100)
DECADES_A_STEP = 8 / 99
STEEPEST, LOWEST, EDGE = 3.2e-3, 8.3e-2, 0.5
PLATEAU, DEPTH, WIDTH, BEND = 2.3, 1.5, 0.25, 0.15


def read(losses, rates=RATES, sweep="exponential", smoothing=0.98, seed=0):
    """The result of a sweep with these losses."""
    losses = np.asarray(losses, "float64")
    recorder = SimpleNamespace(updates=lambda: (rates[: len(losses)], losses))
    return range_test._result(recorder, sweep, smoothing, seed)


def logistic(z):
    return 1 / (1 + np.exp(-z))


def loss_at(rates, depth=DEPTH):
    """A descent of `depth` around `STEEPEST`, lowest at `LOWEST`, then a blow-up.

    In decades u the descent is logistic and the blow-up exponential; its size makes
    the derivative vanish at `LOWEST`.
    """
    u, steepest, lowest, edge = map(np.log10, (rates, STEEPEST, LOWEST, EDGE))
    z = (lowest - steepest) / WIDTH
    fall = depth / WIDTH * logistic(z) * (1 - logistic(z))
    size = fall * BEND * np.exp((edge - lowest) / BEND)
    descent = depth * logistic((u - steepest) / WIDTH)
    return PLATEAU - descent + size * np.exp((u - edge) / BEND)


def stopped(losses):
    """The losses until the sweep stops, soon after they begin to explode."""
    return losses[: np.argmax(losses > 4 * PLATEAU) or len(losses)]


CURVE = stopped(loss_at(RATES))


def noise(seed, like=CURVE, sigma=0.1):
    return np.random.default_rng(seed).normal(0, sigma, len(like))


def decades(a, b):
    return np.abs(np.log10(a) - np.log10(b))


# The rules


@pytest.mark.parametrize(
    ("rule", "answer", "tolerance"),
    [
        ("valley", STEEPEST, 0.1),
        ("steepest", STEEPEST, DECADES_A_STEP / 2),
        ("minimum", LOWEST / 10, 0.15),
        # A logistic curve is half as steep where e^z + e^-z = 6. The trend moves that
        # point outwards by less than half of its bandwidth.
        ("slide", STEEPEST * 10 ** (WIDTH * np.log(3 + np.sqrt(8))), 0.25),
    ],
)
def test_each_rule_finds_its_rate_on_a_curve_without_noise(rule, answer, tolerance):
    suggested = read(CURVE).suggestions[rule]
    assert decades(suggested, answer) < tolerance


def test_the_suggestion_is_the_valley():
    result = read(CURVE + noise(0))
    assert list(result.suggestions) == ["valley", "steepest", "minimum", "slide"]
    assert result.suggestion == result.suggestions["valley"]
    assert result.reason == ""


def test_the_deepest_of_two_descents_counts():
    u = np.log10(RATES)
    shallow = 0.4 * logistic((u + 5.5) / 0.1)
    back = 0.4 * logistic((u + 4.2) / 0.1)
    deep = 1.5 * logistic((u + 2.5) / WIDTH)
    result = read(PLATEAU - shallow + back - deep)
    assert decades(result.suggestion, 10**-2.5) < 0.1
    assert decades(result.suggestions["steepest"], 10**-2.5) < 0.1


def test_the_valley_is_half_the_descent_where_that_is_not_the_steepest_place():
    """Down by 1 in a slope of three decades, then by 0.3 within a tenth of one."""
    u = np.log10(RATES)
    losses = PLATEAU - np.clip((u + 5) / 3, 0, 1) - 0.3 * logistic((u + 1.7) / 0.03)
    result = read(losses)
    assert decades(result.suggestion, 10 ** (-5 + 3 * 0.65)) < 0.12
    assert decades(result.suggestions["steepest"], 10**-1.7) < 0.35


@pytest.fixture(scope="module", params=[0.1, 0.3])
def noisy(request):
    """The results of a hundred sweeps over the same curve, and their noise."""
    sigma = request.param
    return sigma, [read(CURVE + noise(seed, sigma=sigma)) for seed in range(100)]


@pytest.mark.parametrize(
    ("rule", "answer", "tolerance"),
    [
        ("valley", STEEPEST, 0.06),
        ("steepest", STEEPEST, 0.09),
        ("minimum", 8.3e-3, 0.2),
    ],
)
def test_suggestions_of_a_hundred_noisy_sweeps_lie_close_together(
    noisy, rule, answer, tolerance
):
    sigma, results = noisy
    found = np.array([result.suggestions[rule] for result in results])
    assert np.log10(found).std() < tolerance * sigma / 0.1
    assert decades(np.median(found), answer) < tolerance


def test_nine_of_ten_suggestions_lie_in_the_interval(noisy):
    _, results = noisy
    found = np.log10([result.suggestion for result in results])
    low, high = np.log10([result.interval for result in results]).T
    assert ((low <= found) & (found <= high)).all()
    inside = [
        np.mean((a <= found) & (found <= b)) for a, b in zip(low, high, strict=True)
    ]
    assert 0.75 < np.mean(inside) < 0.97
    wide = np.diff(np.quantile(found, (0.05, 0.95)))[0] + DECADES_A_STEP
    assert 0.5 * wide < (high - low).mean() < 1.5 * wide


def test_the_trend_follows_the_curve_and_not_the_noise(noisy):
    sigma, results = noisy
    errors = [result.trend - CURVE for result in results]
    inner = np.mean(errors, axis=0)[:-8]
    assert np.nanmax(np.abs(inner)) < 0.1
    assert np.std(errors, axis=0)[:-8].mean() < 0.5 * sigma


def test_the_interval_is_drawn_from_the_seed():
    losses = CURVE + noise(1, sigma=0.3)
    assert read(losses, seed=3).interval == read(losses, seed=3).interval
    assert len({read(losses, seed=seed).interval for seed in range(5)}) > 1


def test_a_linear_sweep_is_read_on_a_linear_scale():
    rates = np.linspace(1e-3, 1.0, 200)
    losses = PLATEAU - DEPTH * logistic((rates - 0.4) / 0.03) + 4 * (rates > 0.8)
    result = read(losses, rates, sweep="linear")
    assert result.suggestion == pytest.approx(0.4, abs=0.015)
    assert result.suggestions["steepest"] == pytest.approx(0.4, abs=0.015)


# Losses in other units


@pytest.mark.parametrize(
    ("scale", "shift"),
    [(4.0, 0.0), (1.0, -10.0), (1e-6, 0.0), (1e6, 5.0), (1.0, 1e3), (0.37, -3.1)],
)
def test_scaled_and_shifted_losses_give_the_same_suggestions(scale, shift):
    losses = CURVE + noise(2)
    expected, result = read(losses), read(scale * losses + shift)
    assert result.suggestions == expected.suggestions
    assert result.interval == expected.interval
    np.testing.assert_allclose(
        result.trend, scale * expected.trend + shift, rtol=1e-9, atol=1e-9 * scale
    )


@pytest.mark.parametrize("make", ["flat", "rising"])
@pytest.mark.parametrize(("scale", "shift"), [(1e-6, 0.0), (1.0, -10.0), (1e6, 5.0)])
def test_scaled_and_shifted_losses_give_the_same_reason_against_one(make, scale, shift):
    losses = PLATEAU + noise(3, RATES)
    if make == "rising":
        losses += np.linspace(0, 5, 100)
    assert read(scale * losses + shift).reason == read(losses).reason


# What ends a curve


@pytest.mark.parametrize("tail", [[np.nan], [np.inf], [np.nan, 1.0], [-np.inf, np.nan]])
def test_a_tail_that_is_not_finite_changes_nothing(tail):
    losses = CURVE + noise(4)
    result = read([*losses, *tail])
    assert result.suggestions == read(losses).suggestions
    assert result.interval == read(losses).interval
    np.testing.assert_array_equal(result.losses, [*losses, *tail])


def test_exploding_losses_do_not_move_the_suggestion():
    losses = CURVE + noise(5)
    explosion = 10.0 ** np.arange(1, 100 - len(losses) + 1)
    assert read([*losses, *explosion]).suggestions == read(losses).suggestions


def test_the_trend_ends_where_the_loss_is_back_above_its_first_value():
    above = (RATES[: len(CURVE)] > LOWEST) & (CURVE > PLATEAU)
    np.testing.assert_array_equal(np.isnan(read(CURVE).trend), above)


@pytest.mark.parametrize("smoothing", [0.0, 0.5, 0.98])
def test_smoothed_losses_are_weighted_averages_without_bias(smoothing):
    losses = CURVE + noise(6)
    result = read(losses, smoothing=smoothing)
    for t in range(len(losses)):
        weights = smoothing ** np.arange(t, -1.0, -1)
        expected = weights @ losses[: t + 1] / weights.sum()
        assert result.smoothed[t] == pytest.approx(expected, rel=1e-9)


def test_smoothed_losses_of_a_constant_are_that_constant():
    np.testing.assert_allclose(read(np.full(50, 2.3)).smoothed, 2.3, rtol=1e-12)


# Curves without a suggestion


def assert_no_suggestion(losses, word):
    """There is no suggestion, and the text gives a reason with this word."""
    result = read(losses)
    assert result.suggestion is None
    assert result.interval is None
    assert result.suggestions == {}
    assert word in result.reason
    assert f"no suggestion, {result.reason}" in str(result)


@pytest.mark.parametrize("value", [2.3, 0.0, -7.0, 1e9, 1e-9])
def test_constant_losses_are_flat(value):
    assert_no_suggestion(np.full(100, value), "flat")


def test_noise_without_a_descent_gives_no_suggestion_and_no_error():
    results = [read(PLATEAU + noise(seed, RATES)) for seed in range(100)]
    assert sum(result.suggestion is not None for result in results) <= 3


def test_noise_without_a_descent_is_called_flat():
    reasons = [read(PLATEAU + noise(seed, RATES)).reason for seed in range(20)]
    assert sum("diverge" in reason for reason in reasons) == 0
    assert sum("flat" in reason for reason in reasons) >= 18


def test_a_plateau_that_ends_in_a_blow_up_does_not_diverge_after_a_few_steps():
    rising = PLATEAU + 5 * np.maximum(0, np.log10(RATES) + 1)
    reasons = [read(rising + noise(seed, RATES)).reason for seed in range(20)]
    assert all(reasons)
    assert not [r for r in reasons if r.startswith("the loss diverges after")]


@pytest.mark.parametrize("sigma", [0.0, 0.02, 0.1])
def test_a_loss_that_rises_from_the_start_needs_a_lower_rate(sigma):
    losses = PLATEAU * np.exp(np.linspace(0, 5, 100)) + noise(7, RATES, sigma)
    assert_no_suggestion(losses, "lower min_rate")


def test_divergence_from_the_start_is_reported():
    assert_no_suggestion([2.3, 40.0, 5e3, 2e7, np.nan], "diverges")
    assert_no_suggestion([np.nan], "diverges")


@pytest.mark.parametrize("count", [0, 1, 2, 3, 9])
def test_too_few_losses_are_not_called_divergence(count):
    result = read(np.linspace(2.3, 2.2, count))
    assert result.suggestion is None
    assert result.reason
    assert "diverge" not in result.reason


# Text, dict and plot


def test_text_gives_the_suggestion_its_interval_and_the_rates():
    result = read(CURVE + noise(8))
    low, high = result.interval
    text = str(result)
    assert f"{result.suggestion:.2g} [{low:.2g}, {high:.2g}]" in text
    assert f"{len(CURVE)} steps from 1e-07 to {RATES[len(CURVE) - 1]:.2g}" in text
    for rule, rate in result.suggestions.items():
        assert f"{rule} {rate:.2g}" in text


@pytest.mark.parametrize(
    "losses", [CURVE, np.full(100, 2.3), [2.3, np.nan], []], ids=len
)
def test_dict_is_ready_for_json(losses):
    result = read(losses)
    found = json.loads(json.dumps(result.to_dict()))
    assert found["suggestion"] == result.suggestion
    assert found["suggestions"] == result.suggestions
    np.testing.assert_array_equal(found["rates"], result.rates)
    np.testing.assert_array_equal(found["losses"], result.losses)


@pytest.fixture
def ax():
    figure, ax = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
    yield ax
    plt.close(figure)


@pytest.mark.parametrize(
    "losses", [CURVE, np.full(100, 2.3), [2.3, 9.0, np.nan]], ids=len
)
def test_plot_shows_every_loss_and_every_suggestion(losses, ax):
    result = read(losses)
    assert result.plot(ax) is ax
    ax.figure.canvas.draw()
    lines = [np.asarray(line.get_xydata()) for line in ax.lines]
    dots = np.column_stack([result.rates, result.losses])
    assert any(np.array_equal(line, dots, equal_nan=True) for line in lines)
    marked = [line[0, 0] for line in lines if len(line) == 1]
    assert marked[::-1] == list(result.suggestions.values())
    legend = ax.get_legend()
    texts = [] if legend is None else legend.get_texts()
    for rule, text in zip(result.suggestions, texts, strict=True):
        assert rule in text.get_text()


def test_plot_creates_a_figure():
    ax = read(CURVE).plot()
    assert ax.get_xscale() == "log"
    plt.close(ax.figure)


def test_results_are_frozen():
    with pytest.raises(AttributeError):
        read(CURVE).suggestion = 1.0
    assert isinstance(read(CURVE), RangeTest)
