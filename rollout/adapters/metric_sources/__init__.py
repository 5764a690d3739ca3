"""External metrics, read from Prometheus and from JSON endpoints."""
