"""A course of training: what it says of its losses, and how two are joined."""

import numpy as np

from keras_dnn.callbacks._doctor.first_bad_step import BadStep
from tests.callbacks.courses import KERNELS, NONE, course


def test_the_losses_of_the_beginning_and_the_end():
    """A twentieth of the steps and no more than five; a tenth."""
    some = course(losses=np.arange(60.0))
    assert (some.first, some.last) == (1.0, 56.5)
    assert course(losses=np.arange(1000.0)).first == 2.0
    assert course(losses=np.array([3.0])).last == 3.0
    # A third of the loss is gone, or not quite.
    assert course(losses=np.array([3.0] * 36 + [1.99] * 4)).learnt
    assert not course(losses=np.array([3.0] * 36 + [2.01] * 4)).learnt


def test_courses_are_joined():
    whole = course()
    early = course(
        **{
            name: value[: len(value) // 2]
            for name, value in vars(whole).items()
            if isinstance(value, np.ndarray)
        }
    )
    late = course(
        **{
            name: value[len(value) // 2 :]
            for name, value in vars(whole).items()
            if isinstance(value, np.ndarray)
        },
        verdict="unknown",
        bad=BadStep(30, np.nan, None, ""),
    )
    joined = late.after(early)
    for name, value in vars(whole).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(joined, name), value)
    assert joined.verdict == "fine"
    assert joined.bad.step == 30
    assert late.after(course(bad=BadStep(2, 1.0, None, ""))).bad.step == 2
    # Before the first step nothing is known of the layers.
    empty = course(norms=NONE, kernels=[], dead=NONE, layers=[])
    assert empty.after(whole).kernels == KERNELS
    # Layers that joined later.
    more = course(norms=np.ones((2, 4)), kernels=[*KERNELS, "model/d/kernel"])
    assert more.after(whole).norms.shape == (2, 4)
