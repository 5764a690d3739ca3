"""The pure rules of the write protocol: what to send, whether a write was applied, and drift."""
