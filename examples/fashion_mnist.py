"""Fashion-MNIST, as the examples load it."""

import gzip
import os
import warnings
from pathlib import Path

import numpy as np

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
SUBSET = Path(__file__).parent / "data" / "fashion_mnist_subset.npz"

_IDX_FILES = {
    "x_train": "train-images-idx3-ubyte.gz",
    "y_train": "train-labels-idx1-ubyte.gz",
    "x_test": "t10k-images-idx3-ubyte.gz",
    "y_test": "t10k-labels-idx1-ubyte.gz",
}

Split = tuple[np.ndarray, np.ndarray]


def load(full: bool = False) -> tuple[Split, Split]:
    """Loads Fashion-MNIST: the subset in `data`, or all of it.

    Args:
        full: whether to load all 60,000 training and 10,000 test images. They are
            looked for where Debian's package `dataset-fashion-mnist` installs them,
            then in Keras's cache; nothing is downloaded. If neither has them, a
            warning says so and the subset is loaded.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images of shape `(n, 28, 28, 1)`,
        float32 in [0, 1], and labels of shape `(n,)`, int32 in 0 to 9. The subset
        has 6,000 and 2,000 images, the same number of each class.
    """
    arrays = _load_full() if full else None
    if arrays is None:
        with np.load(SUBSET) as subset:
            arrays = dict(subset)
    return (
        (_images(arrays["x_train"]), arrays["y_train"].astype("int32")),
        (_images(arrays["x_test"]), arrays["y_test"].astype("int32")),
    )


def read_folder(folder: Path) -> dict[str, np.ndarray]:
    """Reads the four compressed IDX files in which the data set is published.

    Args:
        folder: where they are.

    Returns:
        uint8 arrays under `x_train`, `y_train`, `x_test` and `y_test`.
    """
    return {name: _read_idx(folder / file) for name, file in _IDX_FILES.items()}


def _load_full() -> dict[str, np.ndarray] | None:
    keras_home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    folders = (DEBIAN_FOLDER, keras_home / "datasets" / "fashion-mnist")
    for folder in folders:
        if all((folder / file).is_file() for file in _IDX_FILES.values()):
            return read_folder(folder)
    warnings.warn(
        f"Fashion-MNIST is neither in {folders[0]} nor in {folders[1]}: using the "
        "subset. To get all of it, install Debian's dataset-fashion-mnist or call "
        "keras.datasets.fashion_mnist.load_data() once.",
        stacklevel=3,
    )
    return None


def _read_idx(path: Path) -> np.ndarray:
    # IDX: two zero bytes, the type (8 is uint8), the number of axes, the length of
    # each as a big-endian 32-bit integer, then the values in C order.
    with gzip.open(path) as file:
        content = file.read()
    if content[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is not an IDX file of unsigned bytes")
    axes = content[3]
    shape = np.frombuffer(content, ">u4", count=axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _images(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., np.newaxis].astype("float32") / np.float32(255)
