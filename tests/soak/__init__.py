"""The product under load for as long as somebody wants, and with a large history: `python -m tests.soak`."""
