"""A rollout's phases, its state, the changes of it and the commands that people give."""
