"""The models on which the battery runs every time: one or two of each kind.

On all others it runs with `make zoo`, which takes several times as long.
"""

import pytest

from tests.zoo.all_models import ZOO

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

every_model = pytest.mark.parametrize(
    "zoo",
    [
        pytest.param(
            model, id=name, marks=() if name in EVERY_TIME else pytest.mark.zoo_all
        )
        for name, model in ZOO.items()
    ],
)
