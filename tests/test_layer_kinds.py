"""Each set of layer kinds holds all of Keras's layers that do what it says."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dnn import _layer_kinds as kinds

RNG = np.random.default_rng(0)
ARGUMENTS = {
    layers.Activation: ("relu",),
    layers.ActivityRegularization: (0.1,),
    layers.AlphaDropout: (0.5,),
    layers.Conv1DTranspose: (3, 2),
    layers.Conv2DTranspose: (3, 2),
    layers.Conv3DTranspose: (3, 2),
    layers.Dense: (3,),
    layers.Dropout: (0.5,),
    layers.EinsumDense: ("ab,bc->ac", 3),
    layers.GaussianDropout: (0.5,),
    layers.GaussianNoise: (0.5,),
    layers.GroupNormalization: (2,),
    layers.Permute: ((2, 1),),
    layers.RepeatVector: (2,),
    layers.Rescaling: (0.5,),
    layers.Reshape: ((-1,),),
    layers.SpatialDropout1D: (0.5,),
    layers.SpatialDropout2D: (0.5,),
    layers.SpatialDropout3D: (0.5,),
    **dict.fromkeys((*kinds.CONVOLUTIONS, *kinds.SEPARABLE), (3, 2)),
    **dict.fromkeys((*kinds.DEPTHWISE, *kinds.AVERAGE_POOLINGS), (2,)),
}
RANKS = {layers.Dense: 2, layers.EinsumDense: 2, layers.RepeatVector: 2}


def rank_of(kind):
    dimensions = kind.__name__.removesuffix("Transpose")[-2:]
    known = {"1D": 3, "2D": 4, "3D": 5}
    return known.get(dimensions, RANKS.get(kind, 3))


def made(kind):
    return kind(*ARGUMENTS.get(kind, ()))


def inputs_of(kind):
    return RNG.normal(size=(2, *(4,) * (rank_of(kind) - 1))).astype("float32")


def each(*sets):
    every = list(dict.fromkeys(kind for group in sets for kind in group))
    return pytest.mark.parametrize("kind", every, ids=[k.__name__ for k in every])


# What they do


@each(kinds.IDENTITIES)
def test_identities_return_their_inputs_at_inference(kind):
    x = inputs_of(kind)
    np.testing.assert_array_equal(made(kind)(x, training=False), x)


@each(kinds.DROPOUTS, kinds.NOISES)
def test_dropouts_and_noises_are_random_in_training(kind):
    layer, x = made(kind), inputs_of(kind)
    first, second = (np.array(layer(x, training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 1e-3


@each(kinds.DROPOUT_INSIDE)
def test_layers_with_dropout_inside_take_its_rate(kind):
    arguments = (2, 2) if "Conv" in kind.__name__ else (2,)
    layer = kind(dropout=0.5) if kind is layers.Attention else None
    layer = layer or kind(*arguments, dropout=0.25, recurrent_dropout=0.5)
    assert layer.dropout > 0


@each(kinds.REARRANGEMENTS)
def test_rearrangements_move_numbers(kind):
    x = inputs_of(kind)
    found = np.array(made(kind)(x)).reshape(2, -1)
    np.testing.assert_array_equal(np.sort(found), np.sort(x.reshape(2, -1)))


@each([kind for kind in kinds.COPYING if kind is not layers.InputLayer])
def test_copying_layers_give_numbers_of_their_inputs_or_zeros(kind):
    x = inputs_of(kind)
    assert np.isin(np.array(made(kind)(x, training=False)), [0.0, *x.flat]).all()


@each(kinds.AVERAGE_POOLINGS, kinds.MAX_POOLINGS)
def test_poolings_take_a_mean_or_a_maximum(kind):
    x = inputs_of(kind)
    corner = x[(0, *(slice(2),) * (x.ndim - 2), 0)]
    expected = corner.mean() if kind in kinds.AVERAGE_POOLINGS else corner.max()
    assert np.array(made(kind)(x)).flat[0] == pytest.approx(expected, rel=1e-6)


@each(kinds.GLOBAL_AVERAGE_POOLINGS, kinds.GLOBAL_MAX_POOLINGS)
def test_global_poolings_take_it_of_all_places(kind):
    x = inputs_of(kind)
    take = np.mean if kind in kinds.GLOBAL_AVERAGE_POOLINGS else np.max
    expected = take(x, axis=tuple(range(1, x.ndim - 1)))
    np.testing.assert_allclose(made(kind)(x), expected, rtol=1e-5)


@each(kinds.SAME_SHAPE)
def test_layers_that_leave_the_shape_as_it_is(kind):
    x = inputs_of(kind)
    merges = kind in kinds.MERGES
    assert made(kind)([x, x + 1] if merges else x).shape == x.shape


@each(kinds.LINEAR)
def test_linear_layers_are_linear(kind):
    layer = made(kind)
    a, b = inputs_of(kind), inputs_of(kind)
    zero = layer(np.zeros_like(a))
    total = layer(2 * a - b) - zero
    parts = 2 * (layer(a) - zero) - (layer(b) - zero)
    np.testing.assert_allclose(total, parts, rtol=1e-4, atol=1e-5)


# That none is missing

FAMILIES = {
    "AveragePooling": kinds.AVERAGE_POOLINGS,
    "Conv": kinds.CONVOLUTIONS,
    "Cropping": kinds.CROPPINGS,
    "DepthwiseConv": kinds.DEPTHWISE,
    "GlobalAveragePooling": kinds.GLOBAL_AVERAGE_POOLINGS,
    "GlobalMaxPooling": kinds.GLOBAL_MAX_POOLINGS,
    "MaxPooling": kinds.MAX_POOLINGS,
    "SeparableConv": kinds.SEPARABLE,
    "SpatialDropout": kinds.SPATIAL_DROPOUTS,
    "UpSampling": kinds.UPSAMPLINGS,
    "ZeroPadding": kinds.PADDINGS,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_holds_each_number_of_dimensions_in_order(family):
    names = [f"{family}{n}D" for n in (1, 2, 3)]
    assert FAMILIES[family] == tuple(
        getattr(layers, name) for name in names if hasattr(layers, name)
    )


def test_every_dropout_and_transposed_convolution_of_keras_is_known():
    every = {k for k in vars(layers).values() if isinstance(k, type)}
    dropouts = {k for k in every if k.__name__.endswith(("Dropout", "Dropout1D"))}
    assert dropouts - set(kinds.DROPOUTS) == set()
    transposed = {k for k in every if k.__name__.endswith("DTranspose")}
    assert transposed == set(kinds.TRANSPOSED)
    recurrent = {
        k for k in every if issubclass(k, layers.RNN) or k.__name__.endswith("Cell")
    } - {layers.RNN}
    assert recurrent <= set(kinds.DROPOUT_INSIDE)


def test_merges_are_all_that_keep_the_shape():
    merging = {
        k
        for k in vars(layers).values()
        if isinstance(k, type)
        and k.__module__
        == layers.Add.__module__.replace(".add", "." + k.__name__.lower())
        and not issubclass(k, (layers.Concatenate, layers.Dot))
    }
    assert merging == set(kinds.MERGES)


def test_sets_are_tuples_that_list_a_kind_once():
    sets = {k: v for k, v in vars(kinds).items() if k.isupper()}
    assert len(sets) > 15
    for name, group in sets.items():
        assert isinstance(group, tuple), name
        assert len(set(group)) == len(group), name
        assert all(issubclass(kind, keras.layers.Layer) for kind in group), name
