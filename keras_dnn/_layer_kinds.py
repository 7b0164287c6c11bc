"""Keras's layers by what they do: each set is written here and nowhere else.

To teach the package a new layer of a kind that it knows (a dropout, a pooling, another
convolution), add it to its set. A convolution or another layer with a kernel whose axes
mean something new also needs an entry in `_kernel_axes.py`. No other file lists layers
by kind.

The sets are tuples, for `isinstance` as well as for `type(layer) in ...`. A subclass
may compute anything: whoever relies on what a layer computes compares the type.
"""

from __future__ import annotations

import keras

layers = keras.layers

# Layers with dropout

SPATIAL_DROPOUTS = (
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
)
DROPOUTS = (
    layers.Dropout,
    *SPATIAL_DROPOUTS,
    layers.GaussianDropout,
    layers.AlphaDropout,
)
"""Layers that drop and do nothing else."""

NOISES = (layers.GaussianNoise,)
"""Layers that add noise in training and do nothing else."""

DROPOUT_INSIDE = (
    layers.Attention,
    layers.ConvLSTM1D,
    layers.ConvLSTM2D,
    layers.ConvLSTM3D,
    layers.GRU,
    layers.GRUCell,
    layers.LSTM,
    layers.LSTMCell,
    layers.SimpleRNN,
    layers.SimpleRNNCell,
)
"""Layers that drop inside; in training mode nothing else in them is different."""

# Layers that compute nothing new at inference

IDENTITIES = (*DROPOUTS, *NOISES, layers.ActivityRegularization, layers.Identity)
"""Layers that return their inputs at inference."""

REARRANGEMENTS = (layers.Flatten, layers.Permute, layers.Reshape)
"""Layers that move each number to another place."""

CROPPINGS = (layers.Cropping1D, layers.Cropping2D, layers.Cropping3D)
UPSAMPLINGS = (layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D)
PADDINGS = (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D)

COPYING = (
    layers.InputLayer,
    *IDENTITIES,
    *REARRANGEMENTS,
    *CROPPINGS,
    *UPSAMPLINGS,
    *PADDINGS,
    layers.RepeatVector,
    layers.Masking,
)
"""Layers whose outputs at inference are copies of inputs, or zeros."""

# Layers that take a mean or a maximum in each channel; by the number of dimensions

AVERAGE_POOLINGS = (
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.AveragePooling3D,
)
MAX_POOLINGS = (layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D)
GLOBAL_AVERAGE_POOLINGS = (
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
)
GLOBAL_MAX_POOLINGS = (
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
)

# Layers that leave the shape as it is

ACTIVATIONS = (
    layers.Activation,
    layers.ELU,
    layers.LeakyReLU,
    layers.PReLU,
    layers.ReLU,
)
NORMALIZATIONS = (
    layers.BatchNormalization,
    layers.LayerNormalization,
    layers.GroupNormalization,
)
MERGES = (
    layers.Add,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
    layers.Multiply,
    layers.Subtract,
)
SAME_SHAPE = (
    *IDENTITIES,
    *ACTIVATIONS,
    *NORMALIZATIONS,
    *MERGES,
    layers.Masking,
    layers.Rescaling,
    layers.Softmax,
)
"""Layers whose outputs have the axes of their inputs."""

# Layers with a kernel; convolutions by the number of dimensions

CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)

LINEAR = (
    layers.Dense,
    layers.EinsumDense,
    *CONVOLUTIONS,
    *TRANSPOSED,
    *DEPTHWISE,
    *SEPARABLE,
)
"""Layers that compute W·x + b and then their activation."""
