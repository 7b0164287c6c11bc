"""Networks of the development half."""
