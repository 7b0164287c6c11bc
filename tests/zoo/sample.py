"""The models on which the battery runs every time: one or two of each kind.

On all others it runs with `make zoo`, which takes several times as long.
"""

import pytest

import tests.zoo.operations  # noqa: F401
from tests.zoo.all_models import ZOO
from tests.zoo.battery import OPERATIONS
from tests.zoo.model_case import ZooModel
from tests.zoo.record import recorded

SAMPLE = {
    "data": (
        "dataset_of_dicts text_vectorization ragged_text dataset_of_unknown_length "
        "endless_generator"
    ),
    "losses and steps of one's own": (
        "vae gan train_step_of_the_guide own_compute_loss add_loss_alone"
    ),
    "masks, states and attention": (
        "masked_text_lstm masked_text_attention masked_sequential recurrent_dropout "
        "stateful_series"
    ),
    "layers of one's own": (
        "layer_without_config lambda_as_activation drop_path own_noise"
    ),
    "plain models, images and graphs": (
        "sequential_without_input sequential_with_batch_norm convnext augmentation "
        "graph_network"
    ),
    "precision": "mixed_float16 quantised_to_int8 low_rank_adapters",
    "structure": "inputs_in_a_list nested_in_and_out nested_models tied_autoencoder",
    "subclasses": "subclassed_model functional_subclass image_task",
}
EVERY_TIME = {name for names in SAMPLE.values() for name in names.split()}


def every_model(group: str) -> pytest.MarkDecorator:
    """One test for each model; every time for those of the sample.

    Where something does not hold yet, so that nothing is recorded, the test is skipped
    without `--zoo`.
    """
    table = recorded()
    needed = {o.name for o in OPERATIONS.values() if o.group == group}

    def is_recorded(model: ZooModel) -> bool:
        names = {name for name in needed if OPERATIONS[name].applies(model)}
        return names <= set(table.get(model.name, ()))

    def marks(model: ZooModel) -> list[pytest.MarkDecorator]:
        if model.name not in EVERY_TIME:
            return [pytest.mark.zoo_all]
        return [] if is_recorded(model) else [pytest.mark.zoo_open]

    return pytest.mark.parametrize(
        "zoo",
        [
            pytest.param(model, id=name, marks=marks(model))
            for name, model in ZOO.items()
        ],
    )
