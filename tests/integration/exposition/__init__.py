"""Metrics at scrape time, the alert rules and the board that use them, and traces."""
