"""The runtimes that can execute a trained model, and how they are measured."""
