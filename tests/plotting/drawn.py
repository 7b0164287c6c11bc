"""What a test reads from axes."""

import matplotlib as mpl


def line(ax, label):
    """The points of the line with this label."""
    (found,) = (each for each in ax.lines if each.get_label() == label)
    return found.get_xydata()


def labels(ax):
    """The labels of both axes."""
    return ax.get_xlabel(), ax.get_ylabel()


def ticks(axis):
    """The texts of an axis's ticks."""
    return [tick.get_text() for tick in axis.get_ticklabels()]


def legend(ax):
    """The texts of the legend."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def texts(ax):
    """The texts inside the axes."""
    return [text.get_text() for text in ax.texts]


def bars(ax):
    """The left end, the bottom, the width and the height of each bar."""
    return [box(bar).bounds for bar in ax.patches]


def box(patch):
    """Where a patch lies in the data: a bar, or a band, a polygon before 3.9."""
    return patch.get_path().transformed(patch.get_patch_transform()).get_extents()


def colour(artist):
    """The colour of a bar or a line, as in `_matplotlib`."""
    is_bar = hasattr(artist, "get_facecolor")
    return mpl.colors.to_hex(artist.get_facecolor() if is_bar else artist.get_color())
