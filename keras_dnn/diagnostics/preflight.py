"""All checks before training, in one call."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._batches import (
    as_arrays,
    is_batched,
    joined,
    require_alone,
    rows_of,
    sample_of,
)
from keras_dnn._keras.layers import require_call, rows_of_states, sublayers
from keras_dnn._keras.losses import needs_targets, require_loss_outside_step
from keras_dnn._keras.prediction import data_for_keras, has_own
from keras_dnn._progress import Progress, Verbose
from keras_dnn._tensorflow import require_tensorflow, tf
from keras_dnn.diagnostics.examination import Examination
from keras_dnn.diagnostics.finding import Finding
from keras_dnn.diagnostics.registry import selected
from keras_dnn.diagnostics.report import Chart, Report, worst_first

VALIDATION_ROWS = 1024
"""About how many validation examples to read where they come in batches."""


def preflight(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    validation_data: Any = None,
    samples: int = 64,
    skip: Iterable[str] = (),
    thresholds: Mapping[str, float] | None = None,
    seed: int = 0,
    verbose: Verbose = "auto",
) -> Report:
    """Checks a model before it is trained: data, structure, signal and loss.

    Makes one pass forward and back on some of the data, in training mode, and memorises
    a few examples. Weights, optimizer, metrics and random state are left unchanged, bit
    for bit. A model that is not built yet is built.

    Within one severity, causes come before their effects. `registered_checks` lists the
    checks, `register_check` adds one.

    Args:
        model: a compiled model.
        x: what `fit` takes as `x`: arrays, a `tf.data.Dataset` or a
            `keras.utils.PyDataset`.
        y: the targets, if `x` does not hold them and the loss needs some.
        sample_weight: weights of the examples.
        validation_data: what `fit` takes as `validation_data`; compared with the
            training data (dtypes, scales, classes, and examples that stand in both).
        samples: how many examples to examine.
        skip: names of checks to leave out.
        thresholds: thresholds to use in place of the checks' own, by name of the check.
        seed: of the choice of examples.
        verbose: 0 for no output, 1 for a progress bar, `"auto"` for one that appears if
            it takes long.

    Returns:
        A `Report`.

    Raises:
        RuntimeError: if Keras's backend is not TensorFlow.
        ValueError: if the model is not compiled, its loss is known to its `train_step`
            alone, the model is quantised to float8, there are no targets, a name in
            `skip` or `thresholds` is not the name of a check, or a check in
            `thresholds` has none.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.diagnostics import preflight
        >>> keras.utils.set_random_seed(1)
        >>> model = keras.Sequential(
        ...     [
        ...         keras.Input((4,)),
        ...         keras.layers.Dense(16, "relu", kernel_initializer="he_normal"),
        ...         keras.layers.Dense(2, "softmax"),
        ...     ]
        ... )
        >>> model.compile("adam", "sparse_categorical_crossentropy")
        >>> x = np.random.default_rng(0).normal(size=(64, 4))
        >>> y = (x.sum(axis=1) > 0).astype(int)
        >>> preflight(model, x, y).findings
        ()
        >>> preflight(model, 1000 * x, y).findings[0].name
        'inputs-not-standardised'

    Reference:
        A. Karpathy, "CS231n: Neural Networks Part 3", on sanity checks.
    """
    require_tensorflow("keras_dnn.diagnostics.preflight")
    if not getattr(model, "compiled", False):
        raise ValueError(f"model must be compiled. Received: model={model!r}")
    require_loss_outside_step(model, "preflight")
    require_call(model, "preflight")
    _require_eager_calls(model)
    checks = selected("before", skip, thresholds)
    given = (x, y)
    x, y, sample_weight = _batch(model, x, y, sample_weight, samples, seed)
    if is_batched(given[0]) or has_own(model, "fit"):
        given = (x, y)
    if not model.built:
        model(x)
    validation = _validation(model, validation_data)
    examination = Examination(model, x, y, sample_weight, given, validation)
    progress = Progress(verbose)
    findings: list[Finding] = []
    checked: list[str] = []
    blocked = False
    for done, check in enumerate(checks, start=1):
        progress.reach(done, len(checks))
        if not check.has_data(examination):
            continue
        found = check.findings(examination)
        findings += found
        checked.append(check.name)
        blocked = check.blocking and any(f.severity == "error" for f in found)
        if blocked:
            progress.stop()
            break
    return Report(
        model.name,
        worst_first(findings),
        tuple(checked),
        () if blocked else _charts(examination),
    )


def _batch(
    model: keras.Model, x: Any, y: Any, sample_weight: Any, samples: int, seed: int
) -> tuple[Any, Any, Any]:
    samples = _arguments.count("samples", samples)
    required = needs_targets(model)
    # A stateful model takes no other number of rows.
    samples = rows_of_states(model) or samples
    batched = is_batched(x)
    if y is None and not batched and required:
        raise ValueError("y must be given with arrays. Received: y=None")
    if batched:
        require_alone(x, y=y, sample_weight=sample_weight)
        data = x
    else:
        data = (x, y, sample_weight)
    part = sample_of(
        data,
        samples,
        samples,
        seed,
        "x",
        rows_at_once=rows_of_states(model),
        prepare=functools.partial(data_for_keras, model),
    )
    whole = joined(list(part))
    found: tuple[Any, Any, Any] = keras.utils.unpack_x_y_sample_weight(
        rows_of(whole, slice(samples))
    )
    _require_numbers(found[1], required)
    if found[1] is None and required:
        raise ValueError("x must hold targets too. Received: data without targets")
    return found


def _validation(model: keras.Model, data: Any) -> tuple[Any, Any] | None:
    """All inputs and targets of arrays, and the first ones of other data."""
    if data is None:
        return None
    if not is_batched(data):
        if not isinstance(data, (tuple, list)) or not 1 <= len(data) <= 3:
            raise ValueError(
                "validation_data must be (x, y), (x, y, sample_weight) or data in "
                f"batches, as fit takes it. Received: {type(data).__name__}"
            )
        if not has_own(model, "fit"):
            x, y, _ = keras.utils.unpack_x_y_sample_weight(tuple(data))
            return as_arrays(x, "validation_data"), y
        data = tuple(data)
    part = sample_of(
        data,
        VALIDATION_ROWS,
        VALIDATION_ROWS,
        0,
        "validation_data",
        rows_at_once=rows_of_states(model),
        prepare=functools.partial(data_for_keras, model),
    )
    x, y, _ = keras.utils.unpack_x_y_sample_weight(joined(list(part)))
    return x, y


def _require_eager_calls(model: keras.Model) -> None:
    """Refuses layers in float8, which Keras calls in compiled training steps alone."""
    for layer in sublayers(model):
        if layer.quantization_mode == "float8":
            raise ValueError(
                "model must not be quantised to float8, which works in compiled steps "
                "of fit alone. Check it before model.quantize. "
                f"Received: {layer.name!r} of float8"
            )


def _require_numbers(y: Any, required: bool) -> None:
    """Refuses labels that are strings, which no loss of Keras takes."""
    for part in keras.tree.flatten(y):
        if required and part is not None and part.dtype == tf.string:
            raise ValueError(
                "y must hold numbers; labels that are strings become integers by "
                "np.unique(y, return_inverse=True)[1] or keras.layers.StringLookup. "
                "Received: y of strings"
            )


def _charts(examination: Examination) -> tuple[Chart, ...]:
    signals = [signal for signal in examination.layers if signal.has_kernel]
    if len(signals) < 2:
        return ()
    names = tuple(signal.path for signal in signals)
    forward = {
        "root mean square": np.array([signal.rms for signal in signals]),
        "standard deviation over examples": np.array([s.std for s in signals]),
    }
    backward = {"norm": np.array([signal.gradient_norm for signal in signals])}
    return (
        Chart("Forward signal by layer", names, "layer", forward, log=True),
        Chart("Gradient by layer", names, "layer", backward, log=True),
    )
