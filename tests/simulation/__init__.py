"""Deterministic simulation: the whole core under one seed, against a modelled Retell, and its invariants.

`python -m tests.simulation --seeds 1000` plays histories; see docs/reliability.md.
"""
