"""The checks of this package, by what they examine."""
