"""The models on which the battery runs every time: one or two of each kind.

On all others it runs with `make zoo`, which takes several times as long.
"""

import pytest

import tests.zoo.operations  # noqa: F401
from tests.zoo.all_models import ZOO

SAMPLE = {
    "data": (
        "dataset_of_dicts text_vectorization ragged_text dataset_of_unknown_length "
        "endless_generator one_row no_row"
    ),
    "losses and steps of one's own": (
        "vae gan distiller train_step_of_the_guide own_compute_loss add_loss_alone "
        "endpoint_layer"
    ),
    "masks, states and attention": (
        "masked_text_lstm masked_text_attention masked_sequential recurrent_dropout "
        "stateful_series"
    ),
    "layers of one's own": (
        "layer_without_config lambda_as_activation drop_path own_noise scalar_weight"
    ),
    "plain models, images and graphs": (
        "sequential_without_input sequential_with_batch_norm convnext augmentation "
        "graph_network ten_thousand_classes"
    ),
    "precision": "mixed_float16 quantised_to_int8 low_rank_adapters",
    "structure": (
        "inputs_in_a_list nested_in_and_out nested_models tied_autoencoder siamese "
        "layer_used_twice"
    ),
    "subclasses": "subclassed_model functional_subclass image_task text_task",
}
EVERY_TIME = {name for names in SAMPLE.values() for name in names.split()}


def every_model() -> pytest.MarkDecorator:
    """One test for each model; without `--zoo` for those of the sample alone."""
    return pytest.mark.parametrize(
        "zoo",
        [
            pytest.param(
                model, id=name, marks=[] if name in EVERY_TIME else pytest.mark.zoo_all
            )
            for name, model in ZOO.items()
        ],
    )
