"""Weights that add up to exactly 1, and the baselines they are composed from."""
