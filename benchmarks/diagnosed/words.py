"""Findings that say the same of a network: each set counts as one answer."""

GUESS = ("no-better-than-a-guess", "plateau")
"""It learns nothing that holds for other rows."""
INPUTS = ("inputs-not-standardised",)
LABELS = ("labels", "no-better-than-a-guess")
RANGE = ("output-range",)
WRONG_END = ("loss-and-activation", "output-range")
BATCH_NORM = ("batch-norm",)
ORDER = ("order",)
