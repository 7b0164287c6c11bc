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

CUTTING = (
    "models.fold_batch_norm models.prune models.from_monte_carlo "
    "models.to_monte_carlo models.reuse_layers"
)
SAMPLING = "models.mc_predict models.export_monte_carlo"

REFUSALS: tuple[Expected, ...] = (
    # Surgery
    Expected(
        r"since the graph of a subclassed model is not known\. Give ",
        CUTTING,
        kinds.without_graph,
    ),
    Expected("must be a built Keras model", "initializers.lsuv", kinds.never_called),
    Expected(
        "must have dropout with a rate above 0",
        "models.to_monte_carlo",
        kinds.nothing_random,
    ),
    Expected(
        "up_to must be the name of one of the layers",
        "models.reuse_layers",
        "endpoint_layer",
    ),
    Expected(
        "up_to must be a layer that the model calls once",
        "models.reuse_layers",
        "siamese layer_used_twice",
    ),
    Expected("called in the loop of", "initializers.lsuv", "time_distributed"),
    Expected("must hold at least one row", "initializers.lsuv", "no_row"),
    Expected(
        "must have a kernel to prune .* its rows are looked up, not multiplied",
        "models.prune",
        "recommender",
    ),
    Expected(
        "must have weights whose paths identify their group",
        "models.discriminative_rates",
        "denoiser",
    ),
    Expected(
        "must have a kernel to prune .* it is quantised",
        "models.prune",
        "quantised_to_int8 quantised_to_int4",
    ),
    Expected(
        "which quantised layers have not",
        "models.sparsity",
        "quantised_to_int8 quantised_to_int4",
    ),
    Expected(
        "must have dense layers or convolutions that are not frozen or quantised",
        "initializers.lsuv",
        "quantised_to_int8 quantised_to_int4 quantised_to_float8 recommender "
        "tied_language_model",
    ),
    Expected(
        "must .*have dense layers or convolutions",
        "initializers.initialize",
        "quantised_to_int8 quantised_to_int4 recommender tied_language_model",
    ),
    # Sampling
    Expected("The model has no layer with dropout", SAMPLING, kinds.nothing_random),
    Expected(
        "must be functional or Sequential, and predict as Keras does",
        "models.export_monte_carlo",
        kinds.predicts_in_its_own_way,
    ),
    Expected(
        "model must have one output",
        "models.export_monte_carlo",
        kinds.several_outputs,
    ),
    Expected(
        "must have an output of one shape for each input",
        "models.export_monte_carlo",
        "dilated_convolutions tied_language_model recurrent_translation",
    ),
    # Runtimes
    Expected(
        "must give the same outputs for the same inputs",
        "models.optimize_for_inference",
        "vae",
    ),
    Expected(
        "must not keep a state between calls",
        "models.optimize_for_inference",
        "stateful_series",
    ),
    Expected(
        "data must hold dense arrays .* Make one with",
        "models.optimize_for_inference",
        kinds.no_array,
    ),
    Expected(
        "model must take dense inputs",
        "models.export_monte_carlo",
        "ragged_text",
    ),
    # Schedulers
    Expected(
        "total_steps must be given to OneCycleScheduler, because the size of the data",
        "callbacks.OneCycleScheduler",
        "dataset_of_unknown_length",
    ),
    Expected(
        "drives one optimizer, not the 2 of a train_step",
        "callbacks.OneCycleScheduler",
        "simclr gan",
    ),
    Expected(
        "cannot bound a layer with a LoRA adapter",
        "callbacks.MaxNorm",
        "low_rank_adapters",
    ),
    Expected(
        "needs a model that is built",
        "callbacks.GradualUnfreezing",
        kinds.never_called,
    ),
    # Probes
    Expected(
        "calls the model, and .* has no call method",
        "callbacks.ActivationStatistics",
        kinds.without_call,
    ),
    Expected(
        "cannot compute the loss of .*, which is in its train_step",
        "callbacks.TrainingEvaluation",
        "gan",
    ),
    # Checks
    Expected(
        "cannot compute the loss of .*, which is in its train_step",
        "diagnostics.preflight diagnostics.check_gradients",
        "vae gan simclr compiled_without_loss",
    ),
    Expected(
        "calls the model, and .* has no call method",
        "diagnostics.preflight diagnostics.check_gradients",
        "denoiser",
    ),
    Expected(
        "must not be quantised",
        "diagnostics.preflight diagnostics.check_gradients",
        "quantised_to_float8",
    ),
    Expected(
        "must have layers that TensorFlow computes in float64",
        "diagnostics.check_gradients",
        "channels_first",
    ),
    Expected(
        "model must train with one optimizer",
        "tuning.find_learning_rate",
        "simclr gan",
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
        "must take dense floating-point numbers",
        f"{RECONSTRUCTING} pretraining.gan",
        kinds.no_numbers,
    ),
    Expected(
        "x must be an array with a row for each example",
        "pretraining.siamese",
        kinds.no_array,
    ),
    Expected(
        "can't be mirrored, since its layer|must be a chain of layers to be mirrored",
        "pretraining.stacked_autoencoder",
        "adapted_normalization add_loss_alone augmentation autoencoder_of_two_models "
        "channels_first config_without_name conv_lstm convnext dilated_convolutions "
        "drop_path ensemble forecaster image_task lambda_layer layer_used_twice "
        "layer_without_build layer_without_config masked_series_gru nested_models "
        "own_noise point_net recurrent_dropout residual_network scalar_weight "
        "separable_convolutions set_network stateful_series tied_autoencoder "
        "time_distributed transfer_with_frozen_base u_net vision_transformer",
    ),
    Expected(
        "must not be quantised, for its rounded kernels do not train",
        FROM_AN_ENCODER,
        "quantised_to_int8 quantised_to_int4",
    ),
    Expected(
        "Each stage must be trained before the next one is requested",
        "pretraining.stacked_autoencoder",
        "no_row",
    ),
    Expected(
        "labels must have two classes at least",
        "pretraining.siamese",
        "no_row one_row",
    ),
    Expected(
        "needs an encoder with inputs of a known shape",
        "pretraining.masking",
        "conv_lstm recurrent_dropout dilated_convolutions",
    ),
    Expected(
        "decoder must take what the encoder returns",
        "pretraining.autoencoder",
        "dilated_convolutions",
    ),
    Expected(
        "must return features of a known shape",
        "pretraining.siamese",
        "dilated_convolutions tied_language_model",
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

WARNINGS: tuple[Expected, ...] = (
    Expected(
        "PerformanceScheduler waits for the metric 'loss'",
        "callbacks.PerformanceScheduler",
        "denoiser gan simclr",
    ),
    Expected(
        "TrainingEvaluation waits for the metric 'loss', which test_step",
        "callbacks.TrainingEvaluation",
        "denoiser simclr compiled_without_loss",
    ),
    Expected(
        "takes `training` but holds no keras.random.SeedGenerator",
        SAMPLING,
        "own_noise",
    ),
)
