"""Versions of agents: their documents, differences and confounders."""
