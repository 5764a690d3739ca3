"""Adapters: the only code that knows a library or a wire, one package for each outside world."""
