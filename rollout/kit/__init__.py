"""The break-glass program (standard library only) and the code that builds it."""
