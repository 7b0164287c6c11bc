"""Slopes of a loss by central differences, with the error that rounding may make."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_dnn._keras.losses import call_of, total_loss
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn._unchanged import moving_variables

EPSILON = float(np.finfo("float64").eps)
COARSE = float(np.finfo("float32").eps)
"""The rounding where a part computes in float32, whatever the type of the model."""

SHRINKS = (1.0, 0.1, 0.01, 0.001)
"""Smaller steps where slopes disagree: a kink or a bend may lie between the ends."""

NEARBY = 0.01
"""How far a point nearby is, relative to the weights of a variable."""


class LossOfWeights:
    """The loss as a function of the weights; data, masks and statistics stay fixed."""

    def __init__(self, model: keras.Model, batch: Any, training: bool) -> None:
        self.model, self.batch, self.training = model, batch, training
        self.weights = [v.value for v in model.trainable_variables]
        self.epsilon = EPSILON
        # Statistics and the seeds of masks, which a pass may move.
        moving = [variable.value for variable in moving_variables(model)]
        self._fixed = [(variable, tf.identity(variable)) for variable in moving]
        self._call = tf.function(self._value).get_concrete_function()
        self._taped = tf.function(self._gradients).get_concrete_function()
        try:
            self._call()
        except tf.errors.UnimplementedError as error:
            raise ValueError(
                "model must have layers that TensorFlow computes in float64 on this "
                "device, such as convolutions with their channels last. "
                f"Received: {last_sentence(error.message)}"
            ) from error
        self._fixed = [pair for pair in self._fixed if not _same(*pair)]
        self.fix()

    def _value(self) -> Tensor:
        x, y, weight = self.batch
        outputs = call_of(self.model, x, training=self.training)
        return total_loss(self.model, x, y, outputs, weight, training=self.training)

    def _gradients(self) -> list[Tensor]:
        with tf.GradientTape() as tape:
            loss = self._value()
        gradients = tape.gradient(loss, self.weights)
        return [
            tf.zeros_like(w) if g is None else tf.convert_to_tensor(g)
            for w, g in zip(self.weights, gradients, strict=True)
        ]

    def value(self) -> float:
        """The loss with the weights as they are."""
        self.fix()
        return float(self._call())

    def gradients(self) -> list[np.ndarray]:
        """Automatic gradients, a flat array for each variable."""
        self.fix()
        return [np.asarray(g).ravel() for g in self._taped()]

    def has_parts_in_float32(self) -> bool:
        """Whether float64 is cast to a smaller type on the way to the loss."""
        graph = self._call.graph.as_graph_def()
        nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
        small = (tf.float32.as_datatype_enum, tf.float16.as_datatype_enum)
        return any(
            node.op == "Cast"
            and node.attr["SrcT"].type == tf.float64.as_datatype_enum
            and node.attr["DstT"].type in small
            for node in nodes
        )

    def fix(self) -> None:
        """Puts statistics and the seeds of masks where they were at first."""
        for variable, value in self._fixed:
            variable.assign(value)

    @contextlib.contextmanager
    def unchanged(self) -> Iterator[list[np.ndarray]]:
        """Puts the weights back at the end; gives their values."""
        # Of a scalar `numpy()` gives a number, not an array.
        before = [np.array(weight.numpy()) for weight in self.weights]
        try:
            yield before
        finally:
            self.move_to(before)

    def move_to(self, values: list[np.ndarray]) -> None:
        """Gives the weights these values."""
        for weight, value in zip(self.weights, values, strict=True):
            weight.assign(value)

    @contextlib.contextmanager
    def nearby(self, rng: np.random.Generator) -> Iterator[None]:
        """Moves each weight a little, so that no kink that it is on stays.

        Where a kink is a matter of chance, as where a bias of zero meets inputs of
        zero, the weights move off it. Where it is one for all weights, as between
        equal pixels of a border, both sides have the same slope.
        """
        with self.unchanged() as before:
            here = self.value()
            ways = [_away(rng, value) for value in before]
            for shrink in (1.0, 0.1, 0.01):
                steps = zip(before, ways, strict=True)
                self.move_to([value + shrink * way for value, way in steps])
                # Where the loss is steep, it is another loss already.
                if abs(self.value() - here) <= 0.1 * abs(here):
                    break
            yield

    def noise(self, rng: np.random.Generator) -> float:
        """How large the rounding errors of the loss are.

        By the differences of high order of its values on a line: they remove what is
        smooth and keep what is not.

        Reference:
            J. Moré, S. Wild, "Estimating Computational Noise", 2011.
        """
        with self.unchanged() as before:
            ways = [_away(rng, value) for value in before]
            values = []
            for k in range(7):
                step = k * self.epsilon**0.5
                steps = zip(before, ways, strict=True)
                self.move_to([value + step * way for value, way in steps])
                values.append(self.value())
        if not np.isfinite(values).all():
            return 0.0
        found = [self.epsilon * abs(values[0])]
        for order in (4, 5, 6):
            expected = math.comb(2 * order, order)
            found.append(np.sqrt(np.mean(np.diff(values, order) ** 2) / expected))
        return float(max(found))


class Line(NamedTuple):
    """A line through the weights: of one entry of a variable, or of all of them.

    Attributes:
        variable: the index of the variable.
        entry: the index of the entry, `None` for all.
        signs: the directions in which all of them move.
    """

    variable: int
    entry: int | None = None
    signs: np.ndarray | None = None

    def slope(self, gradients: list[np.ndarray]) -> float:
        """The slope along the line by the gradient."""
        gradient = gradients[self.variable]
        if self.signs is None:
            return float(gradient[self.entry])
        # Infinite entries of both signs add up to NaN, which is right.
        with np.errstate(invalid="ignore"):
            return float(gradient @ self.signs)

    def moved(self, value: np.ndarray, step: float) -> np.ndarray:
        """The values of the variable after a step along the line."""
        if self.entry is None:
            assert self.signs is not None
            return value + step * self.signs.reshape(value.shape)
        moved = value.copy()
        moved.flat[self.entry] += step
        return moved

    def step(self, value: np.ndarray, epsilon: float) -> float:
        """The step at which rounding, eps / h, and truncation, h**2, are as small."""
        size = value if self.entry is None else value.flat[self.entry]
        scale = max(1.0, float(np.sqrt(np.mean(np.square(size)))))
        return float(epsilon ** (1 / 3) * scale)


class Slope(NamedTuple):
    """A slope along a line, by the gradient and by a central difference.

    Attributes:
        automatic: that of the gradient.
        numeric: the central difference.
        noise: how far rounding alone may move the central difference.
        agrees: whether the two agree for one of the steps.
    """

    automatic: float
    numeric: float
    noise: float
    agrees: bool


def slope_of(
    loss: LossOfWeights,
    line: Line,
    automatic: float,
    noise: float,
    tolerance: float,
    shrinks: tuple[float, ...] = SHRINKS,
) -> Slope:
    """The slope along a line; with smaller steps where it is not the automatic one."""
    weight = loss.weights[line.variable]
    before = np.array(weight.numpy())
    first = None
    try:
        for shrink in shrinks:
            h = shrink * line.step(before, loss.epsilon)
            weight.assign(line.moved(before, h))
            up = loss.value()
            weight.assign(line.moved(before, -h))
            numeric = (up - loss.value()) / (2 * h)
            # Fourteen standard deviations.
            unsure = 10 * noise / h
            size = abs(numeric) + abs(automatic)
            agrees = bool(abs(numeric - automatic) <= tolerance * size + unsure)
            # With small steps noise may hide what the first step has shown.
            agrees = agrees and (first is None or unsure <= 1e-3 * size)
            found = Slope(automatic, numeric, unsure, agrees)
            if agrees:
                return found
            first = first or found
    finally:
        weight.assign(before)
    assert first is not None
    return first


def relative_difference(slopes: list[Slope], tolerance: float) -> float:
    """The relative difference of two gradients, 0 where both are rounding noise.

    NaN if a number is not finite: no two gradients of that kind agree.
    """
    automatic = np.array([slope.automatic for slope in slopes])
    numeric = np.array([slope.numeric for slope in slopes])
    if not (np.isfinite(automatic).all() and np.isfinite(numeric).all()):
        return float("nan")
    size = float(np.linalg.norm(automatic) + np.linalg.norm(numeric))
    gap = float(np.linalg.norm(automatic - numeric))
    noise = float(np.linalg.norm([slope.noise for slope in slopes]))
    if tolerance * size <= noise:
        gap = max(0.0, gap - noise)
    return gap / size if size > 0 else 0.0


def last_sentence(message: str) -> str:
    """What TensorFlow says of an error, without where it happened."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("[[", "File", "Detected"))]
    return said[-1] if said else message


def _same(variable: Any, value: Tensor) -> bool:
    return np.array_equal(variable.numpy(), value.numpy())


def _away(rng: np.random.Generator, value: np.ndarray) -> np.ndarray:
    """A random move of each entry, none of them close to zero."""
    size = float(np.sqrt(np.mean(np.square(value)))) if value.size else 0.0
    signs = rng.choice([-1.0, 1.0], value.shape)
    return NEARBY * (size or 0.1) * signs * rng.uniform(0.5, 1.0, value.shape)
