"""Numbers that must be the same on every backend of Keras.

Each function is one test: what it returns on another backend is compared with what it
returns on TensorFlow. Weights and data come from NumPy, since each backend draws its
own random numbers; of what is random, only facts that hold for every draw are returned.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

import keras_dnn
from keras_dnn import callbacks, initializers, models, pretraining, recipes
from keras_dnn import layers as ours

NUMBERS: dict[str, Callable[[], Any]] = {}
FAILS_ON: dict[str, set[str]] = {
    # An optimizer of Keras needs all gradients there.
    "gradual_unfreezing": {"jax"},
    "metrics_of_a_stage": {"jax"},
    # Its example starts workers, in which it refuses.
    "multi_worker_strategy": {"jax", "torch"},
    "one_cycle_scheduler": {"jax", "torch"},
    "training": {"jax", "torch"},
}
"""What cannot work on some backends, and says so."""


def numbers(function: Callable[[], Any]) -> Callable[[], Any]:
    NUMBERS[function.__name__] = function
    return function


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def data(*shape: int, seed: int = 0) -> np.ndarray:
    return rng(seed).normal(size=shape).astype("float32")


def filled(model: Any, seed: int = 1) -> Any:
    """The model, its weights drawn by NumPy; statistics of batch norm too."""
    draw = rng(seed)
    model.set_weights([draw.uniform(-0.3, 0.3, w.shape) for w in model.weights])
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([draw.uniform(0.5, 2, w.shape) for w in layer.weights])
    return model


def array(tensor: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def network() -> keras.Model:
    return filled(
        keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv"),
                layers.BatchNormalization(name="norm"),
                layers.ReLU(name="relu"),
                layers.Dropout(0.5, name="dropout"),
                layers.Flatten(name="flat"),
                layers.Dense(5, "tanh", name="dense"),
                layers.BatchNormalization(name="norm_2"),
                layers.Dense(2, "softmax", name="out"),
            ]
        )
    )


IMAGES = data(6, 8, 8, 3, seed=3)


def mlp() -> keras.Model:
    stack = [layers.Dense(5, "tanh", name="low"), layers.Dense(1, name="high")]
    return filled(keras.Sequential([keras.Input((4,)), *stack]))


ROWS = data(32, 4, seed=4)
TARGETS = ROWS[:, :1] * 0.3


def trained(model: keras.Model, *given: Any, epochs: int = 2, **options: Any) -> Any:
    """The losses of `fit` and the weights after it."""
    history = model.fit(
        *given, epochs=epochs, batch_size=8, shuffle=False, verbose=0, **options
    )
    return {"loss": history.history["loss"], "weights": model.get_weights()}


# Layers ---------------------------------------------------------------------------


@numbers
def bias_map() -> Any:
    layer = ours.BiasMap((3, 4), activation="relu")
    layer.build((None, 3, 4))
    layer.set_weights([data(3, 4)])
    return array(layer(data(2, 3, 4, seed=1)))


@numbers
def hierarchical_softmax() -> Any:
    x, y = data(30, 4), rng().integers(0, 50, 30)
    layer = ours.HierarchicalSoftmax(50, frequencies=rng(2).uniform(size=50))
    layer.build(x.shape)
    shapes = [w.shape for w in layer.weights]
    layer.set_weights([0.3 * data(*shape, seed=i) for i, shape in enumerate(shapes)])
    best, classes = ours.HierarchicalTopK(layer, k=3)(x)
    return {
        "probabilities": array(layer(x)),
        "loss": array(ours.HierarchicalCrossentropy()(y, layer(x, training=True))),
        "best": array(best),
        "classes": array(classes),
    }


@numbers
def training_a_hierarchical_softmax() -> Any:
    layer = ours.HierarchicalSoftmax(12)
    model = filled(keras.Sequential([keras.Input((4,)), layer]))
    model.compile(keras.optimizers.SGD(0.5), ours.HierarchicalCrossentropy())
    return trained(model, ROWS, rng().integers(0, 12, 32))


@numbers
def dropped_at_inference() -> Any:
    x = np.ones((4, 6, 6, 40), "float32")
    found = {}
    for layer in (
        ours.MCDropout(0.5, seed=1),
        ours.MCSpatialDropout2D(0.5, seed=1),
        ours.MonteCarlo(layers.Dropout(0.5, seed=1)),
    ):
        first, second = array(layer(x)), array(layer(x, training=False))
        found[type(layer).__name__] = {
            "values": np.unique(first),
            "half": abs(first.mean() - 1) < 0.25,
            "varies": (first != second).any(),
        }
    maps = array(ours.MCSpatialDropout2D(0.5, seed=2)(x))
    found["whole maps"] = (maps.std(axis=(1, 2)) == 0).all()
    gaussian = array(ours.MCGaussianDropout(0.2, seed=1)(x))
    moments = np.array([gaussian.mean(), gaussian.std()])
    found["gaussian"] = np.abs(moments - [1.0, 0.5]) < 0.05
    return found


@numbers
def rrelu() -> Any:
    layer, x = ours.RReLU(seed=1), -np.ones((100, 100), "float32")
    drawn = -array(layer(x, training=True))
    return {
        "inference": array(layer(data(3, 4))),
        "bounds": [drawn.min() > 0.1249, drawn.max() < 0.3334],
        "mean": abs(drawn.mean() - (1 / 8 + 1 / 3) / 2) < 0.005,
    }


# Initializers ---------------------------------------------------------------------


@numbers
def variances() -> Any:
    found = {}
    for name in ("GlorotNormal", "GlorotUniform", "HeUniform", "LeCunNormal"):
        initializer = getattr(initializers, name)(gain="tanh", seed=1)
        weights = array(initializer((300, 300)))
        scale = initializer.scale * initializers.calculate_gain("tanh") ** 2
        found[name] = [scale, abs(np.var(weights) * 300 / scale - 1) < 0.03]
    return found


@numbers
def delta_orthogonal() -> Any:
    kernel = array(initializers.DeltaOrthogonal(groups=2, seed=1)((3, 4, 12)))
    first = kernel[1, :, :6]
    return {"identity": first @ first.T, "zeros": kernel[[0, 2]]}


@numbers
def unit_variances() -> Any:
    model = keras.Sequential(
        [keras.Input((8,)), *(layers.Dense(8, "elu") for _ in range(4))]
    )
    initializers.initialize(model, initializers.HeNormal(seed=1))
    result = initializers.lsuv(model, 3 * data(64, 8) + 2, verbose=0, seed=1)
    return {"reached": np.abs(result.after - 1) < 0.01, "layers": len(result.layers)}


# Schedules ------------------------------------------------------------------------


@numbers
def schedules() -> Any:
    s, steps = keras_dnn.optimizers.schedules, np.arange(0, 120, 7)
    cosine = s.CosineDecay(0.4, 60, alpha=0.1)
    cycle = s.OneCycle(1.0, 101, warmup_fraction=0.4, anneal="cosine")
    made = {
        "power": s.PowerDecay(0.4, 10, power=0.7),
        "exponential": s.ExponentialDecay(0.4, 30, 0.3),
        "staircase": s.ExponentialDecay(0.4, 30, 0.3, staircase=True),
        "inverse time": s.InverseTimeDecay(0.4, 10, 0.5),
        "inverse root": s.InverseSquareRootDecay(0.4, 10),
        "step": s.StepDecay(0.4, 25, 0.2),
        "constant": s.PiecewiseConstant([20, 60], [0.3, 0.2, 0.1]),
        "cosine": cosine,
        "cycle": cycle,
        "momentum": cycle.momentum(),
        "warm-up": s.Warmup(cosine, 30),
        "sequence": s.Sequence([cosine, s.StepDecay(0.1, 20)], [40]),
        "scaled": s.Scaled(cosine, 0.5),
    }
    found = {name: each.values(steps) for name, each in made.items()}
    found["one step"] = [float(array(each(33))) for each in made.values()]
    found["length"] = s.steps_in(3, ROWS, 10)
    return found


@numbers
def a_schedule_in_fit() -> Any:
    model = mlp()
    cycle = keras_dnn.optimizers.schedules.OneCycle(0.3, 8)
    model.compile(keras.optimizers.SGD(cycle), "mse")
    return trained(model, ROWS, TARGETS)


# Models ---------------------------------------------------------------------------


@numbers
def rebuilt() -> Any:
    model = network()
    no_noise = models.rebuild(
        model, lambda layer: None if layer.name == "dropout" else layer
    )
    return [array(model(IMAGES)), array(no_noise(IMAGES, training=False))]


@numbers
def folded() -> Any:
    model = network()
    result = models.fold_batch_norm(model)
    return {
        "outputs": array(result.model(IMAGES)),
        "whole": array(model(IMAGES)),
        "folded": sorted(result.folded.items()),
        "in float64": result.max_error < 1e-6,
        "weights": len(result.model.weights),
    }


@numbers
def folded_over_padding() -> Any:
    stack = [
        layers.BatchNormalization(),
        layers.Conv2D(3, 3, padding="same"),
        layers.AveragePooling2D(2),
        layers.BatchNormalization(),
        layers.Flatten(),
        layers.BatchNormalization(),
        layers.Dense(2),
    ]
    model = filled(keras.Sequential([keras.Input((8, 8, 3)), *stack]))
    result = models.fold_batch_norm(model, IMAGES)
    return [array(result.model(IMAGES)), array(model(IMAGES)), result.max_error < 1e-6]


@numbers
def pruned() -> Any:
    result = models.prune(network(), 0.5)
    return {
        "weights": result.model.get_weights(),
        "sparsity": models.sparsity(result.model).overall,
    }


@numbers
def reused() -> Any:
    model = models.reuse_layers(network(), "flat", head=layers.Dense(3))
    model.layers[-1].set_weights([data(256, 3), data(3)])
    models.unfreeze(model, 1)
    trainable = [layer.name for layer in model.layers if layer.trainable_weights]
    return {"outputs": array(model(IMAGES)), "trainable": len(trainable)}


@numbers
def to_monte_carlo_and_back() -> Any:
    model = network()
    random = models.to_monte_carlo(model)
    back = models.from_monte_carlo(random)
    return {
        "random": (array(random(IMAGES)) != array(random(IMAGES))).any(),
        "back": array(back(IMAGES)),
        "whole": array(model(IMAGES)),
    }


@numbers
def discriminative_rates() -> Any:
    model = mlp()
    rates = models.discriminative_rates(
        model, keras.optimizers.SGD(0.2, momentum=0.9), factor=0.25
    )
    model.compile(rates, "mse")
    return trained(model, ROWS, TARGETS)


@numbers
def calibrated() -> Any:
    p = rng().dirichlet(np.ones(3), 40)
    found = models.calibration(rng(1).integers(0, 3, 40), p)
    return [found.expected_calibration_error, found.brier_score, found.accuracy]


# Pre-training ---------------------------------------------------------------------


def encoder() -> keras.Model:
    stack = [layers.Dense(3, "tanh", name="one"), layers.Dense(2, name="two")]
    return filled(keras.Sequential([keras.Input((4,)), *stack]))


@numbers
def autoencoder() -> Any:
    model = pretraining.autoencoder(encoder())
    filled(model, seed=5)
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
    return trained(model, ROWS)


@numbers
def stacked_autoencoder() -> Any:
    found = []
    for stage in pretraining.stacked_autoencoder(encoder()):
        stage.compile(keras.optimizers.SGD(0.1), "mse")
        variables = stage.trainable_variables
        for i, variable in enumerate(variables):
            variable.assign(0.3 * data(*variable.shape, seed=i))
        found.append(trained(stage, ROWS))
    return found


@numbers
def metrics_of_a_stage() -> Any:
    found = []
    for stage in pretraining.stacked_autoencoder(encoder()):
        stage.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
        found.append(sorted(stage.fit(ROWS, verbose=0).history))
    return found


@numbers
def siamese_pairs() -> Any:
    model = pretraining.siamese(encoder())
    filled(model, seed=6)
    model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
    pairs = pretraining.Pairs(ROWS, rng().integers(0, 3, 32), 8, seed=1, redraw=False)
    history = model.fit(pairs, epochs=2, verbose=0, shuffle=False)
    return {"loss": history.history["loss"], "weights": model.get_weights()}


@numbers
def masking_and_rotation() -> Any:
    found = {}
    masked = pretraining.masking(encoder(), seed=1)
    masked.compile("sgd", "mse")
    found["masked"] = np.isfinite(masked.fit(ROWS, verbose=0).history["loss"])
    stack = [layers.Conv2D(2, 3), layers.GlobalAveragePooling2D()]
    turned = pretraining.rotation(keras.Sequential([keras.Input((8, 8, 3)), *stack]))
    turned.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    found["turned"] = sorted(turned.fit(IMAGES, verbose=0).history)
    return found


# Callbacks ------------------------------------------------------------------------


@numbers
def performance_scheduler() -> Any:
    found = {}
    for every, monitor in (("epoch", "loss"), (2, "val_loss")):
        model = mlp()
        model.compile(keras.optimizers.SGD(1e-3), "mse", metrics=["mae"])
        scheduler = callbacks.PerformanceScheduler(
            monitor,
            patience=1,
            min_delta=0.5,
            every=every,
            validation_data=None if every == "epoch" else (ROWS, TARGETS),
            restore_best=True,
        )
        history = trained(model, ROWS, TARGETS, callbacks=[scheduler])
        found[str(every)] = {
            **history,
            "reductions": scheduler.reductions,
            "best": scheduler.best,
            "rate": float(array(model.optimizer.learning_rate)),
        }
    return found


@numbers
def a_reduced_schedule() -> Any:
    model = mlp()
    decay = keras.optimizers.schedules.CosineDecay(0.1, 40)
    model.compile(keras.optimizers.SGD(decay), "mse")
    scheduler = callbacks.PerformanceScheduler("loss", patience=1, min_delta=10.0)
    return trained(model, ROWS, TARGETS, callbacks=[scheduler], epochs=3)


@numbers
def gradual_unfreezing() -> Any:
    model = mlp()
    model.compile(keras.optimizers.SGD(0.2, momentum=0.9), "mse")
    schedule = callbacks.GradualUnfreezing({0: 1, 1: "all"})
    return trained(model, ROWS, TARGETS, callbacks=[schedule])


@numbers
def one_cycle_scheduler() -> Any:
    model = mlp()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    cycle = callbacks.OneCycleScheduler(0.1, momentum=None)
    return trained(model, ROWS, TARGETS, callbacks=[cycle])


@numbers
def multi_worker_strategy() -> Any:
    return keras_dnn.distribution.MultiWorkerStrategy()


# Recipes --------------------------------------------------------------------------


@numbers
def training() -> Any:
    return recipes.training(mlp(), max_learning_rate=0.1, monitor=None).learning_rate


@numbers
def networks() -> Any:
    made = (
        recipes.deep_network([8, 6], n_classes=3, input_shape=(4,), batch_norm=True),
        recipes.self_normalizing_network([8, 6], n_classes=3, input_shape=(4,)),
    )
    return [array(filled(model)(ROWS)) for model in made]
