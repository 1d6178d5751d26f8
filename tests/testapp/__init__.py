"""A small app whose functions and rows the tests use as a user's project would."""
