"""Periodic work: the scheduler's ticks, and the job of each tick."""
