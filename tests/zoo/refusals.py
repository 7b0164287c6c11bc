"""What operations may refuse, and warn of, on models of the zoo.

An entry stands for a kind: every operation in it on every model in it. A test fails
where an operation refuses without an entry, and where an entry is not needed.
"""

from collections.abc import Callable
from typing import NamedTuple

from tests.zoo import kinds
from tests.zoo.subject import Subject


class Expected(NamedTuple):
    """A sentence that these operations say on these models."""

    sentence: str
    """A regular expression."""
    operations: str
    models: str | Callable[[Subject], bool]
    """Names, or a kind: whether the model is one of it."""

    def applies(self, operation: str, subject: Subject) -> bool:
        if operation not in self.operations.split():
            return False
        if isinstance(self.models, str):
            return subject.zoo.name in self.models.split()
        return self.models(subject)


FROM_AN_ENCODER = (
    "pretraining.autoencoder pretraining.stacked_autoencoder pretraining.masking "
    "pretraining.rotation pretraining.siamese pretraining.gan"
)
RECONSTRUCTING = (
    "pretraining.autoencoder pretraining.stacked_autoencoder pretraining.masking"
)

REFUSALS: tuple[Expected, ...] = (
    # Schedulers
    Expected(
        "total_steps must be given to OneCycleScheduler, because the size of the data",
        "callbacks.OneCycleScheduler",
        "dataset_of_unknown_length",
    ),
    # Pretraining
    Expected(
        "must be a functional model or a Sequential that begins with keras.Input",
        FROM_AN_ENCODER,
        kinds.without_graph,
    ),
    Expected(
        "must have one input and one output", FROM_AN_ENCODER, kinds.several_tensors
    ),
    Expected(
        "must take dense floating-point numbers", RECONSTRUCTING, kinds.no_numbers
    ),
    Expected(
        "x must be an array with a row for each example",
        "pretraining.siamese",
        kinds.no_array,
    ),
    Expected(
        "needs an encoder of square images",
        "pretraining.rotation",
        kinds.no_square_images,
    ),
    Expected(
        "must return one number for each input",
        "pretraining.gan",
        kinds.several_numbers,
    ),
)

WARNINGS: tuple[Expected, ...] = ()
