"""Surgery on models that are built or trained already."""

from keras_dnn.models._runtimes.runtime import Runtime
from keras_dnn.models._runtimes.source import RuntimeSource
from keras_dnn.models.calibration import Calibration, calibration
from keras_dnn.models.candidate import Candidate
from keras_dnn.models.conversion import from_monte_carlo, to_monte_carlo
from keras_dnn.models.discriminative import discriminative_rates
from keras_dnn.models.export_monte_carlo import export_monte_carlo
from keras_dnn.models.folding import FoldResult, fold_batch_norm
from keras_dnn.models.inference import optimize_for_inference
from keras_dnn.models.inference_result import InferenceResult
from keras_dnn.models.monte_carlo import MCPrediction, mc_predict
from keras_dnn.models.pruning import PruneResult, prune
from keras_dnn.models.rebuild import rebuild
from keras_dnn.models.runtimes import (
    register_runtime,
    registered_runtimes,
    unregister_runtime,
)
from keras_dnn.models.sparsity import Sparsity, sparsity
from keras_dnn.models.transfer import reuse_layers, unfreeze

__all__ = [
    "Calibration",
    "Candidate",
    "FoldResult",
    "InferenceResult",
    "MCPrediction",
    "PruneResult",
    "Runtime",
    "RuntimeSource",
    "Sparsity",
    "calibration",
    "discriminative_rates",
    "export_monte_carlo",
    "fold_batch_norm",
    "from_monte_carlo",
    "mc_predict",
    "optimize_for_inference",
    "prune",
    "rebuild",
    "register_runtime",
    "registered_runtimes",
    "reuse_layers",
    "sparsity",
    "to_monte_carlo",
    "unfreeze",
    "unregister_runtime",
]
