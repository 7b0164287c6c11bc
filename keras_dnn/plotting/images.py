"""Images with certain and uncertain predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_dnn.plotting._matplotlib import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def uncertain_images(
    images: np.ndarray,
    uncertainty: np.ndarray,
    captions: Sequence[str] | None = None,
    count: int = 8,
) -> Figure:
    """Draws the least uncertain images, and the most uncertain ones below them.

    Args:
        images: of shape `(n, height, width)`, or with a last axis of 1, 3 or 4
            channels. Colours are numbers in [0, 1] or uint8, as for matplotlib; grey
            values may be any numbers.
        uncertainty: of each image, of shape `(n,)`, such as the `entropy` or the
            `mutual_information` of an `MCPrediction`.
        captions: a text for each image, such as its label and the prediction.
        count: how many images in each row.

    Returns:
        The figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if the three are not of the same length, or there are no images.

    Example:
        >>> import numpy as np
        >>> from keras_dnn import plotting
        >>> images = np.random.default_rng(1).uniform(size=(20, 8, 8))
        >>> figure = plotting.uncertain_images(images, images.mean(axis=(1, 2)))
    """
    lengths = [len(a) for a in (images, uncertainty, captions) if a is not None]
    if len(set(lengths)) > 1 or 0 in lengths:
        raise ValueError(
            "images, uncertainty and captions must have the same length, not 0. "
            f"Received: lengths {lengths}"
        )
    order = np.argsort(uncertainty, kind="stable")
    columns = min(count, len(order))
    height = 1.7 if captions is None else 1.95
    figure = new_figure(figsize=(1.15 * columns, 2 * height), layout="constrained")
    # The most uncertain image on the left of its row.
    parts: Any = figure.subfigures(2, 1)
    for part, name, chosen in zip(
        parts,
        ("least uncertain", "most uncertain"),
        (order[:columns], order[::-1][:columns]),
        strict=True,
    ):
        part.suptitle(name, x=0.01, ha="left", fontsize="medium")
        for ax, i in zip(
            part.subplots(1, columns, squeeze=False)[0], chosen, strict=True
        ):
            image = np.asarray(images[i])
            grey = image.ndim == 2 or image.shape[-1] == 1
            ax.imshow(image.reshape(image.shape[:2]) if grey else image, cmap="gray_r")
            ax.set_axis_off()
            caption = [] if captions is None else [captions[i]]
            text = "\n".join([*caption, f"{uncertainty[i]:.2g}"])
            ax.set_title(text, fontsize="x-small")
    return figure
