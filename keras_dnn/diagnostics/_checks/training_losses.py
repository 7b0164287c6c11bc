"""Checks of what the losses and the learning rate of a training show."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_dnn.diagnostics._checks.training_layers import SETTLED, THOUSANDTH
from keras_dnn.diagnostics.check import Check, built_in
from keras_dnn.diagnostics.finding import Finding
from keras_dnn.diagnostics.training_history import TrainingHistory

STEPS = 100
"""Fewer steps are no plateau: training has hardly begun."""

EPOCHS = 3
"""Epochs that dropout must cost too much, with slow learning, before it is reported."""


@built_in(
    "rate-too-high",
    when="during",
    needs=lambda history: len(history.losses),
    looks_for="steps so large that they undo one another",
    threshold=0.1,
    source=f"{THOUSANDTH}; a tenth at every step is a hundred times as much",
    advice="Divide the learning rate by 10, or let find_learning_rate suggest one.",
)
def rate_too_high(history: TrainingHistory, check: Check) -> Iterator[Finding]:
    """The first steps show it best: later the units may be dead."""
    if history.nonfinite is not None or not len(history.losses):
        return
    early = history.global_ratios[: max(3, len(history.global_ratios) // 4)]
    known = bool(np.isfinite(early).any())
    ratio = float(np.nanmedian(early)) if known else 0.0
    # One step as large as the weights can kill all units, and small steps follow.
    largest = float(np.nanmax(early)) if known else 0.0
    late = float(np.median(history.losses[-max(5, len(history.losses) // 10) :]))
    risen = len(history.losses) >= SETTLED and late > 1.5 * abs(history.first_loss)
    if ratio > check.threshold or largest > 10 * check.threshold or risen:
        yield check.finding(
            "warning",
            "The loss has risen by more than half."
            if risen
            else f"The median update is {ratio:.2g} times the weights."
            if ratio > check.threshold
            else f"One update was {largest:.2g} times the weights.",
            first=history.first_loss,
            last=late,
            update_ratio=ratio,
            largest_ratio=largest,
        )


@built_in(
    "rate-too-low",
    when="during",
    needs=lambda history: np.isfinite(history.global_ratios).sum() >= 2,
    looks_for="steps so small that hardly anything is learnt",
    threshold=1e-4,
    source=THOUSANDTH,
    advice="Multiply the learning rate by 10, or let find_learning_rate suggest one.",
)
def rate_too_low(history: TrainingHistory, check: Check) -> Iterator[Finding]:
    """Small steps are no problem in a training that has come to its end."""
    ratios = history.global_ratios[np.isfinite(history.global_ratios)]
    if len(ratios) < 2 or history.has_learnt or history.nonfinite is not None:
        return
    ratio = float(np.median(ratios))
    if ratio < check.threshold:
        yield check.finding(
            "warning",
            f"The median update is {ratio:.2g} times the weights, and the loss has "
            "hardly moved.",
            update_ratio=ratio,
            first=history.first_loss,
            last=history.last_loss,
            guess=history.guess_loss,
        )


@built_in(
    "underfitting",
    when="during",
    needs=lambda history: np.isfinite(history.evaluation_losses).sum() >= EPOCHS,
    looks_for="a network held back by its dropout",
    threshold=0.1,
    source="a tenth of the loss over three epochs, with half of a guess's loss left",
    advice="Lower the dropout rate.",
)
def underfitting(history: TrainingHistory, check: Check) -> Iterator[Finding]:
    """Dropout costs more than the gap to validation that it could close."""
    evaluation = history.evaluation_losses
    if len(evaluation) < EPOCHS or history.nonfinite is not None:
        return
    cost, gap, without = (
        float(column[-EPOCHS:].mean())
        for column in (
            history.regularisation_gaps,
            history.validation_losses - evaluation,
            evaluation,
        )
    )
    loss = without + cost
    limit = check.threshold
    costly = cost > limit * abs(loss) and cost > 2 * gap and history.dropout_rate > 0
    # Where dropout lets nothing through it costs nothing either. It shows in the first
    # loss, which it makes far larger than that of a guess.
    nothing_through = (
        history.dropout_rate >= 0.5
        and history.first_loss > 2 * history.uniform_loss
        and gap < limit * abs(loss)
    )
    # Dropout that costs much does no harm where the network learns all the same.
    slow = evaluation[-1] > 0.75 * evaluation[-EPOCHS - 1 :][0]
    known = bool(np.isfinite(history.guess_loss))
    remaining = evaluation[-1] / (history.guess_loss if known else evaluation[0])
    if (costly or nothing_through) and slow and remaining > 0.5:
        yield check.finding(
            "warning",
            f"Dropout causes {cost / abs(loss):.0%} of a high training loss, and "
            "validation gains nothing from it."
            if costly
            else "Dropout lets hardly any of the signal through.",
            advice=f"Lower the dropout rate (the highest is {history.dropout_rate:g}).",
            with_dropout=loss,
            without=without,
            gap=gap,
            guess=history.guess_loss,
        )


@built_in(
    "plateau",
    when="during",
    needs=lambda history: (
        len(history.epoch_losses) >= 4 and len(history.losses) >= STEPS
    ),
    looks_for="a loss that has stopped falling while it is still high",
    threshold=0.01,
    source="less than 1% better in the last half of the epochs",
    advice="Check the labels and the inputs, try another learning rate, or a network "
    "with more units.",
)
def plateau(history: TrainingHistory, check: Check) -> Iterator[Finding]:
    """Needs four epochs and a hundred steps of the loss that `fit` reports."""
    losses = history.epoch_losses
    short = len(losses) < 4 or len(history.losses) < STEPS
    if short or history.has_learnt or not np.isfinite(losses).all():
        return
    half = len(losses) // 2
    before, after = float(losses[:half].min()), float(losses[half:].min())
    if after > before - check.threshold * abs(before):
        yield check.finding(
            "warning",
            f"The loss has stayed at {after:.3g} for {len(losses) - half} epochs.",
            before=before,
            after=after,
            guess=history.guess_loss,
        )


@built_in(
    "no-better-than-a-guess",
    when="during",
    needs=lambda history: (
        np.isfinite([history.guess_loss, history.validation_guess_loss]).any()
        and len(history.epoch_losses) >= EPOCHS
        and len(history.losses) >= STEPS
    ),
    looks_for="a loss that is no better than that of the best constant answer",
    threshold=0.01,
    source="a hundredth of the loss of the best constant answer",
    advice="Check that each target belongs to its inputs (a shuffle, a sort or a "
    "reshape of one of them alone), that validation data are prepared as training data "
    "are, and that the inputs say something about the targets.",
)
def no_better_than_a_guess(history: TrainingHistory, check: Check) -> Iterator[Finding]:
    """The shares of the classes, or the mean, need no network."""
    if len(history.epoch_losses) < EPOCHS or len(history.losses) < STEPS:
        return
    trained, validated = history.data_losses, history.validation_data_losses
    guess, of_validation = history.guess_loss, history.validation_guess_loss
    gain = _gain(trained, guess)
    validation_gain = _gain(validated, of_validation)
    # Of what cannot be judged nothing is said.
    known = np.isfinite(validation_gain).all()
    limit = check.threshold
    if known and not _is_falling(validated, of_validation, limit):
        best, now = float(validation_gain.max()), float(validation_gain[-2:].max())
        hardly_trained = np.isfinite(gain).all() and gain[-1] < 0.25
        if best < limit or (now < limit and best < 0.1 and hardly_trained):
            yield check.finding(
                "warning",
                f"The validation loss is {validated[-1]:.3g}; the best constant answer "
                f"has {of_validation:.3g}.",
                validation=float(validated[-1]),
                lowest_validation=float(validated.min()),
                validation_guess=of_validation,
                training=float(trained[-1]),
                guess=guess,
            )
    elif (
        not known
        and np.isfinite(gain).all()
        and gain.max() < limit
        and not _is_falling(trained, guess, limit)
    ):
        yield check.finding(
            "warning",
            f"The training loss is {trained[-1]:.3g}; the best constant answer has "
            f"{guess:.3g}.",
            training=float(trained[-1]),
            guess=guess,
        )


def _gain(losses: np.ndarray, guess: float) -> np.ndarray:
    """How much better losses are than a guess, as a fraction of it."""
    size = abs(guess)
    # Of targets that are all the same, a guess is the perfect answer.
    return (guess - losses) / size if size > 1e-6 else np.full(len(losses), np.nan)


def _is_falling(losses: np.ndarray, guess: float, limit: float) -> bool:
    """Whether losses still fall, fast enough to be below a guess before long."""
    half = len(losses) // 2
    now = losses[half:].min()
    fall = losses[:half].min() - now
    return bool(fall > limit * abs(guess) and now - 4 * fall < guess)


@built_in(
    "overfitting",
    when="during",
    needs=lambda history: np.isfinite(history.validation_losses).sum() >= 3,
    looks_for="a validation loss that rises while the training loss falls",
    threshold=0.1,
    source="a tenth above its lowest, in two epochs: one alone may be chance",
    advice="Stop early, regularise (dropout, l2), or get more data.",
)
def overfitting(history: TrainingHistory, check: Check) -> Iterator[Finding]:
    """The validation loss must have risen: a gap alone may be harmless."""
    validation = history.validation_losses
    if len(validation) < 3 or not np.isfinite(validation).all():
        return
    lowest, now = float(validation.min()), float(validation[-2:].min())
    evaluation = float(history.evaluation_losses[-1])
    training = (
        evaluation if np.isfinite(evaluation) else float(history.epoch_losses[-1])
    )
    risen = now > (1 + check.threshold) * lowest
    # Near zero, a rise of 10% means nothing.
    matters = now - lowest > 0.05 * abs(history.first_loss)
    if risen and matters and now > 1.2 * training:
        yield check.finding(
            "warning",
            f"The validation loss has risen from {lowest:.3g} to {validation[-1]:.3g}.",
            advice=f"Stop early. {history.advice}"
            if history.verdict == "overfitting"
            else None,
            lowest=lowest,
            epoch=int(validation.argmin()),
            last=float(validation[-1]),
            training=training,
            validation_guess=history.validation_guess_loss,
        )
