"""What `GradientNorms` records, in the step and on the host."""
