"""Notices: the events and conditions that people are told of."""
