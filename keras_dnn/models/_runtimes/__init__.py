"""The forms that a trained model can take for inference."""
