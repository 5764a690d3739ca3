"""Real processes of the service: killed, stopped, many at once, on storage that fails (docs/replicas.md)."""
