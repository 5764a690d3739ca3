"""Random mutants of the code that matters, run against the tests that reach their lines."""
