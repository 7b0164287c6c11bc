"""Checks of the loss: as it begins, with penalties, and whether it can go down."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_dnn.diagnostics._loss import guess_of
from keras_dnn.diagnostics._tiny_batch import learn
from keras_dnn.diagnostics.check import Check, register_check
from keras_dnn.diagnostics.examination import Examination
from keras_dnn.diagnostics.finding import Finding


@register_check(
    "regularisation",
    looks_for="a penalty that lowers the loss, or that drowns it",
    threshold=5.0,
    source="CS231n: the loss must rise with regularisation; five times the data's loss",
    advice="Make the factor smaller: 1e-4 is a common one.",
)
def regularisation(look: Examination, check: Check) -> Iterator[Finding]:
    """Training minimises the sum, and sees little of the data if the penalty leads."""
    if look.penalty < 0:
        yield check.finding(
            "error",
            "Regularisation lowers the loss: a factor is negative.",
            advice="Penalties are positive.",
            penalty=look.penalty,
            loss=look.loss,
        )
    elif look.penalty > (check.threshold or 0.0) * abs(look.loss):
        yield check.finding(
            "warning",
            f"The penalty is {look.penalty / max(abs(look.loss), 1e-30):.3g} times "
            "the loss on the data.",
            penalty=look.penalty,
            loss=look.loss,
        )


@register_check(
    "initial-loss",
    looks_for="a first loss far from that of a guess",
    threshold=2.0,
    source="CS231n: a new classifier of C classes has a loss of ln C",
    advice="Make the last layer's initial weights smaller, standardise what comes "
    "in, and see that loss and labels belong together.",
)
def initial_loss(look: Examination, check: Check) -> Iterator[Finding]:
    """A new classifier knows nothing, and should not be sure of anything."""
    guess = guess_of(look.losses)
    if not np.isfinite([guess, look.loss]).all():
        return
    layer = look.losses[0].layer
    # Logits of a He-initialised last layer have a deviation of 1 to 1.5, which costs
    # about half of its square.
    limit = max((check.threshold or 0.0) * guess, guess + (check.threshold or 0.0))
    # Dropout makes it larger, and is no fault of the weights.
    first = look.quiet_loss if look.loss > limit else look.loss
    if first > limit:
        yield check.finding(
            "warning",
            f"The first loss is {first:.3g}; a guess has {guess:.3g}.",
            layer,
            loss=first,
            guess=guess,
        )
    elif first < guess / 4:
        yield check.finding(
            "note",
            f"The first loss is {first:.3g}, far below the {guess:.3g} of a guess.",
            layer,
            advice="Fine for a network that is trained already; else the inputs may "
            "hold the answer.",
            loss=first,
            guess=guess,
        )


ENOUGH = 0.1
"""Of the first loss: what is learnt by heart, and where learning stops."""


@register_check(
    "tiny-batch",
    looks_for="a network that can't even learn a few examples by heart",
    threshold=0.5,
    source="CS231n: overfit a tiny subset of the data; half of the first loss is left",
    advice="Look at the other findings first, then at the loss, the labels and the "
    "way from inputs to outputs.",
)
def tiny_batch(look: Examination, check: Check) -> Iterator[Finding]:
    """What can't learn eight examples won't learn sixty thousand."""
    learnt = learn(look, ENOUGH)
    if learnt is None or learnt.best <= ENOUGH * learnt.first:
        return
    stuck = not learnt.best <= (check.threshold or 0.0) * learnt.first
    yield check.finding(
        "warning" if stuck else "note",
        f"The loss on {learnt.examples} examples fell only from "
        f"{learnt.first:.3g} to {learnt.best:.3g} in {learnt.steps} steps.",
        advice=None
        if stuck
        else "Fine for a network that squeezes what it is given, such as an "
        "autoencoder; else see whether labels and inputs belong together.",
        first=learnt.first,
        best=learnt.best,
        steps=learnt.steps,
    )
