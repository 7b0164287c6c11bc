"""Checks of the loss: its first value, its penalties, and whether it can fall."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_dnn.diagnostics._tiny_batch import memorise
from keras_dnn.diagnostics.check import Check, built_in
from keras_dnn.diagnostics.examination import Examination
from keras_dnn.diagnostics.finding import Finding


@built_in(
    "regularisation",
    when="before",
    looks_for="a penalty that lowers the loss, or that outweighs it",
    threshold=5.0,
    source="CS231n: the loss must rise with regularisation; five times the data's loss",
    advice="Use a smaller factor; 1e-4 is common.",
)
def regularisation(examination: Examination, check: Check) -> Iterator[Finding]:
    """Training minimises the sum, and ignores the data if the penalty dominates."""
    penalty, loss = examination.penalty, examination.loss
    if penalty < 0:
        yield check.finding(
            "error",
            "Regularisation lowers the loss, so one of its factors is negative.",
            advice="Use positive factors.",
            penalty=penalty,
            loss=loss,
        )
    elif penalty > check.threshold * abs(loss):
        yield check.finding(
            "warning",
            f"The penalty is {penalty / max(abs(loss), 1e-30):.3g} times as large as "
            "the loss on the data.",
            penalty=penalty,
            loss=loss,
        )


@built_in(
    "initial-loss",
    when="before",
    looks_for="a first loss far from that of equal probabilities",
    threshold=2.0,
    source="CS231n: a new classifier of C classes has a loss of ln C",
    advice="Use smaller initial weights in the last layer, standardise its inputs, "
    "and check that the loss fits the labels.",
)
def initial_loss(examination: Examination, check: Check) -> Iterator[Finding]:
    """A new classifier knows nothing, so it should not be sure of anything."""
    known = examination.yardstick
    guess, uniform = known.guess, known.uniform
    if not np.isfinite([guess, uniform, examination.loss]).all():
        return
    layer = examination.losses[0].layer
    # Logits of a He-initialised last layer have a standard deviation of 1 to 1.5,
    # which costs about half of its square.
    # Of nested outputs the losses are not known one by one.
    known_losses = sum(loss.uninformed for loss in examination.losses)
    of_one = uniform / known_losses if known_losses else 0.0
    limit = uniform + max((check.threshold - 1) * uniform, check.threshold * of_one)
    # Dropout raises the loss, which is no fault of the weights.
    too_high = examination.loss > limit
    first = examination.loss_without_noise if too_high else examination.loss
    if first > limit:
        yield check.finding(
            "warning",
            f"The first loss is {first:.3g}; equal probabilities would give "
            f"{uniform:.3g}.",
            layer,
            loss=first,
            uniform=uniform,
            guess=guess,
        )
    elif first - known.least < (guess - known.least) / 4:
        yield check.finding(
            "note",
            f"The first loss is {first:.3g}, far below the {guess:.3g} of the best "
            "constant answer.",
            layer,
            advice="This is fine for a model that is already trained; otherwise the "
            "inputs may contain the answer.",
            loss=first,
            guess=guess,
        )


MEMORISED = 0.1
"""What may be left of the loss that can be removed; training stops there."""


@built_in(
    "tiny-batch",
    when="before",
    looks_for="a model that cannot even memorise a few examples",
    threshold=0.5,
    source="CS231n: overfit a tiny subset of the data; half of the first loss is left",
    advice="Check the loss, the labels and whether data reach the output. If there "
    "are other findings, start with those.",
)
def tiny_batch(examination: Examination, check: Check) -> Iterator[Finding]:
    """What cannot learn eight examples will not learn sixty thousand."""
    outcome = memorise(examination, MEMORISED)
    if outcome is None or outcome.left <= MEMORISED:
        return
    # However high the loss began, a constant answer is nothing learnt.
    guessed = outcome.best > 0.95 * outcome.guess + 0.05 * outcome.least
    stuck = guessed or not outcome.left <= check.threshold
    yield check.finding(
        "warning" if stuck else "note",
        f"The loss on {outcome.examples} examples fell only from "
        f"{outcome.first:.3g} to {outcome.best:.3g} in {outcome.steps} steps.",
        advice=None
        if stuck
        else "This is fine for a model with a bottleneck, such as an autoencoder; "
        "otherwise check that labels and inputs belong together.",
        first=outcome.first,
        best=outcome.best,
        least=outcome.least,
        guess=outcome.guess,
        steps=outcome.steps,
    )
