"""Checks of the loss: its first value, its penalties, and whether it can fall."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_dnn.diagnostics._output_loss import guess_loss
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
    looks_for="a first loss far from that of a guess",
    threshold=2.0,
    source="CS231n: a new classifier of C classes has a loss of ln C",
    advice="Use smaller initial weights in the last layer, standardise its inputs, "
    "and check that the loss fits the labels.",
)
def initial_loss(examination: Examination, check: Check) -> Iterator[Finding]:
    """A new classifier knows nothing, so it should not be sure of anything."""
    guess = guess_loss(examination.losses)
    if not np.isfinite([guess, examination.loss]).all():
        return
    layer = examination.losses[0].layer
    # Logits of a He-initialised last layer have a standard deviation of 1 to 1.5,
    # which costs about half of its square.
    limit = max(check.threshold * guess, guess + check.threshold)
    # Dropout raises the loss, which is no fault of the weights.
    too_high = examination.loss > limit
    first = examination.loss_without_noise if too_high else examination.loss
    if first > limit:
        yield check.finding(
            "warning",
            f"The first loss is {first:.3g}; guessing would give {guess:.3g}.",
            layer,
            loss=first,
            guess=guess,
        )
    elif first < guess / 4:
        yield check.finding(
            "note",
            f"The first loss is {first:.3g}, far below the {guess:.3g} of a guess.",
            layer,
            advice="This is fine for a model that is already trained; otherwise the "
            "inputs may contain the answer.",
            loss=first,
            guess=guess,
        )


MEMORISED = 0.1
"""Fraction of the first loss that counts as memorised; training stops there."""


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
    if outcome is None or outcome.best <= MEMORISED * outcome.first:
        return
    stuck = not outcome.best <= check.threshold * outcome.first
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
        steps=outcome.steps,
    )
