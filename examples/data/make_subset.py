"""Makes `fashion_mnist_subset.npz` from Debian's package `dataset-fashion-mnist`.

The first 600 training and 200 test images of each class, in the order of the data
set. The same bytes every time: there is no chance in the choice, and NumPy dates
every member of the archive 1980.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from fashion_mnist import DEBIAN_FOLDER, SUBSET, read_folder


def first_of_each_class(labels: np.ndarray, n: int) -> np.ndarray:
    """Indices, ascending, of the first `n` examples of each class."""
    return np.sort(
        np.concatenate([np.flatnonzero(labels == c)[:n] for c in np.unique(labels)])
    )


def main() -> None:
    """Writes the archive beside this script."""
    full = read_folder(DEBIAN_FOLDER)
    train = first_of_each_class(full["y_train"], 600)
    test = first_of_each_class(full["y_test"], 200)
    np.savez_compressed(
        SUBSET,
        x_train=full["x_train"][train],
        y_train=full["y_train"][train],
        x_test=full["x_test"][test],
        y_test=full["y_test"][test],
    )
    print(f"{SUBSET}: {SUBSET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
