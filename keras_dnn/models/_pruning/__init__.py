"""Pruning: finding kernels, selecting them, and the mask that keeps zeros."""
