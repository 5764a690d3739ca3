"""Test runs of agent versions, and the judgement on them."""
