"""New models made from a model: what they predict, and that they share nothing."""

from __future__ import annotations

import keras
import numpy as np

from keras_dnn import models
from tests.zoo.battery import operation
from tests.zoo.subject import (
    Subject,
    assert_close,
    layers_in,
    own_randomness,
    precision_of,
    to_tensor,
)

GROUP = "surgery"
ROUNDING = 1e-4
"""Of a folded model, as a fraction of the size of its outputs."""


def assert_shares_nothing(a: keras.Model, b: keras.Model) -> None:
    assert not set(map(id, a.variables)).intersection(map(id, b.variables))


@operation(GROUP, "models.rebuild")
def rebuild(subject: Subject) -> None:
    copy = models.rebuild(subject.model)
    assert_shares_nothing(copy, subject.model)
    subject.assert_predicts_the_same(copy)


@operation(GROUP, "models.fold_batch_norm", "models.FoldResult")
def fold_batch_norm(subject: Subject) -> None:
    result = models.fold_batch_norm(subject.model)
    assert_shares_nothing(result.model, subject.model)
    assert norms_in(result.model) == len(result.kept)
    assert norms_in(subject.model) == len(result.kept) + len(result.folded)
    # In half precision nine numbers on the way are rounded, five in one model and four
    # in the other: kernel, product, bias and sum, and the output of the norm. A softmax
    # halves what that does to its inputs.
    subject.assert_predicts_the_same(
        result.model, max(ROUNDING, 4 * precision_of(subject.model))
    )


def norms_in(model: keras.Model) -> int:
    norm = keras.layers.BatchNormalization
    return sum(isinstance(layer, norm) for layer in layers_in(model))


@operation(GROUP, "models.prune", "models.PruneResult")
def prune(subject: Subject) -> None:
    nothing = models.prune(subject.model, 0.0, verbose=0)
    assert nothing.max_difference == 0 or np.isnan(nothing.max_difference)
    subject.assert_predicts_the_same(nothing.model)
    half = models.prune(subject.model, 0.5, verbose=0)
    assert_shares_nothing(half.model, subject.model)
    pruned = set(half.sparsity.by_layer) - set(half.kept)
    assert pruned
    for layer in pruned:
        # Half of a single weight is none.
        few = half.sparsity.weights[layer] == 1
        assert half.sparsity.by_layer[layer] >= (0.0 if few else 0.4), layer
    assert models.sparsity(half.model).by_layer == half.sparsity.by_layer


@operation(GROUP, "models.sparsity", "models.Sparsity")
def sparsity(subject: Subject) -> None:
    found = models.sparsity(subject.model)
    kernels = [
        v.numpy()
        for v in subject.model.trainable_variables
        if v.ndim > 1 and not v.path.endswith("bias")
    ]
    weights = sum(found.weights.values())
    zeros = round(found.overall * weights)
    assert weights >= sum(kernel.size for kernel in kernels)
    assert zeros >= sum(np.count_nonzero(kernel == 0) for kernel in kernels)


@operation(GROUP, "models.from_monte_carlo")
def from_monte_carlo(subject: Subject) -> None:
    copy = models.from_monte_carlo(subject.model)
    assert_shares_nothing(copy, subject.model)
    subject.assert_predicts_the_same(copy)


@operation(GROUP, "models.to_monte_carlo")
def to_monte_carlo(subject: Subject) -> None:
    random = models.to_monte_carlo(subject.model)
    assert_shares_nothing(random, subject.model)
    if subject.zoo.predicts:
        inputs = keras.tree.map_structure(to_tensor, subject.graph_inputs)
        with own_randomness():
            outputs = [
                [np.asarray(a) for a in keras.tree.flatten(random(inputs))]
                for _ in range(2)
            ]
        same = [np.array_equal(a, b) for a, b in zip(*outputs, strict=True)]
        assert not all(same), "two calls give the same"
    subject.assert_predicts_the_same(models.from_monte_carlo(random))


@operation(GROUP, "models.reuse_layers")
def reuse_layers(subject: Subject) -> None:
    with own_randomness():
        head = keras.layers.Dense(2, name="head_of_the_zoo")
    lower = models.reuse_layers(subject.model, -2)
    assert not lower.trainable_variables
    assert_shares_nothing(lower, subject.model)
    # The structure of the inputs, which a Sequential has not.
    given = getattr(subject.model, "_inputs_struct", subject.model.inputs)
    features = keras.Model(given, subject.model.layers[-2].output)
    inputs = subject.graph_inputs
    expected = subject.outputs(features, inputs)
    if len(lower.inputs) < len(subject.model.inputs):
        # Those that this layer does not depend on are left out.
        needed = {tensor.name for tensor in lower.inputs}
        pairs = zip(subject.model.inputs, keras.tree.flatten(inputs), strict=True)
        inputs = [array for tensor, array in pairs if tensor.name in needed]
    assert_close(subject.outputs(lower, inputs), expected, 1e-6)
    headed = models.reuse_layers(subject.model, -2, head)
    assert [v.path.split("/")[-2] for v in headed.trainable_variables] == [
        head.name
    ] * 2


@operation(GROUP, "models.unfreeze")
def unfreeze(subject: Subject) -> None:
    model = subject.fresh()
    trainable = len(model.trainable_variables)
    model.trainable = False
    unfrozen = models.unfreeze(model, 1)
    assert len(unfrozen) == 1
    assert model.trainable_variables
    models.unfreeze(model, 10**6)
    norms = [
        v
        for layer in layers_in(model)
        if isinstance(layer, keras.layers.BatchNormalization)
        for v in layer.weights
    ]
    assert len(model.trainable_variables) >= trainable - len(norms)
    assert not any(v.trainable for v in norms)


@operation(GROUP, "models.discriminative_rates", needs=["trains"])
def discriminative_rates(subject: Subject) -> None:
    """Each variable moves by the rate of its group: 0.1 times a power of 1/2."""
    model = subject.fresh()
    with own_randomness():
        optimizer = models.discriminative_rates(model, keras.optimizers.SGD(0.1), 0.5)
    variables = [
        # The scales of float8 are set by what stands for their gradient.
        v
        for v in model.trainable_variables
        if "float" in v.dtype and not v.overwrite_with_gradient
    ]
    before = [v.numpy().astype("float64") for v in variables]
    optimizer.apply([keras.ops.ones_like(v) for v in variables], variables)
    powers = []
    for variable, old in zip(variables, before, strict=True):
        rates = old - variable.numpy().astype("float64")
        powers.append(np.log2(0.1 / rates.mean()))
        np.testing.assert_allclose(rates, rates.mean(), rtol=0.02)
    np.testing.assert_allclose(powers, np.round(powers), atol=0.02)
    assert round(min(powers)) == 0
