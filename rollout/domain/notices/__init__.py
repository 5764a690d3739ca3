"""Notices: the events and conditions that are sent to people."""
