"""The one door to what Keras and TensorFlow keep private.

Nothing else in this package touches a private name of theirs, so a change of Keras
shows here. `tests/_keras` has a canary for each name, which says what it would break.
"""
