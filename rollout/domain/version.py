"""The version, apart from the package's own names: those lead to the client, and so to everything below it."""

__version__ = "1.0.0"
