"""What `/metrics` answers, in the text format of Prometheus."""
