"""From calls to evidence, from evidence to a verdict, and its summary."""
