"""Every number of `GradientNorms` against a replay of the training that it measured."""

import inspect

import keras
import numpy as np
import pytest

from keras_dnn.callbacks import GradientNorms
from tests.callbacks.gradient_replay import (  # noqa: F401
    BATCH,
    CLIPS,
    MODES,
    OPTIMIZERS,
    OPTIONS,
    Subclassed,
    adam,
    assert_recorded,
    batches,
    data,
    dense,
    fit_again,
    in_float64,
    mixed_float16,
    nesterov,
    network,
    replay,
    several,
    sgd,
    train,
)
from tests.callbacks.harness import slow

# The rest is slow. With a clip, raw and clipped norms cannot be taken for each other.
QUICK = [
    (adam, "weight_decay", "default"),
    (nesterov, "plain", "default"),
    (nesterov, "global_clipnorm", "default"),
    (nesterov, "global_clipnorm", "jit"),
    (sgd, "clipnorm", "blocks"),
    (nesterov, "clipvalue", "eager"),
    (adam, "clipnorm", "scaled"),
    (sgd, "clipnorm", "float16"),
    (adam, "global_clipnorm", "accumulate"),
    (nesterov, "clipnorm", "accumulate"),
]

# Each mode with each option, each of both with each optimizer.
PAIRS = [
    (OPTIMIZERS[(i + j) % len(OPTIMIZERS)], option, mode)
    for i, mode in enumerate(MODES)
    for j, option in enumerate(OPTIONS)
]
MATRIX = [
    pytest.param(
        make,
        option,
        mode,
        marks=[] if (make, option, mode) in QUICK else pytest.mark.slow,
        id=f"{make.__name__}-{option}-{mode}",
    )
    for make, option, mode in [*QUICK, *(case for case in PAIRS if case not in QUICK)]
]


@pytest.mark.quick
@pytest.mark.parametrize(("make", "option", "mode"), MATRIX)
def test_equals_a_replay_with_gradient_tape(make, option, mode):
    options = dict(OPTIONS[option])
    compile_options, arguments = {}, {}
    make_model, rtol = network, 1e-9
    if mode == "jit":
        compile_options["jit_compile"] = True
    if mode == "blocks":
        compile_options["steps_per_execution"] = 4
    if mode == "eager":
        compile_options["run_eagerly"] = True
    if mode == "accumulate":
        arguments["gradient_accumulation_steps"] = 3
        if make is not nesterov:
            # Keras would overwrite between updates.
            options.pop("ema_overwrite_frequency", None)
    optimizer = make(**options, **arguments)
    scale = 1
    if mode == "scaled":
        # The scale doubles while training goes on.
        optimizer = keras.optimizers.LossScaleOptimizer(
            optimizer, initial_scale=2.0**10, dynamic_growth_steps=3
        )
    if mode == "float16":
        make_model, rtol, scale = mixed_float16, 2e-3, 2.0**15
    x, y = data()
    probe = GradientNorms()
    # `fit` builds the optimizer in the quick cases.
    built = (make, option, mode) not in QUICK
    train(make_model(), optimizer, x, y, probe, built=built, **compile_options)

    clips = options if option in CLIPS else {}
    truth = replay(
        make_model(),
        make(**({} if clips else options)),
        batches(x, y),
        clips=clips,
        accumulate=arguments.get("gradient_accumulation_steps", 1),
        scale=scale,
    )
    if clips:
        shortened = truth.clipped_norms < truth.norms * (1 - 1e-12)
        assert shortened.any()
    # In float16 the first scales are too large: these steps Keras skips.
    assert mode == "float16" or len(truth.norms) == (3 if mode == "accumulate" else 10)
    assert len(truth.norms) > 2
    assert_recorded(probe, truth, rtol)


@pytest.mark.parametrize("make", [sgd, slow(adam), slow(nesterov)])
def test_is_right_to_a_hundred_thousandth_in_float32(make):
    x, y = data(dtype="float32")
    probe = GradientNorms()
    train(network("float32"), make(clipnorm=0.8), x, y, probe)
    truth = replay(network("float32"), make(), batches(x, y), clips={"clipnorm": 0.8})
    # The weights round to 1e-7 of themselves, which an update of a hundredth sees.
    assert_recorded(probe, truth, rtol=1e-5, ratio_rtol=5e-5)


def test_is_right_to_1e_12_in_float64():
    x, y = data()
    probe = GradientNorms()
    train(network(), sgd(clipnorm=0.8), x, y, probe)
    truth = replay(network(), sgd(), batches(x, y), clips={"clipnorm": 0.8})
    assert_recorded(probe, truth, rtol=1e-12)


@pytest.mark.slow
def test_without_clipping_both_norms_are_the_same():
    x, y = data()
    probe = GradientNorms()
    train(network(), sgd(), x, y, probe)
    np.testing.assert_array_equal(probe.norms, probe.clipped_norms)
    np.testing.assert_array_equal(probe.global_norms, probe.global_clipped_norms)


@pytest.mark.slow
def test_norms_under_loss_scaling_are_those_of_the_true_gradients():
    """To the last bit: the scale is a power of two."""
    x, y = data()
    plain, scaled = GradientNorms(), GradientNorms()
    train(network(), sgd(clipnorm=0.8), x, y, plain)
    optimizer = keras.optimizers.LossScaleOptimizer(sgd(clipnorm=0.8))
    train(network(), optimizer, x, y, scaled)
    np.testing.assert_allclose(scaled.norms, plain.norms, rtol=1e-13)
    np.testing.assert_allclose(scaled.clipped_norms, plain.clipped_norms, rtol=1e-13)


@pytest.mark.parametrize("make", [sgd, slow(nesterov)])
def test_a_step_that_loss_scaling_skips_leaves_the_others_right(make):
    """A scaled gradient that overflows is no update."""
    x, y = data(samples=24)
    x[8, 0] = np.inf
    model, twin = network(), network()
    optimizer = keras.optimizers.LossScaleOptimizer(make(clipnorm=0.8))
    probe = GradientNorms()
    train(model, optimizer, x, y, probe)
    used = [b for i, b in enumerate(batches(x, y)) if i != 2]
    truth = replay(twin, make(), used, clips={"clipnorm": 0.8})
    assert_recorded(probe, truth)


# Arguments


@pytest.mark.parametrize("compile_options", [slow({}), {"steps_per_execution": 4}])
@pytest.mark.parametrize("every", [slow(1), 3, slow(10), slow(11)])
def test_every_kth_update_is_recorded(every, compile_options):
    x, y = data()
    probe = GradientNorms(every=every)
    train(network(), sgd(), x, y, probe, epochs=2, **compile_options)
    truth = replay(network(), sgd(), batches(x, y) * 2)
    steps = np.arange(0, 20, every)
    np.testing.assert_array_equal(probe.steps, steps)
    np.testing.assert_allclose(probe.norms, truth.norms[steps], rtol=1e-9)
    np.testing.assert_allclose(probe.ratios, truth.ratios[steps], rtol=1e-9)
    np.testing.assert_allclose(probe.global_norms, truth.global_norms[steps], rtol=1e-9)


def test_every_counts_updates_not_micro_batches():
    x, y = data()
    probe = GradientNorms(every=2)
    train(network(), nesterov(gradient_accumulation_steps=3), x, y, probe, epochs=2)
    np.testing.assert_array_equal(probe.steps, [0, 2, 4])
    truth = replay(network(), nesterov(), batches(x, y) * 2, accumulate=3)
    np.testing.assert_allclose(probe.norms, truth.norms[::2], rtol=1e-9)


def test_without_variables_the_model_is_one_vector():
    x, y = data()
    probe = GradientNorms(per_variable=False)
    train(network(), sgd(global_clipnorm=1.5), x, y, probe)
    truth = replay(network(), sgd(), batches(x, y), clips={"global_clipnorm": 1.5})
    assert list(probe.names) == ["model"]
    for field in ("norms", "clipped_norms", "ratios"):
        expected = getattr(truth, f"global_{field}")
        found = getattr(probe, field)
        assert found.shape == (10, 1)
        np.testing.assert_allclose(found[:, 0], expected, rtol=1e-9)
        np.testing.assert_allclose(getattr(probe, f"global_{field}"), expected)


@pytest.mark.parametrize("per_variable", [True, slow(False)])
def test_without_ratios_there_are_none(per_variable):
    x, y = data()
    probe = GradientNorms(ratios=False, per_variable=per_variable)
    history = train(network(), sgd(clipvalue=0.3), x, y, probe)
    truth = replay(network(), sgd(), batches(x, y), clips={"clipvalue": 0.3})
    assert probe.ratios is None
    assert probe.global_ratios is None
    assert "update_ratio" not in history.history
    np.testing.assert_allclose(probe.global_norms, truth.global_norms, rtol=1e-9)
    np.testing.assert_allclose(
        probe.global_clipped_norms, truth.global_clipped_norms, rtol=1e-9
    )


@pytest.mark.parametrize("every", [0, -1, 1.5, "2", None])
def test_every_must_be_a_positive_integer(every):
    with pytest.raises(ValueError, match=rf"every .*Received: every={every!r}"):
        GradientNorms(every=every)


@pytest.mark.parametrize("name", ["histograms", "limit"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "2"])
def test_counts_must_be_positive_integers(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be.*Received: {name}="):
        GradientNorms(**{name: value})


def test_the_first_four_arguments_are_positional():
    names = list(inspect.signature(GradientNorms).parameters)
    assert names[:4] == ["per_variable", "every", "log_dir", "ratios"]
