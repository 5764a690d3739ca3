"""Notices: their words, the outbox, delivery to real receivers on loopback, and what a plan's address may reach."""
