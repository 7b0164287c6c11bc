"""Suggestions from curves whose good rates are known."""

import json
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from keras_dnn.tuning import RangeTest, _range_test_result
from keras_dnn.tuning import _range_test_rules as rules

RATES = np.geomspace(1e-7, 10, 100)
DECADES_A_STEP = 8 / 99
STEEPEST, LOWEST, EDGE = 3.2e-3, 8.3e-2, 0.5
PLATEAU, DEPTH, WIDTH, BEND = 2.3, 1.5, 0.25, 0.15


def read(losses, rates=RATES, sweep="exponential", smoothing=0.98, seed=0, **options):
    """The result of a sweep with these losses."""
    losses = np.asarray(losses, "float64")
    recorder = SimpleNamespace(updates=lambda: (rates[: len(losses)], losses))
    options = {"steps": len(rates), "adaptive": False} | options
    return _range_test_result.read(recorder, sweep, smoothing, seed, **options)


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


def test_the_deepest_of_two_descents_counts():
    u = np.log10(RATES)
    shallow = 0.4 * logistic((u + 5.5) / 0.1)
    back = 0.4 * logistic((u + 4.2) / 0.1)
    deep = 1.5 * logistic((u + 2.5) / WIDTH)
    result = read(PLATEAU - shallow + back - deep)
    assert decades(result.suggestions["valley"], 10**-2.5) < 0.12
    assert decades(result.suggestions["steepest"], 10**-2.5) < 0.1


def test_the_valley_is_half_the_descent_where_that_is_not_the_steepest_place():
    """Down by 1 in a slope of three decades, then by 0.3 within a tenth of one."""
    u = np.log10(RATES)
    losses = PLATEAU - np.clip((u + 5) / 3, 0, 1) - 0.3 * logistic((u + 1.7) / 0.03)
    result = read(losses)
    assert decades(result.suggestions["valley"], 10 ** (-5 + 3 * 0.65)) < 0.12
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
    found = np.log([result.suggestion for result in results])
    low, high = np.log([result.interval for result in results]).T
    assert ((low <= found) & (found <= high)).all()
    inside = [
        np.mean((a <= found) & (found <= b)) for a, b in zip(low, high, strict=True)
    ]
    # The noise of the losses is only a part of what the interval contains.
    assert np.mean(inside) > 0.85
    assert np.mean(high - low) < 8 * rules.SPREAD


@pytest.mark.parametrize("depth", [1e-3, 3.0])
def test_without_noise_the_interval_is_that_of_other_initial_weights(depth):
    """A shallow descent is limited by the sum of its rates, a late one by the end."""
    early = loss_at(RATES) if depth < 1 else None
    losses = stopped(early) if early is not None else late_descent()
    low, high = np.log(read(losses).interval)
    assert high - low == pytest.approx(2 * 1.645 * rules.SPREAD, rel=0.25)


def late_descent():
    """Its half is done where it diverges."""
    return PLATEAU - np.where(RATES < 1.0, np.clip(RATES - 0.1, 0, None), -9.0)


def test_the_trend_follows_the_curve_and_not_the_noise(noisy):
    sigma, results = noisy
    falling = RATES[: len(CURVE)] < LOWEST
    errors = np.array([result.trend - CURVE for result in results])[:, falling]
    assert np.abs(errors.mean(axis=0)).max() < 0.1
    assert errors.std(axis=0).mean() < 0.5 * sigma


def test_the_interval_is_drawn_from_the_seed():
    losses = CURVE + noise(1, sigma=0.3)
    assert read(losses, seed=3).interval == read(losses, seed=3).interval
    assert len({read(losses, seed=seed).interval for seed in range(5)}) > 1


def test_a_linear_sweep_is_read_on_a_linear_scale():
    rates = np.linspace(1e-3, 1.0, 200)
    losses = PLATEAU - DEPTH * logistic((rates - 0.4) / 0.03) + 4 * (rates > 0.8)
    result = read(losses, rates, sweep="linear")
    assert result.suggestions["valley"] == pytest.approx(0.4, abs=0.015)
    assert result.suggestions["steepest"] == pytest.approx(0.4, abs=0.015)
    assert result.suggestion == pytest.approx(0.8 / 5, rel=0.1)
    assert result.max_learning_rate == pytest.approx(rates[-41] / 5, rel=0.05)


# The advice


@pytest.mark.parametrize(
    ("adaptive", "of_sums", "of_limits"),
    [(False, (3.0, 5.0), (5, 5)), (True, (0.75, 1.5), (15, 15))],
)
def test_the_advice_is_the_lower_of_two_products(adaptive, of_sums, of_limits):
    """Half of the descent of `CURVE` is done near `STEEPEST`."""
    result = read(CURVE, adaptive=adaptive)
    half = np.argmax((PLATEAU + CURVE.min()) / 2 > CURVE)
    walked = RATES[: half + 1].sum()
    past = RATES[: len(CURVE)] > LOWEST
    lost = RATES[np.argmax(past & (0.9 * CURVE.min() + 0.1 * PLATEAU < CURVE))]
    last = RATES[np.argmax(past & (CURVE > PLATEAU)) - 1]
    found = result.suggestion, result.max_learning_rate
    for rate, of_sum, limit, of_limit in zip(
        found, of_sums, (lost, last), of_limits, strict=True
    ):
        expected = min(of_sum * walked, limit / of_limit)
        # Between two rates of the sweep is a factor of 1.2.
        assert rate == pytest.approx(expected, rel=0.12 if limit == last else 0.21)
    assert found == tuple(list(result.suggestions.values())[:2])
    assert (result.reason, result.note) == ("", "")


@pytest.mark.parametrize("low", [1e-7, 1e-4])
@pytest.mark.parametrize(("steps", "tolerance"), [(100, 0.4), (200, 0.12), (400, 0.08)])
def test_on_a_bowl_the_sum_of_the_rates_is_that_of_its_curvature(low, steps, tolerance):
    """Gradient flow halves a quadratic loss in the time ln 2 / (2 curvature)."""
    curvature = 3.0
    rates = np.geomspace(low, 10, steps)
    distance = np.concatenate([[1.0], np.cumprod(1 - curvature * rates)[:-1]])
    losses = 0.5 * curvature * distance**2 + 1e-3 * np.sin(np.arange(steps))
    losses = losses[: np.argmax(losses > 20) or steps]
    curve = rules.Curve(rates[: len(losses)], losses)
    walked = rates[: curve.half() + 1].sum()
    assert walked == pytest.approx(np.log(2) / (2 * curvature), rel=tolerance)


def test_one_loss_that_leaps_past_the_minimum_changes_nothing():
    losses = CURVE + noise(9)
    spiked = losses.copy()
    spiked[np.argmin(CURVE) + 2] = 1e4
    before, after = read(losses), read(spiked)
    assert after.suggestion == pytest.approx(before.suggestion, rel=0.05)
    assert after.max_learning_rate == pytest.approx(before.max_learning_rate, rel=0.05)


def test_noise_that_grows_past_the_minimum_does_not_hide_the_descent():
    losses = CURVE + noise(10, sigma=0.05)
    past = np.argmin(CURVE) + 1
    losses[past:] += np.abs(noise(11, losses[past:], sigma=5.0))
    assert decades(read(losses).suggestion, read(CURVE).suggestion) < 0.7


def test_a_sweep_that_begins_too_high_asks_for_a_lower_rate():
    high = np.geomspace(3 * STEEPEST, 10, 50)
    result = read(stopped(loss_at(high)), high)
    assert result.suggestion is None
    assert "began too high: try a lower min_rate" in result.reason


def test_a_sweep_without_divergence_says_that_the_rate_may_be_too_low():
    rates = np.geomspace(1e-7, LOWEST, 100)
    result = read(loss_at(rates), rates)
    assert result.suggestion < LOWEST
    assert "try a higher max_rate" in result.note
    assert result.note in str(result)
    assert read(CURVE).note == ""


def test_nan_before_any_rise_is_said():
    losses = loss_at(RATES)[:76]
    losses[-1] = np.nan
    result = read(losses)
    assert result.suggestion == pytest.approx(RATES[74] / 5, rel=0.1)
    assert "ended at step 75, where the loss or a weight is not finite" in result.note


def test_data_that_are_not_finite_explain_a_loss_that_is_not():
    losses = [*loss_at(RATES)[:60], np.nan]
    result = read(losses, nonfinite_data="x holds NaN or Inf in row 7")
    assert result.suggestion is None
    assert "not finite, since x holds NaN or Inf in row 7" in result.reason
    # A sweep that never came to that row is a sweep like any other.
    assert read(CURVE, nonfinite_data="x holds NaN or Inf in row 7").suggestion


@pytest.mark.parametrize("make", ["normal", "rounded", "heavy"])
def test_of_a_thousand_sweeps_of_noise_hardly_one_is_advice(make):
    rng = np.random.default_rng(12)
    drawn = (
        rng.standard_t(4, (1000, 100))
        if make == "heavy"
        else rng.normal(size=(1000, 100))
    )
    if make == "rounded":
        drawn = np.round(drawn)
    certain = 0
    for losses in PLATEAU + 0.1 * drawn:
        curve = rules.Curve(RATES, losses)
        certain += curve.certainty() > rules.CONFIDENCE
    assert certain <= 1


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
    assert_no_suggestion([np.nan], "not finite before the first update")
    assert_no_suggestion([2.3, 2.2, np.nan], "not finite after 2 updates, at a rate of")


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
    assert f"{result.max_learning_rate:.2g} for a peak" in text
    assert f"{len(CURVE)} steps from 1e-07 to {RATES[len(CURVE) - 1]:.2g}" in text
    for place in ("valley", "steepest", "minimum", "slide"):
        assert f"{place} {result.suggestions[place]:.2g}" in text


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
