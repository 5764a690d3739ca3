"""Logs, traces and metrics of this process."""
