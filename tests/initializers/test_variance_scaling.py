"""Fans counted connection by connection, and the variance that follows from them."""

import math
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_dnn
from keras_dnn import initializers
from keras_dnn.initializers import HeNormal, HeUniform, VarianceScaling
from keras_dnn.initializers._layer_kernels import kernels_of
from tests.initializers.presets import PRESETS

layers = keras.layers
SIZE = 24
CASES = {
    "dense": (lambda: layers.Dense(7), (5,), {}),
    "conv1d": (lambda: layers.Conv1D(6, 4), (SIZE, 3), {}),
    "conv2d": (lambda: layers.Conv2D(6, (3, 2)), (SIZE, SIZE, 3), {}),
    "conv3d": (lambda: layers.Conv3D(2, 2), (SIZE, SIZE, SIZE, 1), {}),
    "dilated": (lambda: layers.Conv2D(4, 2, dilation_rate=3), (SIZE, SIZE, 3), {}),
    "strided": (
        lambda: layers.Conv2D(5, 4, strides=3),
        (SIZE, SIZE, 3),
        {"strides": 3},
    ),
    "uneven": (
        lambda: layers.Conv2D(5, 3, strides=(2, 1)),
        (SIZE, SIZE, 3),
        {"strides": (2, 1)},
    ),
    "wide stride": (lambda: layers.Conv1D(5, 2, strides=3), (SIZE, 3), {"strides": 3}),
    "grouped": (lambda: layers.Conv2D(8, 3, groups=4), (SIZE, SIZE, 12), {"groups": 4}),
    "grouped, strided": (
        lambda: layers.Conv1D(6, 4, groups=3, strides=2),
        (SIZE, 9),
        {"groups": 3, "strides": 2},
    ),
    "depthwise1d": (
        lambda: layers.DepthwiseConv1D(3, depth_multiplier=2),
        (SIZE, 5),
        {"kernel": "depthwise"},
    ),
    "depthwise2d": (
        lambda: layers.DepthwiseConv2D((3, 2)),
        (SIZE, SIZE, 4),
        {"kernel": "depthwise"},
    ),
    "depthwise, strided": (
        lambda: layers.DepthwiseConv2D(3, strides=2, depth_multiplier=3),
        (SIZE, SIZE, 4),
        {"kernel": "depthwise", "strides": 2},
    ),
    "transposed1d": (
        lambda: layers.Conv1DTranspose(4, 3),
        (SIZE, 5),
        {"kernel": "transposed"},
    ),
    "transposed2d": (
        lambda: layers.Conv2DTranspose(4, 3, strides=2),
        (SIZE, SIZE, 5),
        {"kernel": "transposed", "strides": 2},
    ),
    "transposed2d, uneven": (
        lambda: layers.Conv2DTranspose(4, 4, strides=(1, 2)),
        (SIZE, SIZE, 5),
        {"kernel": "transposed", "strides": (1, 2)},
    ),
    "transposed3d": (
        lambda: layers.Conv3DTranspose(2, 2, strides=1),
        (SIZE, SIZE, SIZE, 3),
        {"kernel": "transposed"},
    ),
    "transposed, wide stride": (
        lambda: layers.Conv1DTranspose(4, 2, strides=3),
        (SIZE, 5),
        {"kernel": "transposed", "strides": 3},
    ),
}
EINSUMS = {
    "abc,cd->abd": ((4, 5), (None, 6)),
    "abc,cde->abde": ((4, 5), (None, 2, 3)),
    "abcd,cde->abe": ((4, 5, 3), (None, 7)),
    "...x,xy->...y": ((4, 5), (4, 6)),
    "abc,bcd->abd": ((4, 5), (4, 6)),
}


def counted_fans(layer, shape):
    """With ones everywhere, outputs and gradients are numbers of connections."""
    x = tf.ones((1, *shape))
    layer.build(x.shape)
    layer.kernel.assign(np.ones(layer.kernel.shape))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    return inner(y), inner(tape.gradient(y, x))


def inner(counts):
    """The mean over full periods of strides of 1, 2 and 3, away from the edge."""
    counts = counts.numpy()
    for axis, size in enumerate(counts.shape):
        if size >= SIZE:
            counts = np.take(counts, range(6, 18), axis)
    return counts.mean(dtype="float64")


def deviation(initializer, shape):
    """The factor on the numbers that every initializer draws with this seed."""
    standard = VarianceScaling(1.0, "fan_in", initializer.distribution, 3, fan_in=1.0)
    ratios = np.array(initializer(shape, "float64") / standard(shape, "float64"))
    np.testing.assert_allclose(ratios, ratios.flat[0], rtol=1e-12)
    return ratios.flat[0]


@pytest.mark.parametrize(("make", "shape", "options"), CASES.values(), ids=CASES)
def test_fans_are_the_numbers_of_connections(make, shape, options):
    layer = make()
    fan_in, fan_out = counted_fans(layer, shape)
    modes = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
    for mode, n in modes.items():
        for distribution in ("truncated_normal", "untruncated_normal", "uniform"):
            initializer = VarianceScaling(
                2.5, mode, distribution, 3, gain=1.7, **options
            )
            found = deviation(initializer, tuple(layer.kernel.shape))
            assert found == pytest.approx(1.7 * math.sqrt(2.5 / n), rel=1e-12)


@pytest.mark.parametrize(("make", "shape", "options"), CASES.values(), ids=CASES)
def test_the_axes_of_a_layer_have_the_same_fans(make, shape, options):
    layer = make()
    layer.build((1, *shape))
    ((kernel, known),) = kernels_of(layer)
    described = VarianceScaling(**options)
    assert kernel is layer.kernel
    shape = tuple(kernel.shape)
    expected = described._kernel.axes(len(shape)).fans(shape)
    assert known.fans(shape) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(("equation", "shapes"), EINSUMS.items(), ids=EINSUMS)
def test_fans_of_an_einsum_are_the_numbers_of_connections(equation, shapes):
    layer = layers.EinsumDense(equation, shapes[1])
    counted = counted_fans(layer, shapes[0])
    ((kernel, known),) = kernels_of(layer)
    assert known.fans(tuple(kernel.shape)) == counted


def test_both_halves_of_a_separable_convolution_are_known():
    layer = layers.SeparableConv2D(6, 3, strides=2, depth_multiplier=2)
    layer.build((None, 9, 9, 4))
    (depthwise, first), (pointwise, second) = kernels_of(layer)
    assert first.fans(tuple(depthwise.shape)) == (9, 18 / 4)
    assert second.fans(tuple(pointwise.shape)) == (8, 6)


@pytest.mark.parametrize(
    ("shape", "fans"), [((), (1, 1)), ((5,), (5, 5)), ((0, 3), (0, 3))]
)
def test_other_shapes_are_as_in_keras(shape, fans):
    assert VarianceScaling()._kernel.axes(len(shape)).fans(shape) == fans
    assert VarianceScaling()(shape).shape == shape


@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
@pytest.mark.parametrize(
    "make",
    [
        lambda w: layers.Conv2D(
            32, 3, strides=2, kernel_initializer=w(strides=2), use_bias=False
        ),
        lambda w: layers.Conv2D(
            32, 3, groups=8, kernel_initializer=w(groups=8), use_bias=False
        ),
        lambda w: layers.DepthwiseConv2D(
            3, depthwise_initializer=w(kernel="depthwise"), use_bias=False
        ),
        lambda w: layers.DepthwiseConv2D(
            3,
            strides=2,
            depth_multiplier=2,
            depthwise_initializer=w(kernel="depthwise", strides=2),
        ),
        lambda w: layers.Conv2DTranspose(
            32, 4, strides=2, kernel_initializer=w(kernel="transposed", strides=2)
        ),
        lambda w: layers.SeparableConv2D(
            32,
            3,
            strides=2,
            depthwise_initializer=w(kernel="depthwise", strides=2),
            pointwise_initializer=w(),
        ),
    ],
    ids=["strided", "grouped", "depthwise", "multiplied", "transposed", "separable"],
)
def test_signals_keep_their_variance_through_a_layer(make, mode):
    generator = np.random.default_rng(1)
    x = tf.constant(generator.normal(size=(2, SIZE, SIZE, 32)), "float32")
    variances = []
    for seed in range(24):
        layer = make(
            lambda seed=seed, **options: VarianceScaling(
                mode=mode, seed=seed, **options
            )
        )
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        if mode == "fan_in":
            signal = y
        else:
            back = generator.normal(size=y.shape).astype("float32")
            signal = tape.gradient(y, x, output_gradients=back)
        variances.append(float(tf.math.reduce_variance(signal[:, 4:-4, 4:-4])))
    # 24 draws of 288 weights or more: one standard deviation is below two percent.
    assert np.mean(variances) == pytest.approx(1.0, rel=0.07)


# Distributions


def test_a_truncated_normal_is_widened_by_the_lost_variance():
    z = np.linspace(-2, 2, 400_001)
    density = np.exp(-0.5 * z**2)
    density[[0, -1]] /= 2
    std = math.sqrt((density * z**2).sum() / density.sum())
    width = initializers.variance_scaling.TRUNCATED_STD
    assert width == pytest.approx(std, rel=1e-10)
    w = np.array(VarianceScaling(seed=1)((1000, 1000), "float64"))
    assert abs(w).max() <= 2 / width / math.sqrt(1000)
    assert abs(w).max() == pytest.approx(2 / width / math.sqrt(1000), rel=1e-4)


@pytest.mark.parametrize(
    ("distribution", "kurtosis"),
    [("truncated_normal", 2.3655), ("untruncated_normal", 3.0), ("uniform", 1.8)],
)
def test_each_distribution_has_its_variance_and_kurtosis(distribution, kurtosis):
    shape = (1500, 1000)
    w = np.array(VarianceScaling(2.0, "fan_out", distribution, 1)(shape), "float64")
    # Six standard deviations of the estimates.
    assert abs(w.mean()) < 6 * w.std() / math.sqrt(w.size)
    assert w.var() == pytest.approx(2.0 / 1000, rel=6 * math.sqrt(2 / w.size))
    fourth = np.mean(w**4) / w.var() ** 2
    assert fourth == pytest.approx(kurtosis, abs=0.01)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", None])
def test_the_dtype_changes_numbers_by_rounding_only(dtype):
    w = HeNormal(seed=1)((300, 200), dtype)
    assert keras.backend.standardize_dtype(w.dtype) == (dtype or "float32")
    if dtype != "float64":
        w = keras.ops.convert_to_numpy(keras.ops.cast(w, "float32"))
        exact = np.array(HeNormal(seed=1)((300, 200), "float32"))
        np.testing.assert_allclose(w, exact, rtol=2**-8, atol=1e-7)


def test_a_gain_may_be_an_activation():
    assert VarianceScaling(gain="relu").gain == math.sqrt(2)
    np.testing.assert_allclose(
        initializers.LeCunNormal(1, gain="relu")((30, 50)),
        HeNormal(1)((30, 50)),
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    ("mode", "n"), [("fan_in", 0.25), ("fan_out", 6.0), ("fan_avg", 3.125)]
)
def test_fans_can_be_given(mode, n):
    initializer = VarianceScaling(
        mode=mode, distribution="uniform", seed=3, fan_in=0.25, fan_out=6
    )
    assert deviation(initializer, (2, 3)) == pytest.approx(n**-0.5, rel=1e-12)


def test_one_given_fan_does_not_change_the_other():
    initializer = VarianceScaling(mode="fan_avg", seed=3, fan_out=6)
    assert deviation(initializer, (2, 3)) == pytest.approx(0.5, rel=1e-12)


# Seeds


def test_each_use_without_a_seed_draws_other_numbers():
    initializer = HeNormal()
    first, second = initializer((20, 20)), initializer((20, 20))
    assert (np.array(first) != np.array(second)).mean() > 0.99
    # Keras's own draws the same numbers again.
    initializer = keras.initializers.HeNormal()
    np.testing.assert_array_equal(initializer((20, 20)), initializer((20, 20)))


def test_layers_that_share_an_instance_get_different_kernels():
    initializer = HeNormal()
    model = keras.Sequential(
        [keras.Input((8,))]
        + [layers.Dense(8, kernel_initializer=initializer) for _ in range(2)]
    )
    first, second = (layer.kernel for layer in model.layers)
    assert (first.numpy() != second.numpy()).mean() > 0.99


def test_seeds_determine_the_draws():
    def drawn(seed):
        initializer = HeNormal(seed)
        return [np.array(initializer((5, 5))) for _ in range(2)]

    one, other, generated = drawn(1), drawn(2), drawn(keras.random.SeedGenerator(1))
    np.testing.assert_array_equal(one[0], one[1])
    assert (one[0] != other[0]).all()
    assert (generated[0] != generated[1]).all()
    np.testing.assert_array_equal(generated, drawn(keras.random.SeedGenerator(1)))


def test_the_global_seed_determines_draws_without_a_seed():
    def drawn():
        keras.utils.set_random_seed(3)
        return np.array(HeNormal()((5, 5)))

    np.testing.assert_array_equal(drawn(), drawn())


# Configuration and files


@pytest.mark.parametrize("name", [*PRESETS, "VarianceScaling"])
def test_config_creates_the_same_initializer(name):
    initializer = getattr(initializers, name)(
        seed=5, gain="tanh", fan_out=2.5, kernel="transposed", strides=[2, 1]
    )
    config = keras.initializers.serialize(initializer)
    again = keras.initializers.deserialize(config)
    assert type(again) is type(initializer)
    assert again.get_config() == initializer.get_config()
    assert again.get_config()["kernel"] == "transposed"
    assert again.get_config()["fan_out"] == 2.5
    shape = (3, 3, 4, 8)
    np.testing.assert_array_equal(again(shape), initializer(shape))
    assert keras.initializers.get(f"keras_dnn>{name}").get_config()["groups"] == 1


def test_core_config_keeps_scale_mode_and_distribution():
    initializer = VarianceScaling(2.0, "fan_out", "uniform", groups=2)
    again = VarianceScaling.from_config(initializer.get_config())
    assert (again.scale, again.mode, again.distribution) == (2.0, "fan_out", "uniform")
    assert again.get_config() == initializer.get_config()


def test_a_seed_generator_is_saved():
    initializer = HeNormal(keras.random.SeedGenerator(1))
    again = initializer.clone()
    assert isinstance(again.seed, keras.random.SeedGenerator)
    assert again.seed is not initializer.seed


LOAD = """
import sys
import keras
import numpy as np
import keras_dnn
model = keras.saving.load_model(sys.argv[1])
initializer = model.layers[0].depthwise_initializer
assert type(initializer) is keras_dnn.initializers.HeNormal
assert initializer.get_config()["kernel"] == "depthwise"
assert initializer.get_config()["seed"] == 7
delta = model.layers[1].kernel_initializer
assert type(delta) is keras_dnn.initializers.DeltaOrthogonal
assert delta.get_config() == {"seed": None, "gain": 2.0, "groups": 2}
np.testing.assert_array_equal(model.layers[0].kernel, initializer((3, 3, 4, 1)))
"""


def test_a_saved_model_loads_in_a_new_process(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.DepthwiseConv2D(
                3, depthwise_initializer=HeNormal(7, kernel="depthwise")
            ),
            layers.Conv2D(
                4,
                3,
                groups=2,
                kernel_initializer=initializers.DeltaOrthogonal(2.0, groups=2),
            ),
        ]
    )
    model.save(tmp_path / "model.keras")
    subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path / "model.keras")],
        cwd=Path(keras_dnn.__file__).parents[1],
        check=True,
    )


# Bad arguments


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scale", 0.0),
        ("scale", float("nan")),
        ("mode", "fan"),
        ("distribution", "normal"),
        ("seed", 1.5),
        ("seed", True),
        ("gain", 0),
        ("gain", -1.0),
        ("activation", "nonsense"),
        ("fan_in", 0),
        ("fan_out", -2.0),
        ("kernel", "dense"),
        ("groups", 0),
        ("groups", 2.0),
        ("strides", 0),
    ],
)
def test_a_bad_argument_is_named_and_shown(name, value):
    argument = {"gain" if name == "activation" else name: value}
    with pytest.raises(
        ValueError, match=f"{name} must.*Received.*{re.escape(repr(value))[:3]}"
    ):
        VarianceScaling(**argument)


def test_each_stride_is_checked():
    with pytest.raises(ValueError, match=r"strides must be a positive integer.*=0"):
        VarianceScaling(strides=(2, 0))


@pytest.mark.parametrize("kernel", ["depthwise", "transposed"])
def test_only_a_convolution_has_groups(kernel):
    with pytest.raises(ValueError, match=r"groups must be 1.*groups=2"):
        VarianceScaling(kernel=kernel, groups=2)


def test_groups_must_divide_the_filters():
    with pytest.raises(ValueError, match=r"groups=3, filters=8"):
        VarianceScaling(groups=3)((3, 3, 4, 8))


def test_strides_must_fit_the_window():
    with pytest.raises(ValueError, match=r"each of the 2 axes.*strides=\(1, 2, 1\)"):
        VarianceScaling(strides=(1, 2, 1))((3, 3, 4, 8))


class _Block(keras.layers.Layer):
    """Attention that is first built inside another layer, where weights are late."""

    def __init__(self, initializer):
        super().__init__()
        self.attention = keras.layers.MultiHeadAttention(
            8, 16, kernel_initializer=initializer
        )
        self.groups = keras.layers.GroupQueryAttention(
            16, 8, 2, kernel_initializer=initializer
        )

    def call(self, x):
        return self.groups(self.attention(x, x), x)


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
def test_the_axes_of_attention_are_known(mode):
    """As a Dense on the flattened axes: all that is summed over is an input."""
    initializer = VarianceScaling(mode=mode, distribution="uniform", seed=3)
    x = keras.Input((10, 32))
    model = keras.Model(x, _Block(initializer)(x))
    kernels = [v for v in model.weights if v.path.endswith("kernel")]
    assert len(kernels) == 8
    for kernel in kernels:
        shape = tuple(kernel.shape)
        cut = 2 if "output" in kernel.path else 1
        flat = (math.prod(shape[:cut]), math.prod(shape[cut:]))
        dense = keras.layers.Dense(flat[1], kernel_initializer=initializer)
        dense.build((None, flat[0]))
        np.testing.assert_allclose(
            kernel.numpy(), dense.kernel.numpy().reshape(shape), rtol=1e-6
        )


@pytest.mark.parametrize("hands_axes", [True, False])
def test_the_axes_of_an_einsum_are_known(monkeypatch, hands_axes):
    """Also where Keras hands none, as before 3.15."""
    if not hands_axes:
        module = sys.modules[keras.layers.EinsumDense.__module__]
        monkeypatch.setattr(module, "VarianceScaling", (), raising=False)
    for equation, shape, fan in (
        ("abc,cde->abde", (None, 8, 16), 32),
        ("abcd,cde->abe", (None, 7), 10 * 32),
    ):
        inputs = (None, 10, 32) if fan == 32 else (None, 4, 10, 32)
        layer = keras.layers.EinsumDense(
            equation, shape, kernel_initializer=HeUniform(seed=1)
        )
        layer.build(inputs)
        dense = keras.layers.Dense(
            layer.kernel.numpy().size // fan, kernel_initializer=HeUniform(seed=1)
        )
        dense.build((None, fan))
        expected = dense.kernel.numpy().reshape(layer.kernel.shape)
        np.testing.assert_allclose(layer.kernel.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"input_axes": [0]}, "must be given together"),
        ({"input_axes": [0], "output_axes": [-1]}, "an axis in output_axes must be"),
        ({"input_axes": [0], "output_axes": [1]}, "must be the axes of the kernel"),
    ],
)
def test_refuses_axes(axes, message):
    with pytest.raises(ValueError, match=message):
        VarianceScaling(**axes)((2, 3, 4))
