"""The axes of kernels, found by moving each weight and seeing which outputs move."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dnn._kernel_axes import channel_axis, kernel_axes
from keras_dnn._layer_kinds import LINEAR

RNG = np.random.default_rng(0)

KINDS = {
    "dense": (lambda: layers.Dense(3), (4,)),
    "dense on a sequence": (lambda: layers.Dense(3), (2, 4)),
    "einsum": (lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 3)), (2, 4)),
    "einsum over two": (lambda: layers.EinsumDense("abc,bcd->ad", (3,)), (2, 4)),
    "einsum with dots": (lambda: layers.EinsumDense("...x,xy->...y", (3,)), (2, 4)),
    "einsum, one by one": (lambda: layers.EinsumDense("abc,bcd->abd", (2, 3)), (2, 4)),
    "conv 1D": (lambda: layers.Conv1D(3, 2), (3, 2)),
    "conv 2D": (lambda: layers.Conv2D(3, 2), (3, 3, 2)),
    "conv 3D": (lambda: layers.Conv3D(2, 2), (2, 2, 2, 2)),
    "grouped": (lambda: layers.Conv2D(4, 2, groups=2), (3, 3, 6)),
    "transposed 1D": (lambda: layers.Conv1DTranspose(3, 2), (3, 2)),
    "transposed 2D": (lambda: layers.Conv2DTranspose(3, 2), (2, 2, 2)),
    "transposed 3D": (lambda: layers.Conv3DTranspose(3, 2), (2, 2, 2, 2)),
    "depthwise 1D": (lambda: layers.DepthwiseConv1D(2, depth_multiplier=2), (3, 3)),
    "depthwise 2D": (lambda: layers.DepthwiseConv2D(2, depth_multiplier=2), (3, 3, 3)),
    "separable 1D": (lambda: layers.SeparableConv1D(3, 2, depth_multiplier=2), (3, 2)),
    "separable 2D": (lambda: layers.SeparableConv2D(3, 2), (3, 3, 2)),
}
ONE_KERNEL = [kind for kind in KINDS if "separable" not in kind]


def influence(layer, kernel, x):
    """For each output number of a layer, which entries of the kernel it depends on.

    By moving each entry, with no knowledge of what kind of layer it is.
    """
    start = np.array(kernel)
    base = np.asarray(layer(x)).reshape(-1)
    touched = np.zeros((base.size, start.size), bool)
    for i in range(start.size):
        moved = start.copy().reshape(-1)
        moved[i] += 0.5
        kernel.assign(moved.reshape(start.shape))
        touched[:, i] = np.abs(np.asarray(layer(x)).reshape(-1) - base) > 1e-6
    kernel.assign(start)
    return touched


def built(kind):
    make, shape = KINDS[kind]
    keras.utils.set_random_seed(1)
    layer = make()
    layer.build((None, *shape))
    return layer, shape


def neurons(touched):
    """The largest sets of entries that an output depends on, each once.

    Neurons that share all their weights, at several places, are one; in the border some
    of the weights meet nothing.
    """
    rows = list({row.tobytes(): row for row in touched if row.any()}.values())
    return [
        row
        for row in rows
        if not any((row <= other).all() and (row < other).any() for other in rows)
    ]


def test_each_linear_kind_is_tried():
    assert {type(make()) for make, _ in KINDS.values()} == set(LINEAR)


@pytest.mark.parametrize("kind", ONE_KERNEL)
def test_the_incoming_weights_of_a_neuron_are_what_its_output_depends_on(kind):
    layer, shape = built(kind)
    (axes,) = kernel_axes(layer).values()
    found = neurons(influence(layer, layer.kernel, RNG.normal(size=(1, *shape)) + 3.0))
    expected = np.zeros(layer.kernel.shape, int)
    along = axes.channels + axes.outputs
    sizes = [layer.kernel.shape[i] for i in along]
    numbers = np.arange(np.prod(sizes)).reshape(sizes)
    for index in np.ndindex(expected.shape):
        expected[index] = numbers[tuple(index[i] for i in along)]
    assert axes.incoming == tuple(sorted(set(range(expected.ndim)) - set(along)))
    assert {row.tobytes() for row in found} == {
        (expected.reshape(-1) == n).tobytes() for n in range(numbers.size)
    }


@pytest.mark.parametrize("kind", ONE_KERNEL)
def test_the_matrices_of_a_kernel_are_what_leads_from_inputs_to_outputs(kind):
    """One with a single entry leaves a path from one input to one output."""
    layer, shape = built(kind)
    (axes,) = kernel_axes(layer).values()
    count, rows, columns = axes.matrices(tuple(layer.kernel.shape))
    values = RNG.permutation(count * rows * columns) + 1.0
    matrices = values.reshape(count, rows, columns)
    kernel = np.array(axes.from_matrices(matrices, tuple(layer.kernel.shape)))
    assert sorted(kernel.reshape(-1)) == sorted(values)
    layer.kernel.assign(kernel)
    touched = influence(layer, layer.kernel, RNG.normal(size=(1, *shape)) + 3.0)
    columns_found = {
        tuple(sorted(kernel.reshape(-1)[row].tolist())) for row in neurons(touched)
    }
    assert columns_found == {
        tuple(sorted(matrices[i, :, j].tolist()))
        for i in range(count)
        for j in range(columns)
    }


@pytest.mark.parametrize("kind", ["dense", "grouped", "transposed 2D", "depthwise 2D"])
def test_an_entry_reads_the_input_that_its_axes_name(kind):
    layer, shape = built(kind)
    (axes,) = kernel_axes(layer).values()
    shape_of_kernel = tuple(layer.kernel.shape)
    reads = np.zeros((shape[-1], *shape_of_kernel), bool)
    for channel in range(shape[-1]):
        x = np.zeros((1, *shape), "float32")
        x[..., channel] = RNG.normal(size=shape[:-1]) + 3.0
        touched = influence(layer, layer.kernel, x).any(axis=0)
        reads[channel] = touched.reshape(shape_of_kernel)
    assert (reads.sum(axis=0) == 1).all()
    (along,) = axes.channels + axes.inputs
    inputs = shape_of_kernel[along]
    units = shape_of_kernel[axes.outputs[0]]
    for index in np.ndindex(shape_of_kernel):
        group = index[axes.outputs[0]] // (units // axes.groups)
        assert reads[(group * inputs + index[along], *index)]


@pytest.mark.parametrize("kind", ["separable 1D", "separable 2D"])
def test_the_kernels_of_a_separable_convolution_are_those_of_its_halves(kind):
    layer, shape = built(kind)
    depthwise, pointwise = kernel_axes(layer).items()
    assert [depthwise[0], pointwise[0]] == ["depthwise_kernel", "pointwise_kernel"]
    dimensions = len(shape) - 1
    halves = (
        getattr(layers, f"DepthwiseConv{dimensions}D")(2, depth_multiplier=2),
        getattr(layers, f"Conv{dimensions}D")(3, 1),
    )
    for half, (_, axes) in zip(halves, (depthwise, pointwise), strict=True):
        half.build((None, *shape))
        (expected,) = kernel_axes(half).values()
        assert axes.incoming == expected.incoming
        assert axes.channels == expected.channels


@pytest.mark.parametrize(
    ("cell", "shape"),
    [
        (lambda: layers.LSTMCell(2), (None, 3)),
        (lambda: layers.GRUCell(2), (None, 3)),
        (lambda: layers.SimpleRNNCell(2), (None, 3)),
        (lambda: layers.ConvLSTM2D(2, 3).cell, (None, 4, 5, 5, 3)),
    ],
)
def test_kernels_of_cells_lead_into_their_last_axis(cell, shape):
    cell = cell()
    cell.build(shape)
    found = kernel_axes(cell)
    assert list(found) == ["kernel", "recurrent_kernel"]
    for name, axes in found.items():
        rank = len(getattr(cell, name).shape)
        assert axes.incoming == tuple(range(rank - 1))
        assert axes.outputs == (rank - 1,)


def test_other_layers_have_no_kernels():
    norm = layers.BatchNormalization()
    norm.build((None, 3))
    assert kernel_axes(norm) == {}
    assert kernel_axes(layers.Embedding(3, 2)) == {}


def test_groups_that_do_not_divide_the_filters_are_an_error():
    layer = layers.Conv2D(4, 2, groups=2)
    layer.build((None, 3, 3, 4))
    (axes,) = kernel_axes(layer).values()
    with pytest.raises(ValueError, match="Received: groups=2, filters=3"):
        axes.fans((2, 2, 2, 3))


# Channels


def behind(convolution, *others):
    x = keras.Input((2, 4, 6))
    y = convolution(x)
    for layer in others:
        y = layer([y, y] if isinstance(layer, layers.Add) else y)
    return others[-1] if others else convolution


@pytest.mark.parametrize(("data_format", "axis"), [("channels_first", 1), (None, 3)])
@pytest.mark.parametrize(
    "others",
    [
        (),
        (layers.ReLU,),
        (lambda: layers.BatchNormalization(axis=1), layers.Dropout, layers.Activation),
        (layers.Add, layers.LeakyReLU),
    ],
)
def test_channels_are_where_the_layer_before_puts_them(others, data_format, axis):
    arguments = {layers.Dropout: (0.5,), layers.Activation: ("relu",)}
    made = [kind(*arguments.get(kind, ())) for kind in others]
    layer = behind(layers.Conv2D(3, 1, data_format=data_format), *made)
    assert channel_axis(layer, 4) == axis


def test_channels_are_last_where_nothing_is_known():
    assert channel_axis(layers.ReLU(), 4) == 3
    assert channel_axis(layers.Dense(3), 2) == 1
    called = layers.ReLU()
    called(np.ones((1, 2, 3), "float32"))
    assert channel_axis(called, 3) == 2
    first = layers.Conv2D(3, 1, data_format="channels_first")
    assert channel_axis(behind(first, layers.Dense(2)), 4) == 3
