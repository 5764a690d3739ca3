"""What several groups of tests build on: a clock, databases, plans, a world in process, programs beside it."""
