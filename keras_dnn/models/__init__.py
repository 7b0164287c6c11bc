"""Surgery on models that are built or trained already."""

from keras_dnn.models.folding import FoldResult, fold_batch_norm
from keras_dnn.models.monte_carlo import MCPrediction, mc_predict
from keras_dnn.models.reusing import reuse_layers, unfreeze

__all__ = [
    "FoldResult",
    "MCPrediction",
    "fold_batch_norm",
    "mc_predict",
    "reuse_layers",
    "unfreeze",
]
