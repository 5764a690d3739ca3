"""Plans played against modelled callers."""
