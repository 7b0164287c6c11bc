"""The arguments that say what the axes of an initializer's kernel mean."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, TypeAlias, get_args

from keras_dnn import _arguments
from keras_dnn._kernel_axes import KernelAxes, Strides, window_axes

Kind: TypeAlias = Literal["conv", "depthwise", "transposed"]


@dataclasses.dataclass(frozen=True)
class KernelKind:
    """A kind of kernel, of any number of dimensions.

    Args:
        kind: "conv" (..., in / groups, out), "depthwise" (..., in, multiplier) or
            "transposed" (..., out, in).
        groups: that a convolution divides its channels into.
        strides: for all axes of the window or for each.
    """

    kind: Kind = "conv"
    groups: int = 1
    strides: Strides = 1

    def axes(self, rank: int) -> KernelAxes:
        """What each axis of such a kernel means."""
        return window_axes(self.kind, rank, self.groups, self.strides)


def kernel_kind(kernel: Any, groups: Any, strides: Any) -> KernelKind:
    """The kind of kernel that these arguments of an initializer describe."""
    kind = _arguments.choice("kernel", kernel, get_args(Kind))
    groups = _arguments.count("groups", groups)
    if groups > 1 and kind != "conv":
        raise ValueError(
            f"groups must be 1 unless kernel='conv'. Received: groups={groups}, "
            f"kernel={kind!r}"
        )
    if isinstance(strides, list | tuple):
        strides = tuple(_arguments.count("strides", s) for s in strides)
    else:
        strides = _arguments.count("strides", strides)
    return KernelKind(kind, groups, strides)
