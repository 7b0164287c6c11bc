"""Networks of the unseen half."""
