"""What folds in the networks of keras.applications: the table of the guide.

Not part of `make bench`: it counts batch norms and measures how far the folded networks
are from those they were made of. All have random weights and random
statistics, and no softmax.

    python benchmarks/compare_folding.py                 about three minutes
    python benchmarks/compare_folding.py ResNet50V2      some of them, not written down
"""

import json
import sys
import time
from pathlib import Path

import keras
from bench_folding import trained
from interleaved import machine

from keras_dnn.models import fold_batch_norm

DATA = Path(__file__).parent.parent / "docs" / "_data" / "folding.json"

# The most batch norms that may stay.
NETWORKS = {
    "ResNet50": 0,
    "MobileNet": 0,
    "MobileNetV2": 0,
    "MobileNetV3Small": 0,
    "EfficientNetB0": 0,
    "EfficientNetV2B0": 0,
    "Xception": 0,
    "InceptionV3": 0,
    "NASNetMobile": 4,
    "ResNet50V2": 17,
    "DenseNet121": 62,
}


def fold(name):
    keras.utils.set_random_seed(0)
    network = getattr(keras.applications, name)
    model = trained(network(weights=None, classifier_activation=None))
    start = time.perf_counter()
    result = fold_batch_norm(model)
    seconds = time.perf_counter() - start
    return {
        "folded": len(result.folded),
        "kept": len(result.kept),
        "affine_folded": len(result.affine_folded),
        "affine_kept": len(result.affine_kept),
        "layers_before": len(model.layers),
        "layers_after": len(result.model.layers),
        "max_error": result.max_error,
        "seconds": round(seconds, 2),
    }


def main(chosen):
    print(machine())
    rows = {}
    for name in chosen or NETWORKS:
        rows[name] = fold(name)
        row = rows[name]
        if row["kept"] > NETWORKS[name] or row["max_error"] > 1e-5:
            print("beyond the bounds:", end=" ")
        print(name, *(f"{key} {value}" for key, value in row.items()), sep="  ")
        keras.backend.clear_session()
    if not chosen:
        found = {"machine": machine(), "networks": rows}
        DATA.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
