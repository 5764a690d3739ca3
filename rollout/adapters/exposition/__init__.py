"""The answer of `/metrics`, in the text format of Prometheus."""
