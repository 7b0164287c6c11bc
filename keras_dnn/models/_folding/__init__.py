"""Folding: which layers are affine, what they fold into, and how exact it is."""
