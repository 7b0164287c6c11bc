"""Pruning: which weights, which of them, and the mask that keeps them at zero."""
