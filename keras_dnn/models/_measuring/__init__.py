"""How a model and its candidates are compared and timed."""
