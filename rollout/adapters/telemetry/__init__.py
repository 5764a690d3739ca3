"""Logs and traces of this process, and how long its requests took."""
